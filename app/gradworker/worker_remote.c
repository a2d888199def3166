// SPDX-License-Identifier: BSD-3-Clause
#include "worker_remote.h"

#include "digest.h"
#include "progress.h"
#include "trainer.h"

#include <gp_client.h>

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// The server counts the initial parameters as step 0, so gradients begin with step 1: after step s,
// s batches of each rank have been used.
#define STEP_FIRST 1u

struct remote {
	struct gw_trainer trainer;
	struct gp_client *client;
	struct gp_client_error failure;
	uint32_t done;	   // steps that the parameters contain
	uint32_t own_done; // of these, taken by this process
	uint64_t codecs;   // of all tensors, folded
	uint64_t residuals_lost;
	uint64_t takeovers; // told of
	double loss;
};

static int failure_report(const struct gp_client_error *failure, int rc, struct gw_error *err)
{
	return gw_error_set(err, rc, "%s", failure->text[0] ? failure->text : strerror(-rc));
}

static int stop_asked(void *opts)
{
	return gw_stop_wanted(opts);
}

static int client_open(
	struct gp_client **client, const struct gw_options *opts, struct gp_client_error *failure)
{
	static const enum gp_client_codec codecs[] = {
		[GW_CODEC_SERVER] = 0,
		[GW_CODEC_F32] = GP_CLIENT_F32,
		[GW_CODEC_BF16] = GP_CLIENT_BF16,
		[GW_CODEC_F16] = GP_CLIENT_F16,
		[GW_CODEC_INT8] = GP_CLIENT_INT8,
		[GW_CODEC_SIGN] = GP_CLIENT_SIGN,
		[GW_CODEC_TOPK] = GP_CLIENT_TOPK,
		[GW_CODEC_TOPK_BF16] = GP_CLIENT_TOPK_BF16,
		[GW_CODEC_TOPK_F16] = GP_CLIENT_TOPK_F16,
		[GW_CODEC_AUTO] = GP_CLIENT_AUTO,
	};
	struct gp_client_opts how = {
		.server = opts->server,
		.job = opts->job,
		.rank = opts->rank,
		.world = opts->world,
		.flags = (opts->mode == GW_EVAL ? GP_CLIENT_READER : 0u) |
			 (opts->replace ? GP_CLIENT_REPLACE : 0u) |
			 (opts->changed ? GP_CLIENT_CHANGED : 0u),
		.results = codecs[opts->results],
		.previous_incarnation = opts->previous_incarnation,
		.path_mtu = opts->mtu,
		.reconnect_ms = opts->reconnect_ms,
		.compress = {.codec = codecs[opts->codec],
			.topk_ratio = opts->topk_ratio,
			.topk_count = opts->topk_count,
			.topk_sampled = opts->topk_sampled,
			.topk_warmup_steps = opts->topk_warmup,
			.topk_momentum = opts->topk_momentum},
		.transport = opts->transport,
		.stop_wanted = stop_asked,
		.stop_arg = (void *)(uintptr_t)opts,
	};

	return gp_client_create(client, &how, failure);
}

// Forward order is the order in which the next step needs the parameters.
static int tensors_register(struct gp_client *client, const struct gw_model *model,
	uint32_t timeout_ms, struct gp_client_error *failure)
{
	struct gp_client_tensor tensors[GW_TENSORS_MAX] = {0};

	for (uint32_t i = 0; i < model->tensors_count; i++) {
		const struct gw_tensor *from = &model->tensors[i];

		snprintf(tensors[i].name, sizeof(tensors[i].name), "%s", from->name);
		tensors[i].dims_count = from->dims_count;
		for (uint32_t d = 0; d < from->dims_count; d++)
			tensors[i].dims[d] = from->dims[d];
		tensors[i].priority = i;
	}
	return gp_client_register(client, tensors, model->tensors_count, timeout_ms, failure);
}

static void tensor_pointers(const struct gw_model *model, float *params, float **pointers)
{
	for (uint32_t i = 0; i < model->tensors_count; i++)
		pointers[i] = params + model->tensors[i].at;
}

static int remote_open(struct remote *r, const struct gw_options *opts, struct gw_error *err)
{
	struct gw_trainer *t = &r->trainer;
	float *params[GW_TENSORS_MAX];
	int rc;

	memset(r, 0, sizeof(*r));
	r->loss = NAN; // until there was a step
	rc = gw_trainer_init(t, opts, err);
	if (rc)
		return rc;
	rc = client_open(&r->client, opts, &r->failure);
	if (!rc)
		rc = tensors_register(r->client, &t->model, opts->timeout_ms, &r->failure);
	tensor_pointers(&t->model, t->params, params);
	if (!rc)
		rc = gp_client_init_params(r->client, params, opts->timeout_ms, &r->failure);
	if (rc)
		return failure_report(&r->failure, rc, err);
	r->done = gp_client_step(r->client) - STEP_FIRST;
	if (opts->progress == GW_PROGRESS_TEXT)
		fprintf(stderr,
			"gradworker: rank %u of %u in job %s, incarnation 0x%016" PRIx64
			", %u steps done\n",
			opts->rank, opts->world, opts->job, gp_client_incarnation(r->client),
			r->done);
	return 0;
}

