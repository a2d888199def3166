// SPDX-License-Identifier: BSD-3-Clause
//
// Which keys of jobs[].optimizer go with which optimizer, and what they come to.
#include "config_priv.h"

#include <stdio.h>

#define BIT(v)	(1u << (v))
#define EVERY	(BIT(GP_OPTIMIZER_COUNT) - 1)
#define MOMENTA (BIT(GP_OPTIMIZER_MOMENTUM) | BIT(GP_OPTIMIZER_NESTEROV))
#define ADAMS	(BIT(GP_OPTIMIZER_ADAM) | BIT(GP_OPTIMIZER_ADAMW) | BIT(GP_OPTIMIZER_LAMB))
#define FTRL	BIT(GP_OPTIMIZER_FTRL)
#define GRADS	(BIT(GP_OPTIMIZER_ADAGRAD) | BIT(GP_OPTIMIZER_ROWWISE_ADAGRAD))
#define PLANNED (BIT(GP_SCHEDULE_STEP) | BIT(GP_SCHEDULE_COSINE))
#define ALWAYS	(BIT(GP_SCHEDULE_CONSTANT) | PLANNED)

static const struct {
	const char *path;
	const char *optimizers_text;
	const char *schedules_text;
	uint32_t optimizers;
	uint32_t schedules;
} keys[] = {
	{"jobs[].optimizer.momentum", "momentum and nesterov", NULL, MOMENTA, ALWAYS},
	{"jobs[].optimizer.weight_decay", "all but ftrl, which has l2", NULL, EVERY & ~FTRL,
		ALWAYS},
	{"jobs[].optimizer.beta1", "adam, adamw and lamb", NULL, ADAMS, ALWAYS},
	{"jobs[].optimizer.beta2", "adam, adamw and lamb", NULL, ADAMS, ALWAYS},
	{"jobs[].optimizer.epsilon", "adagrad, adam, adamw and lamb", NULL, ADAMS | GRADS, ALWAYS},
	{"jobs[].optimizer.initial_accumulator", "adagrad and ftrl", NULL, FTRL | GRADS, ALWAYS},
	{"jobs[].optimizer.ftrl_beta", "ftrl", NULL, FTRL, ALWAYS},
	{"jobs[].optimizer.l1", "ftrl", NULL, FTRL, ALWAYS},
	{"jobs[].optimizer.l2", "ftrl", NULL, FTRL, ALWAYS},
	{"jobs[].optimizer.schedule", "all but ftrl", NULL, EVERY & ~FTRL, ALWAYS},
	{"jobs[].optimizer.warmup_steps", "all but ftrl", NULL, EVERY & ~FTRL, ALWAYS},
	{"jobs[].optimizer.schedule_steps", "all but ftrl", "step and cosine", EVERY & ~FTRL,
		PLANNED},
	{"jobs[].optimizer.gamma", "all but ftrl", "step", EVERY & ~FTRL, BIT(GP_SCHEDULE_STEP)},
	{"jobs[].optimizer.lr_min", "all but ftrl", "cosine", EVERY & ~FTRL,
		BIT(GP_SCHEDULE_COSINE)},
};

bool gp_config_optimizer_takes(
	const struct gp_config_optimizer *o, const struct row *r, char why[GP_CONFIG_WHY_SIZE])
{
	uint32_t i = 0;
	while (i < GP_ARRAY_SIZE(keys) && strcmp(keys[i].path, r->path) != 0)
		i++;
	if (i == GP_ARRAY_SIZE(keys))
		return true;
	if (!(keys[i].optimizers & BIT(o->name))) {
		snprintf(why, GP_CONFIG_WHY_SIZE, "is for %s; the optimizer is %s",
			keys[i].optimizers_text, gp_optimizer_name(o->name));
		return false;
	}
	if (!(keys[i].schedules & BIT(o->schedule))) {
		snprintf(why, GP_CONFIG_WHY_SIZE, "is for the schedule %s; the schedule is %s",
			keys[i].schedules_text, gp_schedule_name(o->schedule));
		return false;
	}
	return true;
}

