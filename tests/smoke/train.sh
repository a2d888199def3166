# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# shellcheck disable=SC2034 # read by demo-lib.sh and by the tests
# Sourced after _init.sh by tests in which workers train: one primary on a tap, $WORKERS workers of
# $MODEL, and the same training in one process without a network to compare with.
keep=$KEEP
. "$ROOT/scripts/demo-lib.sh" # which has a KEEP of its own
KEEP=$keep

MODEL=softmax HUGE=off REFUSED_S=4

# primary_start CORES [PATH=VALUE]...: conf/primary.yaml (snapshots every 100 steps), no replica.
primary_start() {
	CORES=$1
	server_start primary gp0 'replica={}' "${@:2}"
}

# worker_start RANK STEPS [OPTION]...
worker_start() {
	proc_start "worker$1" "worker$1" "$GRADWORKER" --server "$ADDR_PRIMARY:9700" --job fashion \
		--rank "$1" --world "$WORKERS" --model "$MODEL" --steps "$2" --mtu "$MTU" \
		--dump-params "$RUN_DIR/worker$1.params" "${@:3}"
}

workers_begin() { # STEPS [OPTION]...
	local r
	for ((r = 0; r < WORKERS; r++)); do worker_start "$r" "$@"; done
}

workers_end() { # SECONDS
	local r
	for ((r = 0; r < WORKERS; r++)); do
		proc_wait "worker$r" "$1" || fail "worker $r: $(tail -n 1 "$RUN_DIR/worker$r.log")"
	done
}

# status FILTER: what jq makes of the primary's status; nothing when it does not answer.
status() {
	ctl primary status 2>/dev/null | jq -r "$1"
}

job_step() {
	status '.jobs[0].step // -1'
}

step_is_past() {
	local step
	step=$(job_step)
	[ "${step:--1}" -gt "$1" ]
}

joined_is() {
	[ "$(status '.jobs[0].joined')" = "$1" ]
}

# step_restored: the step that the primary's log says it starts from.
step_restored() {
	sed -nE 's/.* info job fashion: starts from .*, step ([0-9]+)$/\1/p' "$RUN_DIR/primary.log"
}

# step_saved: of the newest snapshot on disk.
step_saved() {
	local newest
	newest=$(find "$RUN_DIR/primary" -mindepth 1 -maxdepth 1 -name 'fashion-*' | sort | tail -n 1)
	jq .step "$newest/manifest.json"
}

wait_step() { # STEP SECONDS
	wait_for "$2" step_is_past "$1" || fail "the job is not past step $1 after $2 s"
}

# expect_reference STEPS [OPTION]...: every worker has the parameters of that many steps without a
# network.
expect_reference() {
	local r
	"$GRADWORKER" --local --world "$WORKERS" --model "$MODEL" --steps "$1" --progress none \
		--dump-params "$RUN_DIR/local.params" "${@:2}" >"$RUN_DIR/local.log" 2>&1 ||
		fail "reference: $(tail -n 1 "$RUN_DIR/local.log")"
	for ((r = 0; r < WORKERS; r++)); do
		cmp -s "$RUN_DIR/local.params" "$RUN_DIR/worker$r.params" ||
			fail "worker $r: parameters of step $1 differ from the reference"
	done
	echo "step $1: parameters are those of the reference"
}

# expect_error NAME REGEX [SECONDS]: it ends in time, with status 1 and such a last line.
expect_error() {
	local status=0
	proc_wait "$1" "${3:-$REFUSED_S}" || status=$?
	expect "exit status of $1" 1 "$status"
	tail -n 1 "$RUN_DIR/$1.log" | grep -qE -- "$2" ||
		fail "$1 should end with '$2', said: $(tail -n 1 "$RUN_DIR/$1.log")"
	tail -n 1 "$RUN_DIR/$1.log"
}
