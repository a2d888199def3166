#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# gradctl why names whom a job waits for: who has not joined, and a worker that was stopped in the
# middle of its work, long before its time-out.
# shellcheck disable=SC2317 # called by wait_for
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$SMOKE_DIR/train.sh"

why() { # OPTION...: text
	"$GRADCTL" --socket "$RUN_DIR/primary.sock" why "$@" >"$RUN_DIR/why.out" 2>&1
}

says() { # REGEX [OPTION]...
	why "${@:2}" && grep -qE -- "$1" "$RUN_DIR/why.out"
}

expect_why() { # REGEX SECONDS [OPTION]...
	wait_for "$2" says "$1" "${@:3}" || fail "no '$1' within $2 s in: $(<"$RUN_DIR/why.out")"
}

missing_is() { # RANKS
	ctl primary why --job fashion >"$RUN_DIR/why.json"
	[ "$(jq -r '[.jobs[0].places[].missing[]] | unique | join(",")' "$RUN_DIR/why.json")" = "$1" ]
}

rtt_known() { # of every rank
	ctl primary job show fashion | jq -e '[.ranks[] | .rtt_us // 0] | min > 0' >/dev/null
}

smoke_begin 2 1500
primary_start 2 snapshot.interval_steps=0 jobs.0.worker_timeout=20s
expect_why '^job fashion waits for workers: ranks 0, 1 have not joined$' 5
worker_start 0 100000
expect_why '^job fashion waits for workers: rank 1 has not joined$' 10
worker_start 1 100000
wait_step 20 30
expect_why '^job fashion is running: step [0-9]+, its lowest block moved ' 10

wait_for 20 rtt_known || fail "no RTT: $(ctl primary job show fashion | jq -c .ranks)"

kill -STOP "${PROC_PID[worker1]}"
expect_why '^job fashion waits at step [0-9]+ for rank 1 since ' 10
expect_why '^  rank 1 \(10\.99\.0\.11:[0-9]+\): last datagram .* ago, rtt [0-9]+ [um]s, newest contribution of step [0-9]+, [0-9]+ retransmits' 5
expect_why '^  core [01]: block [0-9]+ \(tensor fc[0-9]?\.(weight|bias), block [0-9]+ of it\) of step [0-9]+ incomplete since .* without rank 1; [0-9]+ blocks in flight$' 5
wait_for 20 missing_is 1 || fail "missing in JSON: $(<"$RUN_DIR/why.json")"
expect_more "its silence" 100 "$(jq '.jobs[0].ranks[0].last_seen_ms | floor' "$RUN_DIR/why.json")"
expect_why 'core [01]: (complete for step|block 0|not its turn)' 1 --block 0
expect_why '^  rank 0 .*last datagram' 1 --rank 0
step=$(ctl primary job show fashion | jq '.ranks[1].step')
expect_more "step of rank 1" 19 "$step"
kill -CONT "${PROC_PID[worker1]}"
expect_why '^job fashion is running' 5

! why --rank 2 || fail "rank 2 is there"
grep -q 'refused (not_found)' "$RUN_DIR/why.out" || fail "$(<"$RUN_DIR/why.out")"
! why --tensor nothing || fail "a tensor of nobody is there"
! why --block x || fail "block x is there"
! why --output y || fail "why takes --output"
smoke_end
