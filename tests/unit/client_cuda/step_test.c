// SPDX-License-Identifier: BSD-3-Clause
//
// A training whose tensors lie on a device, against a real server: the parameters are those of a
// client that encodes by itself. The device is one in host memory, and that of CUDA where there is
// one.
#include "host_device.h"
#include "server.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define TENSORS 3 // one more than slots
#define ELEMS	(700 + 40 + 1500)
#define STEPS	5
#define LONG_MS 10000

static const struct gp_client_tensor model[TENSORS] = {
	{.name = "a", .dims_count = 1, .dims = {700}},
	{.name = "b", .dims_count = 1, .dims = {40}, .priority = 1},
	{.name = "c", .dims_count = 1, .dims = {1500}, .priority = 2},
};
static const uint32_t from[TENSORS] = {0, 700, 740};

static struct gp_client_error err;
static struct host_device dev;
static float start[ELEMS], grad[ELEMS];

static void said(int rc, int code, const char *part)
{
	cr_assert_eq(rc, code, "%d (%s), not %d", rc, err.text, code);
	cr_assert(strstr(err.text, part), "'%s' is not in '%s'", part, err.text);
}

static void good(int rc)
{
	cr_assert_eq(rc, 0, "%d: %s", rc, err.text);
}

// A worker that is put off its CPU for long is not given up.
static struct server *served(void)
{
	struct server *s = server_new();
	s->job.timeout_ns = UINT64_C(10000000000);
	server_start(s);
	return s;
}

static void grad_fill(uint32_t step)
{
	for (uint32_t i = 0; i < ELEMS; i++)
		grad[i] = (float)((i * 37 + step * 101) % 211) * 0.0137f - 1.1f;
}

static struct gp_client *joined(const char *servers, enum gp_client_codec codec, bool by_caller)
{
	const struct gp_client_opts o = {.server = servers,
		.job = "job",
		.world = 1,
		.path_mtu = 1500,
		.compress = {.codec = codec, .topk_ratio = 0.1f, .by_caller = by_caller},
		.reconnect_ms = LONG_MS,
		.join_timeout_ms = LONG_MS};
	struct gp_client *c;
	good(gp_client_create(&c, &o, &err));
	for (uint32_t i = 0; i < ELEMS; i++)
		start[i] = (float)(i % 17) - 8;
	dev = (struct host_device){.pace = 1, .allocs_max = UINT32_MAX, .encodes_max = UINT32_MAX};
	return c;
}

static struct gp_client *enter(const char *servers, enum gp_client_codec codec, bool by_caller)
{
	struct gp_client *c = joined(servers, codec, by_caller);
	good(gp_client_register(c, model, TENSORS, LONG_MS, &err));
	return c;
}

// ---- a worker with a device

struct worker {
	struct gp_client *c;
	struct gp_client_cuda *d;
	float *params, *grad; // on the device
};

static float *on_device(const struct worker *w, const float *values)
{
	float *memory = w->d->ops->alloc(w->d->dev, sizeof(start), false);
	cr_assert(memory);
	cr_assert_eq(w->d->ops->copy(w->d->dev, memory, values, sizeof(start)), 0);
	cr_assert_eq(w->d->ops->sync(w->d->dev), 0);
	return memory;
}

static void worker_init(struct worker *w)
{
	float *params[TENSORS];
	for (uint32_t t = 0; t < TENSORS; t++)
		params[t] = w->params + from[t];
	good(gp_client_cuda_init_params(w->d, params, LONG_MS, &err));
}

static struct worker worker_open(const struct cuda_device_ops *ops, struct gp_client *c)
{
	struct worker w = {.c = c};
	const struct gp_client_cuda_opts o = {.stream = ops == &host_device ? &dev : NULL};
	good(cuda_create_over(&w.d, c, ops, &o, &err));
	w.params = on_device(&w, start);
	w.grad = on_device(&w, start);
	worker_init(&w);
	return w;
}

static void worker_close(struct worker *w)
{
	gp_client_destroy(w->c);		     // first: it may still be given results
	cr_assert_eq(w->d->ops->sync(w->d->dev), 0); // what is queued reads the gradient
	w->d->ops->free(w->d->dev, w->params, false);
	w->d->ops->free(w->d->dev, w->grad, false);
	gp_client_cuda_destroy(w->d);
	cr_assert_eq(dev.memories, 0, "%u memories were not freed", dev.memories);
}

