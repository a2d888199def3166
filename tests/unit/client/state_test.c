// SPDX-License-Identifier: BSD-3-Clause
//
// What a program reads of its client and keeps for it, by the public calls: codecs, what error
// feedback keeps back, options that are refused, transports with arguments.
#include "server.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <gp_client.h>

#define ELEMS	700
#define LONG_MS 10000

static const struct gp_client_tensor tensor = {.name = "w", .dims_count = 1, .dims = {ELEMS}};

static struct gp_client_error err;

static void said(int rc, int code, const char *part)
{
	cr_assert_eq(rc, code, "%d (%s), not %d", rc, err.text, code);
	cr_assert(strstr(err.text, part), "'%s' is not in '%s'", part, err.text);
}

static struct gp_client *enter(
	const struct server *s, const struct gp_client_compress *how, const char *transport)
{
	const struct gp_client_opts o = {.server = s->address,
		.job = "job",
		.world = 1,
		.path_mtu = 1500,
		.compress = *how,
		.transport = transport,
		.join_timeout_ms = LONG_MS};
	struct gp_client *c;
	cr_assert_eq(gp_client_create(&c, &o, &err), 0, "%s", err.text);
	return c;
}

static void step(struct gp_client *c, const float *grad, float *out)
{
	cr_assert_eq(gp_client_push_pull(c, 0, grad, 1, out, &err), 0, "%s", err.text);
	cr_assert_eq(gp_client_wait(c, LONG_MS, &err), 0, "%s", err.text);
}

Test(state, what_feedback_keeps_goes_with_a_checkpoint)
{
	static float params[ELEMS], grad[ELEMS], kept[2 * ELEMS], again[2 * ELEMS];
	const struct gp_client_compress how = {
		.codec = GP_CLIENT_TOPK, .topk_ratio = 0.1f, .topk_momentum = 0.5f};
	struct server *s = server_new();
	struct gp_client_codec_state x;
	server_start(s);
	struct gp_client *c = enter(s, &how, NULL);
	cr_assert_eq(gp_client_codec(c, 0, &x), -EINVAL, "before registration");
	said(gp_client_residual_get(c, 0, kept, &err), -EINVAL, "exist after registration");
	cr_assert_eq(gp_client_register(c, &tensor, 1, LONG_MS, &err), 0, "%s", err.text);
	cr_assert_eq(gp_client_init_params(c, (float *[]){params}, LONG_MS, &err), 0);
	cr_assert_eq(gp_client_codec(c, 0, &x), 0);
	cr_assert(x.codec == GP_CLIENT_TOPK && !x.automatic);
	cr_assert_float_eq(x.topk_ratio, 0.1f, 1e-6);
	cr_assert_eq(x.residual_elems, 2 * ELEMS, "and of momentum");
	cr_assert_eq(gp_client_codec(c, 1, &x), -EINVAL);
	for (uint32_t i = 0; i < ELEMS; i++)
		grad[i] = 1 + (float)i;
	step(c, grad, params);
	cr_assert_eq(gp_client_residual_get(c, 0, kept, &err), 0, "%s", err.text);
	float sum = 0;
	for (uint32_t i = 0; i < ELEMS; i++)
		sum += kept[i];
	cr_assert_gt(sum, 0, "small ones were kept back");
	said(gp_client_residual_put(c, 1, kept, &err), -EINVAL, "of tensors 0..0");
	for (uint32_t i = 0; i < 2 * ELEMS; i++)
		again[i] = -kept[i];
	cr_assert_eq(gp_client_residual_put(c, 0, again, &err), 0);
	cr_assert_eq(gp_client_residual_get(c, 0, kept, &err), 0);
	cr_assert_arr_eq(kept, again, sizeof(kept));
	cr_assert_eq(gp_client_push_pull(c, 0, grad, 1, params, &err), 0);
	said(gp_client_residual_get(c, 0, kept, &err), -EBUSY, "between steps only");
	cr_assert_eq(gp_client_wait(c, LONG_MS, &err), 0);
	gp_client_destroy(c);
	server_free(s);
}

// Without a lossy codec there is nothing to keep, and the calls say nothing else.
Test(state, f32_keeps_nothing)
{
	static float params[ELEMS];
	const struct gp_client_compress how = {.codec = GP_CLIENT_F32};
	struct server *s = server_new();
	struct gp_client_codec_state x;
	float values[1] = {7};
	server_start(s);
	struct gp_client *c = enter(s, &how, "udp:join=yes,busy_poll=50");
	cr_assert_eq(gp_client_register(c, &tensor, 1, LONG_MS, &err), 0, "%s", err.text);
	cr_assert_eq(gp_client_init_params(c, (float *[]){params}, LONG_MS, &err), 0);
	cr_assert_eq(gp_client_codec(c, 0, &x), 0);
	cr_assert(x.codec == GP_CLIENT_F32 && x.topk_ratio == 0 && x.residual_elems == 0);
	cr_assert_eq(gp_client_residual_get(c, 0, values, &err), 0);
	cr_assert_eq(gp_client_residual_put(c, 0, values, &err), 0);
	cr_assert_eq(values[0], 7);
	gp_client_destroy(c);
	server_free(s);
}

static void refused(const struct gp_client_opts *o, const char *part)
{
	struct gp_client *c = NULL;
	said(gp_client_create(&c, o, &err), -EINVAL, part);
	cr_assert_null(c);
}

Test(state, options_that_no_client_has)
{
	const struct gp_client_opts good = {.server = "127.0.0.1:9", .job = "j", .world = 1};
	struct gp_client_opts o = good;
	o.job = NULL;
	refused(&o, "job: a name of");
	o.job = "a name of 64 bytes, which is one more than a job of any server has";
	refused(&o, "job: a name of");
	o = good;
	o.flags = 1u << 30;
	refused(&o, "flags: 0x40000000 is unknown");
	o = good;
	o.world = 300;
	refused(&o, "world: 300");
	o = good;
	o.path_mtu = 65000;
	refused(&o, "path_mtu: 65000");
	static const enum gp_client_codec results[] = {
		GP_CLIENT_TOPK, GP_CLIENT_SIGN, GP_CLIENT_AUTO};
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(results); i++) {
		o = good;
		o.results = results[i];
		refused(&o, "is not f32, bf16, f16 or int8");
	}
	o = good;
	o.compress = (struct gp_client_compress){
		.codec = GP_CLIENT_TOPK, .topk_ratio = 0.5f, .topk_momentum = 1};
	refused(&o, "topk_momentum: 1 is out of range");
	o.compress.topk_momentum = -1;
	refused(&o, "topk_momentum: -1 is out of range");
	o.compress.topk_ratio = 2;
	refused(&o, "topk_ratio: 2 is out of range");
	o = good;
	o.server = NULL;
	refused(&o, "server: ''");
	o.server = "127.0.0.1:0";
	refused(&o, "server: '127.0.0.1:0' is not an address");
	o.server = "127.0.0.1:9,,127.0.0.1:10";
	refused(&o, "is not an address");
	o.server = "127.0.0.1:1,127.0.0.1:2,127.0.0.1:3,127.0.0.1:4,127.0.0.1:5,127.0.0.1:6,127.0."
		   "0.1:7,127.0.0.1:8,127.0.0.1:9";
	refused(&o, "or up to");
}
