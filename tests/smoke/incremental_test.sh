#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Parameters that do not change (the learning rate is too small for that): snapshots hold only what
# changed, a server that was killed goes on from the newest of a chain, and going back by hand works.
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$SMOKE_DIR/train.sh"

snapshots() { # FILTER...
	"$GRADCTL" --dir "$RUN_DIR/primary" --json snapshot list | jq -r "$@"
}

# shellcheck disable=SC2317 # called by name
chain_is_long() {
	[ "$(snapshots '[.snapshots[].depth] | max // 0')" -ge 2 ]
}

start() {
	primary_start 2 snapshot.interval_steps=25 snapshot.full_every=4 snapshot.keep=2 \
		'jobs.0.optimizer={name: sgd, lr: 1.0e-30}'
}

smoke_begin 2 1500
start
workers_begin 100000
wait_for 60 chain_is_long || fail "no chain: $(snapshots .)"
proc_kill primary
for r in 0 1; do proc_kill "worker$r"; done
snapshots '.snapshots[] | "\(.name) \(.content) \(.depth) \(.blocks_present)/\(.blocks)"'
expect "full ones hold all blocks, others none" "" \
	"$(snapshots '.snapshots[] | select(.blocks_present != (if .depth == 0 then .blocks else 0 end)) | .name')"
"$GRADCTL" --dir "$RUN_DIR/primary" snapshot verify || fail "verify"
newest=$(snapshots '.snapshots[0].step')

start
expect "the newest of the chain" "$newest" "$(step_restored)"
status=0
ctl primary snapshot restore 25 2>"$RUN_DIR/restore.err" || status=$?
expect "restore at a running server" 1 "$status"
grep -q 'gradctl stop' "$RUN_DIR/restore.err" || fail "$(<"$RUN_DIR/restore.err")"
proc_kill primary

back=$(snapshots '.snapshots[1].step')
"$GRADCTL" --dir "$RUN_DIR/primary" snapshot restore "$back" || fail "restore"
start
expect "what was chosen" "$back" "$(step_restored)"
proc_stop primary || fail "the primary did not end well"
smoke_end
