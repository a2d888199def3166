#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A pair that replicates synchronously: whoever leads is killed at random moments of training, the other one
# takes over by itself and the workers go on; who was killed comes back as replica, with the same
# configuration. Nothing is lost or counted twice: the parameters are those of a run without a crash.
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$SMOKE_DIR/train.sh"
. "$SMOKE_DIR/leader.sh"
. "$SMOKE_DIR/pair.sh"
STEPS=3000 KILLS=${KILLS:-5}

# kill_leader NODE OTHER
kill_leader() {
	local step
	step=$(step_of "$1")
	sleep "0.$(printf %03d $((RANDOM % 400)))"
	proc_kill "$1"
	expect_past "$2" "$((step + 5))"
	echo "$1 was killed at step $step, $2 goes on"
	pair_node "$1"
	expect_paired "$2"
}

smoke_begin 2 1500
CORES=1
pair_start replica.timeout=1s
workers_begin "$STEPS" --server "$ADDR_PRIMARY:9700,$ADDR_REPLICA:9700" --timeout-ms 60000 \
	--reconnect-ms 60000
expect_past primary 20
leader=primary other=replica
for ((k = 0; k < KILLS; k++)); do
	kill_leader "$leader" "$other"
	step=$leader leader=$other other=$step
done
workers_end 120
expect_reference "$STEPS"
proc_stop "$other" || fail "the replica did not stop well"
proc_stop "$leader" || fail "the leader did not stop well"
smoke_end
