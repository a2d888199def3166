// SPDX-License-Identifier: BSD-3-Clause
#include "worker_sections.h"

#include "progress.h"
#include "sampler.h"
#include "sections.h"
#include "trainer.h"

#include <gp_client.h>

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TABLE	   0u
#define WORDS_EACH 129u // of a package at most
#define EVAL_BATCH 64u

struct task {
	const struct gw_options *opts;
	struct gw_sections data;
	struct gw_words words;
	struct gw_sampler sampler;
	struct gp_client *client;
	struct gp_client_error failure;
	float *rows; // of a batch
	float *grad;
	float *params; // --dense: all of them, and their gradient
	float *dense_grad;
	uint32_t own_steps;
	double loss;
	uint64_t words_seen; // of all steps
	uint64_t start_ns;
};

static int failed(struct task *t, int rc, struct gw_error *err)
{
	return gw_error_set(err, rc, "%s", t->failure.text[0] ? t->failure.text : strerror(-rc));
}

static size_t dense_floats(const struct task *t)
{
	return ((UINT64_C(1) << t->opts->features_bits) + 1) * GW_SECTIONS_MAX;
}

// ---- opening

static int memory_take(struct task *t, struct gw_error *err)
{
	uint32_t batch = t->opts->mode == GW_EVAL ? EVAL_BATCH : t->opts->batch;
	size_t rows = (size_t)batch * WORDS_EACH * GW_SECTIONS_MAX;
	int rc = gw_words_init(&t->words, t->opts->features_bits, batch * WORDS_EACH, err);

	if (rc)
		return rc;
	t->rows = calloc(rows, sizeof(float));
	t->grad = calloc(rows, sizeof(float));
	if (t->opts->dense) {
		t->params = calloc(dense_floats(t), sizeof(float));
		t->dense_grad = calloc(dense_floats(t), sizeof(float));
	}
	if (t->rows && t->grad && (!t->opts->dense || (t->params && t->dense_grad)))
		return 0;
	return gw_error_set(err, -ENOMEM, "no memory for a batch of %u packages", batch);
}

static int job_join(struct task *t, struct gw_error *err)
{
	const struct gw_options *o = t->opts;
	struct gp_client_opts how = {
		.server = o->server,
		.job = o->job,
		.rank = o->rank,
		.world = o->world,
		.flags = (o->mode == GW_EVAL ? GP_CLIENT_READER : 0u) |
			 (o->replace ? GP_CLIENT_REPLACE : 0u),
		.previous_incarnation = o->previous_incarnation,
		.path_mtu = o->mtu,
		.reconnect_ms = o->reconnect_ms,
		.compress.codec = o->codec == GW_CODEC_BF16  ? GP_CLIENT_BF16
				  : o->codec == GW_CODEC_F16 ? GP_CLIENT_F16
							     : GP_CLIENT_F32,
	};
	struct gp_client_tensor weights = {.name = "weights", .dims_count = 1};
	int rc = gp_client_create(&t->client, &how, &t->failure);

	weights.dims[0] = GW_SECTIONS_MAX;
	if (o->dense) {
		weights.dims_count = 2;
		weights.dims[0] = (UINT64_C(1) << o->features_bits) + 1;
		weights.dims[1] = GW_SECTIONS_MAX;
	}
	if (!rc)
		rc = gp_client_register(t->client, &weights, 1, o->timeout_ms, &t->failure);
	if (!rc && o->dense)
		rc = gp_client_init_params(t->client, &t->params, o->timeout_ms, &t->failure);
	return rc ? failed(t, rc, err) : 0;
}

static int task_open(struct task *t, const struct gw_options *opts, struct gw_error *err)
{
	const struct gw_sampler_opts how = {
		.seed = opts->seed, .world = opts->world, .batch = opts->batch};
	struct gw_sampler_opts all = how;
	int rc;

	*t = (struct task){.opts = opts, .loss = NAN, .start_ns = gw_now_ns()};
	rc = gw_sections_load(&t->data, opts->data, opts->features_bits, err);
	all.samples_count = t->data.train_count;
	if (!rc && opts->mode != GW_EVAL)
		rc = gw_sampler_init(&t->sampler, &all, err);
	if (!rc)
		rc = memory_take(t, err);
	return rc ? rc : job_join(t, err);
}

static void task_close(struct task *t)
{
	gp_client_destroy(t->client);
	gw_sampler_fini(&t->sampler);
	gw_words_free(&t->words);
	gw_sections_free(&t->data);
	free(t->rows);
	free(t->grad);
	free(t->params);
	free(t->dense_grad);
}

// ---- rows of a batch, from the server or from the dense parameters

static void dense_move(struct task *t, bool back)
{
	for (uint32_t i = 0; i < t->words.count; i++) {
		float *row = t->rows + (size_t)i * GW_SECTIONS_MAX;
		size_t at = t->words.ids[i] * GW_SECTIONS_MAX;

		if (back)
			memcpy(t->dense_grad + at, t->grad + (size_t)i * GW_SECTIONS_MAX,
				sizeof(float) * GW_SECTIONS_MAX);
		else
			memcpy(row, t->params + at, sizeof(float) * GW_SECTIONS_MAX);
	}
}

static int rows_get(struct task *t, const uint32_t *packages, uint32_t n)
{
	const struct gp_client_rows rows = {.table = TABLE, .ids = t->words.ids, .values = t->rows};
	struct gp_client_rows all = rows;

	if (!gw_words_gather(&t->words, &t->data, packages, n))
		return -ENOSPC;
	all.count = t->words.count;
	if (!t->opts->dense)
		return gp_client_pull_rows(
			t->client, &all, 1, NULL, t->opts->timeout_ms, &t->failure);
	dense_move(t, false);
	return 0;
}

