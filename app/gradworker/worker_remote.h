// SPDX-License-Identifier: BSD-3-Clause
//
// A worker, or a reader, of a job on a gradplane server. The only file of the program that knows
// libgradplane.
#ifndef GW_WORKER_REMOTE_H
#define GW_WORKER_REMOTE_H

#include "options.h"

// Trains with the server until the last step or until asked to stop, and prints the last line.
int gw_remote_train(const struct gw_options *opts, struct gw_error *err);
// Pulls the newest parameters, measures their accuracy, and prints the last line.
int gw_remote_eval(const struct gw_options *opts, struct gw_error *err);

#endif
