#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# gradworker under mpirun: rank and world come from its environment.
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$SMOKE_DIR/train.sh"

smoke_begin 1 1500
command -v mpirun >/dev/null || skip "needs mpirun"
primary_start 2

tcp=(--mca btl "tcp,self" --mca btl_tcp_if_include lo --mca oob_tcp_if_include lo)
proc_start mpi worker0 mpirun --allow-run-as-root --oversubscribe "${tcp[@]}" -np 2 \
	"$GRADWORKER" --server "$ADDR_PRIMARY:9700" --job fashion --model softmax --steps 50 \
	--progress none
proc_wait mpi 60 || fail "mpirun: $(tail -n 1 "$RUN_DIR/mpi.log")"

for r in 0 1; do
	grep "gradworker: ok rank=$r " "$RUN_DIR/mpi.log" >"$RUN_DIR/mpi$r.line" || fail "no rank $r"
	expect "steps of rank $r" 50 "$(field step "$RUN_DIR/mpi$r.line")"
done
expect "digests" "$(field digest "$RUN_DIR/mpi0.line")" "$(field digest "$RUN_DIR/mpi1.line")"
cat "$RUN_DIR"/mpi?.line
proc_stop primary || fail "the primary did not end well"
smoke_end
