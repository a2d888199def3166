// SPDX-License-Identifier: BSD-3-Clause
//
// What an operator does until a node leads: from time to time he says there that the other one is
// off. Of pair_operator.c and pair_both.c.
#ifndef SIM_PAIR_ASK_H
#define SIM_PAIR_ASK_H

#include "pair.h"

// Asks at most once in a while, and only a node that could do it now.
void pair_operator_asks(struct pair_sim *s, struct pair_node *n);

#endif
