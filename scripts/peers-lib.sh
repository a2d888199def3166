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

# wanted PEER: by --peers
wanted() {
	[ -z "$ONLY" ] || [[ ,$ONLY, = *,$1,* ]]
}

is_there() {
	case $1 in
	mpi_*) [ -x "$ALLREDUCE_MPI" ] && command -v mpirun >/dev/null ;;
	gloo_*) "$PYTHON" -c 'import torch.distributed as d; assert d.is_gloo_available()' 2>/dev/null ;;
	esac
}

# What is wanted and there: the others are left out with a warning.
peers_choose() {
	local peer
	for peer in ${ONLY//,/ }; do
		declare -F "peer_$peer" >/dev/null || die "--peers: no $peer; --help lists them"
	done
	for peer in mpi_sm mpi_tcp gloo_lo gloo_veth udp memif memif9000; do
		wanted "$peer" || continue
		if is_there "$peer"; then
			PEERS+=("$peer")
		else
			warn "left out: $peer (libopenmpi-dev, openmpi-bin, python3-torch have it)"
		fi
	done
}

# ranks_end: both ranks have ended well; what rank 0 printed.
ranks_end() {
	local r
	for r in "$@"; do
		proc_wait "rank$r" "$PEER_S" && continue
		kill "${PROC_PID[rank1]:-}" 2>/dev/null
		return 1
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
	gloo_run mv0 10.99.0.10 worker0 worker1
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