static int push_all(struct worker *w, uint32_t step)
{
	int rc = 0;
	grad_fill(step);
	cr_assert_eq(w->d->ops->copy(w->d->dev, w->grad, grad, sizeof(grad)), 0);
	cr_assert_eq(w->d->ops->sync(w->d->dev), 0);
	for (uint32_t k = 0; k < TENSORS && rc == 0; k++) {
		uint32_t t = TENSORS - 1 - k; // as back-propagation does
		rc = gp_client_cuda_push(w->d, t, w->grad + from[t], 1, w->params + from[t], &err);
	}
	return rc;
}

static void values_get(const struct worker *w, float *values)
{
	cr_assert_eq(w->d->ops->copy(w->d->dev, values, w->params, sizeof(start)), 0);
	cr_assert_eq(w->d->ops->sync(w->d->dev), 0);
}

// ---- trainings

static void train_own(float *values, enum gp_client_codec codec)
{
	float *params[TENSORS];
	struct server *s = served();
	struct gp_client *c = enter(s->address, codec, false);
	memcpy(values, start, sizeof(start));
	for (uint32_t t = 0; t < TENSORS; t++)
		params[t] = values + from[t];
	good(gp_client_init_params(c, params, LONG_MS, &err));
	for (uint32_t step = 1; step <= STEPS; step++) {
		grad_fill(step);
		for (uint32_t t = 0; t < TENSORS; t++)
			good(gp_client_push_pull(c, t, grad + from[t], 1, params[t], &err));
		good(gp_client_wait(c, LONG_MS, &err));
	}
	gp_client_destroy(c);
	server_free(s);
}

static void train(const struct cuda_device_ops *ops, float *values, enum gp_client_codec codec)
{
	struct server *s = served();
	struct worker w = worker_open(ops, enter(s->address, codec, true));
	for (uint32_t step = 1; step <= STEPS; step++) {
		good(push_all(&w, step));
		good(gp_client_cuda_poll(w.d, &err));
		if (step % 2) // one of them first
			good(gp_client_cuda_wait_tensor(w.d, 0, LONG_MS, &err));
		good(gp_client_cuda_wait(w.d, LONG_MS, &err));
	}
	values_get(&w, values);
	worker_close(&w);
	server_free(s);
}

static void same_training(const struct cuda_device_ops *ops)
{
	static const enum gp_client_codec codecs[] = {GP_CLIENT_F32, GP_CLIENT_BF16, GP_CLIENT_TOPK,
		GP_CLIENT_F16, GP_CLIENT_INT8, GP_CLIENT_SIGN, GP_CLIENT_TOPK_BF16,
		GP_CLIENT_TOPK_F16};
	static float own[ELEMS], got[ELEMS];
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(codecs); i++) {
		train_own(own, codecs[i]);
		train(ops, got, codecs[i]);
		cr_assert_arr_eq(got, own, sizeof(own), "codec %u", (uint32_t)codecs[i]);
	}
}

Test(client_cuda, a_device_in_host_memory_trains_as_the_client_alone, .timeout = 60)
{
	same_training(&host_device);
}

Test(client_cuda, a_gpu_trains_as_the_client_alone, .timeout = 60)
{
	char why[256];
	if (!gp_client_cuda_available(why, sizeof(why)))
		cr_skip_test("no GPU: %s", why);
	same_training(&cuda_device);
}

// ---- where there is no device

Test(client_cuda, without_a_device_it_says_why_and_the_client_is_as_before, .timeout = 60)
{
	char why[256] = "";
	float *params = start;
	struct gp_client_cuda *d = (struct gp_client_cuda *)&err;
	const struct gp_client_tensor one = {.name = "w", .dims_count = 1, .dims = {ELEMS}};
	if (gp_client_cuda_available(why, sizeof(why)))
		cr_skip_test("there is a GPU");
	cr_assert_gt(strlen(why), 0);
	struct server *s = served();
	struct gp_client *c = joined(s->address, GP_CLIENT_BF16, false);
	good(gp_client_register(c, &one, 1, LONG_MS, &err));
	const struct gp_client_cuda_opts o = {.device = 0};
	said(gp_client_cuda_create(&d, c, &o, &err), -ENODEV, why);
	cr_assert_null(d);
	good(gp_client_init_params(c, &params, LONG_MS, &err));
	good(gp_client_push_pull(c, 0, grad, 1, start, &err));
	good(gp_client_wait(c, LONG_MS, &err));
	gp_client_destroy(c);
	server_free(s);
}

