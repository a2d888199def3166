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

"$ROOT/scripts/demo" >"$log" 2>&1 &
run=gp$!
wait $! || {
	tail -n 80 "$log"
	fail "demo"
}
last=$(tail -n 1 "$log")
echo "$last"
n='[0-9]+(\.[0-9]+)?'
form="^demo: ok accuracy=0\.[0-9]+ steps=[0-9]+ loss=$n pushed_mb=$n retransmits=[0-9]+ dropped=[0-9]+"
form+=" snapshot_step=[0-9]+ replica_step=[0-9]+ digest=[0-9a-f]{16} wall_s=[0-9]+$"
[[ $last =~ $form ]] || fail "the last line has another form"
awk -v a="$(field accuracy "$log")" 'BEGIN { exit !(a >= 0.87) }' || fail "accuracy below 0.87"
expect "step of the snapshot" "$(field steps "$log")" "$(field snapshot_step "$log")"
expect "step of the replica" "$(field steps "$log")" "$(field replica_step "$log")"
grep -q 'rank 0 .*samples/s .*Mbit/s .*retransmits' "$log" || fail "no line of progress"

expect "namespaces left" "" "$(ip netns list | grep "^$run-" || true)"
expect "files left" "" "$(find /dev/hugepages /var/run/dpdk /tmp -maxdepth 1 \
	\( -name "$run*" -o -name "tmp.*.$run" \) 2>/dev/null || true)"
echo ok
