#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# --check-config proves that every configuration in conf/ fits, and names the place of each mistake.
set -euo pipefail
. "$(dirname "$0")/_init.sh"

RUN_DIR=$(mktemp -d --suffix ".$GP_RUN")
trap smoke_cleanup EXIT
cd "$RUN_DIR"

# check FILE: sets STATUS, output in out.log
check() {
	STATUS=0
	"$GRADPLANED" --check-config "$1" >out.log 2>&1 || STATUS=$?
}

# mistake NAME SED REGEX: primary.yaml after SED is refused with such a line
mistake() {
	sed -E "$2" "$ROOT/conf/primary.yaml" >bad.yaml
	! cmp -s "$ROOT/conf/primary.yaml" bad.yaml || fail "$1: sed changed nothing"
	check bad.yaml
	expect "$1: exit status" 2 "$STATUS"
	grep -qE "$3" out.log || fail "$1: expected '$3', saw: $(<out.log)"
	grep -E "$3" out.log
}

for file in "$ROOT"/conf/*.yaml; do
	check "$file"
	[ "$STATUS" = 0 ] || fail "$file: $(<out.log)"
	[ "${file##*/}" != witness.yaml ] || continue # it has no port
	grep -qi 'windows' out.log || fail "$file: no proof of the windows"
	grep -q 'udp_port: 9700' out.log || fail "$file: no effective configuration"
done

at='bad\.yaml:[0-9]+:[0-9]+: '
mistake "unknown key" 's/^  burst:.*//; s/^  count: 2/  cuont: 2/' "$at.*cores\.cuont.*(cores\.)?count"
mistake "key twice" 's/^  count: 2/  count: 2\n  count: 3/' "$at.*cores\.count"
mistake "wrong type" 's/^  count: 2/  count: many/' "$at.*cores\.count.*many"
mistake "a list" 's/^  count: 2/  count: [1, 2]/' "$at.*cores\.count"
mistake "out of range" 's/^  count: 2/  count: 33/' "${at}cores\.count: 33 is out of range 1\.\.32"
mistake "in a list" 's/^    workers: 2/    workers: 0/' "$at.*jobs\[0\]\.workers: 0 is out of range 1\.\.256"
mistake "unknown word" 's/driver: tap/driver: tapp/' "$at.*port\.driver.*tap"
mistake "missing" 's/^  insecure: true//' 'bad\.yaml:.*node\.insecure'
mistake "not YAML" 's/^port:/port: [/' "$at"
mistake "too many windows" 's/window: 64/window: 1024/' 'FAIL +windows on one receive queue: needs 4096'
mistake "too little memory" 's/memory: 192MiB/memory: 32MiB/' 'FAIL +memory of packet buffers'
mistake "jumbo frames on a tap" 's/mtu: 1500/mtu: 9000/' 'FAIL +MTU of the port: needs 9000'
mistake "odd slots" 's/slots: 128/slots: 100/' "$at.*slots.*power of two"

check /nonexistent.yaml
expect "no file: exit status" 2 "$STATUS"
grep -q '/nonexistent.yaml' out.log || fail "no file: $(<out.log)"
smoke_end
