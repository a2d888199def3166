# SPDX-License-Identifier: BSD-3-Clause
# Sums a meson testlog.json (one object a line, slurped) to "passed failed skipped".
def synthesis:
	((.stdout // "") + (.stderr // "")) | gsub("\u001b\\[[0-9;]*m"; "")
	| capture("Tested: (?<t>[0-9]+) \\| Passing: (?<p>[0-9]+) \\| Failing: (?<f>[0-9]+) \\| Crashing: (?<c>[0-9]+)")
	| map_values(tonumber);
def row:
	. as $test
	| (.result == "OK" or .result == "EXPECTEDFAIL") as $ok
	| if .result == "SKIP" then [0, 0, 1]
	  else [synthesis] as $s
	  | if ($s | length) == 0 then (if $ok then [1, 0, 0] else [0, 1, 0] end)
	    else ($s[0].f + $s[0].c) as $bad
	    | [$s[0].p, (if $ok then $bad else ([$bad, 1] | max) end), $s[0].t - $s[0].p - $bad]
	    end
	  end;
map(row) | [(map(.[0]) | add // 0), (map(.[1]) | add // 0), (map(.[2]) | add // 0)] | map(tostring)
| join(" ")
