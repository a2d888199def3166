#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A pair with an ssp job: its leader is killed while a worker steps, the other node takes over by itself
# and the worker goes on with what it had in hand. Each of its steps adds 1 to every parameter, so what
# it reads after each of them tells that nothing was lost or counted twice.
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$SMOKE_DIR/train.sh"
. "$SMOKE_DIR/leader.sh"
. "$SMOKE_DIR/pair.sh"
JOB=(jobs.0.consistency=ssp 'jobs.0.optimizer={name: sgd, lr: 1}' jobs.0.worker_timeout=500ms)

smoke_begin 1 1500
WORKERS=1 CORES=2
pair_start "${JOB[@]}"
proc_start bench worker0 "$GRADBENCH" failover --server "$ADDR_PRIMARY:9700,$ADDR_REPLICA:9700" \
	--job fashion --runs 1 --elems 20000 --json \
	--fault "touch $RUN_DIR/ready; while [ ! -e $RUN_DIR/over ]; do sleep 0.05; done" --repair true
wait_for 30 test -e "$RUN_DIR/ready" || fail "the worker does not step: $(<"$RUN_DIR/bench.log")"
proc_kill primary
expect_past replica 0
touch "$RUN_DIR/over"
proc_wait bench 60 || fail "the worker: $(<"$RUN_DIR/bench.log")"
tail -n 1 "$RUN_DIR/bench.log"
for what in lost doubled rolled_back; do
	expect "$what" 0 "$(tail -n 1 "$RUN_DIR/bench.log" | jq ".$what")"
done
pair_node primary "${JOB[@]}"
expect_paired replica
proc_stop primary || fail "the replica did not stop well"
proc_stop replica || fail "the leader did not stop well"
smoke_end
