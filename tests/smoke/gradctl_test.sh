#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# gradctl against a server in work: every command, as text and as JSON.
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$SMOKE_DIR/train.sh"

text() { # COMMAND...
	"$GRADCTL" --socket "$RUN_DIR/primary.sock" "$@" | tee "$RUN_DIR/text.out"
}

shows() { # REGEX...
	local regex
	for regex in "$@"; do
		grep -qE -- "$regex" "$RUN_DIR/text.out" || fail "no '$regex' in: $(<"$RUN_DIR/text.out")"
	done
}

smoke_begin 2 1500
primary_start 2 snapshot.interval_steps=0
workers_begin 100000
wait_step 50 30

text status
shows '^primary: primary, gradplane [0-9.]+, pid [0-9]+, ' '^insecure' '^gp0 +net_tap ' ' 9700 ' ' 9701 ' \
	'^push +[0-9,]+' '^fashion +1 +train +running +2/2 '
expect "pid" "${PROC_PID[primary]}" "$(status .pid)"
expect "cores" 2 "$(status '.cores | length')"

text job show fashion
shows '^fashion: id 1, train, running' 'workers 2' 'fc1\.weight +10x784 +7,840' 'fc1\.bias' \
	'^ *0 +10\.99\.0\.10:' '^ *1 +10\.99\.0\.11:'
expect "tensors" 'fc1.weight fc1.bias' \
	"$(ctl primary job show fashion | jq -r '[.tensors[].name] | join(" ")')"
! ctl primary job show other 2>"$RUN_DIR/text.out" || fail "job show other: no error"
shows 'no job other' 'fashion'

text snapshot now
shows '^snapshot of step [0-9]+: /.*/fashion-[0-9]+, .*iB, took '
! ctl primary --job other snapshot now 2>"$RUN_DIR/text.out" || fail "snapshot of job other: no error"
shows 'no job other'
step=$(ctl primary --job fashion snapshot now | jq .step)
expect_more "step of the snapshot" 49 "$step"
expect "status shows it" "$step" "$(status .snapshot.last_step)"

last=$(ctl primary stop | jq .step)
expect_more "last step" "$((step - 1))" "$last"
proc_wait primary 20 || fail "stop: the primary did not end with 0"
[ -n "$(find "$RUN_DIR/primary" -maxdepth 1 -name "fashion-*$last")" ] || fail "no last snapshot"
for r in 0 1; do expect_error "worker$r" 'gradworker: error: ' 10; done
status=0
text status 2>"$RUN_DIR/text.err" || status=$?
expect "exit status without a server" 2 "$status"
smoke_end
