#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The replica of a synchronous pair dies, and the leader that waits for it is stopped in order: its last snapshot has
# the step that workers were told last. The leader goes on there when it is started and told to lead. Started once more
# it brings its replica up to date before any worker has come: killed then, the replica goes on at the same step.
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$SMOKE_DIR/train.sh"
. "$SMOKE_DIR/leader.sh"
. "$SMOKE_DIR/pair.sh"
STEPS=600

# shellcheck disable=SC2317 # called by name
is_cut_off() {
	[ "$(status .replica.connected)" = false ]
}

pair_is() { # JSON
	[ "$(ctl primary status | jq -c '.replica | {connected, paired, lacks}')" = "$1" ]
}

smoke_begin 2 1500
CORES=1
pair_start replica.on_loss=wait
workers_begin "$STEPS" --server "$ADDR_PRIMARY:9700,$ADDR_REPLICA:9700" --timeout-ms 60000 --reconnect-ms 60000
expect_past primary 20
proc_kill replica
wait_for 10 is_cut_off || fail "the leader does not miss its replica: $(status .replica)"
step=$(job_step)
proc_stop primary 20 || fail "the leader did not stop well: $(tail -n 3 "$RUN_DIR/primary.log")"
expect "step of the last snapshot" "$step" "$(step_saved)"
pair_node primary replica.on_loss=wait
pair_node replica replica.on_loss=wait
expect_leader primary .nobody_leads true
expect_leader replica .nobody_leads true
proc_kill replica
ctl primary leader promote --peer-is-fenced >/dev/null || fail "no promotion: $(tail -n 3 "$RUN_DIR/primary.log")"
wait_line primary "this node leads it from step $((step + 1)) on" 10
workers_end 60
expect_reference "$STEPS"
proc_stop primary || fail "the second start did not stop well"
expect "step of the newest snapshot" "$STEPS" "$(step_saved)"

pair_node primary replica.on_loss=wait
pair_node replica replica.on_loss=wait jobs.0.views_log="$RUN_DIR/views"
expect_paired primary
pair_is '{"connected":true,"paired":true,"lacks":[]}' || fail "the pair: $(status .replica)"
expect "held before workers join" "$STEPS" "$(status .replica.held.fashion)"
proc_kill primary
wait_line replica "this node leads it from step $((STEPS + 1)) on" 20
wait_line replica 'no views_log is written' 5
[ ! -e "$RUN_DIR/views" ] || fail "a record that begins in the middle"
workers_begin "$((STEPS + 1))" --server "$ADDR_PRIMARY:9700,$ADDR_REPLICA:9700" --timeout-ms 60000 --reconnect-ms 60000
workers_end 30
expect_reference "$((STEPS + 1))"
smoke_end
