#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# run.sh [MODEL]: spin checks each model as it stands, which must hold, then each of its mutants,
# which must be refuted. One at a time: a search takes up to 1.2 GB, all of them some two minutes.
# Prints a TAP-like line for each;
# exit 77 when there is no spin.
set -euo pipefail
export LC_ALL=C

HERE=$(cd "$(dirname "$0")" && pwd)
ONLY=${1:-}
COUNT=0 FAILED=0
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT

# search MODEL OPTION...: compiles pan in a folder of its own and runs it; what it said is in pan.log
search() {
	local model=$1
	shift
	rm -rf "${WORK:?}"/*
	cd "$WORK"
	spin -a "$@" "$HERE/$model.pml" >spin.log 2>&1 || return 1
	gcc "$OPTIMISE" -w -DSAFETY -DMEMLIM=1900 -DVECTORSZ=2048 "${COLLAPSE[@]}" -o pan pan.c >gcc.log 2>&1 ||
		return 1
	nice ./pan -m200000 -w22 >pan.log 2>&1 || true
}

# A whole search is one that spin calls so: neither memory nor depth ran out.
whole() {
	grep -q '^Full statespace search' pan.log && ! grep -qE 'Search not completed|too small' pan.log
}

# check WANTED MODEL OPTION...: WANTED is holds or refuted.
check() {
	local wanted=$1 errors states seconds verdict=unfinished word='not ok'
	shift
	[ -z "$ONLY" ] || [ "$ONLY" = "$1" ] || return 0
	OPTIMISE=-O1 COLLAPSE=()
	[ "$wanted" = refuted ] || OPTIMISE=-O2 # most mutants are refuted before that pays
	case "$*" in commit*BUG*) OPTIMISE=-O0 ;; esac
	[ "$1" != failover ] || COLLAPSE=(-DCOLLAPSE)
	search "$@" || verdict='does not compile'
	errors=$(sed -n 's/.*errors: \([0-9]*\)$/\1/p' "$WORK/pan.log" 2>/dev/null || true)
	states=$(sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' "$WORK/pan.log" 2>/dev/null || true)
	seconds=$(sed -n 's/.*elapsed time \([0-9.]*\) .*/\1/p' "$WORK/pan.log" 2>/dev/null || true)
	if [ "${errors:-0}" != 0 ]; then
		verdict=refuted
	elif [ "$errors" = 0 ] && whole; then
		verdict=holds
	fi
	COUNT=$((COUNT + 1))
	if [ "$verdict" = "$wanted" ]; then word=ok; else FAILED=$((FAILED + 1)); fi
	echo "$word $COUNT $* # $verdict, ${states:-0} states, ${seconds:-0} s"
	[ "$word" = ok ] || tail -n 40 "$WORK"/*.log
}

# mutants MODEL OPTIONS NAME...
mutants() {
	local model=$1 options=$2 name
	shift 2
	for name in "$@"; do
		# shellcheck disable=SC2086 # options are words
		check refuted "$model" $options "-DBUG_$name"
	done
}

if ! command -v spin >/dev/null; then
	echo "skipped: no spin (apt-get install spin)"
	exit 77
fi

check holds failover -DR=3 -DE=4
mutants failover '-DR=3 -DE=4' EARLY SOLO NOFENCE NODEDUP PARITY
mutants failover '-DR=2 -DE=5' LOSTWM

check holds commit -DSTEPS=2 -DLOSABLE=3 -DWANT1=2
check holds commit -DSTEPS=2 -DMIN=2 -DWANT1=7
mutants commit -DSTEPS=1 PART_VIEW NODEDUP KEEP_SLOTS KEEP_SHADOW KEEP_QUEUE ORDER VIEW_AHEAD \
	PUSH_VIEW NO_RESEND OLD_TENTATIVE NO_VOID
mutants commit -DSTEPS=2 AHEAD

check holds takeover -DSTEPS=2 -DE=3
check holds takeover -DSTEPS=2 -DE=3 -DLAG=1
check holds takeover -DSTEPS=1 -DE=4 -DLAG=1
mutants takeover '-DSTEPS=1 -DE=3' EARLY PARTS MIXED TENT
mutants takeover '-DSTEPS=2 -DE=3 -DLAG=1' LAG NOROLL STALE

check holds reclaim
check holds reclaim -DVIEWS=1 -DSTEPS=2 -DDIGEST=0
mutants reclaim '' STAMP STAMP_EARLY COUNT_LATE KEPT_LATE FIND_ORDER READ_LATE END READY SEEN

echo "1..$COUNT"
[ "$FAILED" -eq 0 ] && [ "$COUNT" -gt 0 ]
