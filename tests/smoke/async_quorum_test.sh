#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A job with a quorum of 2 of 3: a worker that stands still holds up nobody; when it goes on it leaves
# out the steps that were closed without it, and all end at the same one.
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$SMOKE_DIR/train.sh"
. "$SMOKE_DIR/async.sh"

STEPS=1500 WORKERS=3

smoke_begin 3 1500
primary_start 2 jobs.0.consistency=quorum jobs.0.quorum.min=2 jobs.0.workers_min=1 \
	jobs.0.worker_timeout=30s
workers_begin "$STEPS"
wait_for 30 fastest_is_past 40 || fail "the job does not begin"
proc_signal worker2 STOP
fastest=$(job .clock_max)
wait_for 20 fastest_is_past $((fastest + 60)) || fail "the others wait for who stands still"
proc_signal worker2 CONT
workers_end 60
for r in 0 1 2; do
	expect "last step of worker $r" "$STEPS" "$(field step "$RUN_DIR/worker$r.log")"
done
own=$(field steps "$RUN_DIR/worker2.log")
[ "$own" -lt $((STEPS - 30)) ] || fail "worker 2 did $own of $STEPS steps itself"
expect_accuracy 0.7
smoke_end
