#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A worker is killed in the middle of a step and started again, once with --replace at once, once
# after its time-out: no contribution is lost or counted twice.
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$SMOKE_DIR/train.sh"

STEPS=600

views() {
	status '.jobs[0].view'
}

smoke_begin 2 1500
primary_start 2 jobs.0.worker_timeout=400ms
workers_begin "$STEPS"
wait_step 100 30
view=$(views)

proc_kill worker1
worker_start 1 "$STEPS" --replace
wait_step $(($(job_step) + 50)) 15
expect_more "view after the replacement" "$view" "$(views)"

proc_kill worker1
wait_for 5 joined_is 1 || fail "the dead worker is still there"
step=$(job_step)
worker_start 1 "$STEPS"
echo "killed again at step $step"
[ "$step" -lt "$STEPS" ] || fail "the job went on without rank 1"

workers_end 60
expect_reference "$STEPS"
smoke_end
