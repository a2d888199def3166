# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Processes of a run: started by name, waited for with a deadline, ended by pid. Logs are
# $RUN_DIR/NAME.log. Nothing here waits without a deadline; waiting polls 20 times a second.

declare -A PROC_PID=()
POLL_S=0.05

# proc_start NAME NAMESPACE COMMAND...: NAMESPACE as in _net.sh, or - for the caller's. The pid is
# the command's own: `ip netns exec` becomes the command.
proc_start() {
	local name=$1 ns=$2 prefix=()
	shift 2
	[ "$ns" = - ] || prefix=(ip netns exec "$GP_RUN-$ns")
	: >"$RUN_DIR/$name.log" # before the process exists: an older run's lines are not this one's
	"${prefix[@]}" "$@" </dev/null >"$RUN_DIR/$name.log" 2>&1 &
	PROC_PID[$name]=$!
}

proc_alive() {
	[ -n "${PROC_PID[$1]:-}" ] && kill -0 "${PROC_PID[$1]}" 2>/dev/null
}

# wait_for SECONDS COMMAND...: until the command succeeds; false at the deadline.
wait_for() {
	local end=$((${EPOCHREALTIME/./} + $1 * 1000000))
	shift
	until "$@"; do
		[ "${EPOCHREALTIME/./}" -lt "$end" ] || return 1
		sleep "$POLL_S"
	done
}

line_or_death() {
	grep -qE -- "$2" "$RUN_DIR/$1.log" || ! proc_alive "$1"
}

# wait_line NAME REGEX SECONDS: until the process has logged the line; fails early when it ends.
wait_line() {
	wait_for "$3" line_or_death "$1" "$2" || fail "$1 did not say '$2' within $3 s"
	grep -qE -- "$2" "$RUN_DIR/$1.log" || fail "$1 ended without saying '$2'"
}

proc_dead() {
	! proc_alive "$1"
}

# proc_wait NAME SECONDS: until it ends; returns its exit status.
proc_wait() {
	wait_for "$2" proc_dead "$1" || fail "$1 still runs after $2 s"
	local pid=${PROC_PID[$1]} status=0
	wait "$pid" || status=$?
	unset "PROC_PID[$1]"
	return "$status"
}

# proc_stop NAME [SECONDS]: SIGTERM; returns the exit status; a process that stays is killed: failure.
proc_stop() {
	kill -TERM "${PROC_PID[$1]}" 2>/dev/null || true
	proc_wait "$1" "${2:-10}"
}

proc_kill() {
	kill -KILL "${PROC_PID[$1]}"
	wait "${PROC_PID[$1]}" 2>/dev/null || true
	unset "PROC_PID[$1]"
}

proc_stop_all() {
	local name
	for name in "${!PROC_PID[@]}"; do kill -TERM "${PROC_PID[$name]}" 2>/dev/null; done
	for name in "${!PROC_PID[@]}"; do
		wait_for 5 proc_dead "$name" || kill -KILL "${PROC_PID[$name]}"
		wait "${PROC_PID[$name]}" 2>/dev/null
	done
	PROC_PID=()
}
