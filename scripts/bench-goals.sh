# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Sourced by scripts/bench: the goals of docs/performance.md, read from the JSON files in $OUT.

# goal WHAT LEAST|MOST LIMIT NAME FILTER: the filter picks {v, least, most} from the JSON.
goal() {
	jq -r --arg what "$1" --arg way "$2" --argjson limit "$3" "$5"' |
		(if .v == 0 then "not measured: no quiet round"
		 elif $way == "least" and .v >= $limit or $way == "most" and .v <= $limit then "pass"
		 else "\((.v / $limit * 100 | round)) % of it" end) as $verdict |
		[$what, (if $way == "least" then ">= " else "<= " end) + ($limit | tostring),
		 (.v * 100 | round / 100), "\(.a * 100 | round / 100)..\(.b * 100 | round / 100)", $verdict] | @tsv' \
		"$OUT/$4.json"
}

engine_goal() { # WHAT LIMIT NAME KIND WORKERS MTU
	goal "$1" least "$2" "$3" ".rows[] | select(.kind == \"$4\" and .workers == $5 and .mtu == $6) |
		{v: .ratio, a: .ratio_min, b: .ratio_max}"
}

scale_goal() { # WHAT LIMIT TENSORS WORKERS
	goal "$1" most "$2" scale ".rows[] | select(.tensors == $3 and .workers == $4 and .jobs == 1) |
		{v: .factor, a: .factor_min, b: .factor_max}"
}

peers_goal() { # WHAT LIMIT TITLE BYTES
	if [ -s "$OUT/peers.json" ]; then
		goal "$1" least "$2" peers "[.rows[] | select(.what == \"$3\" and .bytes == $4)][0] // {v: 0, a: 0, b: 0}"
	else
		printf '%s\t>= %s\t-\t-\tnot measured: needs root, OpenMPI and PyTorch\n' "$1" "$2"
	fi
}

goals_table() {
	printf 'goal\twants\tmedian\tleast..most\tverdict\n'
	engine_goal "reduce, 4 workers, MTU 1500, against adding into a table" 0.9 hot reduce 4 1500
	engine_goal "the same, jumbo" 1.5 jumbo reduce 4 9000
	engine_goal "cold frames, MTU 1500, against reading them" 0.6 cold reduce 4 1500
	engine_goal "train, momentum, 1 worker, against the bare update" 0.75 train train 1 1500
	engine_goal "train, momentum, 4 workers" 0.75 train train 4 1500
	scale_goal "64 workers against 4" 1.15 1 64
	scale_goal "100,000 tensors against 1" 1.15 100000 4
	ports_goals
	peers_goal "all-reduce of 100 MB, UDP to af_xdp, against Gloo over the same veths" 0.3 \
		"gradplane UDP, af_xdp : Gloo veth" 104857600
	peers_goal "the same over memif, MTU 9000, against the best of Gloo and OpenMPI TCP" 1.5 \
		"gradplane memif, MTU 9000 : best TCP" 104857600
	peers_goal "all-reduce of 1 KB over memif, against OpenMPI TCP" 3 \
		"gradplane memif, MTU 9000 : OpenMPI TCP" 1024
}
