#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Workers that have their interface from DPDK: the same parameters as over the kernel's sockets, and
# both kinds in one job.
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$(dirname "$0")/train.sh"

smoke_begin 2 1500
MTU=1500 WORKERS=2
primary_start 2

# device_start RANK DEVICE ADDRESS [OPTION]...: an address of its own; the kernel keeps 10.99.0.1$RANK.
device_start() {
	worker_start "$1" 60 --transport "dpdk:$2,iface=eth0,ip=$3,huge=off" "${@:4}"
}

device_start 0 net_af_packet0 10.99.0.60
worker_start 1 60
workers_end 60
expect_reference 60
proc_stop primary || fail "primary: $(tail -n 1 "$RUN_DIR/primary.log")"
rm -rf "$RUN_DIR/primary"

primary_start 1 'address.ipv6=[fd99::1/64]'
device_start 0 net_af_packet0 fd99::60 --server "[fd99::1]:9700"
device_start 1 net_af_xdp0 10.99.0.61
workers_end 60
expect_reference 60

worker_start 0 60 --server 10.99.0.77:9700 --transport "dpdk:net_af_packet0,iface=eth0,ip=10.99.0.60,huge=off"
expect_error worker0 'nobody on net_af_packet0 says that he has the address 10.99.0.77' 30
smoke_end
