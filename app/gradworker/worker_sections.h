// SPDX-License-Identifier: BSD-3-Clause
//
// The task `sections` over the network: rows of the table `weights` of an embed job, or with
// --dense the tensor `weights` of a train job, which is what the rows are measured against.
#ifndef GW_WORKER_SECTIONS_H
#define GW_WORKER_SECTIONS_H

#include "options.h"

// Trains as one rank, or with --eval reads and tells the accuracy on the packages held out. The
// last line on stdout says how it ended; a failure's text is in `err`.
int gw_sections_run(const struct gw_options *opts, struct gw_error *err);

#endif
