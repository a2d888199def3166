#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Workers are killed at random moments behind a wire that loses and repeats, and come back: at once in
# the dead one's place, once the server has noticed, or when the others have gone on without it. The
# server's record of who was summed in each step, replayed in one process, gives the same bytes.
# KILLS, ATOMICITY (step tensor block) and RUN_SEED say how many and how; scripts/soak raises them.
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$SMOKE_DIR/train.sh"

KILLS=${KILLS:-5} ATOMICITY=${ATOMICITY:-step} RUN_SEED=${RUN_SEED:-$RANDOM}
APART=150 STEPS=$((KILLS * 150 + 300))
RANDOM=$RUN_SEED
echo "seed $RUN_SEED"

# kept CONDITION...: whether it holds; if not, who gave up (a busy machine) tries again.
# shellcheck disable=SC2317 # called by name
kept() {
	local r
	"$@" && return
	for ((r = 0; r < WORKERS; r++)); do proc_alive "worker$r" || worker_start "$r" "$STEPS"; done
	return 1
}

# kill_one RANK HOW
kill_one() {
	wait_for 60 kept joined_is 3 || fail "a worker does not come back"
	sleep "0.0$((RANDOM % 90 + 10))" # a moment within a few steps
	proc_kill "worker$1"
	case $2 in
	0 | 1)
		wait_for 10 joined_is 2 || fail "the dead worker is still there"
		[ "$2" = 1 ] || wait_step $(($(job_step) + 20)) 20
		worker_start "$1" "$STEPS"
		;;
	2) worker_start "$1" "$STEPS" --replace ;;
	esac
	wait_for 60 kept joined_is 3 || fail "rank $1 did not come back"
}

smoke_begin 3 1500 relay
relay_start --loss-pct 2 --dup-pct 2 --reorder-pct 2 --seed "$RUN_SEED"
WORKERS=3
primary_start 2 jobs.0.workers_min=1 jobs.0.worker_timeout=1s \
	jobs.0.atomicity="$ATOMICITY" jobs.0.views_log="$RUN_DIR/views"
workers_begin "$STEPS"
for ((k = 0; k < KILLS; k++)); do
	wait_for 120 kept step_is_past $((k * APART + RANDOM % 60)) || fail "no progress before kill $k"
	kill_one $((RANDOM % 3)) $((k % 3))
done
workers_end 120
proc_stop primary
expect_more "views" "$KILLS" "$(grep -c ^view "$RUN_DIR/views")"
expect_reference "$STEPS" --views "$RUN_DIR/views"
(expect_reference "$STEPS") 2>/dev/null && fail "no step lacked a rank"
RESULT="ok: $KILLS kills, $STEPS steps, atomicity $ATOMICITY, seed $RUN_SEED"
smoke_end
