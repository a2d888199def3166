# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Sourced after train.sh by tests of asynchronous jobs.

job() { # FILTER: what jq makes of the job
	ctl primary job show fashion 2>/dev/null | jq -r "$1"
}

clock_is_past() { # STEP, that the slowest member has done
	local clock
	clock=$(job '.clock_min // 0')
	[ "${clock:-0}" -gt "$1" ]
}

fastest_is_past() { # STEP, that the fastest member has done
	local clock
	clock=$(job '.clock_max // 0')
	[ "${clock:-0}" -gt "$1" ]
}

ahead_is() { # STEPS between the fastest and the slowest member
	[ "$(job '.clock_max - .clock_min')" = "$1" ]
}

proc_signal() { # NAME SIGNAL
	kill "-$2" "${PROC_PID[$1]}"
}

# expect_accuracy LEAST: of the server's parameters on the test images.
expect_accuracy() {
	ns_run worker0 "$GRADWORKER" --eval --server "$ADDR_PRIMARY:9700" --job fashion \
		--model "$MODEL" >"$RUN_DIR/eval.log" 2>&1 ||
		fail "evaluation: $(tail -n 1 "$RUN_DIR/eval.log")"
	tail -n 1 "$RUN_DIR/eval.log"
	awk -v "seen=$(field accuracy "$RUN_DIR/eval.log")" "BEGIN { exit !(seen > $1) }" ||
		fail "accuracy $(field accuracy "$RUN_DIR/eval.log") is not above $1"
}
