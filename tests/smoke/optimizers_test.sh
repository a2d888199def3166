#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The optimizers with two arrays of state, a schedule and clamped gradients: two workers get the bytes
# of one process without a network, also when the server stops in the middle and goes on from its
# snapshot.
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$SMOKE_DIR/train.sh"

smoke_begin 2 1500
adam=('jobs.0.optimizer={name: adamw, lr: 0.002, schedule: cosine, schedule_steps: 400, warmup_steps: 20}'
	jobs.0.norm_max=0.05)
primary_start 2 "${adam[@]}"
workers_begin 100000
wait_step 60 30
elems=$(ctl primary job show fashion | jq .block_elems)
proc_stop primary 20 || fail "the primary did not end with 0"
for r in 0 1; do
	expect_error "worker$r" 'gradworker: error: .* is shutting down: step [0-9]+ does not begin' 10
done
find "$RUN_DIR/primary" -name 'state-exp_avg_sq.safetensors' | grep -q . || fail "no second array"
mv "$RUN_DIR/primary.log" "$RUN_DIR/first.log"
primary_start 1 "${adam[@]}"
end=$(($(step_restored) + 150))
workers_begin "$end"
workers_end 60
expect_reference "$end" --norm-max 0.05 --block "$elems" \
	--optimizer adamw,lr=0.002,schedule=cosine,schedule_steps=400,warmup_steps=20
clamped=$(ns_run server curl -sf http://127.0.0.1:9790/metrics |
	awk '/^gradplane_core_blocks_clamped/ { n += $NF } END { printf "%.0f\n", n }')
expect_more "clamped contributions" 0 "$clamped"
smoke_end
