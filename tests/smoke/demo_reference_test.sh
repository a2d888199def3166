#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Whatever the wire, the number of workers and cores and the MTU: the trained parameters are the bytes
# that one process without a network computes. Every pair of settings occurs in the table.
set -euo pipefail
. "$(dirname "$0")/_init.sh"

[ "$(id -u)" -eq 0 ] || skip "needs root (network namespaces)"
export GP_BUILD
log=$(mktemp --suffix ".$GP_RUN")
trap 'rm -f "$log"' EXIT

# run OPTION...
run() {
	local begin=$SECONDS
	if ! "$ROOT/scripts/demo" --deterministic "$@" >"$log" 2>&1; then
		tail -n 80 "$log"
		fail "demo --deterministic $*"
	fi
	tail -n 1 "$log" | grep -qE '^demo: ok .* reference=identical$' ||
		fail "demo --deterministic $* ended with: $(tail -n 1 "$log")"
	printf '%3s s  %s\n        %s\n' $((SECONDS - begin)) "$*" "$(tail -n 1 "$log")"
}

#    loss workers cores port      mtu
while read -r loss workers cores port mtu; do
	run --model softmax --steps 100 --loss-pct "$loss" --workers "$workers" --cores "$cores" \
		--port "$port" --mtu "$mtu" </dev/null
done <<-TABLE
	0    2       1     tap       1500
	5    2       2     af_packet 9000
	5    3       1     tap       1500
	0    3       2     af_packet 9000
	0    8       2     tap       1500
	5    8       1     af_packet 9000
TABLE
run --model mlp --steps 50 --loss-pct 5
