# SPDX-License-Identifier: BSD-3-Clause
# Of what bench-forward kept, slurped: medians of each driver and peer, and of the rounds' own ratios.
def median: sort | .[length / 2 | floor];
def r(n): . * pow(10; n) | round / pow(10; n);
def row($d; $p; $rows): [$d, $p, ([$rows[].busy_ns] | median | r(1)),
	"\([$rows[].busy_ns] | min | r(1))..\([$rows[].busy_ns] | max | r(1))",
	([$rows[].generator.mpps] | median | r(3)), ([$rows[].generator.empty_polls] | median | r(2)),
	([$rows[].generator.lost] | add)];
["driver", "peer", "busy ns a packet", "least..most", "Mpps each way", "generator idle", "lost"],
(group_by(.driver)[] | .[0].driver as $d | [.[] | select(.peer == "testpmd")] as $t |
 [.[] | select(.peer == "gradplaned")] as $g | row($d; "testpmd"; $t), row($d; "gradplaned"; $g),
 ([range(0; [$t, $g] | map(length) | min) | $t[.].busy_ns / $g[.].busy_ns] | sort |
  [$d, "ratio", (.[length / 2 | floor] | r(2)), "\(.[0] | r(2))..\(.[-1] | r(2))", "wants 0.5",
   (if .[length / 2 | floor] >= 0.5 then "pass" else "missed" end), ""]))
| @tsv
