#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Updates that need the whole step, lamb of a clipped gradient: two workers and two cores get the bytes
# of one process without a network.
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$SMOKE_DIR/train.sh"

smoke_begin 2 1500
primary_start 2 'jobs.0.optimizer={name: lamb, lr: 0.01, clip_norm: 0.5}'
workers_begin 120
wait_step 10 30
elems=$(ctl primary job show fashion | jq .block_elems)
workers_end 60
expect_reference 120 --block "$elems" --optimizer lamb,lr=0.01,clip_norm=0.5
smoke_end
