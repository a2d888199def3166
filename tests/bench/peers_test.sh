#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# peers_test.sh REPORT: the table and the plot of scripts/bench-peers from rounds that are known; the
# one beside which the loop ran slower is left out.
set -euo pipefail

REPORT=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

row() { # US
	printf '{"rows":[{"bytes":1024,"us":%s},{"bytes":4096,"us":40}]}' "$1"
}

round() { # LOOP_NS GLOO_US UDP_US
	local m="{\"cpu_model\":\"X\",\"cpus\":2,\"line_ns\":30,\"loop_ns\":100}"
	printf '{"before":%s,"after":%s,"peers":{"gloo_veth":%s,"udp":%s}}\n' "$m" "${m/100/$1}" "$(row "$2")" "$(row "$3")"
}

{
	round 100 20 10
	round 111 99 1
	round 109 20 40
	round 100 20 20
} >"$dir/rounds"

expect() { # TEXT
	grep -qF -- "$1" "$dir/out" || { echo "not there: $1" && cat "$dir/out" && exit 1; }
}

[ "$("$REPORT" "$dir/rounds" --kept)" = 3 ] || { echo "not three rounds were kept" && exit 1; }
"$REPORT" "$dir/rounds" --svg "$dir/plot.svg" >"$dir/out"
expect '| 1024 | 20.0 | 20.0 | 1.00 (0.50..2.00) | 1.00 (0.50..2.00) |'
expect '| 4096 | 40.0 | 40.0 | 1.00 (1.00..1.00) | 1.00 (1.00..1.00) |'
expect 'rounds kept 3, discarded 1'
"$REPORT" "$dir/rounds" --ratios >"$dir/out"
expect '{"what": "gradplane UDP, af_xdp : Gloo veth", "bytes": 1024, "v": 1.0, "a": 0.5, "b": 2.0}'
/usr/bin/python3 -c 'import sys, xml.etree.ElementTree as t; s = t.parse(sys.argv[1]).getroot()
assert len([e for e in s if e.tag.endswith("polyline")]) == 2' "$dir/plot.svg"
if "$REPORT" "$dir/rounds" --what 2>/dev/null; then
	echo "a wrong option was accepted" && exit 1
fi
