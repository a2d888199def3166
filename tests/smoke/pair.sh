# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# shellcheck disable=SC2317 # called by wait_for
# Sourced after train.sh (or scripts/demo-lib.sh) and leader.sh: two nodes that replicate synchronously; either may lead.

LINK_PORT=9791 # where the replica listens, unless something is between
declare -A PAIR_DEVICE=([primary]=gp0 [replica]=gp1)

# pair_node NODE [PATH=VALUE]...: starts it, whatever role the record gives it.
pair_node() {
	local limits
	read -ra limits < <(job_limits)
	[ "$1" = replica ] || limits+=("replica.peer=127.0.0.1:$LINK_PORT")
	node_start "$1" "${PAIR_DEVICE[$1]}" "${limits[@]}" cores.count="$CORES" replica.mode=sync replica.timeout=1s \
		"jobs.0.workers=$WORKERS" "jobs.0.workers_min=$WORKERS" snapshot.interval_steps=0 \
		"jobs.0.optimizer={name: momentum, lr: $LR, momentum: $MOMENTUM}" "${@:2}"
}

pair_start() {
	"$ROOT/scripts/test-ca" "$RUN_DIR" primary replica
	echo "{node: {name: w}, witness: {listen: 127.0.0.1:9793, directory: $RUN_DIR/witness}}" \
		>"$RUN_DIR/witness.yaml"
	witness_start
	pair_node primary "$@"
	pair_node replica "$@"
	expect_paired primary
}

is_paired() { # LEADER
	[ "$(ctl "$1" status 2>/dev/null | jq -r '"\(.role) \(.replica.paired)"')" = "primary true" ]
}

expect_paired() { # LEADER
	wait_for 20 is_paired "$1" || fail "$1 leads no pair: $(ctl "$1" status | jq -c .replica)"
}

# step_of NODE: the newest generation that it leads at; -1: none.
step_of() {
	ctl "$1" status 2>/dev/null | jq -r 'if .role == "primary" then .jobs[0].step // -1 else -1 end'
}

leads_past() { # NODE STEP
	local step
	step=$(step_of "$1")
	[ "${step:--1}" -gt "$2" ]
}

expect_past() { # NODE STEP
	wait_for 30 leads_past "$1" "$2" || fail "$1 does not lead past step $2: $(ctl "$1" status | jq -c .)"
}

# data_cut NODE: its port passes nothing any more.
data_cut() {
	ns_run server bridge link set dev "${PAIR_DEVICE[$1]}" state 0
}
