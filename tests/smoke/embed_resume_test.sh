#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Tables outlive their server: it is killed while two workers learn, goes on from its newest snapshot on
# another number of cores, and the workers with it; what was asked for by hand verifies and can be read;
# tables that would not fit it are refused.
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$SMOKE_DIR/train.sh"
. "$SMOKE_DIR/embed.sh"

# shellcheck disable=SC2317 # called by name
snapshot_exists() {
	[ "$(ctl embed status 2>/dev/null | jq '.snapshot.last_step // 0')" -ge 2 ]
}

smoke_begin 2 1500
sample "$RUN_DIR/sample.tsv"
embed_start snapshot.interval_steps=20 snapshot.keep=3
for r in 0 1; do learn "$r" 1000000 --reconnect-ms 60000; done
wait_for 30 snapshot_exists || fail "no snapshot within 30 s"
proc_kill embed
CORES=3 embed_start snapshot.interval_steps=20
grep -E 'job sections: starts from .*/sections-[0-9]+, step' "$RUN_DIR/embed.log" ||
	fail "it does not start from a snapshot"
learned embed 200
for r in 0 1; do expect "sessions had again" 1 "$(field reconnects "$RUN_DIR/worker$r.log")"; done
accuracy_expect "$ADDR_PRIMARY" eval
ctl embed snapshot now | grep -q sections || fail "snapshot now"
rows=$(table embed .rows)
proc_stop embed 30

"$GRADCTL" --dir "$RUN_DIR/embed" snapshot verify || fail "verify"
"$GRADCTL" --dir "$RUN_DIR/embed" snapshot export latest "$RUN_DIR/plain.safetensors"
header=$(tail -c +9 "$RUN_DIR/plain.safetensors" | head -c 2000 | jq -c . 2>/dev/null | head -n 1 || true)
expect "ids that are exported" "[$rows]" "$(jq -c '."ids/weights".shape' <<<"$header")"
expect "rows that are exported" "[$rows,64]" "$(jq -c .weights.shape <<<"$header")"

# Rows that nobody has pushed yet would be made as others than before.
"$ROOT/scripts/conf-set" "$RUN_DIR/embed.yaml" "$RUN_DIR/other.yaml" \
	jobs.0.tables.0.initial=normal jobs.0.tables.0.initial_scale=1
proc_start other server "$GRADPLANED" --config "$RUN_DIR/other.yaml"
proc_wait other 20 && fail "it starts with tables that are not those of its snapshot"
grep -E 'jobs\[\]\.tables\[\]\.initial is [a-z]+ in the snapshot and [a-z]+ in the configuration' "$RUN_DIR/other.log" ||
	fail "no reason: $(tail -n 1 "$RUN_DIR/other.log")"
smoke_end
