# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# shellcheck disable=SC2016 # programs of jq
# Sourced by scripts/bench: goals of what stands behind a port, as bench-e2e and bench-forward measure it.

ports_goal() { # WHAT WAY LIMIT FILE FILTER
	if [ -s "$OUT/$4.json" ]; then
		goal "$1" "$2" "$3" "$4" "$5"
	else
		printf '%s\t%s\t-\t-\tnot measured: needs root and dpdk-testpmd\n' "$1" "$3"
	fi
}

kept_goal() { # WHAT LIMIT CASE LOSS_PPM
	ports_goal "$1" least "$2" e2e "[.[] | select(.case == \"$3\") | .levels[] | select(.loss_ppm == $4)] |
		min_by(.kept) | {v: .kept, a: .kept_min, b: .kept_max}"
}

ports_goals() {
	ports_goal "gradplaned against testpmd macswap, memif: busy time a packet" least 0.5 forward \
		'[range(0; length; 2) as $i | .[$i].busy_ns / .[$i + 1].busy_ns] | sort |
			{v: .[length / 2 | floor], a: .[0], b: .[-1]}'
	ports_goal "1 KB round trip, memif, 1 worker, p50 in us (a third of OpenMPI's tcp)" most 3.3 e2e \
		'[.[] | select(.case == "small_memif_one")][0] | {v: .step_us_p50, a: .step_us_p50, b: .step_us_p99}'
	kept_goal "goodput kept at 0.1 % loss, memif" 0.9 memif 1000
	kept_goal "goodput kept at 1 % loss, memif" 0.6 memif 10000
	kept_goal "goodput kept at 1 % loss, UDP to af_xdp" 0.6 xdp 10000
}

ports_measure() {
	say "bench-e2e --quick, bench-forward"
	export GP_BUILD=${BENCH%/app/*}
	if "$ROOT/scripts/bench-e2e" --quick --json "$OUT/ports" >/dev/null; then
		jq -s . "$OUT/ports" >"$OUT/e2e.json"
	fi
	if "$ROOT/scripts/bench-forward" --rounds 3 --json "$OUT/ports" >/dev/null; then
		jq -s . "$OUT/ports" >"$OUT/forward.json"
	fi
}
