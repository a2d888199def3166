// SPDX-License-Identifier: BSD-3-Clause
#include "local.h"

#include "digest.h"
#include "progress.h"
#include "trainer.h"
#include "views.h"
#include "whole_step.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct local {
	struct gw_trainer trainer;
	float *sum;
	float *state;
	uint32_t step;
	double loss; // mean over the ranks, of the last step
	struct gw_views views;
	struct gw_view all; // without a record: every rank, all elements
	struct gw_span whole;
};

static int local_views(struct local *l, const struct gw_options *opts, struct gw_error *err)
{
	struct gw_trainer *t = &l->trainer;
	int rc;

	l->whole.count = t->model.params_count;
	l->all.spans = &l->whole;
	l->all.spans_count = 1;
	l->all.ranks_count = opts->world;
	memset(l->all.has, true, opts->world);
	if (!opts->views_path)
		return 0;
	rc = gw_views_load(&l->views, opts->views_path, &t->model, opts->world, err);
	if (rc)
		return rc;
	if (t->steps_end == UINT32_MAX)
		t->steps_end = l->views.steps_end;
	if (t->steps_end <= l->views.steps_end)
		return 0;
	return gw_error_set(err, -EINVAL, "--views %s: the record ends at step %u, not at %u",
		opts->views_path, l->views.steps_end, t->steps_end);
}

static int local_init(struct local *l, const struct gw_options *opts, struct gw_error *err)
{
	size_t count;
	int rc;

	memset(l, 0, sizeof(*l));
	l->loss = NAN; // until there was a step
	rc = gw_trainer_init(&l->trainer, opts, err);
	if (rc)
		return rc;
	count = l->trainer.model.params_count;
	l->sum = malloc(count * sizeof(float));
	l->state = malloc(GW_STATES_MAX * count * sizeof(float));
	if (!l->sum || !l->state)
		return gw_error_set(err, -ENOMEM, "no memory for the optimizer");
	gw_optimizer_begin(&opts->optimizer, l->state, count);
	return local_views(l, opts, err);
}

static void local_fini(struct local *l)
{
	gw_views_fini(&l->views);
	free(l->sum);
	free(l->state);
	gw_trainer_fini(&l->trainer);
}

// Adds a rank's gradient where it counts; the lowest rank of a view begins the sum.
static void view_add(struct local *l, const struct gw_view *view, uint32_t rank)
{
	const float *gradient = l->trainer.gradient;
	bool begins = true;

	for (uint32_t lower = 0; lower < rank; lower++)
		begins &= !view->has[lower];
	for (uint32_t s = 0; view->has[rank] && s < view->spans_count; s++) {
		const struct gw_span *span = &view->spans[s];

		if (begins)
			memcpy(l->sum + span->at, gradient + span->at, span->count * sizeof(float));
		for (size_t i = span->at; !begins && i < span->at + span->count; i++)
			l->sum[i] += gradient[i];
	}
}

// As the server does it: block by block of every tensor.
static void gradient_clamp(struct local *l)
{
	const struct gw_options *opts = l->trainer.opts;
	const struct gw_model *m = &l->trainer.model;

	for (uint32_t t = 0; t < m->tensors_count; t++) {
		const struct gw_tensor *tensor = &m->tensors[t];

		for (size_t i = 0; i < tensor->count; i += opts->block) {
			size_t left = tensor->count - i;

			gw_clamp(l->trainer.gradient + tensor->at + i,
				left < opts->block ? left : opts->block, opts->norm_max);
		}
	}
}

static void rank_add(struct local *l, const struct gw_view *views, uint32_t count, uint32_t rank)
{
	struct gw_trainer *t = &l->trainer;
	bool counts = false;
	double loss;

	for (uint32_t v = 0; v < count; v++)
		counts |= views[v].has[rank];
	if (!counts)
		return;
	gw_trainer_load(t, l->step, rank);
	// Without hooks nothing can end it early.
	gw_net_gradient(&t->net, t->params, t->gradient, &loss, NULL);
	if (t->opts->norm_max > 0)
		gradient_clamp(l);
	for (uint32_t v = 0; v < count; v++)
		view_add(l, &views[v], rank);
	if (views[0].has[rank])
		l->loss += loss / views[0].ranks_count;
}