static void remote_close(struct remote *r)
{
	gp_client_destroy(r->client);
	gw_trainer_fini(&r->trainer);
}

// Both tensors of a layer go out as soon as their gradients exist; the results may overwrite the
// layer's parameters, which this step does not read again.
static int layer_send(void *ctx, uint32_t layer)
{
	struct remote *r = ctx;
	struct gw_trainer *t = &r->trainer;

	for (uint32_t i = 2 * layer; i <= 2 * layer + 1; i++) {
		size_t at = t->model.tensors[i].at;
		int rc = gp_client_push_pull(
			r->client, i, t->gradient + at, 1.0f, t->params + at, &r->failure);

		if (rc)
			return rc;
	}
	return 0;
}

static int io_do(void *ctx)
{
	struct remote *r = ctx;

	return gp_client_poll(r->client, &r->failure);
}

// The worker is slow, not silent.
static int delay(struct remote *r)
{
	const struct timespec nap = {.tv_nsec = 1000000};
	uint64_t end = gw_now_ns() + r->trainer.opts->delay_ms * UINT64_C(1000000);
	int rc = 0;

	while (!rc && gw_now_ns() < end) {
		nanosleep(&nap, NULL);
		rc = io_do(r);
	}
	return rc;
}

static int remote_step(struct remote *r)
{
	struct gw_trainer *t = &r->trainer;
	const struct gw_net_hooks hooks = {.ready = layer_send, .pause = io_do, .ctx = r};
	int rc;

	gw_trainer_load(t, r->done, t->opts->rank);
	rc = delay(r);
	if (!rc)
		rc = gw_net_gradient(&t->net, t->params, t->gradient, &r->loss, &hooks);
	if (!rc)
		rc = gp_client_wait(r->client, t->opts->timeout_ms, &r->failure);
	if (rc)
		return rc;
	r->done = gp_client_step(r->client) - STEP_FIRST;
	r->own_done++;
	return 0;
}

// Which codec each tensor has: what is chosen by bandwidth is in the log of the run.
static void codecs_tell(const struct remote *r)
{
	static const char *const names[] = {
		"", "f32", "bf16", "topk", "f16", "int8", "sign", "topk_bf16", "topk_f16"};
	const struct gw_trainer *t = &r->trainer;
	char text[256];
	size_t at = 0;

	text[0] = '\0';
	for (uint32_t i = 0; i < t->model.tensors_count && at < sizeof(text); i++) {
		struct gp_client_codec_state s;

		if (gp_client_codec(r->client, i, &s) || s.codec >= sizeof(names) / sizeof(*names))
			continue;
		at += (size_t)snprintf(text + at, sizeof(text) - at, " %s=%s%s",
			t->model.tensors[i].name, names[s.codec], s.automatic ? " (auto)" : "");
	}
	fprintf(stderr, "gradworker: rank %u, codecs:%s\n", t->opts->rank, text);
}

// The rank's codecs may follow the bandwidth that the first steps measure.
static void codecs_watch(struct remote *r)
{
	struct gp_client_codec_state s;
	uint64_t now = 0;

	if (r->trainer.opts->progress != GW_PROGRESS_TEXT)
		return;
	for (uint32_t i = 0; i < r->trainer.model.tensors_count; i++)
		if (gp_client_codec(r->client, i, &s) == 0)
			now = now * 31 + s.codec;
	if (now != r->codecs)
		codecs_tell(r);
	r->codecs = now;
}

// Another server leads now, or the same one from a snapshot: what it has counts.
static int remote_resume(struct remote *r)
{
	struct gw_trainer *t = &r->trainer;
	struct gp_client_stats stats;
	float *params[GW_TENSORS_MAX];
	int rc;

	tensor_pointers(&t->model, t->params, params);
	do
		rc = gp_client_init_params(r->client, params, t->opts->timeout_ms, &r->failure);
	while (rc == -GP_ROLLED_BACK);
	if (rc)
		return rc;
	r->done = gp_client_step(r->client) - STEP_FIRST;
	if (t->opts->progress == GW_PROGRESS_TEXT)
		fprintf(stderr,
			"gradworker: rank %u goes on behind step %u, incarnation 0x%016" PRIx64
			"\n",
			t->opts->rank, r->done, gp_client_incarnation(r->client));
	gp_client_stats(r->client, &stats);
	if (stats.residuals_lost > r->residuals_lost)
		fprintf(stderr,
			"gradworker: rank %u: what error feedback had kept back is lost, the "
			"codecs begin with zeros\n",
			t->opts->rank);
	r->residuals_lost = stats.residuals_lost;
	return 0;
}

// Nothing was lost: who runs it wants to know nevertheless.
static void takeovers_tell(struct remote *r, const struct gp_client_stats *stats, uint32_t step)
{
	if (stats->takeovers > r->takeovers && r->trainer.opts->progress == GW_PROGRESS_TEXT)
		fprintf(stderr,
			"gradworker: rank %u joined again at %s, epoch %u, goes on with step %u\n",
			r->trainer.opts->rank, gp_client_server(r->client),
			gp_client_epoch(r->client), step);
	r->takeovers = stats->takeovers;
}

