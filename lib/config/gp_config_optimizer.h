// SPDX-License-Identifier: BSD-3-Clause
//
// The optimizer of a job in the configuration. Part of gp_config.h, which see.
#ifndef GP_CONFIG_OPTIMIZER_H
#define GP_CONFIG_OPTIMIZER_H

#include <gp_base.h>

enum gp_optimizer {
	GP_OPTIMIZER_SGD,
	GP_OPTIMIZER_MOMENTUM,
	GP_OPTIMIZER_NESTEROV,
	GP_OPTIMIZER_ADAGRAD,
	GP_OPTIMIZER_ADAM,
	GP_OPTIMIZER_ADAMW,
	GP_OPTIMIZER_FTRL,
	GP_OPTIMIZER_ROWWISE_ADAGRAD, // kind embed only
	GP_OPTIMIZER_LAMB,	      // kind train, consistency bsp, atomicity step
	GP_OPTIMIZER_COUNT,
};
enum gp_schedule { GP_SCHEDULE_CONSTANT, GP_SCHEDULE_STEP, GP_SCHEDULE_COSINE };

struct gp_config_optimizer {
	enum gp_optimizer name;
	float lr;
	float momentum; // 0 but for momentum and nesterov
	float weight_decay;
	float beta1;
	float beta2;
	float epsilon;
	float initial_accumulator;
	float ftrl_beta;
	float l1;
	float l2;
	float delay_compensation;
	float clip_norm; // of a step's gradient; 0: none
	enum gp_schedule schedule;
	uint32_t warmup_steps;
	uint32_t schedule_steps;
	float gamma;
	float lr_min;
};

#endif
