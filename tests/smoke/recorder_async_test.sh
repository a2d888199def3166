#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Asynchronous jobs through the flight recorder and again through the same engine: what was read when, which
# steps were closed by time, a worker that leaves and one that comes: the same verdicts and decisions.
# shellcheck disable=SC2317 # called by wait_for
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$SMOKE_DIR/train.sh"
. "$SMOKE_DIR/async.sh"

GRADBENCH=$GP_BUILD/app/gradbench/gradbench

# run MODE OPTION...: then what the recorder has is replayed.
run() {
	local file=$RUN_DIR/$1.flight
	primary_start 2 "recorder.directory=$RUN_DIR/records" recorder.cells=1048576 jobs.0.consistency="$1" \
		jobs.0.workers_min=1 jobs.0.worker_timeout=60s snapshot.restore=none "${@:2}"
	worker_start 0 100000
	worker_start 1 40
	proc_wait worker1 90 || fail "$1: $(tail -n 1 "$RUN_DIR/worker1.log")"
	worker_start 1 100000
	wait_for 60 joined_is 2 || fail "$1: no new worker"
	wait_for 60 fastest_is_past $(($(job .clock_max) + 40)) || fail "$1: it stands still"
	ctl primary record dump --output "$file" >"$RUN_DIR/dump.json"
	"$GRADBENCH" replay --json "$file" >"$RUN_DIR/replay.json" || fail "$1: $(<"$RUN_DIR/replay.json")"
	expect "$1, replayed" 'false false ' "$(jq -r '"\(.wrapped) \(.differs) \(.missing)"' "$RUN_DIR/replay.json")"
	expect_more "$1, decisions" 80 "$(jq .decisions "$RUN_DIR/replay.json")"
	proc_kill worker0
	proc_kill worker1
	proc_kill primary
}

smoke_begin 2 1500
run ssp
run quorum jobs.0.quorum.min=1 jobs.0.quorum.wait=2ms
smoke_end
