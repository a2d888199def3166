#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The network that every smoke test stands on: a worker reaches a DPDK process behind a tap and behind
# af_packet with jumbo frames, also through the relay. The process is DPDK's own testpmd.
set -euo pipefail
. "$(dirname "$0")/_init.sh"

# pmd_start NAME VDEV OPTION...: answers ARP and ping for every address.
pmd_start() {
	local name=$1 vdev=$2
	shift 2
	proc_start "$name" server dpdk-testpmd --no-pci --no-huge -m 128 --file-prefix "$GP_RUN$name" \
		--lcores '0@0,1@0' --vdev "$vdev" -- --auto-start --forward-mode=icmpecho \
		--total-num-mbufs 4096 --stats-period 1 "$@"
	wait_line "$name" '^Port statistics' 20
}

answers() {
	ns_run worker0 ping -n -q -c 3 -i 0.1 -W 2 "$@" >"$RUN_DIR/ping.log" 2>&1
}

smoke_begin 1 9000 relay
command -v dpdk-testpmd >/dev/null || skip "needs dpdk-testpmd"
relay_start --loss-pct 50

NET_MTU=1500 pmd_start tap net_tap0,iface=gp0
NET_MTU=1500 net_attach_tap gp0
wait_for 15 answers "$ADDR_PRIMARY" || fail "no answer through the tap"
answers -M 'do' -s 1472 "$ADDR_PRIMARY" || fail "no answer of 1500 bytes through the tap"
ns_run worker0 arping -q -c 1 -w 5 -I eth0 "$ADDR_REPLICA" || fail "no ARP answer"
proc_stop tap || true # testpmd says 1 or 143 as it likes

net_make_port gp1
pmd_start packet net_af_packet0,iface=gp1,blocksz=40960,framesz=10240,framecnt=512 \
	--mbuf-size 10368 --total-num-mbufs 2048
wait_for 15 answers "$ADDR_REPLICA" || fail "no answer through af_packet"
answers -M 'do' -s 8972 "$ADDR_REPLICA" || fail "no answer of 9000 bytes through af_packet"
proc_stop packet || true

kill -USR1 "${PROC_PID[relay]}"
wait_line relay ' up forwarded=0 .* overflow=0 oversized=0 missed=0' 5
smoke_end
