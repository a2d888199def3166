# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Sourced by scripts/bench-e2e: its cases. Each starts a server, runs the ranks at the same time and
# keeps what they print.
GRADBENCH=$GP_BUILD/app/gradbench/gradbench
RANK_S=240 PIN=()
LOSS=${LOSS:-0,100,1000,10000} # of a million

e2e_begin() {
	ALL=$RUN_DIR/all.json && : >"$ALL"
	net_make_port xs0
	hugepages_reserve 192 || warn "no huge pages: DPDK runs with --no-huge"
}

# e2e_server DRIVER DEVICE MTU [PATH=VALUE]...
e2e_server() {
	local job="{name: e2e, id: 1, kind: reduce, mean: false, workers: ${WORLD:-2}, workers_min: ${WORLD:-2}, slots: 256,"
	job+=" window: ${WINDOW:-96}, memory_max: $((16 + BYTES * 5 / 1048576))MiB, worker_timeout: 10s, tensors_max: 4}"
	"$ROOT/scripts/conf-set" "$ROOT/conf/reduce.yaml" "$RUN_DIR/e2e.yaml" eal.file_prefix="${GP_RUN}e" \
		eal.memory=192MiB eal.lcores=0@0,1@0 port.driver="$1" port.device="$2" port.mtu="$3" port.mbufs=8191 \
		port.rx_descriptors=2048 cores.count=1 cores.poll="${POLL:-busy}" control.socket="$RUN_DIR/e2e.sock" \
		jobs="[$job]" "${@:4}"
	proc_start e2e server "$GRADPLANED" --config "$RUN_DIR/e2e.yaml"
	wait_line e2e 'info ready' 30
	[ "$1" != tap ] || net_attach_tap "$2"
}

# e2e_rank CASE RANK TRANSPORT [OPTION]...: PIN begins the command.
e2e_rank() {
	proc_start "rank$2" "worker$2" "${PIN[@]}" "$GRADBENCH" e2e --server "$ADDR_PRIMARY:9700" --job e2e --rank "$2" \
		--world "${WORLD:-2}" --transport "$3" --bytes "$BYTES" --rounds "$ROUNDS" \
		--server-pid "${PROC_PID[e2e]}" "${@:4}"
}

e2e_end() { # CASE
	local r
	for ((r = 0; r < ${WORLD:-2}; r++)); do
		proc_wait "rank$r" "$RANK_S" || fail "$1, rank $r: $(tail -n 3 "$RUN_DIR/rank$r.log")"
		jq -c --arg case "$1" '{case: $case} + .' <(grep '^{"bench"' "$RUN_DIR/rank$r.log") >>"$ALL"
	done
	proc_stop e2e || fail "$1: $(tail -n 3 "$RUN_DIR/e2e.log")"
}

udp_case() { # CASE TRANSPORT OPTION...
	local r
	for r in 0 1; do e2e_rank "$1" "$r" "$2" "${@:3}"; done
	e2e_end "$1"
}

memif_case() { # CASE MTU OPTION...
	local r PIN=(taskset -c 1) WINDOW=64
	e2e_server memif "$RUN_DIR/memif.sock" "$2" port.links="${WORLD:-2}"
	for ((r = 0; r < ${WORLD:-2}; r++)); do
		e2e_rank "$1" "$r" "memif:$RUN_DIR/memif.sock,id=$r,mtu=$2" "${@:3}"
	done
	e2e_end "$1"
}

case_xdp() {
	e2e_server af_xdp xs0 3310
	udp_case xdp udp --loss "$LOSS"
}

case_xdp_plain() {
	e2e_server af_xdp xs0 3310
	udp_case xdp_plain udp:join=no
}

case_tap() {
	local BYTES=$((BYTES / 8 / 4 * 4))
	e2e_server tap gp0 1500
	udp_case tap udp
}

case_memif() {
	memif_case memif 1500 --loss "$LOSS"
}

case_memif_jumbo() {
	memif_case memif_jumbo 9000 --loss "$LOSS"
}

case_small_xdp() {
	local BYTES=1024
	e2e_server af_xdp xs0 3310
	udp_case small_xdp udp --steps 200
}

case_small_memif() {
	BYTES=1024 memif_case small_memif 1500 --steps 1000
}

case_small_memif_one() {
	BYTES=1024 WORLD=1 memif_case small_memif_one 1500 --steps 1000
}

e2e_table() {
	jq -rs -f "$ROOT/scripts/e2e-table.jq" "$ALL" | column -t -s "$(printf '\t')"
	jq -rs -f "$ROOT/scripts/e2e-goals.jq" "$ALL" | column -t -s "$(printf '\t')"
}
