#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The replica of a synchronous pair is configured with too little memory for the job that it holds a copy of. Told to
# lead, it says so and ends: it does not begin the job anew.
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$SMOKE_DIR/train.sh"
. "$SMOKE_DIR/leader.sh"
. "$SMOKE_DIR/pair.sh"
MODEL=mlp

smoke_begin 2 1500
CORES=1
pair_start replica.timeout=1s
proc_stop replica
pair_node replica jobs.0.memory_max=2MiB
expect_paired primary
workers_begin 100000 --server "$ADDR_PRIMARY:9700" --timeout-ms 60000
expect_past primary 20
proc_kill primary
wait_line replica 'what this node holds of it cannot be loaded: Cannot allocate memory' 20
status=0
proc_wait replica 20 || status=$?
expect "exit status of a node that cannot lead" 3 "$status"
smoke_end
