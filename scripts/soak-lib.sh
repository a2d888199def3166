# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Sourced by scripts/soak after lib.sh: its parts. MINUTES is a limit for each, 0: none.

MINUTES=0
RELEASE=$(build_dir release)

figures() { # PART TEXT
	say "$1: $2"
	printf '%s\t%s\t%s\t%s\n' "$(date -u +%F)" "$(git -C "$ROOT" rev-parse --short HEAD)" "$1" "$2" \
		>>"$RELEASE/soak.tsv"
}

# Runs of 2,000 seeds, each with figures of its own, until there are enough or time is up.
part_sim() {
	local first=1000001 seeds=0 datagrams=0 out begin=$SECONDS
	out=$(mktemp)
	while [ "$MINUTES" -gt 0 ] || [ "$seeds" -lt 10000 ] || [ "$datagrams" -lt 1000000000 ]; do
		[ "$MINUTES" -eq 0 ] || [ $((SECONDS - begin)) -lt $((MINUTES * 60)) ] || break
		"$RELEASE/tests/sim/gradsim" --seeds "$first..$((first + 1999))" --jobs "$JOBS" --json \
			${MINUTES:+--wall $((MINUTES ? MINUTES * 60 - SECONDS + begin : 86400))} >"$out" || {
			tail -n 30 "$out"
			rm -f "$out"
			return 1
		}
		seeds=$((seeds + $(jq .histories "$out"))) datagrams=$((datagrams + $(jq .datagrams "$out")))
		first=$((first + 2000))
	done
	rm -f "$out"
	figures sim "$seeds seeds, $datagrams datagrams, $((SECONDS - begin)) s"
}

# Pairs of servers, with seeds that scripts/test never takes; as many takeovers whatever the limit.
part_takeovers() {
	local out begin=$SECONDS first=$((1000001 + RANDOM * 32768 + RANDOM))
	out=$(mktemp)
	"$RELEASE/tests/sim/gradsim" --takeovers 20000 --seeds "$first..$((first + 100000))" --json >"$out" || {
		tail -n 30 "$out"
		rm -f "$out"
		return 1
	}
	figures takeovers "$(jq -r '"\(.takeovers) takeovers in \(.histories) histories"' "$out") from seed $first, $((SECONDS - begin)) s"
	rm -f "$out"
}

part_fuzz() {
	local dir seconds=$((MINUTES ? MINUTES * 60 : 600)) targets=() log=$RELEASE/soak-fuzz.txt
	mapfile -t targets < <(find "$ROOT/tests/fuzz/corpus" -mindepth 1 -maxdepth 1 -printf 'fuzz_%f\n')
	"$ROOT/scripts/build" asan "${targets[@]/#/tests/fuzz/}" || return
	dir=$(build_dir asan)/tests/fuzz
	# With a limit on the whole part the targets share it.
	[ "$MINUTES" -eq 0 ] || seconds=$((seconds * JOBS / ${#targets[@]}))
	export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1
	# shellcheck disable=SC2016 # for the inner shell
	printf '%s\n' "${targets[@]}" | xargs -P "$JOBS" -I NAME bash -c 'name=NAME && name=${name#fuzz_} && mkdir -p "$1/found_$name" &&
		"$1/fuzz_$name" -max_total_time="$2" -timeout=5 -rss_limit_mb=2048 -print_final_stats=1 \
			-artifact_prefix="$1/$name-" "$1/found_$name" "$3/tests/fuzz/corpus/$name" 2>&1 |
			sed "s/^/$name: /"; exit "${PIPESTATUS[0]}"' _ "$dir" "$seconds" "$ROOT" >"$log" || {
		grep -E 'ERROR|SUMMARY|artifact' "$log" || tail -n 20 "$log"
		return 1
	}
	figures fuzz "${#targets[@]} targets, $seconds s each, $(awk '/stat::number_of_executed_units/ {
		n += $NF } END { print n }' "$log") inputs"
}

part_kill() {
	local atomicity kills=0 begin=$SECONDS log=$RELEASE/soak-kill.txt
	while [ "$kills" -lt 50 ] && { [ "$MINUTES" -eq 0 ] || [ $((SECONDS - begin)) -lt $((MINUTES * 60)) ]; }; do
		for atomicity in step tensor block; do
			GP_BUILD=$RELEASE KILLS=6 ATOMICITY=$atomicity RUN_SEED=$RANDOM \
				"$ROOT/tests/smoke/worker_kills_replay_test.sh" >"$log" 2>&1 || {
				tail -n 60 "$log"
				return 1
			}
			kills=$((kills + 6))
		done
	done
	figures kill "$kills workers killed, $((SECONDS - begin)) s"
}

part_leaders() {
	local kills=0 begin=$SECONDS log=$RELEASE/soak-leaders.txt
	while [ "$kills" -lt 50 ] && { [ "$MINUTES" -eq 0 ] || [ $((SECONDS - begin)) -lt $((MINUTES * 60)) ]; }; do
		GP_BUILD=$RELEASE KILLS=5 "$ROOT/tests/smoke/failover_test.sh" >"$log" 2>&1 || {
			tail -n 60 "$log"
			return 1
		}
		kills=$((kills + 5))
	done
	figures leaders "$kills servers killed while they led, $((SECONDS - begin)) s"
}

part_net() {
	local log=$RELEASE/soak-net.txt
	GP_BUILD=$RELEASE "$ROOT/tests/smoke/soak_net.sh" $((MINUTES ? MINUTES : 60)) >"$log" 2>&1 || {
		tail -n 100 "$log"
		return 1
	}
	figures net "$(tail -n 1 "$log")"
}
