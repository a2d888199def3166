#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The dissector understands every datagram of a whole softmax run and of the first 200 steps of the
# MLP, as they cross the server's interface.
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$SMOKE_DIR/train.sh"

# capture NAME MODEL STEPS [OPTION]...: trains with a new server; NAME.pcap. The buffer (KiB) holds nearly
# all of it, because a busy disk may take nothing for seconds.
capture() {
	MODEL=$2
	primary_start 2 snapshot.restore=none
	proc_start capture server tcpdump -i gp0 -n -B 786432 -w "$RUN_DIR/$1.pcap" \
		udp portrange 9700-9701
	wait_line capture 'listening on gp0' 10
	workers_begin "${@:3}"
	workers_end 120
	proc_stop primary || fail "the primary did not end well"
	proc_wait capture 10 || true # it ends with its interface
	expect "datagrams that the capture missed" 0 \
		"$(sed -n 's/ packets dropped by kernel.*//p' "$RUN_DIR/capture.log")"
}

# counts NAME FILTER...: datagrams of the capture that match, one number a filter
counts() {
	local IFS=,
	tshark -n -X "lua_script:$ROOT/scripts/gradplane.lua" -r "$RUN_DIR/$1.pcap" -q \
		-z "io,stat,0,${*:2}" 2>"$RUN_DIR/tshark.log" |
		awk -F '|' '/<>/ { for (i = 3; i < NF; i += 2) print $i + 0 }'
}

judge() { # NAME
	local all known bad pushes results commits
	{ read -r all && read -r known && read -r bad && read -r pushes && read -r results &&
		read -r commits; } < <(counts "$1" udp gradplane gradplane.malformed \
		gradplane.type==7 gradplane.type==9 gradplane.type==10) || fail "tshark failed"
	echo "$1: $all datagrams, $pushes PUSH, $results RESULT, $commits COMMIT, $bad malformed"
	expect "malformed datagrams of $1" 0 "$bad"
	expect "dissected datagrams of $1" "$all" "$known"
	expect_more "PUSH of $1" 1000 "$pushes"
	expect_more "RESULT of $1" 1000 "$results"
	expect_more "COMMIT of $1" 100 "$commits"
}

smoke_begin 2 1500
for tool in tshark tcpdump; do command -v $tool >/dev/null || skip "needs $tool"; done
capture softmax softmax 300
judge softmax
rm "$RUN_DIR/softmax.pcap"
capture mlp mlp 200 --batch 8
judge mlp
smoke_end