static void whole_apply(struct local *l, const struct gw_view *view)
{
	struct gw_trainer *t = &l->trainer;
	struct gw_run tensors[GW_TENSORS_MAX];
	struct gw_whole w = {.tensors = tensors,
		.tensors_count = t->model.tensors_count,
		.block = t->opts->block,
		.params = t->params,
		.state = l->state,
		.grad = l->sum,
		.count = t->model.params_count,
		.weight = (float)view->ranks_count,
		.step = l->step + 1};

	for (size_t i = 0; i < w.tensors_count; i++)
		tensors[i] = (struct gw_run){t->model.tensors[i].at, t->model.tensors[i].count};
	gw_whole_apply(&t->opts->optimizer, &w);
}

static void spans_apply(struct local *l, const struct gw_view *views, uint32_t count)
{
	struct gw_trainer *t = &l->trainer;

	for (uint32_t v = 0; v < count; v++)
		for (uint32_t s = 0; s < views[v].spans_count; s++) {
			const struct gw_update u = {.params = t->params,
				.state = l->state,
				.sum = l->sum,
				.count = t->model.params_count,
				.at = views[v].spans[s].at,
				.span = views[v].spans[s].count,
				.weight = (float)views[v].ranks_count,
				.step = l->step + 1};

			gw_optimizer_apply(&t->opts->optimizer, &u);
		}
}

static void local_step(struct local *l)
{
	struct gw_trainer *t = &l->trainer;
	const struct gw_view *views = &l->all;
	uint32_t count = 1;

	if (t->opts->views_path) // the server counts the initial parameters as step 0
		views = gw_views_find(&l->views, l->step + 1, &count);
	l->loss = 0;
	for (uint32_t rank = 0; rank < t->opts->world; rank++)
		rank_add(l, views, count, rank);
	if (gw_is_whole(&t->opts->optimizer)) // of atomicity step: the view of one is that of all
		whole_apply(l, &views[0]);
	else
		spans_apply(l, views, count);
	l->step++;
}

static void local_train(struct local *l)
{
	struct gw_progress progress;

	gw_progress_init(&progress, l->trainer.opts, 0);
	while (l->step < l->trainer.steps_end && !gw_stop_wanted(l->trainer.opts)) {
		struct gw_progress_now now;

		local_step(l);
		now = (struct gw_progress_now){
			.step = l->step, .steps_end = l->trainer.steps_end, .loss = l->loss};
		gw_progress_step(&progress, &now);
	}
	gw_progress_fini(&progress);
}

static int local_report(struct local *l, struct gw_error *err)
{
	const struct gw_trainer *t = &l->trainer;
	double wall_s = (double)(gw_now_ns() - t->start_ns) * 1e-9;
	char accuracy[32] = "";
	int rc = gw_trainer_dump(t->opts, &t->model, t->params, err);

	if (!rc && t->opts->score) {
		struct gw_accuracy result;

		rc = gw_trainer_test(t->opts, &t->model, t->params, &result, err);
		snprintf(accuracy, sizeof(accuracy), " accuracy=%.4f", rc ? 0 : result.accuracy);
	}
	if (rc)
		return rc;
	printf("gradworker: ok local world=%u steps=%u step=%u loss=%.6f%s digest=%016llx "
	       "wall_s=%.2f\n",
		t->opts->world, l->step, l->step, l->loss, accuracy,
		(unsigned long long)gw_digest(t->params, t->model.params_count), wall_s);
	return 0;
}

int gw_local_run(const struct gw_options *opts, struct gw_error *err)
{
	struct local l;
	int rc = local_init(&l, opts, err);

	if (!rc) {
		local_train(&l);
		rc = local_report(&l, err);
	}
	local_fini(&l);
	return rc;
}
