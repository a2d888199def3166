// SPDX-License-Identifier: BSD-3-Clause
#include "trainer.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TEST_BATCH 250u

static volatile sig_atomic_t stop_signal; // the one thing that a handler may write

static void stop_note(int signal_number)
{
	stop_signal = signal_number;
}

void gw_stop_arm(void)
{
	struct sigaction action = {.sa_handler = stop_note, .sa_flags = (int)SA_RESETHAND};

	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
}

bool gw_stop_wanted(const struct gw_options *opts)
{
	return stop_signal || (opts->stop_path && access(opts->stop_path, F_OK) == 0);
}

uint64_t gw_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint32_t steps_end(const struct gw_trainer *t)
{
	uint64_t steps = (uint64_t)t->opts->epochs * t->sampler.epoch_steps;

	if (t->opts->steps)
		return t->opts->steps;
	return steps && steps < UINT32_MAX ? (uint32_t)steps : UINT32_MAX;
}

int gw_trainer_init(struct gw_trainer *t, const struct gw_options *opts, struct gw_error *err)
{
	struct gw_sampler_opts order = {
		.seed = opts->seed, .world = opts->world, .batch = opts->batch};
	int rc;

	memset(t, 0, sizeof(*t));
	t->opts = opts;
	if (gw_model_init_named(&t->model, opts->model))
		return gw_error_set(err, -EINVAL, "--model: '%s' is unknown", opts->model);
	rc = gw_dataset_load(&t->train, opts->data, "train", err);
	if (rc)
		return rc;
	order.samples_count = t->train.count;
	rc = gw_sampler_init(&t->sampler, &order, err);
	if (rc)
		goto undo;
	t->params = malloc(t->model.params_count * sizeof(float));
	t->gradient = malloc(t->model.params_count * sizeof(float));
	rc = gw_net_init(&t->net, &t->model, opts->batch);
	if (rc || !t->params || !t->gradient) {
		rc = gw_error_set(
			err, -ENOMEM, "no memory for the model at --batch %u", opts->batch);
		goto undo;
	}
	gw_model_initial(&t->model, opts->seed, t->params);
	t->steps_end = steps_end(t);
	t->start_ns = gw_now_ns();
	return 0;
undo:
	gw_trainer_fini(t);
	return rc;
}

void gw_trainer_fini(struct gw_trainer *t)
{
	gw_net_fini(&t->net);
	free(t->params);
	free(t->gradient);
	gw_sampler_fini(&t->sampler);
	gw_dataset_fini(&t->train);
	memset(t, 0, sizeof(*t));
}

void gw_trainer_load(struct gw_trainer *t, uint32_t step, uint32_t rank)
{
	gw_net_load(
		&t->net, &t->train, gw_sampler_batch(&t->sampler, step, rank), t->sampler.batch);
}

static void test_batches(struct gw_net *net, const struct gw_dataset *set, const float *params,
	struct gw_accuracy *result)
{
	uint32_t samples[TEST_BATCH];
	uint32_t correct = 0;
	double loss = 0;

	for (uint32_t at = 0; at < set->count; at += TEST_BATCH) {
		uint32_t count = set->count - at < TEST_BATCH ? set->count - at : TEST_BATCH;
		struct gw_score score;

		for (uint32_t i = 0; i < count; i++)
			samples[i] = at + i;
		gw_net_load(net, set, samples, count);
		score = gw_net_score(net, params);
		correct += score.correct;
		loss += score.loss * count;
	}
	result->accuracy = (double)correct / set->count;
	result->loss = loss / set->count;
}

int gw_trainer_test(const struct gw_options *opts, const struct gw_model *model,
	const float *params, struct gw_accuracy *result, struct gw_error *err)
{
	struct gw_dataset set;
	struct gw_net net;
	int rc = gw_dataset_load(&set, opts->data, "t10k", err);

	if (rc)
		return rc;
	rc = gw_net_init(&net, model, TEST_BATCH);
	if (rc) {
		gw_error_set(err, rc, "no memory to test the model");
		goto free_set;
	}
	test_batches(&net, &set, params, result);
	gw_net_fini(&net);
free_set:
	gw_dataset_fini(&set);
	return rc;
}

int gw_trainer_dump(const struct gw_options *opts, const struct gw_model *model,
	const float *params, struct gw_error *err)
{
	FILE *file;
	size_t written;

	if (!opts->dump_path)
		return 0;
	file = fopen(opts->dump_path, "wb");
	if (!file)
		return gw_error_set(
			err, -EIO, "--dump-params %s: %s", opts->dump_path, strerror(errno));
	written = fwrite(params, sizeof(*params), model->params_count, file);
	if (fclose(file) || written != model->params_count)
		return gw_error_set(err, -EIO, "--dump-params %s: could not be written: %s",
			opts->dump_path, strerror(errno));
	return 0;
}
