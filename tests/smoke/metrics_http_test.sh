#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# GET /metrics and /healthz while workers train: valid text in both formats, counters that move.
set -euo pipefail
. "$(dirname "$0")/_init.sh"
. "$SMOKE_DIR/train.sh"

get() { # PATH FILE [ACCEPT]
	ns_run server curl -sS -f -m 5 -H "Accept: ${3:-text/plain}" -o "$RUN_DIR/$2" \
		"http://127.0.0.1:9790$1" || fail "GET $1"
}

# sum FILE NAME: of all samples whose family begins with NAME
sum() {
	awk -v name="$2" 'index($1, name) == 1 { n += $NF } END { printf "%.0f\n", n }' "$RUN_DIR/$1"
}

smoke_begin 2 1500
primary_start 2
get /metrics first.txt
workers_begin 100000
wait_step 50 30
get /healthz health.txt
get /metrics second.txt
get /metrics open.txt 'application/openmetrics-text; version=1.0.0'
wait_step "$(job_step)" 10

if command -v promtool >/dev/null; then
	promtool check metrics <"$RUN_DIR/second.txt" || fail "promtool finds fault"
fi
! grep -q '^# EOF' "$RUN_DIR/second.txt" || fail "OpenMetrics where plain text was asked for"
expect "last line of OpenMetrics" '# EOF' "$(tail -n 1 "$RUN_DIR/open.txt")"
for name in gradplane_core_rx gradplane_port_rx_bytes gradplane_job_generation; do
	expect_more "$name after some steps" "$(sum first.txt "$name")" "$(sum second.txt "$name")"
done
! ns_run server curl -sf -m 5 -o /dev/null http://127.0.0.1:9790/other || fail "GET /other: no 404"
expect "families without help" "" "$(awk '/^# TYPE/ { t[$3] } /^# HELP/ { h[$3] }
	END { for (n in t) if (!(n in h)) print n }' "$RUN_DIR/second.txt")"
proc_stop primary || fail "the primary did not end well"
smoke_end
