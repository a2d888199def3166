#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The benches behind a port, with little data: sums are right, nothing is lost for good, tables can be
# read. No figure is judged.
set -euo pipefail
. "$(dirname "$0")/_init.sh"

[ "$(id -u)" -eq 0 ] || skip "needs root (network namespaces)"
export GP_BUILD
log=$(mktemp --suffix ".$GP_RUN")
trap 'rm -f "$log" "$log.json"' EXIT

# run SCRIPT OPTION...
run() {
	"$ROOT/scripts/$1" --json "$log.json" "${@:2}" >"$log" 2>&1 || { tail -n 60 "$log" && fail "$*"; }
	expect "last line of $1" ok "$(tail -n 1 "$log")"
}

run bench-e2e --bytes 262144 --rounds 1 xdp memif_jumbo small_memif_one
jq -es 'length == 5 and all(.[]; .sums == "checked") and all(.[].levels[]; .gbit_s > 0 and .block_us_p50 > 0) and
	([.[] | select(.case == "xdp") | .levels | length] == [4, 4]) and ([.[].levels[].lost] | add > 0)' \
	"$log.json" >/dev/null || fail "bench-e2e: $(cat "$log.json")"
grep -q 'goodput kept at 1 % loss' "$log" || fail "bench-e2e: no goals: $(cat "$log")"

command -v dpdk-testpmd >/dev/null || { echo "no dpdk-testpmd: bench-forward left out" && exit 0; }
run bench-forward --rounds 1 --packets 3000 memif
jq -es 'map(.peer) == ["testpmd", "gradplaned"] and all(.[]; .busy_ns > 0 and .generator.back > 0)' \
	"$log.json" >/dev/null || fail "bench-forward: $(cat "$log.json")"
