#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# bench_test.sh GRADBENCH: each command once, small; its JSON must hold what its table would.
set -euo pipefail

BENCH=$1

# expect FILTER COMMAND...: the JSON that the command prints passes the filter of jq.
expect() {
	local filter=$1 out
	shift
	out=$("$BENCH" "$@" --json) || { echo "gradbench $* failed" && return 1; }
	jq -e "$filter" <<<"$out" >/dev/null || { echo "gradbench $*: not $filter:" "$out" && return 1; }
}

# A round is kept only on a quiet machine: what is printed may be of none.
expect '.rows | length == 11 and all(.ns >= 0)' roofline --table-mb 2 --rounds 1
expect '.sums == "checked" and (.rows | length == 4)' \
	engine --workers 1,3 --table-mb 1 --frames 1024 --mtu 1500 --rounds 1 --packets 5000
expect '.sums == "checked" and (.rows | length == 2) and .rows[1].workers == 70' \
	engine --workers 2,70 --table-mb 1 --frames 8192 --mtu 9000 --rounds 1 --packets 5000 --kind reduce
expect '.sums == "checked" and .rows[0].tensors == 100' \
	engine --workers 2 --tensors 100 --table-mb 1 --frames 2048 --mtu 1500 --rounds 1 --packets 5000 --kind train
expect '.sums == "checked" and (.rows | map(.sessions) | max == 1024)' \
	scale --table-mb 2 --rounds 1 --packets 5000 --tensors-max 100
expect '.sums == "checked" and (.rows | length == 2) and .bytes > 2000000' \
	snapshot --table-mb 1 --rounds 1
expect '.sums == "checked" and .bytes > 0' snapshot --table-mb 1 --rounds 1 --level 1 --mtu 1500
expect '(.rows | length) > 20' codec --elems 5000 --repeats 1
expect '(.add | length == 8) and (.sparse | length == 9)' codec --server --block 100 --repeats 1

for wrong in "" "nothing" "engine --workers 0" "engine --skew 64 --slots 64" "roofline --rounds 0" \
	"snapshot --level 20"; do
	# shellcheck disable=SC2086
	if "$BENCH" $wrong >/dev/null 2>&1; then
		echo "gradbench $wrong: accepted" && exit 1
	fi
done
