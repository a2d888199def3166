#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Tables with optimizers of their own, which keep other arrays of state: a job that stops in the middle and
# goes on from its snapshot, on another number of cores, has the bytes of one that does not.
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$SMOKE_DIR/train.sh"
. "$SMOKE_DIR/embed.sh"

rows() { # FROM TO
	ns_run worker0 "$GP_BUILD/tests/smoke/rows_worker" "$ADDR_PRIMARY:9700" sections "$@"
}

begin() {
	local a='{name: a, dim: 4, rows_max: 100}' b='{name: b, dim: 3, rows_max: 100, optimizer: rowwise_adagrad}'
	local c='{name: c, dim: 2, rows_max: 100, optimizer: adam, lr: 0.01}'
	embed_start jobs.0.workers=1 "jobs.0.tables=[$a, $b, $c]" \
		'jobs.0.optimizer={name: adagrad, lr: 0.1, initial_accumulator: 0.5}'
}

smoke_begin 1 1500
begin
rows 1 20 >"$RUN_DIR/whole"
proc_stop embed 30
rm -r "$RUN_DIR/embed"
begin
rows 1 10 >"$RUN_DIR/half"
ctl embed snapshot now | grep -q sections || fail "snapshot now"
proc_stop embed 30
"$GRADCTL" --dir "$RUN_DIR/embed" snapshot verify || fail "verify"
CORES=3 begin
rows 11 20 >"$RUN_DIR/again"
cmp "$RUN_DIR/whole" "$RUN_DIR/again" || fail "rows differ"
! cmp -s "$RUN_DIR/half" "$RUN_DIR/again" || fail "nothing was learned"
smoke_end
