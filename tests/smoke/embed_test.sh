#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# An embed job: two workers learn packages that a few words give away, with pushes and pulls of rows;
# a reader finds what they have learned; rows are counted; and a table that is too small refuses the
# push by its name.
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$SMOKE_DIR/train.sh"

WORKERS=2

# sample FILE: 800 packages of 4 sections, each named by a word of its own among common ones.
sample() {
	awk 'BEGIN { split("admin games libs utils", s); split("root chess shared tool", w)
		for (i = 0; i < 800; i++) { k = 1 + i % 4
			printf "%s\tpkg%d-%s\tA %s of package %d\n", s[k], i, i % 3 ? "x" : w[k], w[k], i % 50 } }' >"$1"
}

# embed_start NAME [PATH=VALUE]...: conf/embed.yaml on gp0.
embed_start() {
	CORES=2
	server_start embed gp0 jobs.0.workers=2 eal.memory=128MiB "$@"
}

learn() { # RANK STEPS
	proc_start "worker$1" "worker$1" "$GRADWORKER" --task sections --data "$RUN_DIR/sample.tsv" \
		--features-bits 12 --server "$ADDR_PRIMARY:9700" --job sections --rank "$1" --world 2 \
		--batch 32 --steps "$2" --mtu "$MTU" --progress none
}

smoke_begin 2 1500
sample "$RUN_DIR/sample.tsv"
embed_start
learn 0 60
learn 1 60
workers_end 60
expect_more "rows a step" 10 "$(field rows_per_step "$RUN_DIR/worker0.log" | cut -d. -f1)"
ns_run worker0 "$GRADWORKER" --eval --task sections --data "$RUN_DIR/sample.tsv" --features-bits 12 \
	--server "$ADDR_PRIMARY:9700" --job sections >"$RUN_DIR/eval.log" 2>&1 ||
	fail "evaluation: $(tail -n 1 "$RUN_DIR/eval.log")"
awk -v a="$(field accuracy "$RUN_DIR/eval.log")" 'BEGIN { exit !(a > 0.95) }' ||
	fail "accuracy is $(field accuracy "$RUN_DIR/eval.log")"
table=$(ctl embed job show sections | jq -c '.tables[0]')
expect "table" weights "$(jq -r .name <<<"$table")"
expect_more "rows" 50 "$(jq .rows <<<"$table")"
expect "rows refused" 0 "$(jq .refused <<<"$table")"
proc_stop embed 30

embed_start jobs.0.tables.0.rows_max=100
learn 0 60
learn 1 60
status=0
proc_wait worker0 60 || status=$?
proc_wait worker1 60 || status=$?
expect "exit status of a worker" 1 "$status"
cat "$RUN_DIR"/worker?.log | grep -q 'table weights is full' ||
	fail "no worker was told: $(tail -n 1 "$RUN_DIR/worker0.log")"
proc_stop embed 30
smoke_end
