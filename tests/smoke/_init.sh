# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Sourced first by every smoke test and by scripts/demo. Gives a run its own names and folder, and
# takes away whatever the run made, also when it fails:
#
#	. "$(dirname "$0")/_init.sh"
#	smoke_begin WORKERS MTU [relay]        # namespaces, cables, folder $RUN_DIR
#	...
#	smoke_end                              # prints `ok` at the very end; or `fail TEXT`
#
# Programs come from $GP_BUILD (meson sets it; default ./build). A test that cannot run here (no
# root) ends with 77, which meson counts as skipped.
set -euo pipefail

SMOKE_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$SMOKE_DIR/../../scripts/lib.sh"
. "$SMOKE_DIR/_proc.sh"
. "$SMOKE_DIR/_net.sh"
. "$SMOKE_DIR/_huge.sh"

GP_BUILD=${GP_BUILD:-$(build_dir release)}
GP_RUN=gp$$
KEEP=${KEEP:-0}
RUN_DIR='' RESULT=''
GRADPLANED=$GP_BUILD/app/gradplaned/gradplaned
GRADCTL=$GP_BUILD/app/gradctl/gradctl
export GRADPLANE_LIBRARY_DIR=$GP_BUILD/lib/client_dpdk
GRADBENCH=$GP_BUILD/app/gradbench/gradbench
GRADWORKER=$GP_BUILD/app/gradworker/gradworker
GP_RELAY=$GP_BUILD/tests/smoke/relay/gp_relay
export GRADPLANED GRADCTL GRADBENCH GRADWORKER

fail() {
	printf 'FAIL: %s\n' "$*" >&2
	exit 1
}

skip() {
	printf 'SKIP: %s\n' "$*"
	exit 77
}

# expect WHAT WANTED SEEN
expect() {
	[ "$2" = "$3" ] || fail "$1: expected '$2', saw '$3'"
}

# expect_more WHAT BOUND SEEN: SEEN > BOUND, whole numbers
expect_more() {
	[ "$3" -gt "$2" ] || fail "$1: expected more than $2, saw $3"
}

# field NAME FILE: value of the last NAME=value in FILE; nothing when there is none.
field() {
	sed -nE "s/^(.*[[:space:]])?$1=([^[:space:]]+).*/\\2/p" "$2" | tail -n 1
}

smoke_begin() {
	[ "$(id -u)" -eq 0 ] || skip "needs root (network namespaces)"
	RUN_DIR=$(mktemp -d --suffix ".$GP_RUN")
	trap smoke_cleanup EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	net_make "$@"
}

# Success. RESULT is printed after everything was taken away.
smoke_end() {
	RESULT=${RESULT:-ok}
	exit 0
}

# Last lines of every log, for a person who reads a failed run.
logs_show() {
	local log
	for log in "$RUN_DIR"/*.log; do
		[ -s "$log" ] || continue
		printf -- '--- %s (last 20 lines)\n' "${log##*/}"
		tail -n 20 "$log"
	done >&2
}

smoke_cleanup() {
	local status=$?
	trap - EXIT INT TERM HUP
	set +e
	[ "$status" = 0 ] || [ "$status" = 77 ] || logs_show
	proc_stop_all
	net_remove
	hugepages_restore
	if [ "$KEEP" = 1 ]; then
		echo "kept: $RUN_DIR"
	else
		rm -rf "$RUN_DIR"
	fi
	[ -z "$RESULT" ] || printf '%s\n' "$RESULT"
	exit "$status"
}
