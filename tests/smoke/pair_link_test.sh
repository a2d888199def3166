#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The replication link of a pair passes nothing any more while the data ports do: nobody takes over, what is decided
# waits, the workers go on when the link is back. When both pass nothing, the replica takes over.
# shellcheck disable=SC2317 # called by wait_for
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$SMOKE_DIR/train.sh"
. "$SMOKE_DIR/leader.sh"
. "$SMOKE_DIR/pair.sh"
STEPS=2000

link() { # SIGNAL
	kill "-$1" "${PROC_PID[link]}"
}

pair_is() { # NODE FILTER VALUE
	[ "$(ctl "$1" status 2>/dev/null | jq -r "$2")" = "$3" ]
}

expect_pair() { # NODE FILTER VALUE
	wait_for 20 pair_is "$@" || fail "$1: $2 is not $3: $(ctl "$1" status | jq -c .replica)"
}

smoke_begin 2 1500
CORES=1 LINK_PORT=9795
proc_start link server /usr/bin/python3 "$SMOKE_DIR/tcp_relay.py" 9795 9791
wait_line link ready 5
pair_start replica.timeout=1s
expect_pair replica '.replica.beat_ms != null' true
expect_pair primary '.replica.beat_ms != null' true
workers_begin "$STEPS" --server "$ADDR_PRIMARY:9700,$ADDR_REPLICA:9700" --timeout-ms 60000 --reconnect-ms 60000
expect_past primary 20
link STOP
expect_pair primary .replica.connected false
expect_pair replica .replica.connected false
waited=$(ctl replica status | jq .replica.link_ms)
link_silent() { # MS
	[ "$(ctl replica status | jq .replica.link_ms)" -gt "$1" ]
}
wait_for 20 link_silent $((waited + 3000)) || fail "the replica hears its link: $(ctl replica status | jq -c .replica)"
expect "role after three time-outs without the link" replica "$(ctl replica status | jq -r .role)"
expect "signs of life over the data port" true "$(ctl replica status | jq '.replica.beat_ms < 1000')"
! said=$(ctl primary snapshot now 2>&1) || fail "a snapshot without the replica: $said"
[[ $said == *"refused (waiting)"*"no snapshot can be cut: what is decided waits for "* ]] || fail "snapshot now: $said"
step=$(step_of primary)
link CONT
expect_paired primary
expect_past primary "$((step + 5))"
step=$(step_of primary)
link STOP
data_cut primary
expect_past replica "$((step + 5))"
workers_end 120
expect_reference "$STEPS"
smoke_end