static int grad_push(struct task *t)
{
	const struct gp_client_rows rows = {
		.table = TABLE, .count = t->words.count, .ids = t->words.ids, .values = t->grad};

	if (!t->opts->dense)
		return gp_client_push_rows(t->client, &rows, 1, &t->failure);
	memset(t->dense_grad, 0, sizeof(float) * dense_floats(t));
	dense_move(t, true);
	return gp_client_push_pull(t->client, 0, t->dense_grad, 1.0f, t->params, &t->failure);
}

// ---- training

static int step_take(struct task *t, uint32_t step)
{
	const struct gw_options *o = t->opts;
	const uint32_t *samples = gw_sampler_batch(&t->sampler, step, o->rank);
	uint32_t packages[GW_TASK_BATCH_MAX], right;
	int rc;

	for (uint32_t i = 0; i < o->batch; i++)
		packages[i] = t->data.train[samples[i]];
	rc = rows_get(t, packages, o->batch);
	if (rc)
		return rc;
	t->loss = gw_sections_gradient(
		&t->data, &t->words, packages, o->batch, t->rows, t->grad, &right);
	t->words_seen += t->words.count;
	rc = grad_push(t);
	if (!rc)
		rc = gp_client_wait(t->client, o->timeout_ms, &t->failure);
	t->own_steps += !rc;
	return rc;
}

static uint32_t steps_end(const struct task *t)
{
	const struct gw_options *o = t->opts;

	if (o->steps)
		return o->steps;
	return o->epochs ? o->epochs * t->sampler.epoch_steps : UINT32_MAX;
}

// Another server, or the same one from a snapshot: what it has of this rank counts. A row is read
// anew before each step anyway.
static int resume(struct task *t, uint32_t *done)
{
	int rc = 0;

	if (t->opts->dense)
		do
			rc = gp_client_init_params(
				t->client, &t->params, t->opts->timeout_ms, &t->failure);
		while (rc == -GP_ROLLED_BACK);
	*done = gp_client_step(t->client) - 1;
	if (!rc && t->opts->progress == GW_PROGRESS_TEXT)
		fprintf(stderr, "gradworker: rank %u goes on behind step %u\n", t->opts->rank,
			*done);
	return rc;
}

static int train(struct task *t)
{
	const struct gw_options *o = t->opts;
	struct gw_progress progress;
	uint32_t end = steps_end(t), done = gp_client_step(t->client) - 1;
	int rc = 0;

	gw_progress_init(&progress, o, done);
	while (!rc && done < end && !gw_stop_wanted(o)) {
		struct gp_client_stats stats;

		rc = step_take(t, done);
		gp_client_stats(t->client, &stats);
		if (rc == -GP_ROLLED_BACK) {
			rc = resume(t, &done);
			gw_progress_fini(&progress);
			gw_progress_init(&progress, o, done);
			continue;
		}
		if (rc)
			break;
		done = gp_client_step(t->client) - 1;
		const struct gw_progress_now now = {
			.step = done,
			.steps_end = end,
			.loss = t->loss,
			.bytes = stats.tx_bytes + stats.rx_bytes,
			.retransmits = stats.retransmits,
		};
		gw_progress_step(&progress, &now);
	}
	gw_progress_fini(&progress);
	return rc;
}

static void report(const struct task *t)
{
	struct gp_client_stats stats;
	double steps = t->own_steps > 0 ? t->own_steps : 1;

	gw_idle_tell(t->opts, t->own_steps, gp_client_step(t->client) - 1);
	gp_client_stats(t->client, &stats);
	printf("gradworker: ok task=sections rank=%u steps=%u loss=%.4f rows_per_step=%.1f "
	       "pushed_per_step=%.0f wire_per_step=%.0f dense_per_step=%.0f retransmits=%" PRIu64
	       " reconnects=%" PRIu64 " wall_s=%.2f\n",
		t->opts->rank, t->own_steps, t->loss, (double)t->words_seen / steps,
		(double)stats.pushed_bytes / steps,
		(double)(stats.tx_bytes + stats.rx_bytes) / steps,
		2.0 * sizeof(float) * (double)dense_floats(t), stats.retransmits, stats.reconnects,
		(double)(gw_now_ns() - t->start_ns) * 1e-9);
}

// ---- evaluation

static int evaluate(struct task *t)
{
	const struct gw_sections *s = &t->data;
	uint32_t right = 0, part;
	double loss = 0;

	if (t->opts->dense) {
		uint32_t generation;
		int rc = gp_client_pull_all(
			t->client, &t->params, &generation, t->opts->timeout_ms, &t->failure);

		if (rc)
			return rc;
	}
	for (uint32_t at = 0; at < s->held_count; at += EVAL_BATCH) {
		uint32_t n = s->held_count - at < EVAL_BATCH ? s->held_count - at : EVAL_BATCH;
		int rc = rows_get(t, s->held + at, n);

		if (rc)
			return rc;
		loss += n *
			gw_sections_gradient(s, &t->words, s->held + at, n, t->rows, NULL, &part);
		right += part;
	}
	printf("gradworker: eval task=sections accuracy=%.4f loss=%.4f held_out=%u packages=%u "
	       "sections=%u\n",
		(double)right / s->held_count, loss / s->held_count, s->held_count, s->count,
		s->classes);
	return 0;
}

int gw_sections_run(const struct gw_options *opts, struct gw_error *err)
{
	struct task t;
	int rc = task_open(&t, opts, err);

	if (!rc) {
		rc = opts->mode == GW_EVAL ? evaluate(&t) : train(&t);
		if (rc)
			failed(&t, rc, err);
		else if (opts->mode != GW_EVAL)
			report(&t);
	}
	task_close(&t);
	return rc;
}
