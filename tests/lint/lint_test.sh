#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Plants one violation of each kind in a small tree: scripts/lint must find each and nothing else.
set -euo pipefail

ROOT=$(cd "$(dirname "$0")/../.." && pwd)
LICENCE='SPDX-License-Identifier: BSD-3-Clause'
FAILED=0 TREE=
trap 'rm -rf "$TREE"' EXIT

# A tree that every check accepts.
tree_make() {
	[ -z "$TREE" ] || rm -rf "$TREE"
	TREE=$(mktemp -d)
	mkdir -p "$TREE"/{lib/low,lib/engine,app/gradworker,scripts,build}
	cp "$ROOT/.clang-format" "$ROOT/.clang-tidy" "$TREE"
	printf "# %s\nlibraries = [\n  'low', 'engine',\n]\n" "$LICENCE" >"$TREE/lib/meson.build"
	printf '// %s\n#ifndef LOW_H\n#define LOW_H\n\nint low(int a);\n\n#endif\n' "$LICENCE" \
		>"$TREE/lib/low/gp_low.h"
	printf '// %s\n#ifndef HIGH_H\n#define HIGH_H\n#include <gp_low.h>\n#endif\n' "$LICENCE" \
		>"$TREE/lib/engine/gp_engine.h"
	printf '// %s\n#include <gp_low.h>\n\nint low(int a)\n{\n\treturn a + 1;\n}\n' "$LICENCE" \
		>"$TREE/lib/low/low.c"
	printf '#!/bin/bash\n# %s\nset -euo pipefail\necho fine\n' "$LICENCE" >"$TREE/scripts/run"
	cat >"$TREE/build/compile_commands.json" <<-JSON
		[{"directory": "$TREE/build", "file": "../lib/low/low.c",
		  "command": "cc -I../lib/low -c ../lib/low/low.c"}]
	JSON
}

lint() {
	"$ROOT/scripts/lint" --root "$TREE" --build "$TREE/build" "$@" 2>&1
}

# finds CHECK TEXT: the check fails and its output has TEXT.
finds() {
	local out
	if out=$(lint "$1"); then
		echo "FAIL: $1 accepted: $2"
		FAILED=1
	elif ! grep -qF -- "$2" <<<"$out"; then
		printf 'FAIL: %s did not say "%s" but:\n%s\n' "$1" "$2" "$out"
		FAILED=1
	fi
	tree_make
}

append() { # FILE LINE...
	printf '%s\n' "${@:2}" >>"$TREE/$1"
}

lines() { # COUNT TEXT
	for ((i = 0; i < $1; i++)); do printf '%s\n' "$2"; done
}

tree_make
lint || { echo "FAIL: a clean tree is refused" && FAILED=1; }

append lib/low/low.c 'int   odd(void);'
finds format 'lib/low/low.c:8:4: layout'
append lib/low/low.c 'int big(void)' '{' "$(lines 69 '	;')" '}'
finds size 'function big has 72 lines'
lines 701 '' >>"$TREE/lib/low/low.c"
finds size 'lib/low/low.c:708: file has'
lines 300 '' >>"$TREE/lib/low/gp_low.h"
finds size 'lib/low/gp_low.h:307: file has'
lines 100 : >>"$TREE/scripts/run"
finds size 'scripts/run:104: file has'
append lib/low/low.c '#include <gp_engine.h>'
finds layers 'lib/low/low.c:8: layering: <gp_engine.h>: lib/low is below lib/engine'
for header in rte_mbuf.h urcu/urcu-qsbr.h yaml.h cuda_runtime.h; do
	append lib/low/low.c "#include <$header>"
	finds layers "<$header> belongs to"
done
append app/gradworker/main.c "// $LICENCE" '#include <gp_engine.h>'
finds layers 'app/gradworker does not use lib/engine'
append lib/low/gp_low.h 'size_t forgotten(void);'
finds headers 'header does not compile alone'
sed -i 1d "$TREE/lib/low/low.c"
finds text 'lib/low/low.c:1: no licence line'
sed -i 2d "$TREE/scripts/run"
finds text 'scripts/run:1: no licence line'
append lib/low/low.c '// TO''DO later'
finds text "lib/low/low.c:8:// TO""DO later"
append lib/low/low.c '// rec''ieve'
finds text 'rec''ieve ==>'
append lib/low/low.c 'int a; '
finds text '(trailing blank)'
# shellcheck disable=SC2016
append scripts/run 'rm $unquoted'
finds shell 'SC2086'
sed -i 3d "$TREE/scripts/run"
finds shell 'no set -euo pipefail'
append lib/low/low.c 'int same(int b);' 'int same(int b)' '{' '	if (b)' '		return 1;' '	else' \
	'		return 1;' '}'
finds tidy 'bugprone-branch-clone'

[ "$FAILED" -eq 0 ] && echo "every planted violation was found"
exit "$FAILED"
