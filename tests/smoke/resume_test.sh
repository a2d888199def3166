#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A server that was told to stop writes a last snapshot; another one with other cores goes on from it,
# and the parameters at the end are those of training that was never interrupted.
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$SMOKE_DIR/train.sh"

smoke_begin 2 1500
primary_start 2
workers_begin 100000
wait_step 120 30
proc_stop primary 20 || fail "the primary did not end with 0"
for r in 0 1; do
	expect_error "worker$r" 'gradworker: error: .* is shutting down: step [0-9]+ does not begin' 10
done
refused=$(sed -nE 's/.*: step ([0-9]+) does not begin$/\1/p' "$RUN_DIR/worker0.log")
step=$(step_saved)
expect "step of the last snapshot" $((refused - 1)) "$step"
echo "stopped at step $step"
mv "$RUN_DIR/primary.log" "$RUN_DIR/first.log"

primary_start 1
expect "step after the restart" "$step" "$(step_restored)"
end=$((step + 150))
workers_begin "$end"
workers_end 60
for r in 0 1; do
	expect "steps taken by worker $r" 150 "$(field steps "$RUN_DIR/worker$r.log")"
done
expect_reference "$end"
smoke_end