// ---- steps that go wrong

static struct server *successor(const struct server *old)
{
	static const uint64_t dims[TENSORS][1] = {{700}, {40}, {1500}};
	static float values[ELEMS];
	static struct gp_restore_tensor t[TENSORS];
	static struct gp_restore x;
	for (uint32_t i = 0; i < TENSORS; i++)
		t[i] = (struct gp_restore_tensor){.name = model[i].name,
			.dims_count = 1,
			.dims = dims[i],
			.values = values + from[i]};
	x = (struct gp_restore){.step = 7, .decision = 30, .tensors_count = TENSORS, .tensors = t};
	struct server *s = server_new();
	s->cfg.epoch = old->cfg.epoch + 1;
	s->restore = &x;
	return s;
}

static void expect_residual(struct worker *w, uint32_t tensor, bool zero)
{
	float values[ELEMS];
	bool any = false;
	good(gp_client_cuda_residual_get(w->d, tensor, values, &err));
	for (uint32_t i = 0; i < model[tensor].dims[0]; i++)
		any |= values[i] != 0;
	cr_assert_eq(any, !zero, "tensor %u", tensor);
}

// The server goes away while two tensors are on the device.
Test(client_cuda, a_rollback_zeroes_what_was_kept_back, .timeout = 60)
{
	char both[160];
	struct gp_client_stats st;
	struct server *first = server_new(), *next = successor(first);
	server_start(first);
	server_start(next);
	(void)snprintf(both, sizeof(both), "%s,%s", first->address, next->address);
	struct worker w = worker_open(&host_device, enter(both, GP_CLIENT_TOPK, true));
	good(push_all(&w, 1));
	good(gp_client_cuda_wait(w.d, LONG_MS, &err));
	for (uint32_t t = 0; t < TENSORS; t++)
		expect_residual(&w, t, false);
	server_free(first);
	dev.pace = 0;
	int rc = gp_client_cuda_push(w.d, 2, w.grad + from[2], 1, NULL, &err);
	for (uint32_t i = 0; rc == 0 || rc == -ETIMEDOUT; i++) {
		cr_assert_lt(i, 20000);
		rc = gp_client_cuda_wait(w.d, 1, &err);
	}
	said(rc, -GP_ROLLED_BACK, "go on with step 8");
	gp_client_stats(w.c, &st);
	cr_assert_eq(st.residuals_lost, 1);
	for (uint32_t t = 0; t < TENSORS; t++)
		expect_residual(&w, t, true);
	dev.pace = 2;
	worker_init(&w);
	good(push_all(&w, 8));
	good(gp_client_cuda_wait(w.d, LONG_MS, &err));
	cr_assert_eq(gp_client_step(w.c), 9);
	worker_close(&w);
	server_free(next);
}

Test(client_cuda, a_slow_device_is_waited_for_and_named, .timeout = 60)
{
	struct server *s = served();
	float values[ELEMS];
	struct worker w = worker_open(&host_device, enter(s->address, GP_CLIENT_INT8, true));
	dev.pace = 0;
	good(gp_client_cuda_push(w.d, 0, w.grad, 1, w.params, &err));
	good(gp_client_cuda_push(w.d, 1, w.grad + from[1], 1, NULL, &err));
	said(gp_client_cuda_wait(w.d, 20, &err), -ETIMEDOUT,
		"has encoded 0 of 3 blocks of tensor 0");
	said(gp_client_cuda_wait_tensor(w.d, 0, 1, &err), -ETIMEDOUT, "of tensor 0");
	said(gp_client_cuda_residual_get(w.d, 0, values, &err), -EBUSY, "between steps");
	dev.pace = 1;
	good(gp_client_cuda_push(w.d, 2, NULL, 1, w.params + from[2], &err)); // passed
	good(gp_client_cuda_wait(w.d, LONG_MS, &err));
	worker_close(&w);
	server_free(s);
}

