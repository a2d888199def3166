#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A million bad datagrams at the ports while workers train: the server lives, counts each datagram
# under one name, does not grow, and the parameters are those of training without them.
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$SMOKE_DIR/train.sh"

COUNT=1000000 PER_S=50000 ROUND=60

rss_kib() {
	awk '/^VmRSS/ { print $2 }' "/proc/${PROC_PID[primary]}/status"
}

tap() { # COUNTER of the kernel's end: tx is towards the server
	ns_run server cat "/sys/class/net/gp0/statistics/$1"
}

# Workers join, train ROUND steps and leave.
round() {
	steps=$((steps + ROUND))
	workers_begin "$steps"
	workers_end 90
}

smoke_begin 3 1500
primary_start 2
steps=0
round
before=$(rss_kib)
proc_start garbage worker2 /usr/bin/python3 "$SMOKE_DIR/garbage.py" "$ADDR_PRIMARY" 9700 "$CORES" \
	"$COUNT" "$PER_S" 11
while proc_alive garbage; do round; done
proc_wait garbage 5 || fail "the sender failed"
round
tail -n 1 "$RUN_DIR/garbage.log"
expect_reference "$steps"

ctl primary status >"$RUN_DIR/status.json"
received=$(jq '[.cores[].rx] | add' "$RUN_DIR/status.json")
counted=$(jq '[.cores[].verdicts[]] | add' "$RUN_DIR/status.json")
jq -c '[.cores[].verdicts | to_entries[] | select(.value > 0)] | group_by(.key)
	| map({(.[0].key): map(.value) | add}) | add' "$RUN_DIR/status.json"
echo "received $received, counted $counted, dropped by the tap $(tap tx_dropped)"
expect "sum of the verdicts" "$received" "$counted"
expect_more "datagrams received" $((COUNT / 10)) "$received"
expect "frames that the tap handed on" "$(tap tx_packets)" "$(jq .port.rx_packets "$RUN_DIR/status.json")"

after=$(rss_kib)
echo "resident: $before KiB before, $after KiB after"
[ "$after" -le $((before + 2048)) ] || fail "the server grew"
proc_stop primary || fail "the primary did not end well"
smoke_end
