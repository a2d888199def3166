# SPDX-License-Identifier: BSD-3-Clause
# Of what gradbench e2e printed, slurped: the goals that one run can judge.
["goal", "wants", "measured", "verdict"],
(group_by(.case)[] | .[0].case as $c | [.[].levels[]] | group_by(.loss_ppm)[] | min_by(.kept) | . as $l |
 ({"1000": 0.9, "10000": 0.6}[$l.loss_ppm | tostring]) as $wants | select($wants) |
 ["\($c): goodput kept at \($l.loss_ppm / 10000) % loss", $wants, ($l.kept * 100 | round / 100),
  (if $l.kept >= $wants then "pass" else "\($l.kept / $wants * 100 | round) % of it" end)])
| @tsv
