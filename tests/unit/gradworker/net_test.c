// SPDX-License-Identifier: BSD-3-Clause
#include "kernels.h"
#include "model.h"
#include "net.h"
#include "random.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TINY_BATCH 4

// A net of `dims` with a random batch in it, made without a data set.
struct tiny {
	struct gw_model model;
	struct gw_net net;
	float params[512], gradient[512];
};

static void tiny_init(struct tiny *t, const uint32_t *dims, uint32_t dims_count, uint64_t seed)
{
	struct gw_random r = gw_random_stream(seed, 1);
	uint32_t classes = dims[dims_count - 1];

	gw_model_init(&t->model, dims, dims_count);
	cr_assert_leq(t->model.params_count, 512);
	cr_assert_eq(gw_net_init(&t->net, &t->model, TINY_BATCH), 0);
	gw_model_initial(&t->model, seed, t->params);
	t->net.count = TINY_BATCH;
	for (uint32_t i = 0; i < TINY_BATCH * dims[0]; i++) {
		float value = gw_random_unit(&r);

		t->net.input[i] = value < 0.4f ? 0.0f : value;
	}
	for (uint32_t b = 0; b < TINY_BATCH; b++)
		t->net.labels[b] = gw_random_below(&r, classes);
}

// A central difference of the f32 loss is good to about 1e-4 here, if no ReLU changes sides.
static void gradient_check(const uint32_t *dims, uint32_t dims_count, uint64_t seed)
{
	const float h = 2e-3f;
	struct tiny t;
	double loss;

	tiny_init(&t, dims, dims_count, seed);
	cr_assert_eq(gw_net_gradient(&t.net, t.params, t.gradient, &loss, NULL), 0);
	cr_assert_float_eq(loss, gw_net_score(&t.net, t.params).loss, 1e-12);
	for (size_t i = 0; i < t.model.params_count; i++) {
		float held = t.params[i];
		double above, below, slope;

		t.params[i] = held + h;
		above = gw_net_score(&t.net, t.params).loss;
		t.params[i] = held - h;
		below = gw_net_score(&t.net, t.params).loss;
		t.params[i] = held;
		slope = (above - below) / (2.0 * (double)h);
		cr_assert_lt(fabs(slope - (double)t.gradient[i]), 1e-3,
			"parameter %zu: gradient %g, numerically %g", i, (double)t.gradient[i],
			slope);
	}
	gw_net_fini(&t.net);
}

Test(net, gradient_of_softmax_is_the_slope_of_the_loss)
{
	gradient_check((uint32_t[]){7, 3}, 2, 11);
}

Test(net, gradient_of_one_hidden_layer_is_the_slope_of_the_loss)
{
	gradient_check((uint32_t[]){7, 6, 3}, 3, 12);
}

Test(net, gradient_of_two_hidden_layers_is_the_slope_of_the_loss)
{
	gradient_check((uint32_t[]){5, 9, 4, 3}, 4, 13);
}

struct calls {
	uint32_t layers[GW_LAYERS_MAX];
	uint32_t count;
	uint32_t pauses;
	int ends_with;
};

static int layer_note(void *ctx, uint32_t layer)
{
	struct calls *calls = ctx;

	calls->layers[calls->count++] = layer;
	return calls->ends_with;
}

static int pause_note(void *ctx)
{
	struct calls *calls = ctx;

	calls->pauses++;
	return 0;
}

// The worker lets results overwrite a layer's parameters once it was told that it is ready.
static int layer_poison(void *ctx, uint32_t layer)
{
	struct tiny *t = ctx;
	const struct gw_layer *l = &t->model.layers[layer];

	for (size_t i = 0; i < (size_t)l->in * l->out; i++)
		t->params[l->weight_at + i] = NAN;
	for (size_t i = 0; i < l->out; i++)
		t->params[l->bias_at + i] = NAN;
	return 0;
}

Test(net, hooks_are_called_last_layer_first)
{
	struct calls calls = {.count = 0};
	struct gw_net_hooks hooks = {.ready = layer_note, .pause = pause_note, .ctx = &calls};
	struct tiny t;
	double loss;

	tiny_init(&t, (uint32_t[]){5, 40, 3}, 3, 3);
	cr_assert_eq(gw_net_gradient(&t.net, t.params, t.gradient, &loss, &hooks), 0);
	cr_assert_eq(calls.count, 2);
	cr_assert_eq(calls.layers[0], 1);
	cr_assert_eq(calls.layers[1], 0);
	cr_assert_eq(calls.pauses, 1);
	calls = (struct calls){.ends_with = -5};
	cr_assert_eq(gw_net_gradient(&t.net, t.params, t.gradient, &loss, &hooks), -5);
	cr_assert_eq(calls.count, 1);
	gw_net_fini(&t.net);
}

Test(net, a_ready_layer_is_not_read_again)
{
	static const uint32_t dims[] = {5, 9, 4, 3};
	struct gw_net_hooks hooks = {.ready = layer_poison};
	struct tiny plain, poisoned;
	double loss;

	tiny_init(&plain, dims, 4, 5);
	tiny_init(&poisoned, dims, 4, 5);
	hooks.ctx = &poisoned;
	gw_net_gradient(&plain.net, plain.params, plain.gradient, &loss, NULL);
	gw_net_gradient(&poisoned.net, poisoned.params, poisoned.gradient, &loss, &hooks);
	cr_assert_arr_eq(plain.gradient, poisoned.gradient,
		plain.model.params_count * sizeof(*plain.gradient));
	gw_net_fini(&plain.net);
	gw_net_fini(&poisoned.net);
}