int gp_config_whole_check(const struct check *k)
{
	const struct gp_config_job *j = k->job;
	if (j->kind == GP_JOB_REDUCE)
		return 0;
	bool lamb = j->optimizer.name == GP_OPTIMIZER_LAMB;
	const char *path = lamb ? "jobs[].optimizer.name" : "jobs[].optimizer.clip_norm";
	const char *what = lamb ? "lamb" : "a limit";
	if (!lamb && j->optimizer.clip_norm == 0)
		return 0;
	if (j->kind != GP_JOB_TRAIN)
		return REFUSE(k, path, "%s is for kind train; this job is of kind %s", what,
			gp_job_kind_name(j->kind));
	bool meet = j->consistency == GP_CONSISTENCY_BSP ||
		    (j->consistency == GP_CONSISTENCY_QUORUM && !lamb);
	if (!meet)
		return REFUSE(k, path, "%s is for consistency bsp%s; this job's is %s", what,
			lamb ? "" : " and quorum", gp_consistency_name(j->consistency));
	if (j->atomicity != GP_ATOMICITY_STEP)
		return REFUSE(k, path, "%s is for atomicity step; this job's is %s", what,
			gp_atomicity_name(j->atomicity));
	return 0;
}

bool gp_config_is_whole(const struct gp_config_job *j)
{
	return j->kind == GP_JOB_TRAIN &&
	       (j->optimizer.clip_norm > 0 || j->optimizer.name == GP_OPTIMIZER_LAMB);
}

struct gp_optim_params gp_config_optim(const struct gp_config_optimizer *o)
{
	static const enum gp_optim_kind kinds[] = {[GP_OPTIMIZER_SGD] = GP_OPTIM_SGD,
		[GP_OPTIMIZER_MOMENTUM] = GP_OPTIM_MOMENTUM,
		[GP_OPTIMIZER_NESTEROV] = GP_OPTIM_NESTEROV,
		[GP_OPTIMIZER_ADAGRAD] = GP_OPTIM_ADAGRAD,
		[GP_OPTIMIZER_ADAM] = GP_OPTIM_ADAM,
		[GP_OPTIMIZER_ADAMW] = GP_OPTIM_ADAMW,
		[GP_OPTIMIZER_FTRL] = GP_OPTIM_FTRL,
		[GP_OPTIMIZER_ROWWISE_ADAGRAD] = GP_OPTIM_ROWWISE_ADAGRAD,
		[GP_OPTIMIZER_LAMB] = GP_OPTIM_LAMB};
	static const enum gp_optim_schedule_kind schedules[] = {
		[GP_SCHEDULE_CONSTANT] = GP_OPTIM_CONSTANT,
		[GP_SCHEDULE_STEP] = GP_OPTIM_STEP,
		[GP_SCHEDULE_COSINE] = GP_OPTIM_COSINE};
	GP_ASSERT(o->name < GP_ARRAY_SIZE(kinds) && o->schedule < GP_ARRAY_SIZE(schedules));
	return (struct gp_optim_params){.kind = kinds[o->name],
		.lr = o->lr,
		.momentum = o->momentum,
		.weight_decay = o->weight_decay,
		.beta1 = o->beta1,
		.beta2 = o->beta2,
		.epsilon = o->epsilon,
		.initial_accumulator = o->initial_accumulator,
		.ftrl_beta = o->ftrl_beta,
		.l1 = o->l1,
		.l2 = o->l2,
		.delay_compensation = o->delay_compensation,
		.schedule = {.kind = schedules[o->schedule],
			.warmup_steps = o->warmup_steps,
			.steps = o->schedule_steps,
			.gamma = o->gamma,
			.lr_min = o->lr_min}};
}
