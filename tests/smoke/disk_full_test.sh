#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The disk under the snapshots is full: training goes on, the operator sees why there is no snapshot,
# and when there is room again the next one succeeds.
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$SMOKE_DIR/train.sh"

# shellcheck disable=SC2317 # called by name
disk_off() {
	umount -l "$RUN_DIR/primary"
}

# shellcheck disable=SC2317 # called by name
error_shown() {
	status '.snapshot.last_error // ""' | grep -qiE 'no space|full'
}

failures() {
	ns_run server curl -sf http://127.0.0.1:9790/metrics |
		awk '/^gradplane_snapshot.*(error|fail)/ { n += $NF } END { print n + 0 }'
}

smoke_begin 2 1500
mkdir "$RUN_DIR/primary"
mount -t tmpfs -o size=256k tmpfs "$RUN_DIR/primary"
trap 'status=$?; disk_off; (exit $status); smoke_cleanup' EXIT
head -c 240k /dev/zero >"$RUN_DIR/primary/ballast"
primary_start 2 snapshot.interval_steps=20
workers_begin 400
wait_for 30 error_shown || fail "status shows no error of the snapshot"
status .snapshot.last_error
expect_more "failed snapshots in the metrics" 0 "$(failures)"
"$GRADCTL" --socket "$RUN_DIR/primary.sock" status | grep -i 'snapshot error' ||
	fail "gradctl status does not show the error"
workers_end 60
expect_reference 400

rm "$RUN_DIR/primary/ballast"
expect "step of the snapshot with room again" 400 "$(ctl primary snapshot now | jq .step)"
expect "error afterwards" "" "$(status '.snapshot.last_error // ""')"
proc_stop primary || fail "the primary did not end well"
smoke_end
