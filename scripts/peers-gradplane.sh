# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Sourced by scripts/bench-peers: gradplane's own turns.

# A job for each size. The server runs only while it is measured.
peer_udp() {
	local r one id=0 jobs=''
	for one in ${SIZES//,/ }; do
		id=$((id + 1))
		jobs+="{name: b${one%x*}, id: $id, kind: reduce, mean: false, workers: 2, workers_min: 2, slots: 256, window: 96,"
		jobs+=" memory_max: $((16 + ${one%x*} * 5 / 1048576))MiB, worker_timeout: 10s, tensors_max: 4}, "
	done
	"$ROOT/scripts/conf-set" "$ROOT/conf/reduce.yaml" "$RUN_DIR/reduce.yaml" eal.file_prefix="${GP_RUN}r" \
		eal.memory=192MiB port.driver=af_xdp port.device=xs0 port.mtu=3310 port.mbufs=8191 port.rx_descriptors=2048 \
		cores.count=1 cores.poll="${POLL:-adaptive}" control.socket="$RUN_DIR/reduce.sock" jobs="[$jobs]" eal.hugepages=auto
	proc_start reducer server "$GRADPLANED" --config "$RUN_DIR/reduce.yaml"
	wait_line reducer 'info ready' 30
	for r in 0 1; do
		proc_start "rank$r" "worker$r" "$GRADBENCH" allreduce --server "$ADDR_PRIMARY:9700" --rank "$r" \
			--world 2 --sizes "$SIZES"
	done
	ranks_end 0 1 || return 1
	proc_stop reducer
}
