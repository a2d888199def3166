# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# shellcheck disable=SC2034 # read by other files
# Sourced after train.sh: workers of the task `sections` on a small sample, and what they have learned.

WORKERS=2 CORES=2

# sample FILE [COUNT]: 800 packages of 4 sections, each named by a word of its own among common ones.
sample() {
	awk -v n="${2:-800}" 'BEGIN { split("admin games libs utils", s); split("root chess shared tool", w)
		for (i = 0; i < n; i++) { k = 1 + i % 4
			printf "%s\tpkg%d-%s\tA %s of package %d\n", s[k], i, i % 3 ? "x" : w[k], w[k], i % 50 } }' >>"$1"
}

# embed_start [PATH=VALUE]...: conf/embed.yaml on gp0, with $CORES cores.
embed_start() {
	server_start embed gp0 cores.count="$CORES" jobs.0.workers=2 eal.memory=128MiB "$@"
}

learn() { # RANK STEPS [OPTION]...
	proc_start "worker$1" "worker$1" "$GRADWORKER" --task sections --data "$RUN_DIR/sample.tsv" \
		--features-bits 12 --server "$ADDR_PRIMARY:9700" --job sections --rank "$1" --world 2 \
		--batch 32 --steps "$2" --mtu "$MTU" --timeout-ms 60000 --progress none \
		"${@:3}"
}

# shellcheck disable=SC2317 # called by name
clock_is() {
	[ "$(ctl "$1" job show sections 2>/dev/null | jq '.clock_min // 0')" -ge "$2" ]
}

# learned NAME STEPS: both workers have done so many at that server; then they are told to end.
learned() {
	local r
	wait_for 60 clock_is "$@" || fail "not at step $2 after 60 s"
	for r in 0 1; do
		proc_stop "worker$r" 20 || fail "worker $r: $(tail -n 1 "$RUN_DIR/worker$r.log")"
	done
}

# evaluate ADDRESS LOG: a reader of that server
evaluate() {
	ns_run worker0 "$GRADWORKER" --eval --task sections --data "$RUN_DIR/sample.tsv" \
		--features-bits 12 --server "$1:9700" --job sections --timeout-ms 60000 >"$RUN_DIR/$2.log" 2>&1 ||
		fail "evaluation: $(tail -n 1 "$RUN_DIR/$2.log")"
}

# accuracy_expect ADDRESS LOG: it tells nearly all sections.
accuracy_expect() {
	evaluate "$@"
	awk -v a="$(field accuracy "$RUN_DIR/$2.log")" 'BEGIN { exit !(a > 0.95) }' ||
		fail "accuracy is $(field accuracy "$RUN_DIR/$2.log")"
}

# table FILTER: of the table, as the server NAME sees it.
table() { # NAME FILTER
	ctl "$1" job show sections | jq -r ".tables[0]$2"
}

# embed_jobs: those of conf/embed.yaml, as JSON
embed_jobs() {
	/usr/bin/python3 -c 'import json, sys, yaml
print(json.dumps(yaml.safe_load(open(sys.argv[1]))["jobs"]))' "$ROOT/conf/embed.yaml"
}

# rows_of NODE FILE: the sums that its snapshots have of all rows, with state and last writes
rows_of() {
	ctl "$1" snapshot now | grep -q sections || fail "snapshot now"
	proc_stop "$1" || fail "$1 did not stop well"
	(cd "$RUN_DIR/$1" && find . -name blocks.safetensors | sort | xargs sha256sum | cut -d ' ' -f 1) >"$2"
	[ -s "$2" ] || fail "$1 has no snapshot"
}
