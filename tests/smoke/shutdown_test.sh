#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# SIGTERM: exit 0, a last snapshot that another reader understands, nothing left behind; a second
# start serves those parameters.
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$SMOKE_DIR/train.sh"

left() {
	ip -n "$GP_RUN-server" -o link show | awk -F ': ' '{ print $2 }' | grep -x gp0
	ls -d "$RUN_DIR/primary.sock" "/var/run/dpdk/${GP_RUN}primary" "$RUN_DIR"/primary/.tmp* \
		"$HUGETLB_DIR/${GP_RUN}primary"* 2>/dev/null
	return 0
}

smoke_begin 2 1500
! hugepages_reserve 100 || HUGE=on
echo "huge pages: $HUGE"
primary_start 2
workers_begin 130
workers_end 30
begin=$SECONDS
proc_stop primary 20 || fail "the primary did not end with 0"
expect_more "seconds to spare" $((SECONDS - begin)) 10
expect "left behind" "" "$(left)"

newest=$(find "$RUN_DIR/primary" -mindepth 1 -maxdepth 1 -name '*-*130' -type d)
[ -n "$newest" ] || fail "no snapshot of step 130: $(ls "$RUN_DIR/primary")"
expect "step in the manifest" 130 "$(jq .step "$newest/manifest.json")"
/usr/bin/python3 "$SMOKE_DIR/snapshot_params.py" "$newest" >"$RUN_DIR/snapshot.params" ||
	fail "second reader"
cmp "$RUN_DIR/snapshot.params" "$RUN_DIR/worker0.params" || fail "the snapshot has other parameters"

primary_start 2
expect "step after the second start" 130 "$(step_restored)"
workers_begin 131
workers_end 30
expect "steps taken" 1 "$(field steps "$RUN_DIR/worker0.log")"
expect_reference 131
proc_stop primary || fail "the second start did not end with 0"
expect "left behind by the second" "" "$(left)"
smoke_end
