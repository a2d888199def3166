#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# gradbench overlap and allreduce against a server behind an XDP socket, with the longest datagrams that
# it takes: every plan runs, every sum is right.
set -euo pipefail
. "$(dirname "$0")/_init.sh"

GRADBENCH=$GP_BUILD/app/gradbench/gradbench
smoke_begin 1 3310
job='kind: reduce, mean: false, workers: 2, workers_min: 2, memory_max: 16MiB, slots: 128, window: 32, worker_timeout: 5s'
jobs="[{name: pushed, id: 1, $job}, {name: forward, id: 2, $job}, {name: b1024, id: 3, $job},"
jobs+=" {name: b40000, id: 4, $job}]"
"$ROOT/scripts/conf-set" "$ROOT/conf/reduce.yaml" "$RUN_DIR/reduce.yaml" eal.hugepages=off \
	eal.file_prefix="${GP_RUN}r" port.driver=af_xdp port.device=xs0 port.mtu=3310 cores.count=1 \
	control.socket="$RUN_DIR/reduce.sock" jobs="$jobs"
net_make_port xs0
proc_start reducer server "$GRADPLANED" --config "$RUN_DIR/reduce.yaml"
wait_line reducer 'info ready|Failed to configure xdp socket' 30
! grep -q 'Failed to configure xdp' "$RUN_DIR/reducer.log" || skip "no XDP sockets here"

cat >"$RUN_DIR/net.csv" <<-'EOF'
	# three layers
	layer,parameters,forward_us,backward_us
	first,1000,100,200
	middle,30000,300,600.5
	last,2000,0,50
EOF
proc_start bench worker0 "$GRADBENCH" overlap --server "$ADDR_PRIMARY:9700" --network "$RUN_DIR/net.csv" \
	--rounds 1 --steps 3 --json
proc_wait bench 60 || fail "gradbench overlap failed"
jq -e '.sums == "checked" and .layers == 3 and .parameters == 33000 and .compute_ms == 1.25 and
	(.rows | map(.plan) == ["no overlap", "overlap", "overlap, priority"])' "$RUN_DIR/bench.log" >/dev/null ||
	fail "what gradbench overlap printed"

for r in 0 1; do
	proc_start "rank$r" worker0 "$GRADBENCH" allreduce --server "$ADDR_PRIMARY:9700" --rank "$r" --world 2 \
		--sizes 1024x5,40000x3
done
for r in 0 1; do proc_wait "rank$r" 60 || fail "rank $r failed"; done
jq -e '.sums == "checked" and (.rows | map(.bytes) == [1024, 40000])' "$RUN_DIR/rank0.log" >/dev/null ||
	fail "what gradbench allreduce printed"
proc_stop reducer || fail "the server did not end well"
smoke_end
