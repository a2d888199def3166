#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A disk so slow that the memory of a cut runs out: with `abort` the snapshot is given up, tried again
# and then refused while training goes on; with `throttle` training waits and the snapshot succeeds.
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$SMOKE_DIR/train.sh"

metric() {
	ns_run server curl -sf http://127.0.0.1:9790/metrics | awk -v m="gradplane_snapshots_$1_total" '$1 == m { print $2 }'
}

slow_start() { # ON_FULL
	primary_start 1 snapshot.interval_steps=0 snapshot.memory_max=1 snapshot.compression=zstd \
		snapshot.on_full="$1"
	workers_begin 100000
	wait_step "$(($(step_restored) + 20))" 30
}

smoke_begin 2 1500
real=$GRADPLANED
GRADPLANED=$RUN_DIR/gradplaned
printf '#!/bin/sh\nSLOW_DISK_MS=250 LD_PRELOAD=%s exec %s "$@"\n' "$GP_BUILD/tests/smoke/slow_disk.so" \
	"$real" >"$GRADPLANED"
chmod +x "$GRADPLANED"

slow_start abort
before=$(job_step)
! ctl primary snapshot now 2>"$RUN_DIR/now.err" || fail "snapshot now succeeded"
grep -q 'memory of its cut (snapshot.memory_max) ran out' "$RUN_DIR/now.err" || fail "$(<"$RUN_DIR/now.err")"
expect "given up and tried again" 2 "$(grep -c 'given up and tried again' "$RUN_DIR/primary.log")"
expect "aborted" 3 "$(metric aborted)"
expect "failed" 1 "$(metric failed)"
expect "snapshots on disk" "" "$(find "$RUN_DIR/primary" -mindepth 1 -maxdepth 1)"
wait_step $((before + 50)) 30
proc_stop primary || fail "the primary did not end well"
for r in 0 1; do expect_error "worker$r" 'gradworker: error: ' 10; done

slow_start throttle
before=$(job_step)
ctl primary snapshot now >"$RUN_DIR/now.json" || fail "no snapshot with throttle"
expect "aborted" 0 "$(metric aborted)"
expect_more "step" "$((before - 1))" "$(jq .step "$RUN_DIR/now.json")"
"$GRADCTL" --dir "$RUN_DIR/primary" snapshot verify || fail verify
wait_step $((before + 50)) 30
proc_stop primary || fail "the primary did not end well"
smoke_end
