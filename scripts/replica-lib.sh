# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# shellcheck disable=SC2153 # OVER is the script's
# Sourced by scripts/bench-replica: one all-reduce with a server alone or with a pair.

port_of() { # NODE: where its workers come in
	[ "$OVER" = udp ] || echo "port.device=$RUN_DIR/$1.memif port.links=$WORKERS"
}

# cpu_ms PROCESS...: that they have had
cpu_ms() {
	local name
	for name in "$@"; do cat "/proc/${PROC_PID[$name]}/stat"; done | awk -v hz="$(getconf CLK_TCK)" '
		{ sum += $14 + $15 } END { printf "%d\n", sum * 1000 / hz }'
}

# ranks_run SERVER...: microseconds of one all-reduce, or over memif core-ns of the servers for a byte.
ranks_run() {
	local r before over=udp
	before=$(cpu_ms "$@")
	for ((r = 0; r < WORKERS; r++)); do
		[ "$OVER" = udp ] || over=memif:$RUN_DIR/primary.memif,id=$r,mtu=1500
		proc_start "rank$r" "worker$r" "$GRADBENCH" allreduce --server "$ADDR_PRIMARY:9700" --rank "$r" \
			--world "$WORKERS" --sizes "${BYTES}x$TIMES" --transport "$over"
	done
	for ((r = 0; r < WORKERS; r++)); do
		proc_wait "rank$r" 300 || fail "rank $r: $(tail -n 1 "$RUN_DIR/rank$r.log")"
	done
	[ "$OVER" = udp ] || awk -v ms=$(($(cpu_ms "$@") - before)) -v bytes="$BYTES" -v n="$TIMES" \
		'BEGIN { printf "%.3f\n", ms * 1e6 / bytes / n }'
	[ "$OVER" = memif ] || tail -n 1 "$RUN_DIR/rank0.log" | jq '.. | .us? // empty' | head -n 1
}

alone() {
	# shellcheck disable=SC2046 # words
	server_start primary gp0 'replica={}' "$JOB" $(port_of primary)
	ranks_run primary
	proc_stop primary || fail "the server did not stop well"
}

pair() {
	rm -rf "$RUN_DIR/witness"
	witness_start
	# shellcheck disable=SC2046 # words
	pair_node primary "$JOB" $(port_of primary)
	# shellcheck disable=SC2046
	pair_node replica "$JOB" $(port_of replica)
	expect_paired primary
	ranks_run primary replica
	proc_stop replica || fail "the replica did not stop well"
	proc_stop primary || fail "the primary did not stop well"
	proc_stop witness || true
}
