#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The relay disturbs datagrams of the ports and nothing else, its counts agree with what both ends
# saw, and the same seed makes the same choices.
set -euo pipefail
. "$(dirname "$0")/_init.sh"

COUNT=4000

# wire_run LOG OPTION...: COUNT datagrams there and back; counts in $RUN_DIR/LOG.*
wire_run() {
	local log=$1 port=$2
	shift 2
	relay_start "$@"
	proc_start echo server /usr/bin/python3 "$SMOKE_DIR/udp_peer.py" echo "$port"
	wait_line echo '^echo ready' 10
	# The kernel keeps only a few datagrams for an address that it does not know yet.
	ns_run worker0 ping -q -c 1 -W 5 "$ADDR_PRIMARY" >"$RUN_DIR/ping.log"
	ns_run worker0 /usr/bin/python3 "$SMOKE_DIR/udp_peer.py" send "$ADDR_PRIMARY" "$port" "$COUNT" \
		$((NET_MTU - 28)) >"$RUN_DIR/$log.send"
	proc_stop echo
	proc_stop relay
	grep ' up ' "$RUN_DIR/relay.log" >"$RUN_DIR/$log.up"
	grep ' down ' "$RUN_DIR/relay.log" >"$RUN_DIR/$log.down"
	cp "$RUN_DIR/echo.log" "$RUN_DIR/$log.echo"
	cat "$RUN_DIR/$log".{up,down,send}
}

smoke_begin 1 9000 relay
ip -n "$GP_RUN-server" addr add "$ADDR_PRIMARY/24" dev br0

bad=(--loss-pct 5 --dup-pct 5 --reorder-pct 10)
wire_run first 9700 "${bad[@]}" --seed 7
for way in up down; do
	for count in dropped duplicated reordered; do
		expect_more "$way $count" 50 "$(field $count "$RUN_DIR/first.$way")"
	done
	for count in overflow oversized missed; do
		expect "$way $count" 0 "$(field $count "$RUN_DIR/first.$way")"
	done
done
up=$((COUNT - $(field dropped "$RUN_DIR/first.up") + $(field duplicated "$RUN_DIR/first.up")))
down=$((up - $(field dropped "$RUN_DIR/first.down") + $(field duplicated "$RUN_DIR/first.down")))
expect "forwarded up" "$up" "$(field forwarded "$RUN_DIR/first.up")"
expect "forwarded down" "$down" "$(field forwarded "$RUN_DIR/first.down")"
expect "received by echo" "$up" "$(field received "$RUN_DIR/first.echo")"
expect "received back" "$down" "$(field received "$RUN_DIR/first.send")"
expect "damaged" 0 "$(field bad "$RUN_DIR/first.send")"
expect_more "came late" 100 "$(field late "$RUN_DIR/first.send")"

wire_run again 9700 "${bad[@]}" --seed 7
expect "same seed" "$(grep -oE '(dropped|duplicated)=[0-9]+' "$RUN_DIR"/first.{up,down} | cut -d: -f2)" \
	"$(grep -oE '(dropped|duplicated)=[0-9]+' "$RUN_DIR"/again.{up,down} | cut -d: -f2)"

wire_run other 9690 "${bad[@]}" --seed 7
expect "another port" "$COUNT" "$(field received "$RUN_DIR/other.send")"
expect "another port" 0 "$(field missing "$RUN_DIR/other.send")"
smoke_end