Test(net, loss_of_a_poisoned_model_is_nan_and_nothing_worse)
{
	struct tiny t;

	tiny_init(&t, (uint32_t[]){7, 6, 3}, 3, 12);
	t.params[0] = NAN;
	t.params[t.model.layers[1].bias_at] = NAN;
	cr_assert(isnan(gw_net_score(&t.net, t.params).loss));
	gw_net_fini(&t.net);
}

// Logits that are far apart, where e^x of the difference is 0.
Test(net, loss_of_extreme_logits_is_finite)
{
	struct tiny t;
	double loss;

	tiny_init(&t, (uint32_t[]){7, 3}, 2, 12);
	t.params[t.model.layers[0].bias_at] = 1e6f;
	t.params[t.model.layers[0].bias_at + 1] = -1e6f;
	cr_assert_eq(gw_net_gradient(&t.net, t.params, t.gradient, &loss, NULL), 0);
	cr_assert(isfinite(loss));
	for (size_t i = 0; i < t.model.params_count; i++)
		cr_assert(isfinite(t.gradient[i]));
	gw_net_fini(&t.net);
}

#define KERNEL_ROWS 13
#define KERNEL_N    67 // no multiple of any vector

// One term at a time, the definition.
static void accumulate_plain(
	float *out, size_t n, const struct gw_rows *rows, const struct gw_terms *terms)
{
	for (size_t k = 0; k < terms->count; k++)
		for (size_t j = 0; j < n; j++) {
			float product =
				terms->value[k] * rows->base[terms->row[k] * rows->stride + j];

			out[j] = out[j] + product;
		}
}

Test(kernels, every_variant_gives_the_bytes_of_the_definition)
{
	struct gw_random r = gw_random_stream(1, 2);
	float base[KERNEL_ROWS * KERNEL_N], values[KERNEL_ROWS];
	float expected[KERNEL_N], seen[KERNEL_N], start[KERNEL_N];
	uint32_t order[KERNEL_ROWS];
	struct gw_rows rows = {base, KERNEL_N};
	size_t kernels_count;
	const struct gw_kernel *kernels = gw_kernels(&kernels_count);

	for (size_t i = 0; i < KERNEL_ROWS * KERNEL_N; i++)
		base[i] = ldexpf(gw_random_unit(&r) - 0.5f, (int)gw_random_below(&r, 20) - 10);
	for (size_t i = 0; i < KERNEL_ROWS; i++) {
		values[i] = gw_random_unit(&r) - 0.5f;
		order[i] = gw_random_below(&r, KERNEL_ROWS);
	}
	for (size_t i = 0; i < KERNEL_N; i++)
		start[i] = gw_random_unit(&r);
	for (size_t count = 0; count <= KERNEL_ROWS; count++)
		for (size_t n = 1; n <= KERNEL_N; n++) {
			struct gw_terms terms = {order, values, count};

			memcpy(expected, start, sizeof(start));
			accumulate_plain(expected, n, &rows, &terms);
			for (size_t v = 0; v < kernels_count; v++) {
				memcpy(seen, start, sizeof(start));
				kernels[v].accumulate(seen, n, &rows, &terms);
				cr_assert_arr_eq(seen, expected, sizeof(seen),
					"%s, %zu terms, %zu outputs", kernels[v].name, count, n);
			}
		}
}

Test(model, layout_names_and_order)
{
	struct gw_model m;

	cr_assert_eq(gw_model_init_named(&m, "mlp"), 0);
	cr_assert_eq(m.tensors_count, 4);
	cr_assert_eq(m.params_count, 784 * 256 + 256 + 256 * 10 + 10);
	cr_assert_str_eq(m.tensors[0].name, "fc1.weight");
	cr_assert_str_eq(m.tensors[1].name, "fc1.bias");
	cr_assert_str_eq(m.tensors[2].name, "fc2.weight");
	cr_assert_str_eq(m.tensors[3].name, "fc2.bias");
	cr_assert_eq(m.tensors[0].dims[0], 256);
	cr_assert_eq(m.tensors[0].dims[1], 784);
	cr_assert_eq(m.tensors[3].dims_count, 1);
	cr_assert_lt(gw_model_init_named(&m, "vgg"), 0);
}

Test(model, initial_values_follow_the_seed_and_stay_in_bounds)
{
	struct gw_model m;
	float *a, *b;
	double sum = 0;

	gw_model_init_named(&m, "mlp");
	a = malloc(m.params_count * sizeof(*a));
	b = malloc(m.params_count * sizeof(*b));
	gw_model_initial(&m, 7, a);
	gw_model_initial(&m, 7, b);
	cr_assert_arr_eq(a, b, m.params_count * sizeof(*a));
	gw_model_initial(&m, 8, b);
	cr_assert_arr_neq(a, b, m.params_count * sizeof(*a));
	for (size_t i = 0; i < m.params_count; i++) {
		float bound = i < m.layers[1].weight_at ? 1.0f / 28 : 1.0f / 16;

		cr_assert_leq(fabsf(a[i]), bound);
		sum += (double)a[i];
	}
	cr_assert_lt(fabs(sum / (double)m.params_count), 1e-3);
	free(a);
	free(b);
}
