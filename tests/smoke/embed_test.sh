#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# An embed job: two workers learn packages that a few words give away, with pushes and pulls of rows;
# a reader finds what they have learned; rows are counted; and a table that is too small refuses the
# push by its name.
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$SMOKE_DIR/train.sh"
. "$SMOKE_DIR/embed.sh"

smoke_begin 2 1500
sample "$RUN_DIR/sample.tsv"
embed_start
learn 0 60
learn 1 60
workers_end 60
expect_more "rows a step" 10 "$(field rows_per_step "$RUN_DIR/worker0.log" | cut -d. -f1)"
accuracy_expect "$ADDR_PRIMARY" eval
expect "table" weights "$(table embed .name)"
expect_more "rows" 50 "$(table embed .rows)"
expect "rows refused" 0 "$(table embed .refused)"
proc_stop embed 30

embed_start snapshot.restore=none jobs.0.tables.0.rows_max=100
learn 0 60
learn 1 60
status=0
proc_wait worker0 60 || status=$?
proc_wait worker1 60 || status=$?
expect "exit status of a worker" 1 "$status"
grep -q 'table weights is full' "$RUN_DIR"/worker?.log ||
	fail "no worker was told: $(tail -n 1 "$RUN_DIR/worker0.log")"
proc_stop embed 30
smoke_end
