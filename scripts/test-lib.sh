# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# shellcheck disable=SC2034 # read by scripts/test
# Sourced by scripts/test after lib.sh: what runs is counted, and how long it took.

PASSED=0 FAILED=0 SKIPPED=0
TIMES=()

# A step that is not a meson test: counts as one only when it fails.
step() {
	local name=$1 begin=$SECONDS rc=0
	shift
	say "$name"
	"$@" </dev/null || rc=$?
	TIMES+=("$((SECONDS - begin))" "$name")
	[ "$rc" -ne 0 ] || return 0
	say "$name: FAILED"
	FAILED=$((FAILED + 1))
	return 1
}

# A Criterion program counts by its test cases, any other test as one.
count() {
	local log=$1 p f s
	[ -s "$log" ] || return 0
	read -r p f s < <(jq -rs -f "$ROOT/scripts/count.jq" "$log")
	PASSED=$((PASSED + p)) FAILED=$((FAILED + f)) SKIPPED=$((SKIPPED + s))
}

# suite_times LOG: seconds of each suite, programs one after the other, and the slowest of them.
suite_times() {
	[ ! -s "$1" ] || jq -rs '
		map({suite: (.name | split(" / ")[0] | split(":")[-1]),
		     name: (.name | split(" / ")[-1]), s: .duration})
		| (group_by(.suite) | map({suite: .[0].suite, s: (map(.s) | add)}) | sort_by(-.s)
			| map("\(.suite) \(.s | round)") | join(", ")),
		  (sort_by(-.s) | .[:5] | "slowest " + (map("\(.name) \(.s | round)") | join(", ")))' "$1"
}

# meson_tests KIND SUITE...: runs and counts; no suite means all of them.
meson_tests() {
	local dir log suite line args=() begin=$SECONDS
	dir=$(build_dir "$1")
	log=$dir/meson-logs/testlog.json
	shift
	for suite in "$@"; do args+=(--suite "$suite"); done
	say "tests: ${dir##*/} ${*:-all}"
	rm -f "$log"
	"$MESON" test -C "$dir" --no-rebuild --num-processes "$JOBS" --print-errorlogs "${args[@]}" \
		</dev/null || [ -s "$log" ] || FAILED=$((FAILED + 1))
	count "$log"
	TIMES+=("$((SECONDS - begin))" "tests of ${dir##*/}")
	while IFS= read -r line; do TIMES+=('' "  $line"); done < <(suite_times "$log")
}

times_show() {
	[ ${#TIMES[@]} -eq 0 ] || printf '%6s  %s\n' "$SECONDS" 'seconds, of these' "${TIMES[@]}"
}
