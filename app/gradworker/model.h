// SPDX-License-Identifier: BSD-3-Clause
//
// The shape of a model and its initial values: linear layers with ReLU between them, ended by
// softmax with cross-entropy. All parameters lie in one run of f32, tensor after tensor in
// registration order (fc1.weight, fc1.bias, fc2.weight, ...); a weight is out x in, row-major, as
// in PyTorch. Gradients have the same layout.
#ifndef GW_MODEL_H
#define GW_MODEL_H

#include <stddef.h>
#include <stdint.h>

#define GW_LAYERS_MAX  3
#define GW_TENSORS_MAX (2 * GW_LAYERS_MAX)

// Offsets are in elements of the parameters. Layer l has the tensors 2 l (weight) and 2 l + 1
// (bias).
struct gw_layer {
	uint32_t in;
	uint32_t out;
	size_t weight_at; // out x in
	size_t bias_at;	  // out
};

struct gw_tensor {
	char name[32];
	uint32_t dims[2];
	uint32_t dims_count;
	size_t at;
	size_t count;
};

struct gw_model {
	uint32_t layers_count;
	uint32_t tensors_count;
	size_t params_count;
	struct gw_layer layers[GW_LAYERS_MAX];
	struct gw_tensor tensors[GW_TENSORS_MAX];
};

// `dims` is inputs, hidden widths, classes: 2 .. GW_LAYERS_MAX + 1 of them, each above 0.
void gw_model_init(struct gw_model *m, const uint32_t *dims, uint32_t dims_count);
// "softmax" (784-10) or "mlp" (784-256-10). -EINVAL for another name.
int gw_model_init_named(struct gw_model *m, const char *name);

// Uniform in +-1/sqrt(in) for weight and bias, which is what PyTorch's Linear draws (Kaiming
// uniform with a = sqrt 5). The same bytes for a seed on every machine.
void gw_model_initial(const struct gw_model *m, uint64_t seed, float *params);

#endif