static int remote_train(struct remote *r)
{
	const struct gw_options *opts = r->trainer.opts;
	struct gw_progress progress;
	int rc = 0;

	gw_progress_init(&progress, opts, r->done);
	while (!rc && r->done < r->trainer.steps_end && !gw_stop_wanted(opts)) {
		struct gw_progress_now now;
		struct gp_client_stats stats;
		uint32_t step = gp_client_step(r->client);

		codecs_watch(r);
		rc = remote_step(r);
		if (rc == -GP_ROLLED_BACK) {
			rc = remote_resume(r);
			gw_progress_fini(&progress);
			gw_progress_init(&progress, opts, r->done);
		}
		gp_client_stats(r->client, &stats);
		takeovers_tell(r, &stats, step);
		now = (struct gw_progress_now){
			.step = r->done,
			.steps_end = r->trainer.steps_end,
			.loss = r->loss,
			.bytes = stats.tx_bytes + stats.rx_bytes,
			.retransmits = stats.retransmits,
		};
		if (!rc)
			gw_progress_step(&progress, &now);
	}
	gw_progress_fini(&progress);
	return rc;
}

static int remote_report(struct remote *r, struct gw_error *err)
{
	gw_idle_tell(r->trainer.opts, r->own_done, r->done);
	const struct gw_trainer *t = &r->trainer;
	double wall_s = (double)(gw_now_ns() - t->start_ns) * 1e-9;
	struct gp_client_stats stats;
	int rc = gw_trainer_dump(t->opts, &t->model, t->params, err);

	if (rc)
		return rc;
	gp_client_stats(r->client, &stats);
	printf("gradworker: ok rank=%u steps=%u step=%u loss=%.6f pushed_mb=%.1f "
	       "pushed_bytes=%" PRIu64 " tx_bytes=%" PRIu64 " rx_bytes=%" PRIu64
	       " retransmits=%" PRIu64 " reconnects=%" PRIu64 " takeovers=%" PRIu64
	       " digest=%016" PRIx64 " wall_s=%.2f\n",
		t->opts->rank, r->own_done, r->done, r->loss, (double)stats.pushed_bytes * 1e-6,
		stats.pushed_bytes, stats.tx_bytes, stats.rx_bytes, stats.retransmits,
		stats.reconnects, stats.takeovers, gw_digest(t->params, t->model.params_count),
		wall_s);
	return 0;
}

int gw_remote_train(const struct gw_options *opts, struct gw_error *err)
{
	struct remote r;
	int rc = remote_open(&r, opts, err);

	if (!rc) {
		rc = remote_train(&r);
		if (rc)
			failure_report(&r.failure, rc, err);
		else
			rc = remote_report(&r, err);
	}
	remote_close(&r);
	return rc;
}

// The server names the tensor; what to do about it only its user knows.
static int model_refused(
	const struct gw_options *opts, const struct gp_client_error *failure, struct gw_error *err)
{
	return gw_error_set(err, -EINVAL,
		"%.300s: the job is of another model than --model %s: give the one that its "
		"workers have",
		failure->text, opts->model);
}

// One generation of all tensors, into `params`.
static int newest_pull(const struct gw_options *opts, const struct gw_model *model, float *params,
	uint32_t *generation, struct gw_error *err)
{
	struct gp_client_error failure = {0};
	struct gp_client *client = NULL;
	float *pointers[GW_TENSORS_MAX];
	int rc = client_open(&client, opts, &failure);

	tensor_pointers(model, params, pointers);
	if (!rc)
		rc = tensors_register(client, model, opts->timeout_ms, &failure);
	bool other_model = rc == -EINVAL && client;
	if (!rc)
		rc = gp_client_pull_all(client, pointers, generation, opts->timeout_ms, &failure);
	gp_client_destroy(client);
	if (other_model)
		return model_refused(opts, &failure, err);
	return rc ? failure_report(&failure, rc, err) : 0;
}

int gw_remote_eval(const struct gw_options *opts, struct gw_error *err)
{
	struct gw_model model;
	struct gw_accuracy result;
	uint32_t generation = 0;
	float *params;
	int rc;

	if (gw_model_init_named(&model, opts->model))
		return gw_error_set(err, -EINVAL, "--model: '%s' is unknown", opts->model);
	params = calloc(model.params_count, sizeof(*params));
	if (!params)
		return gw_error_set(err, -ENOMEM, "no memory for the parameters");
	rc = newest_pull(opts, &model, params, &generation, err);
	if (!rc)
		rc = gw_trainer_test(opts, &model, params, &result, err);
	if (!rc)
		rc = gw_trainer_dump(opts, &model, params, err);
	if (!rc)
		printf("gradworker: eval accuracy=%.4f loss=%.6f step=%u digest=%016" PRIx64 "\n",
			result.accuracy, result.loss, generation,
			gw_digest(params, model.params_count));
	free(params);
	return rc;
}
