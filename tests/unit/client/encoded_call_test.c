// SPDX-License-Identifier: BSD-3-Clause
//
// A program that encodes for itself, by the public calls and against a real server.
#include "encoder.h"
#include "server.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>

#define ELEMS	700 // three blocks
#define STEPS	6
#define LONG_MS 10000

static const struct gp_client_tensor tensor = {.name = "w", .dims_count = 1, .dims = {ELEMS}};
static struct gp_client_error err;
static struct encoder enc;

static void said(int rc, int code, const char *part)
{
	cr_assert_eq(rc, code, "%d (%s), not %d", rc, err.text, code);
	cr_assert(strstr(err.text, part), "'%s' is not in '%s'", part, err.text);
}

static void good(int rc)
{
	cr_assert_eq(rc, 0, "%d: %s", rc, err.text);
}

static struct gp_client *enter(
	const char *servers, enum gp_client_codec codec, bool by_caller, float *params)
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
	good(gp_client_register(c, &tensor, 1, LONG_MS, &err));
	good(gp_client_init_params(c, &params, LONG_MS, &err));
	return c;
}

static void grad_fill(float *grad, uint32_t step)
{
	for (uint32_t i = 0; i < ELEMS; i++)
		grad[i] = (float)((i * 37 + step * 101) % 211) * 0.0137f - 1.1f;
}

static void push_begin(struct gp_client *c, const float *grad, float *out)
{
	struct gp_client_blocks b;
	cr_assert_eq(gp_client_blocks(c, 0, &b), 0);
	good(gp_client_push_encoded(c, 0, encoder_begin(&enc, &b), 1, out, &err));
	encoder_run(&enc, grad);
}

static void step_encoded(struct gp_client *c, const float *grad, float *out)
{
	push_begin(c, grad, out);
	for (uint32_t n = 0; n < enc.blocks.count; n++) {
		good(gp_client_encoded_ready(c, 0, n, &err));
		good(gp_client_poll(c, &err));
	}
	said(gp_client_wait(c, 1, &err), -ETIMEDOUT, "1 blocks of step");
	good(gp_client_encoded_ready(c, 0, enc.blocks.count, &err));
}

static void train(float *params, enum gp_client_codec codec, bool by_caller, bool background)
{
	float grad[ELEMS];
	struct server *s = server_new();
	s->job.timeout_ns = UINT64_C(10000000000); // a worker put off its CPU is not given up
	server_start(s);
	for (uint32_t i = 0; i < ELEMS; i++)
		params[i] = (float)(i % 17) - 8;
	memset(&enc, 0, sizeof(enc));
	struct gp_client *c = enter(s->address, codec, by_caller, params);
	if (background)
		good(gp_client_background(c, &err));
	for (uint32_t step = 1; step <= STEPS; step++) {
		grad_fill(grad, step);
		if (by_caller)
			step_encoded(c, grad, params);
		else
			good(gp_client_push_pull(c, 0, grad, 1, params, &err));
		good(gp_client_wait(c, LONG_MS, &err));
	}
	gp_client_destroy(c);
	server_free(s);
}

Test(encoded_call, the_parameters_are_those_of_the_clients_own_encoding, .timeout = 60)
{
	static const enum gp_client_codec codecs[] = {
		GP_CLIENT_F32, GP_CLIENT_TOPK_F16, GP_CLIENT_INT8};
	static float own[ELEMS], got[ELEMS];
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(codecs); i++) {
		train(own, codecs[i], false, false);
		train(got, codecs[i], true, i == 1);
		cr_assert_arr_eq(got, own, sizeof(own), "codec %u", (uint32_t)codecs[i]);
	}
}

Test(encoded_call, a_rollback_is_told_and_what_was_kept_back_counts_as_lost, .timeout = 60)
{
	char both[160];
	float params[ELEMS] = {0}, grad[ELEMS];
	struct gp_client_stats st;
	struct server *first = server_new(), *next = server_successor(first, ELEMS, 7, 0);
	server_start(first);
	server_start(next);
	(void)snprintf(both, sizeof(both), "%s,%s", first->address, next->address);
	struct gp_client *c = enter(both, GP_CLIENT_TOPK, true, params);
	grad_fill(grad, 1);
	push_begin(c, grad, params);
	good(gp_client_encoded_ready(c, 0, 1, &err));
	server_free(first);
	int rc = 0;
	for (uint32_t i = 0; rc == 0 || rc == -ETIMEDOUT; i++) {
		cr_assert_lt(i, 20000);
		rc = gp_client_encoded_ready(c, 0, 2, &err);
		if (rc == 0)
			rc = gp_client_wait(c, 1, &err);
	}
	said(rc, -GP_ROLLED_BACK, "go on with step 8");
	gp_client_stats(c, &st);
	cr_assert_eq(st.residuals_lost, 1);
	said(gp_client_encoded_ready(c, 0, 3, &err), -EINVAL, "was not pushed encoded in step 8");
	memset(enc.residual, 0, sizeof(enc.residual));
	good(gp_client_init_params(c, (float *[]){params}, LONG_MS, &err));
	push_begin(c, grad, params);
	good(gp_client_encoded_ready(c, 0, enc.blocks.count, &err));
	good(gp_client_wait(c, LONG_MS, &err));
	cr_assert_eq(gp_client_step(c), 9);
	gp_client_destroy(c);
	server_free(next);
}

Test(encoded_call, what_is_refused_is_named_and_the_session_stands, .timeout = 60)
{
	float params[ELEMS] = {0}, grad[ELEMS];
	struct gp_client_blocks b;
	struct server *s = server_new();
	server_start(s);
	struct gp_client *c = enter(s->address, GP_CLIENT_BF16, true, params);
	cr_assert_eq(gp_client_blocks(c, 1, &b), -EINVAL);
	grad_fill(grad, 1);
	said(gp_client_push(c, 0, grad, 1, &err), -EINVAL, "see gp_client_push_encoded");
	push_begin(c, grad, NULL);
	enc.lens[1]--;
	said(gp_client_encoded_ready(c, 0, 3, &err), -EINVAL, "tensor 'w', block 1 of 3");
	enc.lens[1]++;
	good(gp_client_encoded_ready(c, 0, 3, &err));
	good(gp_client_wait(c, LONG_MS, &err));
	gp_client_destroy(c);
	server_free(s);
}
