#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The flight recorder of a server in work, by signal and by command, and what it held through the
# same engine again: the same verdicts and decisions, from the beginning and from a wrapped ring.
# shellcheck disable=SC2317 # called by wait_for
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$SMOKE_DIR/train.sh"

GRADBENCH=$GP_BUILD/app/gradbench/gradbench

replay() { # FILE JQ-FILTER
	"$GRADBENCH" replay --json "$1" >"$RUN_DIR/replay.json" || fail "replay of $1: $(<"$RUN_DIR/replay.json")"
	jq -r "$2" "$RUN_DIR/replay.json"
}

dumped() {
	[ -n "$(find "$RUN_DIR/records" -name 'primary-*.flight' 2>/dev/null)" ] &&
		grep -q 'SIGUSR1: the flight recorder is in' "$RUN_DIR/primary.log"
}

smoke_begin 2 1500
primary_start 2 "recorder.directory=$RUN_DIR/records" recorder.cells=1048576 recorder.mode=payloads \
	jobs.0.worker_timeout=400ms
workers_begin 300
wait_step 20 30
proc_kill worker1
wait_for 5 joined_is 1 || fail "the dead worker is still there"
worker_start 1 300
wait_step 100 60
kill -USR1 "${PROC_PID[primary]}"
wait_for 5 dumped || fail "no dump after SIGUSR1"
file=$(find "$RUN_DIR/records" -name 'primary-*.flight')
expect "from the first datagram" 'false false' "$(replay "$file" '"\(.wrapped) \(.differs)"')"
expect_more "datagrams" 200 "$(jq .datagrams "$RUN_DIR/replay.json")"
expect_more "decisions" 100 "$(jq .decisions "$RUN_DIR/replay.json")"
"$GRADBENCH" replay "$file" | grep -q '^the same verdicts and decisions, with the bytes that came$'

cp "$file" "$RUN_DIR/damaged.flight"
printf 'x' | dd of="$RUN_DIR/damaged.flight" bs=1 seek=20000 conv=notrunc status=none
! "$GRADBENCH" replay "$RUN_DIR/damaged.flight" 2>"$RUN_DIR/damaged.out" || fail "a damaged file was replayed"
grep -q 'damaged: the checksum differs' "$RUN_DIR/damaged.out" || fail "$(<"$RUN_DIR/damaged.out")"
workers_end 60
proc_stop primary 20

primary_start 2 "recorder.directory=$RUN_DIR/records" recorder.cells=1024 snapshot.restore=none \
	snapshot.interval_steps=0 # no mark while a snapshot is cut
workers_begin 100000
wait_step 100 60
ctl primary record dump --output "$RUN_DIR/wrapped.flight" >"$RUN_DIR/dump.json"
expect "its name" "$RUN_DIR/wrapped.flight" "$(jq -r .path "$RUN_DIR/dump.json")"
expect "its mode" 600 "$(stat -c %a "$RUN_DIR/wrapped.flight")"
! ctl primary record dump --output "$RUN_DIR/wrapped.flight" 2>/dev/null || fail "written over"
expect "from a mark" 'true false ' "$(replay "$RUN_DIR/wrapped.flight" '"\(.wrapped) \(.differs) \(.missing)"')"
expect_more "datagrams after it" 20 "$(jq .datagrams "$RUN_DIR/replay.json")"
smoke_end
