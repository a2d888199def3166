#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# bench_test.sh GRADBENCH CONF: each command once, small; its JSON must hold what its table would. The
# networks in CONF are those of their papers. overlap and allreduce need a server: smoke overlap.
set -euo pipefail

BENCH=$1 CONF=$2

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
expect '(.rows | length == 4) and all(.rows[]; .lost == 0)' sockets --packets 640 --rounds 1
expect '.sums == "checked" and .bytes > 0' snapshot --table-mb 1 --rounds 1 --level 1 --mtu 1500
expect '.rows | all(.gb_s > 0 and .bytes_step >= 1000000)' replication --table-mb 1 --steps 2 --rounds 1 --digest
expect '(.rows | length) > 20' codec --elems 5000 --repeats 1
expect '(.add | length == 8) and (.sparse | length == 9)' codec --server --block 100 --repeats 1
expect '.layers == 107 and .parameters == 25557032' overlap --network "$CONF/resnet50.csv"
expect '.layers == 101 and .parameters == 109482240' overlap --network "$CONF/bert-base.csv"
expect '.line_ns >= 0 and .loop_ns > 0 and .sleep_us_p50 >= 20 and .sleep_us_p99 >= .sleep_us_p50' machine

# refused LINE TEXT CSV: the error names file, line and what to do.
refused() {
	local file status=0 said
	file=$(mktemp)
	printf '%b' "$3" >"$file"
	said=$("$BENCH" overlap --network "$file" 2>&1) || status=$?
	rm "$file"
	[[ $status = 2 && $said = "gradbench: $file:$1: $2"* ]] || { echo "'$3': status $status, $said" && exit 1; }
}
head='layer,parameters,forward_us,backward_us\n'
refused 0 "no layer: add a line for each" ''
refused 1 "the first line that is no comment must be: layer,parameters" 'a,1,2,3\n'
refused 2 "no layer" "# nothing\n$head"
refused 2 "a layer has four fields" "${head}a,1,2\n"
refused 2 "a layer has four fields" "${head}a,1,2,3,4\n"
refused 3 "parameters: give a whole number" "${head}a,1,2,3\nb,-1,2,3\n"
refused 3 "parameters: give a whole number" "${head}\na,0,2,3\n"
refused 2 "forward_us: give microseconds" "${head}a,1,x,3\n"
refused 2 "backward_us: give microseconds" "${head}a,1,2,nan\n"
refused 3 "layer: this name is there already" "${head}a,1,2,3\na,1,2,3\n"
refused 2 "layer: give a name of 1 to 63 bytes" "$head,1,2,3\n"
refused 3 "more than 4294967296 parameters in all" "${head}a,4294967296,2,3\nb,1,2,3\n"
refused 1 "the line is longer than 510 bytes" "$(printf '%0600d' 0)"

for wrong in "" "nothing" "engine --workers 0" "engine --skew 64 --slots 64" "roofline --rounds 0" \
	"snapshot --level 20" \
	"overlap --network /nothing" "overlap --network $CONF/resnet50.csv --jobs a" "allreduce --sizes 3x1" \
	"e2e" "e2e --server 127.0.0.1:9 --job j --world 1 --rank 0 --loss 600000" "sockets --size 0" "forward --size 10"; do
	# shellcheck disable=SC2086
	if "$BENCH" $wrong >/dev/null 2>&1; then
		echo "gradbench $wrong: accepted" && exit 1
	fi
done
