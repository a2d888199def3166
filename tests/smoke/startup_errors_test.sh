#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A program that cannot start says what is in the way and what to do, and takes nothing from others.
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$SMOKE_DIR/train.sh"

# refused REGEX COMMAND...: in the server's namespace, within 10 s
refused() {
	proc_start refused server "${@:2}"
	local status=0
	proc_wait refused 10 || status=$?
	[ "$status" != 0 ] || fail "started in spite of: $1"
	[ "$status" -lt 128 ] || fail "ended by a signal: status $status"
	grep -qE -- "$1" "$RUN_DIR/refused.log" || fail "should say '$1'"
	grep -E -- "$1" "$RUN_DIR/refused.log" | tail -n 1
}

# second [PATH=VALUE]...: a configuration beside that of the running replica
second() {
	"$ROOT/scripts/conf-set" "$RUN_DIR/replica.yaml" "$RUN_DIR/second.yaml" \
		eal.file_prefix="${GP_RUN}second" port.device=gp2 control.socket="$RUN_DIR/second.sock" \
		control.http=127.0.0.1:9799 replica.listen=127.0.0.1:9798 "$@"
	echo "$RUN_DIR/second.yaml"
}

smoke_begin 1 1500
free=$(cat "$HUGEPAGES/free_hugepages" 2>/dev/null || echo 0)
HUGE=auto server_start replica gp1
[ "$free" -ge 96 ] || grep -E 'running with --no-huge' "$RUN_DIR/replica.log" ||
	fail "does not say that there are no huge pages"

refused "replica\.sock.*${PROC_PID[replica]}" \
	"$GRADPLANED" --config "$(second control.socket="$RUN_DIR/replica.sock")"
refused "127\.0\.0\.1:9792.*in use" "$GRADPLANED" --config "$(second control.http=127.0.0.1:9792)"
refused "127\.0\.0\.1:9791.*in use" \
	"$GRADPLANED" --config "$(second replica.listen=127.0.0.1:9791)"
refused "/proc/none.*(create|mkdir|directory)" \
	"$GRADPLANED" --config "$(second snapshot.directory=/proc/none)"
refused "gp1.*(in use|busy|exists)" "$GRADPLANED" --config "$(second port.device=gp1)"
refused "huge ?pages" "$GRADPLANED" --config "$(second eal.hugepages=on eal.memory=64GiB)"

chmod 755 "$RUN_DIR"
install -m 755 -d "$RUN_DIR/open"
second control.socket="$RUN_DIR/open/s" snapshot.directory="$RUN_DIR/open" >/dev/null
chmod 777 "$RUN_DIR/open"
refused "root|CAP_NET_ADMIN" setpriv --reuid 65534 --regid 65534 --clear-groups \
	"$GRADPLANED" --config "$RUN_DIR/second.yaml"
refused "/none/train.*dataset-fashion-mnist" \
	"$GRADWORKER" --local --world 1 --steps 1 --data /none

expect "the replica still answers" replica "$(ctl replica status | jq -r .role)"
[ -e "$RUN_DIR/replica.sock" ] || fail "the socket of the running replica is gone"
ip -n "$GP_RUN-server" link show gp1 >/dev/null || fail "the interface of the replica is gone"
proc_stop replica || fail "the replica did not end well"
smoke_end
