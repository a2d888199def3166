#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A worker that does not fit the job is told within seconds what was expected and what was seen, and
# the job is as good as before.
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$SMOKE_DIR/train.sh"

# refused REGEX OPTION...: of a worker in the second namespace
refused() {
	proc_start guest worker1 "$GRADWORKER" --server "$ADDR_PRIMARY:9700" --job fashion --rank 1 \
		--world 2 --model softmax --steps 10 "${@:2}"
	expect_error guest "gradworker: error: .*$1"
}

# registered REGEX TENSOR...: the same through libgradplane, with other tensors
registered() {
	proc_start guest worker1 /usr/bin/python3 "$SMOKE_DIR/register.py" \
		"$GP_BUILD/lib/client/libgradplane.so" "$ADDR_PRIMARY:9700" fashion 1 2 "${@:2}"
	expect_error guest "gradworker: error: .*$1"
}

smoke_begin 2 1500
primary_start 2 jobs.0.worker_timeout=500ms # of a refused worker that did not leave
server_start replica gp1
worker_start 0 10
wait_for 5 joined_is 1 || fail "worker 0 has not joined"

refused "rank 0 of job 'fashion' is held by 10\.99\.0\.10:[0-9]+, last heard [0-9.]+ s ago" --rank 0
refused "job 'fashion' has 2 workers .*this worker was started for 3" --world 3
refused "no job 'other'" --job other
refused "10\.99\.0\.2:9700 does not serve this \(not_leader\)" --server "$ADDR_REPLICA:9700"
said=$("$GRADWORKER" --server "$ADDR_PRIMARY:9700" --job fashion --rank 2 --world 2) &&
	fail "rank 2 of 2: no error"
expect "rank 2 of 2" "gradworker: error: rank 2 is out of range 0..1 for world size 2" "$said"

registered "tensor 'fc1\.weight' has another shape.*expected 7840, seen 7830.*783" \
	fc1.weight=10x783 fc1.bias=10
registered "tensor 'fc2\.weight' is unknown" fc2.weight=10x784 fc1.bias=10
refused "job 'fashion' has 2 tensors, this worker registers 4" --model mlp

worker_start 1 10
workers_end 20
expect_reference 10
smoke_end
