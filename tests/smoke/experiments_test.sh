#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The scripts that make docs/results*.md, with little data: each run begins anew and does all of its
# steps, what is learned is better than chance, a codec pushes less, and lines of other runs stay.
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$SMOKE_DIR/embed.sh"

[ "$(id -u)" -eq 0 ] || skip "needs root (network namespaces)"
export GP_BUILD
dir=$(mktemp -d --suffix ".$GP_RUN")
trap 'rm -rf "$dir"' EXIT

# run SCRIPT OPTION...
run() {
	"$ROOT/scripts/$1" "${@:2}" >"$dir/log" 2>&1 || { tail -n 80 "$dir/log" && fail "$*"; }
	expect "last line of $1" ok "$(tail -n 1 "$dir/log")"
}

# above NAME BOUND VALUE: more than that
above() {
	awk -v a="$3" -v b="$2" 'BEGIN { exit !(a + 0 > b) }' || fail "$1: $3 is not above $2"
}

# of CASE COLUMN: what codecs.tsv has of it
of() {
	awk -F '\t' -v c="$1" -v k="$2" '$1 == c { print $k }' "$dir/codecs.tsv"
}

printf '%s\t1\t7\t0.5\t1\t3000\t4000\t5000\n' f32 sign >"$dir/codecs.tsv"
run experiment --steps 20 --only f32 --only int8 --out "$dir"
expect "cases" "sign f32 int8" "$(cut -f 1 "$dir/codecs.tsv" | xargs)"
expect "steps" "7 20 20" "$(cut -f 3 "$dir/codecs.tsv" | xargs)"
for case in f32 int8; do
	above "accuracy of $case, of 10 classes" 0.25 "$(of "$case" 4)"
	grep -qE "^$case	1	20	[0-9.]+$" "$dir/codecs-loss.tsv" || fail "no loss of $case: $(cat "$dir/codecs-loss.tsv")"
done
expect_more "bytes that f32 pushed, against three times int8" "$((3 * $(of int8 6)))" "$(of f32 6)"
printf 'sign\t1\t7\t1.5\n' >>"$dir/codecs-loss.tsv"
cp "$ROOT/docs/results/intro.md" "$dir"
/usr/bin/python3 "$ROOT/scripts/experiment-plot" "$dir" >"$dir/table" || fail "experiment-plot"
expect "rows of its table" 3 "$(grep -cE '^\| (sign|f32|int8) \| 1 \| [0-9.]+ % ' "$dir/table")"
for plot in accuracy loss; do [ -s "$dir/codecs-$plot.svg" ] || fail "no plot of $plot"; done

echo "# 6000 packages, of a test" >"$dir/sections.tsv"
sample "$dir/sections.tsv" 6000
cp "$ROOT/docs/results.md" "$dir/results.md"
run sections --epochs 1 --workers 2 --data "$dir/sections.tsv" --out "$dir/results.md"
sed -n '/<!-- sections begin -->/,/<!-- sections end -->/p' "$dir/results.md" | grep -E '^\| (table|dense) ' >"$dir/rows"
# Two workers, batches of 256, a tenth held out.
expect "runs and their steps" "table ftrl 10, table adagrad 10, table adagrad 20, dense adagrad 20" \
	"$(awk -F ' *[|] *' '{ printf "%s%s %s %s", s, $2, $3, $11; s = ", " }' "$dir/rows")"
while IFS='|' read -r _ model optimizer _ _ accuracy _; do
	above "accuracy of $model $optimizer, of 4 sections" 0.5 "$accuracy"
done <"$dir/rows"
grep -q 'Made by .* 6000 packages, of a test' "$dir/results.md" || fail "results.md does not say of what"
expect "what else results.md says" "$(sed '/sections begin/,/sections end/d' "$ROOT/docs/results.md")" \
	"$(sed '/sections begin/,/sections end/d' "$dir/results.md")"
sed -n '1,$p' "$dir/rows"
