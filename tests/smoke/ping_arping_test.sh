#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A polled core answers ARP, IPv6 neighbour discovery and echo, and counts them.
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$SMOKE_DIR/train.sh"

# answered NAME: of both cores together, from the metrics.
answered() {
	ns_run server curl -sf http://127.0.0.1:9790/metrics |
		awk -v name="\"$1\"" '/^gradplane_/ && index($0, name) { n += $NF } END { print n + 0 }'
}

smoke_begin 1 1500
primary_start 2 'address.ipv6=[fd99::1/64]'

ns_run worker0 arping -c 3 -w 5 -I eth0 "$ADDR_PRIMARY" || fail "arping: no answer"
for address in "$ADDR_PRIMARY" fd99::1; do
	ns_run worker0 ping -n -q -c 5 -i 0.1 -W 2 "$address" || fail "ping $address: no answer"
done
ns_run worker0 ping -n -q -c 2 -i 0.1 -W 2 -M 'do' -s 1472 "$ADDR_PRIMARY" ||
	fail "ping of 1500 bytes: no answer"
ns_run worker0 ping -n -q -c 2 -i 0.1 -W 2 -M 'do' -s 1452 fd99::1 ||
	fail "ping of 1500 bytes over IPv6: no answer"
! ns_run worker0 arping -q -c 1 -w 1 -I eth0 10.99.0.77 || fail "it answers for 10.99.0.77"

expect_more "ARP requests answered" 2 "$(answered arp_answered)"
expect_more "neighbour solicitations answered" 0 "$(answered nd_answered)"
expect_more "echo requests answered" 13 "$(answered echo_answered)"
smoke_end
