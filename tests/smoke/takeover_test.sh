#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The primary is killed and the replica promoted: its workers find it, go back to the last snapshot that
# had reached it, and end with the bytes of a run without a crash.
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$SMOKE_DIR/train.sh"
. "$SMOKE_DIR/leader.sh"

# shellcheck disable=SC2317 # called by name
replica_serves() {
	[ "$(ctl replica status | jq '.replica.step // 0')" -ge 100 ]
}

# shellcheck disable=SC2317 # called by name
why_says() { # REGEX
	"$GRADCTL" --socket "$RUN_DIR/primary.sock" why >"$RUN_DIR/why.out" 2>&1 &&
		grep -qE "$1" "$RUN_DIR/why.out"
}

smoke_begin 2 1500
CORES=1
"$ROOT/scripts/test-ca" "$RUN_DIR" primary replica
echo "{node: {name: w}, witness: {listen: 127.0.0.1:9793, directory: $RUN_DIR/witness}}" \
	>"$RUN_DIR/witness.yaml"
witness_start
node_start primary gp0 snapshot.interval_steps=50 replica.lag_max=200
node_start replica gp1 jobs.0.workers=2 jobs.0.workers_min=2 jobs.0.optimizer.lr="$LR" \
	jobs.0.optimizer.momentum="$MOMENTUM" snapshot.interval_steps=50
expect_leader replica '"\(.role) \(.epoch) \(.primary)"' 'out 1 0'
for r in 0 1; do
	worker_start "$r" 1500 --server "$ADDR_PRIMARY:9700,$ADDR_REPLICA:9700" --timeout-ms 60000 \
		--reconnect-ms 60000
done
wait_for 30 replica_serves || fail "no snapshot within 30 s"
kill -STOP "${PROC_PID[replica]}"
wait_for 30 why_says 'at step [0-9]+ for the replica, which holds step [0-9]+ \(replica.lag_max 200\), since' ||
	fail "no word of the replica in: $(<"$RUN_DIR/why.out")"
kill -CONT "${PROC_PID[replica]}"
proc_kill primary
ctl replica leader promote --peer-is-fenced | grep '"primary": 1'
wait_line replica 'this node leads it from step [0-9]*1 on' 10
workers_end 90
for r in 0 1; do expect "sessions had again" 1 "$(field reconnects "$RUN_DIR/worker$r.log")"; done
expect "the new leader" primary "$(ctl replica status | jq -r .role)"
expect_reference 1500
proc_stop replica || fail "the new leader did not stop well"
smoke_end
