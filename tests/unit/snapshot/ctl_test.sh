#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# gradctl snapshot list, verify, export and restore on a directory, without a server.
# ctl_test.sh GRADCTL MAKE_HISTORY LOAD_TORCH
set -euo pipefail
GRADCTL=$1 MAKE=$2 LOAD_TORCH=$3
DIR=$(mktemp -d /tmp/gp-snapshot-ctl-XXXXXX)
trap 'rm -rf "$DIR"' EXIT

fail() { # TEXT...
	echo "FAILED: $*" >&2
	exit 1
}

ctl() {
	"$GRADCTL" --dir "$DIR/s" snapshot "$@"
}

refused() { # TEXT ARGS...: exit status 1 and this text
	local status=0 text=$1
	shift
	ctl "$@" >"$DIR/out" 2>&1 || status=$?
	[ "$status" = 1 ] || fail "$*: exit status $status: $(<"$DIR/out")"
	grep -qF -- "$text" "$DIR/out" || fail "$*: no '$text' in: $(<"$DIR/out")"
}

mkdir "$DIR/s"
"$MAKE" "$DIR/s" 22 29 0
[ "$(ctl list --json | jq -r '[.snapshots[] | "\(.step)\(.content[:1])\(.depth)"] | join(" ")')" = \
	"29i5 28i4 27i3 26i2 25i1 24f0 23i1 22f0" ] || fail "list: $(ctl list)"
ctl list | grep -qE '^run-1-0000000025 +[0-9]+ +incremental +none +[0-9.]+ KiB +20.*Z +1 +run-1-0000000024$' ||
	fail "list: $(ctl list)"
ctl verify | grep -q '^8 snapshots, 0 wrong$' || fail "verify: $(ctl verify)"
ctl verify 25 | grep -q '^run-1-0000000025: ok$' || fail "verify 25"

ctl export latest "$DIR/plain.safetensors" --states
if /usr/bin/python3 -c 'import torch' 2>/dev/null; then
	/usr/bin/python3 "$LOAD_TORCH" "$DIR/plain.safetensors" 29
	refused "exists: name another file" export 27 "$DIR/plain.safetensors"
	ctl export --force 27 "$DIR/plain.safetensors"
	/usr/bin/python3 "$LOAD_TORCH" "$DIR/plain.safetensors" 27
	! /usr/bin/python3 "$LOAD_TORCH" "$DIR/plain.safetensors" 28 2>/dev/null || fail "it cannot fail"
else
	echo "python3-torch is not installed: exported values are not compared"
fi

printf 'x' | dd of="$DIR/s/run-1-0000000025/params.changed.safetensors" bs=1 seek=140 conv=notrunc 2>/dev/null
refused "params.changed.safetensors: block 2 (tensor fc1.weight, elements 32..47) is damaged" verify 25
refused "run-1-0000000029: WRONG" verify
refused "8 snapshots, 5 wrong" verify
refused "broken chain" export latest "$DIR/none.safetensors"
[ ! -e "$DIR/none.safetensors" ] || fail "a refused export left a file"
refused "is damaged" restore 25
refused "no such snapshot" verify 99
for command in verify list; do
	refused "no snapshot of job none in $DIR/s;" "$command" --job none
done
refused "no snapshot of job none in $DIR/s;" export latest "$DIR/none.safetensors" --job none

ctl restore 23 | grep -q 'goes on from step 23; 6 later' || fail restore
[ "$(ctl list --json | jq -r '[.snapshots[].step] | join(" ")')" = "23 22" ] || fail "after restore"
ctl verify >/dev/null || fail "verify after restore"
exec 9<"$DIR/s"
flock -s 9
refused "a running gradplaned uses it" restore 22
exec 9<&-
"$GRADCTL" snapshot restore "$DIR/s/run-1-0000000022" >/dev/null || fail "restore by path"

mkdir "$DIR/t"
"$MAKE" "$DIR/t" 5 5 0 tables
"$GRADCTL" --dir "$DIR/t" snapshot verify | grep -q '^1 snapshots, 0 wrong$' || fail "verify of tables"
"$GRADCTL" --dir "$DIR/t" snapshot export latest "$DIR/tables.safetensors" --states
if /usr/bin/python3 -c 'import torch' 2>/dev/null; then
	/usr/bin/python3 "$LOAD_TORCH" "$DIR/tables.safetensors" 5 tables
	! /usr/bin/python3 "$LOAD_TORCH" "$DIR/tables.safetensors" 6 tables 2>/dev/null || fail "it cannot fail"
fi
echo ok
