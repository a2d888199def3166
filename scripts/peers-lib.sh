# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Sourced by scripts/bench-peers, with peers-gradplane.sh: each peer_NAME runs both ranks once through all sizes and prints
# rank 0's line of JSON.
GRADBENCH=$GP_BUILD/app/gradbench/gradbench
ALLREDUCE_MPI=$GP_BUILD/app/gradbench/allreduce_mpi
PEER_S=120

machine() {
	"$GRADBENCH" machine --json
}

# What is there: the others are left out with a warning.
peers_choose() {
	if [ -x "$ALLREDUCE_MPI" ] && command -v mpirun >/dev/null; then
		PEERS+=(mpi_sm mpi_tcp)
	else
		warn "no OpenMPI: libopenmpi-dev and openmpi-bin have it"
	fi
	if "$PYTHON" -c 'import torch.distributed as d; assert d.is_gloo_available()' 2>/dev/null; then
		PEERS+=(gloo_lo gloo_veth)
	else
		warn "no PyTorch with Gloo: python3-torch has it"
	fi
	PEERS+=(udp)
}

# A veth pair from worker to worker with every offload on.
peers_cable() {
	local r
	ip link add eth1 netns "$GP_RUN-worker0" type veth peer name eth1 netns "$GP_RUN-worker1"
	for r in 0 1; do
		ip -n "$GP_RUN-worker$r" addr add "10.98.0.$((1 + r))/24" dev eth1
		ip -n "$GP_RUN-worker$r" link set eth1 mtu 3310 up
	done
	net_make_port xs0
	hugepages_reserve 128 || warn "no huge pages: af_xdp may not start"
}

# ranks_end: both ranks have ended well; what rank 0 printed.
ranks_end() {
	local r
	for r in "$@"; do
		proc_wait "rank$r" "$PEER_S" || return 1
	done
	grep -h '^{"bench"' "$RUN_DIR/rank0.log"
}

mpi_run() { # BTL
	proc_start rank0 worker0 mpirun --allow-run-as-root --oversubscribe --mca btl "$1,self" \
		--mca btl_tcp_if_include lo --mca oob_tcp_if_include lo -np 2 "$ALLREDUCE_MPI" "$SIZES"
	ranks_end 0
}

peer_mpi_sm() {
	mpi_run vader
}

peer_mpi_tcp() {
	mpi_run tcp
}

gloo_run() { # IFACE ADDRESS NAMESPACE0 NAMESPACE1
	local r ns
	for r in 0 1; do
		ns=$3
		[ "$r" = 0 ] || ns=$4
		proc_start "rank$r" "$ns" env GLOO_SOCKET_IFNAME="$1" MASTER_ADDR="$2" MASTER_PORT=29511 \
			"$PYTHON" "$ROOT/scripts/peer-gloo" "$SIZES" "$r" 2
	done
	ranks_end 0 1
}

peer_gloo_lo() {
	gloo_run lo 127.0.0.1 worker0 worker0
}

peer_gloo_veth() {
	gloo_run eth1 10.98.0.1 worker0 worker1
}

# One line: the machine before and after, and each peer.
round_write() {
	local peer
	printf '{"before":%s,"after":%s,"peers":{' "$(<"$RUN_DIR/before.json")" "$(<"$RUN_DIR/after.json")"
	for peer in "${PEERS[@]}"; do
		[ "$peer" = "${PEERS[0]}" ] || printf ,
		printf '"%s":%s' "$peer" "$(<"$RUN_DIR/$peer.json")"
	done
	printf '}}\n'
}
