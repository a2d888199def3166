#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A server that was killed goes on from its last periodic snapshot, with more cores than before.
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$SMOKE_DIR/train.sh"

# shellcheck disable=SC2317 # called by name
snapshot_exists() {
	[ "$(status '.snapshot.last_step // 0')" -ge 100 ]
}

smoke_begin 2 1500
primary_start 1 jobs.0.views_log="$RUN_DIR/views"
workers_begin 100000 --timeout-ms 2000
wait_for 30 snapshot_exists || fail "no snapshot within 30 s"
proc_kill primary
for r in 0 1; do expect_error "worker$r" 'gradworker: error: ' 10; done

primary_start 3 jobs.0.views_log="$RUN_DIR/views"
step=$(step_restored)
echo "goes on from step $step"
expect "its snapshot" "$(step_saved)" "$step"
expect "step of a periodic snapshot" 0 $((step % 100))
expect_more "step" 99 "$step"
workers_begin $((step + 150))
workers_end 60
expect "steps taken" 150 "$(field steps "$RUN_DIR/worker1.log")"
expect_reference $((step + 150))
proc_stop primary || fail "the primary did not stop well"
expect_reference $((step + 150)) --views "$RUN_DIR/views" # without what the crash took back
smoke_end
