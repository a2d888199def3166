# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# shellcheck disable=SC2034 # read by scripts/demo
# The steps of scripts/demo. Waiting and namespaces are those of the smoke tests.

WORKERS=2 MODEL=mlp CODEC=f32 PORT=tap MTU=1500 CORES=2 STEPS='' LOSS_PCT=0 SEED=1
DETERMINISTIC=0 FAILOVER=0 KEEP=0 HUGE=auto LR=0.1 MOMENTUM=0.9
TRAIN_S_MAX=600
DROPPED=0 REFERENCE=''

options() {
	while [ $# -gt 0 ]; do
		case $1 in
		--workers | --model | --codec | --port | --mtu | --cores | --steps | --loss-pct | --seed)
			[ $# -ge 2 ] || die "$1 needs a value"
			local name=${1#--}
			name=${name//-/_}
			printf -v "${name^^}" %s "$2"
			shift
			;;
		--deterministic) DETERMINISTIC=1 ;;
		--failover) FAILOVER=1 DETERMINISTIC=1 ;;
		--keep) KEEP=1 ;;
		--help) sed -n '3,/^set/s/^# \{0,1\}//p' "$0" && exit 0 ;;
		*) die "unknown option $1; --help lists them" ;;
		esac
		shift
	done
	case $PORT in tap | af_packet) ;; *) die "--port $PORT: tap or af_packet" ;; esac
	case $MODEL in softmax | mlp) ;; *) die "--model $MODEL: softmax or mlp" ;; esac
	[[ $WORKERS =~ ^[0-9]+$ && $WORKERS -ge 1 && $WORKERS -le 200 ]] || die "--workers: 1..200"
	[ "$PORT" = af_packet ] || [ "$MTU" -le 1500 ] ||
		die "--mtu $MTU needs --port af_packet: net_tap cannot send jumbo frames"
	[ "$DETERMINISTIC" = 0 ] || [ "$CODEC" = f32 ] || die "--deterministic, --failover: only f32"
}

hugepages_choose() {
	if hugepages_reserve 208; then
		say "huge pages are reserved"
	else
		HUGE=off
		say "huge pages cannot be reserved here: DPDK runs with --no-huge"
	fi
}

# The windows of all workers share the receive queue of conf/primary.yaml, their open blocks its
# buffers.
job_limits() {
	local lanes=$((WORKERS * CORES)) slots=128 window
	while [ $((slots * lanes)) -gt 1024 ]; do slots=$((slots / 2)); done
	window=$((768 / lanes < 64 ? 768 / lanes : 64))
	echo "jobs.0.slots=$slots jobs.0.window=$((window < slots ? window : slots))"
}

# server_start ROLE IFACE [PATH=VALUE]...: its configuration is conf/ROLE.yaml with the values of this
# run, then those given.
server_start() {
	local limits values=(eal.hugepages="$HUGE" eal.file_prefix="$GP_RUN$1" port.driver="$PORT" port.device="$2"
		port.mtu="$MTU" control.socket="$RUN_DIR/$1.sock" snapshot.directory="$RUN_DIR/$1")
	read -ra limits < <(job_limits)
	# Fixed, so that workers need not learn another address when a server starts again.
	[ "$PORT" != tap ] || values+=(port.mac="02:97:00:00:00:0${2#gp}")
	case $1 in
	primary) values+=("${limits[@]}" cores.count="$CORES" jobs.0.workers="$WORKERS"
		jobs.0.workers_min="$WORKERS" jobs.0.optimizer.lr="$LR"
		jobs.0.optimizer.momentum="$MOMENTUM") ;;
	replica) [ "$FAILOVER" = 1 ] || values+=(cores.count=1) ;;
	esac
	[ "$PORT" != af_packet ] || net_make_port "$2"
	"$ROOT/scripts/conf-set" "$ROOT/conf/$1.yaml" "$RUN_DIR/$1.yaml" "${values[@]}" "${@:3}"
	mkdir -p "$RUN_DIR/$1"
	proc_start "$1" server "$GRADPLANED" --config "$RUN_DIR/$1.yaml"
	wait_line "$1" 'info ready' 30
	[ "$PORT" != tap ] || net_attach_tap "$2"
}

ctl() { # ROLE COMMAND...: JSON
	"$GRADCTL" --socket "$RUN_DIR/$1.sock" --json "${@:2}"
}

# The length of a training run: steps, or as many as the accuracy below takes. All ranks together take
# 1024 images a step.
train_length() {
	local steps=1000
	[ "$MODEL" = mlp ] || steps=300
	echo "--batch $((1024 / WORKERS)) --steps ${STEPS:-$steps}"
}

workers_start() {
	local r server=("$ADDR_PRIMARY:9700")
	[ "$FAILOVER" = 0 ] || server=("$ADDR_PRIMARY:9700,$ADDR_REPLICA:9700" --reconnect-ms 60000 --timeout-ms 60000)
	for ((r = 0; r < WORKERS; r++)); do
		# shellcheck disable=SC2046 # a flag and its value
		proc_start "worker$r" "worker$r" "$GRADWORKER" --server "${server[@]}" --job fashion \
			--rank "$r" --world "$WORKERS" --model "$MODEL" --codec "$CODEC" --seed "$SEED" \
			--mtu "$MTU" --dump-params "$RUN_DIR/worker$r.params" $(train_length)
	done
	tail -n +1 -s 0.2 -f --pid="${PROC_PID[worker0]}" "$RUN_DIR/worker0.log" &
	PROC_PID["progress"]=$!
}
