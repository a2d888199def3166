// SPDX-License-Identifier: BSD-3-Clause
#include "model.h"

#include "random.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define STREAM_TENSOR 0x74656e736f720000u // + index of the tensor

static size_t tensor_add(struct gw_model *m, const char *kind, uint32_t rows, uint32_t columns)
{
	struct gw_tensor *t = &m->tensors[m->tensors_count];

	snprintf(t->name, sizeof(t->name), "fc%u.%s", m->tensors_count / 2 + 1, kind);
	t->dims[0] = rows;
	t->dims[1] = columns;
	t->dims_count = columns ? 2 : 1;
	t->at = m->params_count;
	t->count = (size_t)rows * (columns ? columns : 1);
	m->tensors_count++;
	m->params_count += t->count;
	return t->at;
}

void gw_model_init(struct gw_model *m, const uint32_t *dims, uint32_t dims_count)
{
	assert(dims_count >= 2 && dims_count <= GW_LAYERS_MAX + 1);
	memset(m, 0, sizeof(*m));
	m->layers_count = dims_count - 1;
	for (uint32_t l = 0; l < m->layers_count; l++) {
		struct gw_layer *layer = &m->layers[l];

		assert(dims[l] > 0 && dims[l + 1] > 0);
		layer->in = dims[l];
		layer->out = dims[l + 1];
		layer->weight_at = tensor_add(m, "weight", layer->out, layer->in);
		layer->bias_at = tensor_add(m, "bias", layer->out, 0);
	}
}

int gw_model_init_named(struct gw_model *m, const char *name)
{
	static const uint32_t softmax[] = {784, 10};
	static const uint32_t mlp[] = {784, 256, 10};

	if (strcmp(name, "softmax") == 0)
		gw_model_init(m, softmax, 2);
	else if (strcmp(name, "mlp") == 0)
		gw_model_init(m, mlp, 3);
	else
		return -EINVAL;
	return 0;
}

void gw_model_initial(const struct gw_model *m, uint64_t seed, float *params)
{
	for (uint32_t i = 0; i < m->tensors_count; i++) {
		const struct gw_tensor *t = &m->tensors[i];
		struct gw_random r = gw_random_stream(seed, STREAM_TENSOR + i);
		const struct gw_layer *layer = &m->layers[i / 2];
		float bound = 1.0f / sqrtf((float)layer->in);

		for (size_t j = 0; j < t->count; j++)
			params[t->at + j] = (2.0f * gw_random_unit(&r) - 1.0f) * bound;
	}
}
