// SPDX-License-Identifier: BSD-3-Clause
#include "net.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define PAUSE_ROWS 32 // rows of a weight gradient between two calls of `pause`

static float *floats_new(size_t count)
{
	return aligned_alloc(64, (count * sizeof(float) + 63) / 64 * 64);
}

int gw_net_init(struct gw_net *net, const struct gw_model *model, uint32_t batch_max)
{
	size_t weight_max = 0;
	size_t terms_max = batch_max;
	bool ok;

	assert(batch_max > 0);
	memset(net, 0, sizeof(*net));
	net->model = model;
	net->accumulate = gw_accumulate_best();
	net->batch_max = batch_max;
	net->input = floats_new((size_t)batch_max * model->layers[0].in);
	net->labels = malloc(batch_max * sizeof(*net->labels));
	ok = net->input && net->labels;
	for (uint32_t l = 0; l < model->layers_count; l++) {
		const struct gw_layer *layer = &model->layers[l];
		size_t weight = (size_t)layer->in * layer->out;

		net->out[l] = floats_new((size_t)batch_max * layer->out);
		net->delta[l] = floats_new((size_t)batch_max * layer->out);
		ok = ok && net->out[l] && net->delta[l];
		weight_max = weight > weight_max ? weight : weight_max;
		terms_max = layer->in > terms_max ? layer->in : terms_max;
		terms_max = layer->out > terms_max ? layer->out : terms_max;
	}
	net->transposed = floats_new(weight_max);
	net->terms.row = malloc(terms_max * sizeof(*net->terms.row));
	net->terms.value = floats_new(terms_max);
	if (ok && net->transposed && net->terms.row && net->terms.value)
		return 0;
	gw_net_fini(net);
	return -ENOMEM;
}

void gw_net_fini(struct gw_net *net)
{
	free(net->input);
	free(net->labels);
	for (uint32_t l = 0; l < GW_LAYERS_MAX; l++) {
		free(net->out[l]);
		free(net->delta[l]);
	}
	free(net->transposed);
	free(net->terms.row);
	free(net->terms.value);
	memset(net, 0, sizeof(*net));
}

void gw_net_load(
	struct gw_net *net, const struct gw_dataset *set, const uint32_t *samples, uint32_t count)
{
	float scale[256];

	assert(count > 0 && count <= net->batch_max);
	assert(net->model->layers[0].in == GW_IMAGE_PIXELS);
	for (uint32_t i = 0; i < 256; i++)
		scale[i] = (float)i / 255.0f;
	for (uint32_t b = 0; b < count; b++) {
		const uint8_t *pixels = set->pixels + (size_t)samples[b] * GW_IMAGE_PIXELS;
		float *row = net->input + (size_t)b * GW_IMAGE_PIXELS;

		assert(samples[b] < set->count);
		for (uint32_t i = 0; i < GW_IMAGE_PIXELS; i++)
			row[i] = scale[pixels[i]];
		net->labels[b] = set->labels[samples[b]];
	}
	net->count = count;
}

// The values of a vector that are not 0. `step` elements lie between two of them.
static void terms_collect(struct gw_terms *terms, const float *from, size_t count, size_t step)
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		float value = from[i * step];

		terms->row[n] = (uint32_t)i;
		terms->value[n] = value;
		n += value != 0.0f;
	}
	terms->count = n;
}

// Blocks of 16 x 16 so that both sides stay in the cache.
static void weight_transpose(const struct gw_layer *layer, const float *weight, float *to)
{
	for (uint32_t o0 = 0; o0 < layer->out; o0 += 16)
		for (uint32_t i0 = 0; i0 < layer->in; i0 += 16) {
			uint32_t o1 = o0 + 16 < layer->out ? o0 + 16 : layer->out;
			uint32_t i1 = i0 + 16 < layer->in ? i0 + 16 : layer->in;

			for (uint32_t i = i0; i < i1; i++)
				for (uint32_t o = o0; o < o1; o++)
					to[(size_t)i * layer->out + o] =
						weight[(size_t)o * layer->in + i];
		}
}

static const float *layer_input(const struct gw_net *net, uint32_t l)
{
	return l ? net->out[l - 1] : net->input;
}

static void layer_forward(struct gw_net *net, const float *params, uint32_t l)
{
	const struct gw_layer *layer = &net->model->layers[l];
	struct gw_rows rows = {net->transposed, layer->out};
	bool is_last = l + 1 == net->model->layers_count;

	weight_transpose(layer, params + layer->weight_at, net->transposed);
	for (uint32_t b = 0; b < net->count; b++) {
		float *out = net->out[l] + (size_t)b * layer->out;

		terms_collect(
			&net->terms, layer_input(net, l) + (size_t)b * layer->in, layer->in, 1);
		memcpy(out, params + layer->bias_at, layer->out * sizeof(*out));
		net->accumulate(out, layer->out, &rows, &net->terms);
		for (uint32_t o = 0; o < layer->out && !is_last; o++)
			out[o] = out[o] > 0.0f ? out[o] : 0.0f;
	}
}

static void forward(struct gw_net *net, const float *params)
{
	assert(net->count > 0);
	for (uint32_t l = 0; l < net->model->layers_count; l++)
		layer_forward(net, params, l);
}

