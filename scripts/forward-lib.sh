# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Sourced by scripts/bench-forward: each forward_PEER runs its peer and the generator once and prints
# {generator: ..., busy_ns: of a packet}.
GRADBENCH=$GP_BUILD/app/gradbench/gradbench
HTTP=127.0.0.1:9790
# The ends of a driver: what the peer has (gradplaned's port, a device of testpmd) and the generator's.
# af_packet: a veth pair of its own. tap: the peer makes it, the generator opens the kernel's end.
forward_begin() {
	COUNT=$PACKETS
	case $1 in
	memif)
		PORT_DEVICE=$RUN_DIR/memif.sock
		TEST_DEVICE=net_memif0,role=server,socket-abstract=no,socket=$PORT_DEVICE
		LOAD_DEVICE=net_memif0,role=client,socket-abstract=no,socket=$PORT_DEVICE,rsize=9,zero-copy=yes
		;;
	af_packet)
		COUNT=$((PACKETS / 10))
		ip -n "$GP_RUN-server" link add fw0 type veth peer name fw1
		iface_up server fw0
		iface_up server fw1
		PORT_DEVICE=fw0
		TEST_DEVICE=net_af_packet0,iface=fw0,blocksz=4096,framesz=2048,framecnt=1024
		LOAD_DEVICE=net_af_packet0,iface=fw1,blocksz=4096,framesz=2048,framecnt=1024
		;;
	tap)
		COUNT=$((PACKETS / 10))
		PORT_DEVICE=fwt0
		TEST_DEVICE=net_tap0,iface=fwt0
		LOAD_DEVICE=net_af_packet0,iface=fwt0,blocksz=4096,framesz=2048,framecnt=1024
		;;
	esac
	MAC=02:97:00:00:00:0a
}

# The generator's line, when it has it; the link stays until forward_unload.
forward_load() { # DRIVER MAC
	if [ "$1" = tap ]; then
		wait_for 10 ip -n "$GP_RUN-server" link set fwt0 up || fail "no fwt0"
		iface_up server fwt0
	fi
	proc_start load server taskset -c 1 "$GRADBENCH" forward --device "$LOAD_DEVICE" --peer-mac "$2" \
		--packets "$COUNT" --size "$SIZE" --linger-ms 30000
	wait_line load '^{"bench"' 120 >&2
	LOAD=$(grep '^{"bench"' "$RUN_DIR/load.log")
}

forward_unload() {
	local pid=${PROC_PID[load]}
	proc_kill load
	rm -rf "$RUN_DIR/memif.sock" "/var/run/dpdk/gradbench-$pid"
}

# Of the first match in the statistics that testpmd prints when it stops.
testpmd_busy() {
	sed -nE 's/.*CPU cycles\/packet=([0-9.]+) .* at ([0-9]+) ?MHz.*/\1 \2/p' "$RUN_DIR/testpmd.log" |
		awk 'NR == 1 { print $1 * 1000 / $2 }'
}

forward_testpmd() {
	proc_start testpmd server dpdk-testpmd --lcores 0@0,1@0 -m 96 --no-huge --no-pci --no-telemetry \
		--file-prefix "${GP_RUN}t" --vdev "$TEST_DEVICE" -- --forward-mode=macswap --auto-start --nb-cores=1 \
		--record-core-cycles --stats-period 1 --total-num-mbufs=8192 --no-mlockall
	wait_line testpmd 'Port statistics|NIC statistics' 30 >&2
	forward_load "$1" ff:ff:ff:ff:ff:ff
	kill -INT "${PROC_PID[testpmd]}"
	proc_wait testpmd 20 >&2 || true
	forward_unload
	jq -c --arg busy "$(testpmd_busy)" '{generator: ., busy_ns: ($busy | tonumber)}' <<<"$LOAD"
}

counter() { # of gradplaned
	ns_run server curl -s "http://$HTTP/metrics" | awk -v name="$1" 'index($1, name) == 1 { sum += $2 } END { print sum }'
}

forward_gradplaned() {
	local busy frames
	"$ROOT/scripts/conf-set" "$ROOT/conf/reduce.yaml" "$RUN_DIR/forward.yaml" eal.file_prefix="${GP_RUN}f" \
		eal.memory=96MiB eal.lcores=0@0,1@0 eal.hugepages=off port.driver="$1" port.device="$PORT_DEVICE" port.mac="$MAC" \
		cores.count=1 cores.poll=busy control.socket="$RUN_DIR/forward.sock" control.http="$HTTP" \
		jobs.0.memory_max=8MiB jobs.0.workers=2 jobs.0.slots=64 jobs.0.window=64
	proc_start forward server "$GRADPLANED" --config "$RUN_DIR/forward.yaml"
	wait_line forward 'info ready' 30 >&2
	busy=$(counter gradplane_core_busy_seconds_total)
	frames=$(counter gradplane_xport_rx_frames_total)
	forward_load "$1" "$MAC"
	busy=$(awk -v a="$busy" -v b="$(counter gradplane_core_busy_seconds_total)" 'BEGIN { printf "%.9f", b - a }')
	frames=$(($(counter gradplane_xport_rx_frames_total) - frames))
	forward_unload
	proc_stop forward >&2 || fail "gradplaned: $(tail -n 3 "$RUN_DIR/forward.log")"
	jq -c --argjson busy "$busy" --argjson frames "$frames" '{generator: ., busy_ns: ($busy * 1e9 / $frames)}' <<<"$LOAD"
}

forward_note() { # DRIVER PEER ROUND
	jq -c --arg driver "$1" --arg peer "$2" --argjson round "$3" '{driver: $driver, peer: $peer, round: $round} + .' >>"$ALL"
}

forward_table() {
	jq -rs -f "$ROOT/scripts/forward-table.jq" "$ALL" | column -t -s "$(printf '\t')"
}
