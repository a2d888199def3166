// SPDX-License-Identifier: BSD-3-Clause
//
// Which keys of a job go with which consistency, and what they must agree on.
#include "config_priv.h"

#include <stdio.h>

#define BIT(v)	 (1u << (v))
#define BOUNDED	 (BIT(GP_CONSISTENCY_SSP) | BIT(GP_CONSISTENCY_ADAPTIVE))
#define FREE	 (BOUNDED | BIT(GP_CONSISTENCY_ASP)) // each push is committed by itself
#define QUORUM	 BIT(GP_CONSISTENCY_QUORUM)
#define ADAPTIVE BIT(GP_CONSISTENCY_ADAPTIVE)

static const struct {
	const char *path;
	const char *text;
	uint32_t modes;
} keys[] = {
	{"jobs[].staleness", "ssp, asp, quorum and adaptive", FREE | QUORUM},
	{"jobs[].staleness.bound", "ssp and adaptive", BOUNDED},
	{"jobs[].staleness.bound_min", "adaptive", ADAPTIVE},
	{"jobs[].staleness.max", "ssp, asp and adaptive", FREE},
	{"jobs[].staleness.policy", "ssp, asp, quorum and adaptive", FREE | QUORUM},
	{"jobs[].staleness.lr", "ssp, asp and adaptive", FREE},
	{"jobs[].quorum", "quorum", QUORUM},
	{"jobs[].quorum.min", "quorum", QUORUM},
	{"jobs[].quorum.wait", "quorum", QUORUM},
	{"jobs[].optimizer.clip_norm", "bsp and quorum", BIT(GP_CONSISTENCY_BSP) | QUORUM},
	{"jobs[].cuts", "ssp, asp, quorum and adaptive", FREE | QUORUM},
	{"jobs[].cuts.max", "ssp, asp, quorum and adaptive", FREE | QUORUM},
	{"jobs[].cuts.age", "ssp, asp, quorum and adaptive", FREE | QUORUM},
};

bool gp_config_consistency_takes(
	enum gp_consistency v, const struct row *r, char why[GP_CONFIG_WHY_SIZE])
{
	uint32_t i = 0;
	while (i < GP_ARRAY_SIZE(keys) && strcmp(keys[i].path, r->path) != 0)
		i++;
	if (i == GP_ARRAY_SIZE(keys) || (keys[i].modes & BIT(v)))
		return true;
	snprintf(why, GP_CONFIG_WHY_SIZE, "is for consistency %s; this job's is %s", keys[i].text,
		gp_consistency_name(v));
	return false;
}

// What a job of this kind and consistency does where the file says nothing.
static void defaults_set(const struct check *k)
{
	struct gp_config_job *j = k->job;
	bool apart = (FREE & BIT(j->consistency)) != 0;
	if (!gp_config_given(k, "jobs[].atomicity")) {
		bool step = j->kind == GP_JOB_TRAIN || j->consistency == GP_CONSISTENCY_QUORUM;
		j->atomicity = j->kind == GP_JOB_EMBED ? GP_ATOMICITY_STEP
			       : apart		       ? GP_ATOMICITY_BLOCK
			       : step		       ? GP_ATOMICITY_STEP
						       : GP_ATOMICITY_TENSOR;
	}
	if (!gp_config_given(k, "jobs[].deterministic") && j->consistency != GP_CONSISTENCY_BSP)
		j->deterministic = false;
	if (!gp_config_given(k, "jobs[].staleness.bound") &&
		j->consistency == GP_CONSISTENCY_ADAPTIVE)
		j->staleness.bound = GP_CONFIG_BOUND_ADAPTIVE;
}

static int keys_check(const struct check *k)
{
	char why[GP_CONFIG_WHY_SIZE];
	for (uint32_t i = 0; i < gp_config_rows_count; i++) {
		const struct row *r = &gp_config_rows[i];
		bool there = k->l->marks[k->scope][i].line != 0;
		// What the job's kind does not take is refused as such, later.
		if (there && gp_config_embed_takes(k->job->kind, r) &&
			!gp_config_consistency_takes(k->job->consistency, r, why))
			return gp_config_refuse(k->l, k->scope, (int)i, "%.200s", why);
	}
	return 0;
}

static int mode_check(const struct check *k)
{
	const struct gp_config_job *j = k->job;
	const char *name = gp_consistency_name(j->consistency);
	bool apart = (FREE & BIT(j->consistency)) != 0;
	if (apart && j->kind == GP_JOB_REDUCE)
		return REFUSE(k, "jobs[].consistency",
			"%s is for kind train; this job is of kind reduce", name);
	if (apart && j->atomicity == GP_ATOMICITY_TENSOR)
		return REFUSE(k, "jobs[].atomicity",
			"tensor is for consistency bsp; %s takes block or step", name);
	if (j->consistency == GP_CONSISTENCY_QUORUM && j->atomicity != GP_ATOMICITY_STEP)
		return REFUSE(k, "jobs[].atomicity", "%s is not for quorum, which takes step",
			gp_atomicity_name(j->atomicity));
	if (j->consistency != GP_CONSISTENCY_BSP && j->deterministic)
		return REFUSE(k, "jobs[].deterministic",
			"is true, but the result of %s depends on when contributions come", name);
	return 0;
}

static int staleness_check(const struct check *k)
{
	const struct gp_config_staleness *s = &k->job->staleness;
	if (k->job->consistency == GP_CONSISTENCY_ADAPTIVE && s->bound_min > s->bound)
		return REFUSE(k, "jobs[].staleness.bound_min", "%u is more than bound, which is %u",
			s->bound_min, s->bound);
	bool apart = (FREE & BIT(k->job->consistency)) != 0;
	if (apart && s->policy != GP_STALENESS_HOLD && s->max == GP_CONFIG_UNSET)
		return REFUSE(k, "jobs[].staleness.policy",
			"needs staleness.max: from how many steps on it is stale");
	return 0;
}

static int quorum_check(const struct check *k)
{
	const struct gp_config_job *j = k->job;
	if (j->consistency != GP_CONSISTENCY_QUORUM)
		return 0;
	if (j->quorum.min == 0)
		return REFUSE(k, "jobs[].quorum.min",
			"is missing; consistency quorum needs it (allowed: 1..%u)", j->workers);
	if (j->quorum.min > j->workers)
		return REFUSE(k, "jobs[].quorum.min", "%u is more than workers, which is %u",
			j->quorum.min, j->workers);
	if (j->workers_min > j->quorum.min)
		return REFUSE(k, "jobs[].workers_min", "%u is more than quorum.min, which is %u",
			j->workers_min, j->quorum.min);
	return 0;
}

int gp_config_consistency_check(const struct check *k)
{
	static int (*const checks[])(const struct check *k) = {
		keys_check, mode_check, staleness_check, quorum_check};
	const struct gp_config_transport *t = &k->job->transport;
	defaults_set(k);
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(checks); i++) {
		int rc = checks[i](k);
		if (rc != 0)
			return rc;
	}
	if (t->rto_max_us > 0 && t->rto_min_us > t->rto_max_us)
		return REFUSE(k, "jobs[].transport.rto_min",
			"%uus is more than rto_max, which is %uus", t->rto_min_us, t->rto_max_us);
	return 0;
}
