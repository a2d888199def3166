#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# An ssp job with bound 2: while one worker stands still the others do three steps more (they read the
# last of them only when it has come nearer) and wait; when it goes on all of them finish, and the
# model has learned.
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$SMOKE_DIR/train.sh"
. "$SMOKE_DIR/async.sh"

STEPS=600 WORKERS=3

smoke_begin 3 1500
primary_start 2 jobs.0.consistency=ssp jobs.0.workers_min=1 jobs.0.optimizer.lr=0.03 \
	jobs.0.worker_timeout=30s
workers_begin "$STEPS"
wait_for 30 clock_is_past 60 || fail "the job does not begin"
expect consistency ssp "$(job .consistency)"
expect bound 2 "$(job .bound)"

proc_signal worker2 STOP
wait_for 10 ahead_is 3 || fail "the others are $(job '.clock_max - .clock_min') steps ahead, not 3"
fastest=$(job .clock_max)
for _ in {1..20}; do
	expect "fastest while one stands still" "$fastest" "$(job .clock_max)"
done
"$GRADCTL" --socket "$RUN_DIR/primary.sock" why >"$RUN_DIR/why.out"
grep -qE '^  rank 0 waits to begin step [0-9]+ since .*: until all have done step [0-9]+ \(bound 2\), the slowest has done [0-9]+$' \
	"$RUN_DIR/why.out" || fail "$(<"$RUN_DIR/why.out")"
expect "step, of all" "$((fastest - 3))" "$(job .step)"
proc_signal worker2 CONT
workers_end 60
expect_accuracy 0.7
smoke_end
