// SPDX-License-Identifier: BSD-3-Clause
//
// The reference: the training of N workers through a server, in one process and without a network.
// It includes and links nothing of the product, so that agreement of the bytes says something. Per
// step: the ranks' gradients, clamped to norm_max block by block where there is one, are summed in
// rank order (the sum starts as a copy of rank 0's), divided by the sum of the weights (each 1),
// and given to the optimizer (optimizer.h).
#ifndef GW_LOCAL_H
#define GW_LOCAL_H

#include "options.h"

// Trains and prints the last line. 0 or -errno with the reason.
int gw_local_run(const struct gw_options *opts, struct gw_error *err);

#endif
