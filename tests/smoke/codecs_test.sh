#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Sparse contributions: workers that get only what has changed end with the bytes of workers that get
# everything, and receive less; the job's configuration chooses the codec of who names none.
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$SMOKE_DIR/train.sh"

smoke_begin 2 1500
steps=60

# train NAME OPTION...: one run on a server of its own.
train() {
	rm -rf "$RUN_DIR/primary"
	primary_start 2 'jobs.0.optimizer={name: sgd, lr: 0.1}' jobs.0.codec=topk_f16 jobs.0.topk_ratio=0.02
	workers_begin "$steps" "${@:2}"
	workers_end 60
	proc_stop primary 20 || fail "the primary did not end with 0"
	grep -q 'rank 0, codecs: .*=topk_f16' "$RUN_DIR/worker0.log" || fail "$1: the codec is not logged"
	expect "digest of worker 1 ($1)" "$(field digest "$RUN_DIR/worker0.log")" "$(field digest "$RUN_DIR/worker1.log")"
	mv "$RUN_DIR/worker0.log" "$RUN_DIR/$1.log"
}

train whole
train changed --changed
expect "digest with what changed" "$(field digest "$RUN_DIR/whole.log")" "$(field digest "$RUN_DIR/changed.log")"
whole=$(field rx_bytes "$RUN_DIR/whole.log")
changed=$(field rx_bytes "$RUN_DIR/changed.log")
expect_more "bytes received whole, against three times what changed" $((3 * changed)) "$whole"
train bf16 --results bf16
half=$(field rx_bytes "$RUN_DIR/bf16.log")
expect_more "bytes received whole, against bf16" $((half * 3 / 2)) "$whole"
echo "received: whole $whole, as bf16 $half, what changed $changed bytes"
smoke_end
