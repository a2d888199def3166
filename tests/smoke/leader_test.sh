#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The leadership record at a witness: who may lead, kill -9 of witness and primary, a promotion by hand
# that ends the old primary, and TLS on the link of the pair.
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$SMOKE_DIR/train.sh"
. "$SMOKE_DIR/leader.sh"

smoke_begin 2 1500
CORES=1
"$ROOT/scripts/test-ca" "$RUN_DIR" primary replica
echo "{node: {name: w}, witness: {listen: 127.0.0.1:9793, directory: $RUN_DIR/witness}}" \
	>"$RUN_DIR/witness.yaml"
"$GRADPLANED" --check-config "$RUN_DIR/witness.yaml" >/dev/null || fail "the witness's file"
! "$GRADPLANED" --config "$RUN_DIR/witness.yaml" 2>/dev/null || fail "a witness ran as a server"
witness_start
node_start primary gp0 snapshot.interval_steps=20
node_start replica gp1
expect_leader primary '"\(.role) \(.epoch) \(.primary) \(.register_answers)"' 'primary 1 0 true'
expect_leader replica '"\(.role) \(.epoch) \(.primary)"' 'out 1 0'
workers_begin 60
workers_end 60
wait_for 20 replica_step_is 60 || fail "no snapshot over TLS"

proc_kill witness
expect_leader primary '"\(.role) \(.register_answers)"' 'primary false'
witness_start
expect_leader primary .register_answers true
proc_kill primary
ip -n "$GP_RUN-server" link del gp0 2>/dev/null || true
node_start primary gp0
expect_leader primary '"\(.role) \(.epoch)"' 'primary 2'

! ctl replica leader promote 2>"$RUN_DIR/text.out" || fail "promoted without --peer-is-fenced"
ctl replica leader promote --peer-is-fenced | grep '"primary": 1'
wait_line replica 'this node leads it from step 61 on' 10
status=0
proc_wait primary 20 || status=$?
expect "the old primary ends" 1 "$status"
grep -E 'node 1 leads epoch 3: this primary ends at once' "$RUN_DIR/primary.log"
proc_start refused server "$GRADPLANED" --config "$RUN_DIR/primary.yaml"
proc_wait refused 20 && fail "the old primary started again"
grep -E 'node 1 leads epoch 3: this node does not start' "$RUN_DIR/refused.log"
smoke_end
