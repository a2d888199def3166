# SPDX-License-Identifier: BSD-3-Clause
# Of what gradbench e2e printed, slurped: goodput of the slower rank; retransmits of both.
def r(n): . * pow(10; n) | round / pow(10; n);
["case", "loss", "Gbit/s a worker", "least..most", "kept", "block p50", "p99", "p99.9 us", "sent again",
 "step p50", "p99", "p99.9 us", "cores worker", "server"],
(group_by(.case)[] | . as $g | $g[0].levels | keys[] as $i | [$g[].levels[$i]] as $l | ($l | min_by(.gbit_s)) as $s |
 [$g[0].case, "\($s.loss_ppm / 10000) %", ($s.gbit_s | r(3)), "\($s.gbit_s_min | r(3))..\($s.gbit_s_max | r(3))",
  ($s.kept | r(3)), ($s.block_us_p50 | r(1)), ($s.block_us_p99 | r(1)), ($s.block_us_p999 | r(1)),
  ([$l[].retransmits] | add)] +
 if $i == 0 then [($g[0].step_us_p50 | r(1)), ($g[0].step_us_p99 | r(1)), ($g[0].step_us_p999 | r(1)),
  ([$g[].cores] | add / length | r(2)), ($g[0].server_cores | r(2))] else ["", "", "", "", ""] end)
| @tsv
