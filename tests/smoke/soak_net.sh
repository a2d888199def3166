#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# soak_net.sh MINUTES [SEED]: three workers train at load behind a relay with loss while something
# breaks every 10 s: a worker is killed or stands still, the wire is cut or gets worse, the server
# stands still, a snapshot is asked for. scripts/soak runs it; not part of the smoke suite. At the end:
#   the parameters are, byte for byte, those of a replay of the server's record
#   every frame is back in its pool; resident memory has grown by less than 1 % since the first fifth
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$SMOKE_DIR/train.sh"

SECONDS_ALL=$(($1 * 60)) RUN_SEED=${2:-$RANDOM} APART=10
WORKERS=3
RANDOM=$RUN_SEED

wire_up() { # LOSS
	relay_start --loss-pct "$1" --dup-pct 2 --reorder-pct 2 --seed "$RANDOM"
}

# Whoever was found dead, or gave up, is started again.
workers_keep() {
	local r
	for ((r = 0; r < WORKERS; r++)); do
		proc_alive "worker$r" || worker_begin "$r"
	done
}

worker_begin() {
	proc_start "worker$1" "worker$1" "$GRADWORKER" --server "$ADDR_PRIMARY:9700" --job fashion \
		--rank "$1" --world "$WORKERS" --model "$MODEL" --batch 16 --mtu "$MTU" --progress none --replace
}

stand_still() { # NAME SECONDS
	kill -STOP "${PROC_PID[$1]}"
	sleep "$2"
	kill -CONT "${PROC_PID[$1]}"
}

fault() {
	local r=$((RANDOM % WORKERS))
	case $((RANDOM % 6)) in
	0) proc_kill "worker$r" ;;
	1) stand_still "worker$r" 1 ;;
	2) stand_still primary 0.3 ;;
	3) proc_stop relay >/dev/null && sleep 1 && wire_up 1 ;;
	4) proc_stop relay >/dev/null && wire_up $((RANDOM % 20)) ;;
	5) ctl primary snapshot now >/dev/null ;;
	esac
	FAULTS=$((FAULTS + 1))
}

resident_kib() {
	awk '/^VmRSS/ { print $2 }' "/proc/${PROC_PID[primary]}/status"
}

frames_free() {
	ns_run server curl -sS -f -m 5 http://127.0.0.1:9790/metrics |
		awk '/^gradplane_xport_frames_free/ { n += $2 } END { print n }'
}

# shellcheck disable=SC2317 # called by name
frames_are() {
	[ "$(frames_free)" -eq "$1" ]
}

smoke_begin "$WORKERS" 1500 relay
echo "seed $RUN_SEED"
wire_up 1
primary_start 2 jobs.0.workers_min=1 jobs.0.worker_timeout=1s jobs.0.views_log="$RUN_DIR/views" \
	snapshot.interval_steps=5000 snapshot.full_every=1
frames=$(frames_free) FAULTS=0 resident=0 begin=$SECONDS
workers_keep
while [ $((SECONDS - begin)) -lt "$SECONDS_ALL" ]; do
	before=$(job_step)
	for ((s = 0; s < APART; s++)); do
		sleep 1
		workers_keep
	done
	proc_alive primary || fail "the server is gone"
	wait_for 60 step_is_past "${before:--1}" || fail "no step in 70 s, still at ${before:-none}"
	[ "$resident" -gt 0 ] || [ $((SECONDS - begin)) -lt $((SECONDS_ALL / 5)) ] || resident=$(resident_kib)
	fault
done
for ((r = 0; r < WORKERS; r++)); do proc_stop "worker$r" || true; done
wait_for 20 joined_is 0 || fail "sessions stay"
wait_for 20 frames_are "$frames" || fail "frames: $frames were free, now $(frames_free)"
grown=$((1000 * ($(resident_kib) - resident) / resident))
datagrams=$(status '[.cores[] | .rx + .tx] | add')
proc_stop primary 60 || fail "the server did not stop well"
[ "$grown" -lt 10 ] || fail "resident memory grew by $grown per mille from $resident KiB"
steps=$(step_saved)
local_log=$("$GRADWORKER" --local --world "$WORKERS" --model "$MODEL" --batch 16 --steps "$steps" \
	--progress none --views "$RUN_DIR/views" --dump-params "$RUN_DIR/local.params" | tail -n 1)
"$SMOKE_DIR/snapshot_params.py" "$(find "$RUN_DIR/primary" -maxdepth 1 -name 'fashion-*' | sort | tail -n 1)" \
	>"$RUN_DIR/saved.params"
cmp "$RUN_DIR/local.params" "$RUN_DIR/saved.params" || fail "not the bytes of the replay: $local_log"
RESULT="ok: $((SECONDS - begin)) s, $FAULTS faults, $steps steps, $(grep -c ^view "$RUN_DIR/views") views, \
$datagrams datagrams, memory +$grown per mille, seed $RUN_SEED"
smoke_end
