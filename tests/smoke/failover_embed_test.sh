#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A pair with tables: its leader is killed while a worker pushes rows, the other node takes over by itself
# and the worker goes on with what it had in hand; who was killed comes back, gets the tables while rows are
# pushed, and is the next one to take over. The tables end as those of a run without a crash, byte for
# byte, with their optimizer state, also where a leader that started from its snapshot is lost before workers came.
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$SMOKE_DIR/train.sh"
. "$SMOKE_DIR/leader.sh"
. "$SMOKE_DIR/embed.sh"
. "$SMOKE_DIR/pair.sh"
JOB=(jobs.0.workers=1 eal.memory=320MiB)
pair_node() { # NODE
	local peer=("replica.peer=127.0.0.1:$LINK_PORT")
	[ "$1" = primary ] || peer=()
	node_start "$1" "${PAIR_DEVICE[$1]}" "${peer[@]}" jobs="$(embed_jobs)" "${JOB[@]}" cores.count="$CORES" \
		replica.mode=sync replica.timeout=1s snapshot.interval_steps=0
}
both_start() { pair_node primary && pair_node replica && expect_paired primary; }
run_worker() { # SERVERS [OPTION]...
	proc_start worker0 worker0 "$GRADWORKER" --task sections --data "$RUN_DIR/sample.tsv" --features-bits 12 \
		--server "$1" --job sections --rank 0 --world 1 --batch 8 --mtu "$MTU" \
		--timeout-ms 60000 --reconnect-ms 60000 --progress none "${@:2}"
}

smoke_begin 1 1500
CORES=2 # the same on both: what a worker has in hand fits
sample "$RUN_DIR/sample.tsv"
"$ROOT/scripts/test-ca" "$RUN_DIR" primary replica
echo "{node: {name: w}, witness: {listen: 127.0.0.1:9793, directory: $RUN_DIR/witness}}" >"$RUN_DIR/witness.yaml"
witness_start
both_start
run_worker "$ADDR_PRIMARY:9700,$ADDR_REPLICA:9700" --delay-ms 10
wait_for 30 clock_is primary 200 || fail "the worker does not step"
proc_kill primary
wait_for 30 clock_is replica 300 || fail "no takeover"
pair_node primary
expect_paired replica
proc_kill replica
wait_for 30 clock_is primary 400 || fail "no second takeover"
expect "the leader" primary "$(ctl primary status | jq -r .role)"
proc_stop worker0 20 || fail "the worker: $(tail -n 1 "$RUN_DIR/worker0.log")"
steps=$(field steps "$RUN_DIR/worker0.log")
rows=$(table primary .rows)
expect_more rows 50 "$rows"
rows_of primary "$RUN_DIR/pair.sums"
both_start
proc_kill primary
wait_line replica 'this node leads it from step' 20
rows_of replica "$RUN_DIR/again.sums"
diff "$RUN_DIR/pair.sums" "$RUN_DIR/again.sums" || fail "the tables that the replica was given are others"

server_start embed gp0 jobs="$(embed_jobs)" "${JOB[@]}" cores.count="$CORES" snapshot.interval_steps=0
run_worker "$ADDR_PRIMARY:9700" --steps "$steps"
proc_wait worker0 120 || fail "the worker: $(tail -n 1 "$RUN_DIR/worker0.log")"
expect "rows of a run without a crash" "$rows" "$(table embed .rows)"
rows_of embed "$RUN_DIR/plain.sums"
diff "$RUN_DIR/pair.sums" "$RUN_DIR/plain.sums" || fail "the tables are not those of a run without a crash"
smoke_end
