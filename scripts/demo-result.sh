# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# What scripts/demo checks from the end of training on, and its last line.

workers_finish() {
	local r
	for ((r = 0; r < WORKERS; r++)); do
		proc_wait "worker$r" "$TRAIN_S_MAX" || fail "worker $r: $(tail -n 1 "$RUN_DIR/worker$r.log")"
		expect "digest of worker $r" "$(field digest "$RUN_DIR/worker0.log")" \
			"$(field digest "$RUN_DIR/worker$r.log")"
	done
	proc_wait progress 5
}

replica_verified() {
	[ "$(ctl primary status | jq -r 'select(.replica.verified) | .replica.step')" = "$1" ]
}

# The test images, with the parameters that a reader gets from the replica, or from who leads now.
accuracy_eval() {
	ns_run worker0 "$GRADWORKER" --eval --server "$ADDR_REPLICA:9700" --job fashion --model "$MODEL" \
		>"$RUN_DIR/eval.log" 2>&1 || fail "evaluation: $(tail -n 1 "$RUN_DIR/eval.log")"
	expect "digest of the parameters on the replica" "$(field digest "$RUN_DIR/worker0.log")" \
		"$(field digest "$RUN_DIR/eval.log")"
	accuracy_check
}

# A whole run must learn; one of --steps N is as good as N allows.
accuracy_check() {
	local bound=0.87
	[ "$MODEL" = mlp ] || bound=0.80
	[ -z "$STEPS" ] || return 0
	awk -v a="$(field accuracy "$RUN_DIR/eval.log")" -v b="$bound" 'BEGIN { exit !(a >= b) }' ||
		fail "accuracy $(field accuracy "$RUN_DIR/eval.log") is below $bound"
}

# relay_count UP|DOWN NAME
relay_count() {
	grep "^relay: $1 " "$RUN_DIR/relay.log" >"$RUN_DIR/relay.$1"
	field "$2" "$RUN_DIR/relay.$1"
}

# Datagrams that did not arrive: by the relay's choice, and at the tap's queue. With --loss-pct the
# wire must have been bad both ways, else the run has shown nothing.
drops_count() {
	local way count seen
	if [ "$PORT" = tap ]; then
		seen=$(ns_run server cat /sys/class/net/gp0/statistics/tx_dropped)
		DROPPED=$((DROPPED + seen))
		say "the tap dropped $seen datagrams"
	fi
	[ "$LOSS_PCT" != 0 ] || return 0
	proc_stop relay || fail "the relay failed"
	grep -E '^relay: (up|down) ' "$RUN_DIR/relay.log"
	for way in up down; do
		for count in dropped duplicated reordered; do
			expect_more "$count ($way)" 0 "$(relay_count "$way" "$count")"
		done
		DROPPED=$((DROPPED + $(relay_count "$way" dropped)))
	done
}

# The same training in one process without a network must give the same bytes.
reference_compare() {
	[ "$DETERMINISTIC" = 1 ] || return 0
	say "training the reference: one process, no network"
	"$GRADWORKER" --local --world "$WORKERS" --model "$MODEL" --seed "$SEED" --lr "$LR" \
		--momentum "$MOMENTUM" --batch $((1024 / WORKERS)) --steps "$(field step "$RUN_DIR/worker0.log")" --progress none \
		--dump-params "$RUN_DIR/local.params" >"$RUN_DIR/local.log" 2>&1 ||
		fail "reference: $(tail -n 1 "$RUN_DIR/local.log")"
	if ! cmp -s "$RUN_DIR/worker0.params" "$RUN_DIR/local.params"; then
		fail "parameters differ from the reference: digest=$(field digest "$RUN_DIR/worker0.log")" \
			"reference=$(field digest "$RUN_DIR/local.log")"
	fi
	REFERENCE=' reference=identical'
}

servers_stop() {
	local role
	for role in primary replica; do
		proc_stop "$role" 30 || fail "$role did not end well: $(tail -n 1 "$RUN_DIR/$role.log")"
	done
}

workers_sum() { # NAME DECIMALS
	local r
	for ((r = 0; r < WORKERS; r++)); do field "$1" "$RUN_DIR/worker$r.log"; done |
		awk -v decimals="$2" '{ s += $1 } END { printf "%.*f", decimals, s }'
}

# result_line SNAPSHOT_STEP WALL_S
result_line() {
	local worker=$RUN_DIR/worker0.log eval=$RUN_DIR/eval.log
	printf 'demo: ok accuracy=%.2f steps=%s loss=%s pushed_mb=%s retransmits=%s dropped=%s ' \
		"$(field accuracy "$eval")" "$(field step "$worker")" "$(field loss "$worker")" \
		"$(workers_sum pushed_mb 1)" "$(workers_sum retransmits 0)" "$DROPPED"
	printf 'snapshot_step=%s replica_step=%s digest=%s wall_s=%s%s\n' "$1" "$(field step "$eval")" \
		"$(field digest "$eval")" "$2" "$REFERENCE"
}