Test(client_cuda, a_device_that_fails_is_named, .timeout = 60)
{
	struct server *s = served();
	struct worker w = worker_open(&host_device, enter(s->address, GP_CLIENT_F16, true));
	dev.encodes_max = 1;
	said(push_all(&w, 1), -EIO, "device: it does not encode any more");
	worker_close(&w);
	server_free(s);
}

Test(client_cuda, what_does_not_fit_is_refused_and_changes_nothing, .timeout = 60)
{
	struct server *s = served();
	float values[ELEMS];
	struct worker w = worker_open(&host_device, enter(s->address, GP_CLIENT_TOPK, true));
	said(gp_client_cuda_push(w.d, 3, w.grad, 1, NULL, &err), -EINVAL, "outside 0..2");
	said(gp_client_cuda_wait_tensor(w.d, 3, 1, &err), -EINVAL, "outside 0..2");
	said(gp_client_cuda_residual_get(w.d, 3, values, &err), -EINVAL, "outside 0..2");
	said(gp_client_cuda_push(w.d, 0, w.grad, -1, NULL, &err), -EINVAL, "weight");
	expect_residual(&w, 0, true);
	good(push_all(&w, 1));
	cr_assert_eq(gp_client_cuda_push(w.d, 0, w.grad, 1, NULL, &err), -EALREADY);
	good(gp_client_cuda_wait(w.d, LONG_MS, &err));
	worker_close(&w);
	w = worker_open(&host_device, enter(s->address, GP_CLIENT_TOPK, false));
	said(gp_client_cuda_push(w.d, 0, w.grad, 1, NULL, &err), -EINVAL, "by_caller");
	worker_close(&w);
	server_free(s);
}

Test(client_cuda, residuals_go_with_a_checkpoint_and_readers_read, .timeout = 60)
{
	struct server *s = served();
	float kept[700], again[700], values[ELEMS], *out[TENSORS];
	uint32_t generation;
	struct worker w = worker_open(&host_device, enter(s->address, GP_CLIENT_TOPK, true));
	for (uint32_t i = 0; i < 700; i++)
		kept[i] = (float)i;
	good(gp_client_cuda_residual_put(w.d, 0, kept, &err));
	good(gp_client_cuda_residual_get(w.d, 0, again, &err));
	cr_assert_arr_eq(again, kept, sizeof(kept));
	good(gp_client_cuda_void(w.d, &err));
	expect_residual(&w, 0, true);
	for (uint32_t t = 0; t < TENSORS; t++)
		out[t] = w.grad + from[t];
	good(gp_client_cuda_pull_all(w.d, out, &generation, LONG_MS, &err));
	values_get(&w, values);
	cr_assert_arr_eq(w.grad, values, sizeof(values));
	worker_close(&w);
	w = worker_open(&host_device, enter(s->address, GP_CLIENT_F32, true));
	good(gp_client_cuda_residual_put(w.d, 0, kept, &err));
	expect_residual(&w, 0, true);
	worker_close(&w);
	server_free(s);
}

// ---- memory

Test(client_cuda, creation_says_what_is_missing, .timeout = 60)
{
	struct server *s = served();
	struct gp_client_cuda *d;
	struct gp_client_cuda_opts o = {.stream = &dev};
	struct gp_client *c = joined(s->address, GP_CLIENT_SIGN, true);
	said(cuda_create_over(&d, c, &host_device, &o, &err), -EINVAL, "after gp_client_register");
	good(gp_client_register(c, model, TENSORS, LONG_MS, &err));
	for (uint32_t n = 0; n <= TENSORS; n++) { // results, and a residual each
		dev.allocs_max = n;
		said(cuda_create_over(&d, c, &host_device, &o, &err), -ENOMEM, "no memory");
		cr_assert_null(d);
		cr_assert_eq(dev.memories, 0);
	}
	dev.allocs_max = TENSORS + 1;
	good(cuda_create_over(&d, c, &host_device, &o, &err));
	gp_client_cuda_destroy(d);
	o.device = 1;
	said(cuda_create_over(&d, c, &host_device, &o, NULL), -ENODEV, "");
	said(cuda_create_over(&d, c, &host_device, &o, &err), -ENODEV, "no host device 1");
	gp_client_cuda_destroy(NULL);
	gp_client_destroy(c);
	server_free(s);
}