// e^x for x <= 0, to about 1 ulp of f64: x = k ln 2 + r, a Taylor series for e^r, |r| <= 0.35, and
// 2^k by its bits. libm's differs between machines in the last bit (it has variants with FMA).
static double exp_negative(double x)
{
	const double log2e = 0x1.71547652b82fep0, ln2_high = 0x1.62e42fee00000p-1;
	const double ln2_low = 0x1.a39ef35793c76p-33;
	double k, r, sum = 1.0, power;
	uint64_t bits;

	if (!(x >= -700.0)) // also NaN: a poisoned model gives a poisoned loss, not a wild shift
		return x != x ? x : 0.0;
	k = (double)(int)(x * log2e - 0.5);
	r = (x - k * ln2_high) - k * ln2_low;
	for (int i = 13; i > 0; i--)
		sum = 1.0 + sum * r / i;
	bits = (uint64_t)(1023 + (int)k) << 52;
	memcpy(&power, &bits, sizeof(power));
	return sum * power;
}

// Loss and class of one row of logits; `delta`, if not NULL, gets (softmax - one hot) / batch.
static double row_loss(const float *logits, uint32_t n, uint32_t label, float *delta, float batch)
{
	float top = logits[0];
	double sum = 0;

	for (uint32_t c = 1; c < n; c++)
		top = logits[c] > top ? logits[c] : top;
	for (uint32_t c = 0; c < n; c++)
		sum += exp_negative((double)logits[c] - (double)top);
	for (uint32_t c = 0; c < n && delta; c++) {
		double p = exp_negative((double)logits[c] - (double)top) / sum;

		delta[c] = (float)(p - (c == label)) / batch;
	}
	return log(sum) - ((double)logits[label] - (double)top);
}

static uint32_t row_class(const float *logits, uint32_t n)
{
	uint32_t best = 0;

	for (uint32_t c = 1; c < n; c++)
		best = logits[c] > logits[best] ? c : best;
	return best;
}

struct gw_score gw_net_score(struct gw_net *net, const float *params)
{
	uint32_t last = net->model->layers_count - 1;
	uint32_t n = net->model->layers[last].out;
	struct gw_score score = {0, 0};

	forward(net, params);
	for (uint32_t b = 0; b < net->count; b++) {
		const float *logits = net->out[last] + (size_t)b * n;

		score.loss += row_loss(logits, n, net->labels[b], NULL, 1.0f);
		score.correct += row_class(logits, n) == net->labels[b];
	}
	score.loss /= net->count;
	return score;
}

static double loss_delta(struct gw_net *net)
{
	uint32_t last = net->model->layers_count - 1;
	uint32_t n = net->model->layers[last].out;
	double loss = 0;

	for (uint32_t b = 0; b < net->count; b++)
		loss += row_loss(net->out[last] + (size_t)b * n, n, net->labels[b],
			net->delta[last] + (size_t)b * n, (float)net->count);
	return loss / net->count;
}

// delta[l - 1] = (delta[l] x weight) where layer l - 1 let something through.
static void delta_backward(struct gw_net *net, const float *params, uint32_t l)
{
	const struct gw_layer *layer = &net->model->layers[l];
	struct gw_rows rows = {params + layer->weight_at, layer->in};

	for (uint32_t b = 0; b < net->count; b++) {
		float *delta = net->delta[l - 1] + (size_t)b * layer->in;
		const float *out = net->out[l - 1] + (size_t)b * layer->in;

		terms_collect(&net->terms, net->delta[l] + (size_t)b * layer->out, layer->out, 1);
		memset(delta, 0, layer->in * sizeof(*delta));
		net->accumulate(delta, layer->in, &rows, &net->terms);
		for (uint32_t i = 0; i < layer->in; i++)
			delta[i] = out[i] > 0.0f ? delta[i] : 0.0f;
	}
}

static void bias_gradient(struct gw_net *net, uint32_t l, float *gradient)
{
	const struct gw_layer *layer = &net->model->layers[l];
	float *bias = gradient + layer->bias_at;

	memset(bias, 0, layer->out * sizeof(*bias));
	for (uint32_t b = 0; b < net->count; b++)
		for (uint32_t o = 0; o < layer->out; o++)
			bias[o] += net->delta[l][(size_t)b * layer->out + o];
}

static int weight_gradient(
	struct gw_net *net, uint32_t l, float *gradient, const struct gw_net_hooks *hooks)
{
	const struct gw_layer *layer = &net->model->layers[l];
	struct gw_rows rows = {layer_input(net, l), layer->in};
	int rc = 0;

	for (uint32_t o = 0; o < layer->out && !rc; o++) {
		float *out = gradient + layer->weight_at + (size_t)o * layer->in;

		terms_collect(&net->terms, net->delta[l] + o, net->count, layer->out);
		memset(out, 0, layer->in * sizeof(*out));
		net->accumulate(out, layer->in, &rows, &net->terms);
		if (hooks && hooks->pause && o % PAUSE_ROWS == PAUSE_ROWS - 1)
			rc = hooks->pause(hooks->ctx);
	}
	return rc;
}

int gw_net_gradient(struct gw_net *net, const float *params, float *gradient, double *loss,
	const struct gw_net_hooks *hooks)
{
	forward(net, params);
	*loss = loss_delta(net);
	for (uint32_t l = net->model->layers_count; l-- > 0;) {
		int rc;

		bias_gradient(net, l, gradient);
		rc = weight_gradient(net, l, gradient, hooks);
		if (!rc && l > 0)
			delta_backward(net, params, l);
		if (!rc && hooks && hooks->ready)
			rc = hooks->ready(hooks->ctx, l);
		if (rc)
			return rc;
	}
	return 0;
}
