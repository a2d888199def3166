# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Sourced by scripts/bench-peers and bench-overlap, with peers-lib.sh: the network, and
# gradplane's server behind an XDP socket on xs0.

# peers_cable WORKER...: xs0 is one end of a veth pair; each worker has a macvlan on the other, mv0, with
# its address and every offload: the kernel cuts datagrams and fills in checksums where they enter the
# pair, and switches between the workers by itself. (Behind a bridge all is a quarter slower.)
peers_cable() {
	local r ns
	net_make_port xs0
	ip -n "$GP_RUN-server" link set xs0-br nomaster
	for r in "$@"; do
		ns=$GP_RUN-worker$r
		ip -n "$GP_RUN-server" link add "mv$r" link xs0-br type macvlan mode bridge
		ip -n "$GP_RUN-server" link set "mv$r" netns "$ns" name mv0
		ip -n "$ns" addr del "10.99.0.$((10 + r))/24" dev eth0
		ip -n "$ns" addr add "10.99.0.$((10 + r))/24" dev mv0
		ip -n "$ns" link set mv0 mtu 3310 up
	done
	hugepages_reserve "${PAGES:-288}" || warn "no huge pages: figures of gradplane are worse"
}

# server_begin MBUFS MEMORY JOBS [PATH=VALUE]...: one polled core, behind an XDP socket unless other
# values say otherwise; JOBS in YAML, without the outer brackets.
server_begin() {
	"$ROOT/scripts/conf-set" "$ROOT/conf/reduce.yaml" "$RUN_DIR/reduce.yaml" eal.file_prefix="${GP_RUN}r" \
		eal.memory="$2" eal.hugepages=auto port.driver=af_xdp port.device=xs0 port.mtu=3310 \
		port.mbufs="$1" port.rx_descriptors=2048 cores.count=1 cores.poll="${POLL:-adaptive}" \
		control.socket="$RUN_DIR/reduce.sock" jobs="[$3]" "${@:4}"
	proc_start reducer server "$GRADPLANED" --config "$RUN_DIR/reduce.yaml"
	wait_line reducer 'info ready' 30
}

# job_of NAME ID SLOTS MEMORY [WINDOW]: a job of two workers that sums.
job_of() {
	printf '{name: %s, id: %s, kind: reduce, mean: false, workers: 2, workers_min: 2, slots: %s, ' "$1" "$2" "$3"
	printf 'window: %s, memory_max: %s, worker_timeout: 10s}, ' "${5:-96}" "$4"
}

size_jobs() { # WINDOW: a job for each size
	local one id=0
	for one in ${SIZES//,/ }; do
		id=$((id + 1))
		job_of "b${one%x*}" "$id" 256 "$((16 + ${one%x*} * 5 / 1048576))MiB" "$1"
	done
}

# The server runs only while it is measured.
peer_udp() {
	local r
	server_begin 8191 192MiB "$(size_jobs 96)"
	for r in 0 1; do
		proc_start "rank$r" "worker$r" "$GRADBENCH" allreduce --server "$ADDR_PRIMARY:9700" --rank "$r" \
			--world 2 --sizes "$SIZES" ${IN_PLACE:+"$IN_PLACE"}
	done
	ranks_end 0 1 || return 1
	proc_stop reducer
}

# memif_run MTU: shared memory, the workers' end without a copy; all three poll, the server on the last CPU,
# the workers on the first. A process has one such link in its life, so each size has its own.
memif_run() {
	local r one
	server_begin 8191 192MiB "$(size_jobs 48)" cores.poll=busy port.driver=memif port.device="$RUN_DIR/memif.sock" port.links=2 \
		port.mtu="$1" port.rx_descriptors=1024 port.udp_checksum=optional
	for one in ${SIZES//,/ }; do
		for r in 0 1; do
			proc_start "rank$r" "worker$r" taskset -c 0 "$GRADBENCH" allreduce --server "$ADDR_PRIMARY:9700" --rank "$r" \
				--world 2 --sizes "$one" --path-mtu "$1" --transport "memif:$RUN_DIR/memif.sock,id=$r,checksum=$CHECKSUM" \
				${IN_PLACE:+"$IN_PLACE"}
		done
		ranks_end 0 1 || return 1
	done | jq -cs '{bench: "allreduce", how: "gradplane", rows: map(.rows[0]), retransmits: map(.retransmits) | add}' || return 1
	proc_stop reducer
}

peer_memif() {
	memif_run 1500
}

peer_memif9000() {
	memif_run 9000
}
