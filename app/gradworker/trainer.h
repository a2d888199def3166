// SPDX-License-Identifier: BSD-3-Clause
//
// What every way of running shares: the data, the sample order, the model, its parameters, and when
// to stop. Belongs to the one thread of the program.
#ifndef GW_TRAINER_H
#define GW_TRAINER_H

#include "dataset.h"
#include "model.h"
#include "net.h"
#include "options.h"
#include "sampler.h"

struct gw_trainer {
	const struct gw_options *opts;
	struct gw_model model;
	struct gw_dataset train;
	struct gw_sampler sampler;
	struct gw_net net;
	float *params;
	float *gradient;
	uint32_t steps_end; // train while step < steps_end; UINT32_MAX: until stopped
	uint64_t start_ns;
};

// Loads data and makes the initial parameters of opts->seed. What is made is undone on error.
int gw_trainer_init(struct gw_trainer *t, const struct gw_options *opts, struct gw_error *err);
void gw_trainer_fini(struct gw_trainer *t);

// Loads the samples of `rank` in `step` into the net.
void gw_trainer_load(struct gw_trainer *t, uint32_t step, uint32_t rank);

// Mean loss and share of right answers over the 10,000 test images.
struct gw_accuracy {
	double loss, accuracy;
};
int gw_trainer_test(const struct gw_options *opts, const struct gw_model *model,
	const float *params, struct gw_accuracy *result, struct gw_error *err);

// Writes the parameters to opts->dump_path, if there is one: raw f32, as in registration order.
int gw_trainer_dump(const struct gw_options *opts, const struct gw_model *model,
	const float *params, struct gw_error *err);

// SIGTERM, SIGINT or the stop file: the step in hand is the last. A second signal kills.
void gw_stop_arm(void);
bool gw_stop_wanted(const struct gw_options *opts);

uint64_t gw_now_ns(void); // monotonic

#endif
