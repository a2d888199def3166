#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# What an operator or a user asks for in vain is said: a snapshot of an asynchronous job that has not changed, an
# export over a file, an evaluation of another model, steps that are done already. And a server whose
# snapshots are all damaged does not begin anew by itself.
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$SMOKE_DIR/train.sh"

gradctl() {
	"$GRADCTL" --socket "$RUN_DIR/primary.sock" "$@"
}

# says REGEX FILE
says() {
	grep -qE -- "$1" "$2" || fail "$2 should say '$1': $(<"$2")"
}

smoke_begin 2 1500
records=$RUN_DIR/new/records
primary_start 2 jobs.0.consistency=asp jobs.0.workers_min=1 snapshot.interval_steps=100000 recorder.directory="$records"
workers_begin 40
workers_end 60
gradctl snapshot now >"$RUN_DIR/now.log"
says '^snapshot of step ' "$RUN_DIR/now.log"
saved=$(find "$RUN_DIR/primary" -mindepth 1 -maxdepth 1 -name 'fashion-*')
gradctl snapshot now >"$RUN_DIR/now.log"
says "^nothing changed since $saved\$" "$RUN_DIR/now.log"
expect "snapshots" "$saved" "$(find "$RUN_DIR/primary" -mindepth 1 -maxdepth 1 -name 'fashion-*')"
gradctl record dump >"$RUN_DIR/dump.log" || fail "$(<"$RUN_DIR/dump.log")"
says "^flight recorder: $records/" "$RUN_DIR/dump.log"

ns_run worker0 "$GRADWORKER" --eval --server "$ADDR_PRIMARY:9700" --job fashion --model mlp \
	>"$RUN_DIR/eval.log" 2>&1 && fail "evaluated another model"
says 'the job is of another model than --model mlp' "$RUN_DIR/eval.log"
workers_begin 40
workers_end 60
says 'rank 0 did nothing: the job has done 4[01] steps' "$RUN_DIR/worker0.log"

gradctl snapshot export latest "$RUN_DIR/plain.safetensors"
gradctl snapshot export latest "$RUN_DIR/plain.safetensors" 2>"$RUN_DIR/export.log" && fail "written over"
says 'exists: name another file, or say --force' "$RUN_DIR/export.log"
gradctl snapshot export --force latest "$RUN_DIR/plain.safetensors"

proc_stop primary 20 || fail "the primary did not end with 0"
expect "snapshots after the end" "$saved" "$(find "$RUN_DIR/primary" -mindepth 1 -maxdepth 1 -name 'fashion-*')"
echo damage >>"$saved/params.safetensors"
proc_start refused server "$GRADPLANED" --config "$RUN_DIR/primary.yaml"
expect_error refused 'none can be used, for the reasons above.* snapshot.restore: none' 10
says "snapshot ${saved##*/} is not used: " "$RUN_DIR/refused.log"
primary_start 2 jobs.0.consistency=asp snapshot.restore=none
expect "step of a job that began anew" -1 "$(job_step)"
smoke_end
