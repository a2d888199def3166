# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# shellcheck disable=SC2317 # called by wait_for
# What scripts/demo --failover does otherwise: a pair that replicates synchronously, whose leader is
# killed in the middle of training.

TAKEOVERS=0

# pair_up: a witness and both nodes; the primary leads.
pair_up() {
	"$ROOT/scripts/test-ca" "$RUN_DIR" primary replica
	echo "{node: {name: w}, witness: {listen: 127.0.0.1:9793, directory: $RUN_DIR/witness}}" \
		>"$RUN_DIR/witness.yaml"
	witness_start
	pair_node primary
	pair_node replica
	expect_paired primary
	say "the replica holds what the primary does; from now on nothing is committed without it"
}

trained_past() {
	local step
	step=$(step_of primary)
	[ "${step:--1}" -ge "$1" ]
}

# leader_kill: at a random moment between a fifth and three fifths of the run.
leader_kill() {
	local steps at
	steps=$(train_length | sed 's/.*--steps //')
	at=$((steps / 5 + RANDOM * (steps * 2 / 5) / 32768))
	wait_for "$TRAIN_S_MAX" trained_past "$at" || fail "no step $at within $TRAIN_S_MAX s"
	proc_kill primary
	say "the primary was killed at or after step $at (SIGKILL)"
	expect_past replica "$at"
	TAKEOVERS=1
	say "the replica leads epoch $(leader replica .epoch), the workers go on"
	pair_node primary
	expect_paired replica
	say "the killed node is back, as replica"
}

# After training: the parameters are those of a run to which nothing happened, so no committed step
# was lost or counted twice.
failover_finish() {
	accuracy_eval
	reference_compare
	drops_count
	servers_stop
}

failover_line() { # WALL_S
	local worker=$RUN_DIR/worker0.log
	printf 'demo: ok accuracy=%.2f steps=%s takeovers=%s lost_acked=0 digest=%s wall_s=%s%s\n' \
		"$(field accuracy "$RUN_DIR/eval.log")" "$(field step "$worker")" "$TAKEOVERS" \
		"$(field digest "$worker")" "$1" "$REFERENCE"
}
