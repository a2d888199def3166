#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Tables on a replica: the primary is killed and the replica promoted; its workers find it, are told
# which of their steps it has, go on with the next and end with what there is to learn.
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$SMOKE_DIR/train.sh"
. "$SMOKE_DIR/embed.sh"

# shellcheck disable=SC2317 # called by name
replica_holds() {
	[ "$(ctl replica status | jq '.replica.step // 0')" -ge 2 ]
}

# node_start NAME DEVICE [PATH=VALUE]...: with the job of conf/embed.yaml
node_start() {
	server_start "$1" "$2" snapshot.interval_steps=20 leadership.kind=manual \
		leadership.directory="$RUN_DIR/$1.lead" eal.memory=320MiB \
		jobs="$(embed_jobs)" "${@:3}"
}

smoke_begin 2 1500
sample "$RUN_DIR/sample.tsv"
node_start primary gp0
node_start replica gp1 cores.count=1
for r in 0 1; do
	learn "$r" 1000000 --server "$ADDR_PRIMARY:9700,$ADDR_REPLICA:9700" \
		--reconnect-ms 60000 --progress text
done
wait_for 30 replica_holds || fail "no snapshot within 30 s"
evaluate "$ADDR_REPLICA" standby # readers are served meanwhile
proc_kill primary
ctl replica leader promote --peer-is-fenced | grep '"primary": 1'
learned replica 200
for r in 0 1; do
	expect "sessions had again" 1 "$(field reconnects "$RUN_DIR/worker$r.log")"
	grep -E "rank $r goes on behind step [1-9]" "$RUN_DIR/worker$r.log" ||
		fail "rank $r was not told where to go on"
done
expect "the new leader" primary "$(ctl replica status | jq -r .role)"
accuracy_expect "$ADDR_REPLICA" eval
expect_more "rows" 50 "$(table replica .rows)"
ctl replica snapshot now | grep -q sections || fail "snapshot now"
proc_stop replica || fail "the new leader did not stop well"
"$GRADCTL" --dir "$RUN_DIR/replica" snapshot verify || fail "verify"
smoke_end
