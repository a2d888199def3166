#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# An asp job: a worker that stands still holds up nobody, and finishes its own steps later. One that is
# killed leaves the view; what it comes back with counts.
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$SMOKE_DIR/train.sh"
. "$SMOKE_DIR/async.sh"

STEPS=1500 WORKERS=3

smoke_begin 3 1500
primary_start 2 jobs.0.consistency=asp jobs.0.atomicity=step jobs.0.workers_min=1 \
	jobs.0.optimizer.lr=0.03 jobs.0.worker_timeout=5s
workers_begin "$STEPS"
wait_for 30 clock_is_past 20 || fail "the job does not begin"
proc_signal worker2 STOP
fastest=$(job .clock_max)
wait_for 20 fastest_is_past $((fastest + 40)) || fail "the others wait for who stands still"
proc_signal worker2 CONT

proc_kill worker1
view=$(job .view)
worker_start 1 "$STEPS" --replace
workers_end 90
expect_more "view after the replacement" "$view" "$(job .view)"
expect_accuracy 0.7
smoke_end
