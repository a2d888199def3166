#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The demonstration as a user runs it: a model that learned, its last snapshot loaded by the replica,
# nothing left behind.
set -euo pipefail
. "$(dirname "$0")/_init.sh"

[ "$(id -u)" -eq 0 ] || skip "needs root (network namespaces)"
export GP_BUILD
log=$(mktemp --suffix ".$GP_RUN")
trap 'rm -f "$log"' EXIT

leftovers() {
	ip netns list | sort
	ls /dev/hugepages /var/run/dpdk 2>/dev/null || true
	cat "$HUGEPAGES/nr_hugepages" 2>/dev/null || true
}

before=$(leftovers)
"$ROOT/scripts/demo" >"$log" 2>&1 || {
	tail -n 80 "$log"
	fail "demo"
}
tail -n 1 "$log"
last=$(tail -n 1 "$log")
number='[0-9]+(\.[0-9]+)?'
[[ $last =~ ^demo:\ ok\ accuracy=0\.[0-9]+\ steps=[0-9]+\ loss=$number\ pushed_mb=$number\ retransmits=[0-9]+\ dropped=[0-9]+\ snapshot_step=[0-9]+\ replica_step=[0-9]+\ digest=[0-9a-f]{16}\ wall_s=[0-9]+$ ]] ||
	fail "last line: $last"
awk -v a="$(field accuracy "$log")" 'BEGIN { exit !(a >= 0.87) }' || fail "accuracy"
expect "step of the replica" "$(field steps "$log")" "$(field replica_step "$log")"
expect "left behind" "$before" "$(leftovers)"
