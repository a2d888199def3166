// SPDX-License-Identifier: BSD-3-Clause
//
// A network's layers from a CSV file: comment lines with #, the head
// `layer,parameters,forward_us,backward_us`, then a line for each layer in forward order.
#ifndef GRADBENCH_NETWORK_H
#define GRADBENCH_NETWORK_H

#include <gp_base.h>
#include <gp_client.h>

#define NETWORK_LAYERS_MAX     4096
#define NETWORK_PARAMETERS_MAX (UINT64_C(1) << 32)

struct layer {
	char name[GP_TENSOR_NAME_SIZE];
	uint64_t parameters; // f32
	double forward_us, backward_us;
	uint64_t offset; // of its first parameter in all of them
};

struct network {
	struct layer *layers;
	uint32_t count;
	uint64_t parameters, parameters_max; // of all layers, of the largest
	double forward_us, backward_us;
};

// 0, or -errno after a line on stderr that names file, line and what to do.
int network_read(struct network *n, const char *path) GP_MUST_CHECK;
void network_free(struct network *n);

#endif
