#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Workers beside the server, over shared memory: no interface, no kernel. The trained parameters are
# those of the reference; a server that starts again is found again; who is wrong is told.
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$(dirname "$0")/train.sh"

smoke_begin 2 1500
PORT=memif SOCKET=$RUN_DIR/memif.sock

# link_start RANK STEPS MORE [OPTION]...
link_start() {
	worker_start "$1" "$2" --transport "memif:$SOCKET,id=$1,huge=off$3" "${@:4}"
}

run() { # MTU CORES MORE0 MORE1 [PATH=VALUE]...
	MTU=$1 CORES=$2
	server_start primary "$SOCKET" 'replica={}' port.links=2 "${@:5}"
	link_start 0 60 "$3"
	link_start 1 60 "$4"
	workers_end 60
	expect_reference 60
	printf 'memif, MTU %s, %s cores%s: %s\n' "$1" "$2" "${3/,/, }" "$(tail -n 1 "$RUN_DIR/worker0.log")"
	proc_stop primary || fail "primary: $(tail -n 1 "$RUN_DIR/primary.log")"
	rm -rf "$RUN_DIR/primary"
}

WORKERS=2
run 1500 1 '' ''
run 9000 2 ,checksum=none '' port.udp_checksum=optional
run 1500 2 ,zero-copy=no ,zero-copy=no

# Restart: the workers have a session again over a new link.
server_start primary "$SOCKET" 'replica={}' port.links=2
for r in 0 1; do link_start $r 300 '' --reconnect-ms 20000 --delay-ms 10; done
wait_step 120 60
proc_kill primary
server_start primary "$SOCKET" 'replica={}' port.links=2
workers_end 90
expect_more "sessions had again" 0 "$(field reconnects "$RUN_DIR/worker1.log")"
expect_reference 300

# Wrong: datagrams without a checksum; a link that the server does not have; no server.
link_start 0 60 ,checksum=none
expect_error worker0 'checksum=none.*udp_checksum: optional' 30
expect_more "refused without a checksum" 0 "$(status '[.cores[].frame_verdicts.udp_checksum] | add')"
worker_start 0 60 --transport "memif:$SOCKET,id=7,huge=off"
expect_error worker0 'memif .* is not connected.*port\.links' 30
proc_stop primary || fail "primary: $(tail -n 1 "$RUN_DIR/primary.log")"
link_start 0 60 ''
expect_error worker0 'memif .* is not connected' 30
worker_start 0 60 --transport "pigeon:x"
expect_error worker0 "'pigeon:x' does not begin with udp, memif: or dpdk:"
smoke_end
