#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A server is killed and started again while its workers run on: they find it, go back to its last
# snapshot and end with the bytes of a run without a crash.
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$SMOKE_DIR/train.sh"

# shellcheck disable=SC2317 # called by name
snapshot_exists() {
	[ "$(status '.snapshot.last_step // 0')" -ge 100 ]
}

smoke_begin 2 1500
primary_start 1
workers_begin 1500 --timeout-ms 60000 --reconnect-ms 60000
wait_for 30 snapshot_exists || fail "no snapshot within 30 s"
proc_kill primary
primary_start 2
step=$(step_restored)
echo "goes on from step $step"
expect_more "step" 99 "$step"
workers_end 90
for r in 0 1; do expect "sessions had again" 1 "$(field reconnects "$RUN_DIR/worker$r.log")"; done
expect_reference 1500
smoke_end
