#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# gradworker --local as a user runs it: it learns, it repeats itself to the byte, and it says what
# is wrong. Argument: the program.
set -euo pipefail

gradworker=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

fail() {
	echo "FAIL: $*" >&2
	exit 1
}

# value KEY: of KEY=VALUE in the line on stdin.
value() {
	sed -n "s/.* $1=\([^ ]*\).*/\1/p"
}

# refused STATUS TEXT ARG...: it ends with this status and this text in its last line on stdout.
refused() {
	local status=$1 text=$2 line rc=0
	shift 2
	line=$("$gradworker" "$@" 2>/dev/null | tail -n 1; exit "${PIPESTATUS[0]}") || rc=$?
	[ "$rc" -eq "$status" ] || fail "$*: status $rc, expected $status"
	[[ $line == "gradworker: error: "*"$text"* ]] || fail "$*: said '$line'"
}

train=(--local --world 2 --model softmax --steps 100 --progress none)
first=$("$gradworker" "${train[@]}" --eval --dump-params "$dir/params")
second=$("$gradworker" "${train[@]}")
awk -v loss="$(value loss <<<"$first")" 'BEGIN { exit !(loss < 0.8) }' || fail "loss: $first"
awk -v a="$(value accuracy <<<"$first")" 'BEGIN { exit !(a > 0.7) }' || fail "accuracy: $first"
[ "$(value digest <<<"$first")" = "$(value digest <<<"$second")" ] || fail "$first, then $second"
[ "$(stat -c %s "$dir/params")" -eq $((7850 * 4)) ] || fail "size of the dumped parameters"
seed=$("$gradworker" "${train[@]}" --seed 2)
[ "$(value digest <<<"$seed")" != "$(value digest <<<"$first")" ] || fail "--seed has no effect"

# The same on every machine and with every compiler.
expected=5ca9a374b0d0ce82
[ "$(value digest <<<"$first")" = "$expected" ] || fail "digest: $first, expected $expected"

touch "$dir/stop"
stopped=$("$gradworker" "${train[@]}" --stop-file "$dir/stop")
[ "$(value step <<<"$stopped")" -eq 0 ] || fail "--stop-file: $stopped"

# A signal ends it after the step in hand, with status 0 and the usual last line.
"$gradworker" --local --world 2 --epochs 10000 --progress json >"$dir/out" 2>"$dir/err" &
pid=$!
for ((i = 0; i < 600; i++)); do
	[ -s "$dir/err" ] && break
	sleep 0.05
done
kill -TERM "$pid"
wait "$pid" || fail "SIGTERM: status $?"
grep -q '^gradworker: ok local ' "$dir/out" || fail "SIGTERM: $(cat "$dir/out")"
head -n 1 "$dir/err" | jq -e '.step > 0 and .samples_per_s > 0' >/dev/null || fail "json progress"

# By steps: the same lines on every machine, and one at the end.
steps=$("$gradworker" --local --world 2 --model softmax --steps 50 --progress json --progress-steps 20 2>&1 >"$dir/out" |
	jq .step | tr '\n' ' ')
[ "$steps" = "20 40 50 " ] || fail "--progress-steps 20: lines at $steps"

diverged=("$gradworker" --local --world 1 --batch 8 --steps 60 --lr 1000 --momentum 1 --weight-decay 1)
"${diverged[@]}" --progress json 2>&1 >"$dir/out" | jq -e '.loss == null' >/dev/null ||
	fail "json progress of a model that diverged"

refused 2 "--batch: '0' is not a number" --local --world 2 --steps 1 --batch 0
refused 2 "unknown flag '--frobnicate'" --frobnicate
refused 1 "dataset-fashion-mnist" "${train[@]}" --data "$dir"
refused 1 "the data set has 60000" "${train[@]}" --batch 60000
refused 1 "--dump-params $dir/none/x" "${train[@]}" --dump-params "$dir/none/x"
refused 1 "--views $dir/none: " "${train[@]}" --views "$dir/none"
refused 2 "--views is for --local" --server 127.0.0.1:1 --job j --rank 0 --world 1 --views "$dir/none"

# A record in which every rank counted changes nothing; one without rank 1 does.
record='start none epoch 1 workers 2 atomicity step units 1 elems 336'
printf '%s\n' "$record" 'steps 0-100 view 1 ranks 0-1' >"$dir/views"
all=$("$gradworker" --local --world 2 --model softmax --progress none --views "$dir/views")
[ "$(value digest <<<"$all")" = "$expected" ] || fail "--views with all ranks: $all"
printf '%s\n' "$record" 'steps 0-50 view 1 ranks 0-1' 'steps 51-100 view 2 ranks 0' >"$dir/views"
one=$("$gradworker" "${train[@]}" --views "$dir/views")
[ "$(value digest <<<"$one")" != "$expected" ] || fail "--views without rank 1: $one"
refused 1 "the record ends at step 100, not at 101" "${train[@]}" --views "$dir/views" --steps 101

"$gradworker" --version | grep -qE '^gradworker [0-9.]+$' || fail "--version"
"$gradworker" --help | grep -q '^usage: gradworker' || fail "--help"
echo "ok: $first"
