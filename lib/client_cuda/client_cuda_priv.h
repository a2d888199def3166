// SPDX-License-Identifier: BSD-3-Clause
//
// Inside libgradplane_cuda: what is asked of a device (device.c: one of CUDA), the pairing of one
// with a client (step.c), and its life (open.c).
#ifndef CLIENT_CUDA_PRIV_H
#define CLIENT_CUDA_PRIV_H

#include "gp_client_cuda.h"

#include <gp_base.h>

#define CUDA_SLOTS  2  // tensors that may be under way on the device
#define CUDA_STRIDE 16 // strides of payloads are multiples of it

// One tensor's encoding. `residual` NULL: the codec loses nothing.
struct cuda_encode {
	struct gp_client_blocks blocks;
	const float *grad;
	float *residual;
	size_t stride;
};

// What is asked of a device. Work is queued in the order of the calls; only sync, alloc and free
// wait. 0 or -errno; error() is the text of the last one.
struct cuda_device_ops {
	bool (*available)(char *why, size_t size);
	// `staging_size` bytes of pinned memory for the payloads of each slot.
	int (*open)(void **dev, const struct gp_client_cuda_opts *opts, size_t staging_size,
		char *why, size_t size);
	void (*close)(void *dev); // takes NULL
	const char *(*error)(const void *dev);
	void *(*alloc)(void *dev, size_t size, bool pinned); // of the device, or the host's
	void (*free)(void *dev, void *memory, bool pinned);
	int (*copy)(void *dev, void *dst, const void *src, size_t size);
	int (*zero)(void *dev, float *values, uint64_t elems);
	int (*sync)(void *dev);
	// Fills lens before it returns.
	int (*encode)(void *dev, uint32_t slot, const struct cuda_encode *e, uint32_t *lens);
	const uint8_t *(*staging)(const void *dev, uint32_t slot);
	// How many blocks of the slot's encoding, from the first, are in its staging.
	int (*ready)(void *dev, uint32_t slot, uint32_t *blocks);
};

struct cuda_slot {
	uint32_t tensor;
	uint32_t blocks; // 0: nothing is under way
	uint32_t given;	 // of them, to the client
	uint32_t *lens;
};

struct cuda_tensor {
	uint64_t elems;
	float *residual; // device; NULL: the codec loses nothing
	float *host;	 // pinned: where the client writes results
	float *out;	 // device: where they go, when there is one to come
};

struct gp_client_cuda {
	struct gp_client *c;
	const struct cuda_device_ops *ops;
	void *dev;
	uint32_t tensors_count;
	struct cuda_tensor *tensors;
	float **hosts; // of all tensors
	float *pinned; // what they are parts of
	struct cuda_slot slots[CUDA_SLOTS];
	uint32_t blocks_max; // that a slot has lens for
	size_t staging_size; // of a slot
	uint32_t next; // pushes so far; the next one takes slot next % CUDA_SLOTS, which is the
		       // older
};

// device.c, or no_device.c where there is no toolkit
extern const struct cuda_device_ops cuda_device;

// open.c
// gp_client_cuda_create with another device.
int cuda_create_over(struct gp_client_cuda **out, struct gp_client *c,
	const struct cuda_device_ops *ops, const struct gp_client_cuda_opts *opts,
	struct gp_client_error *err) GP_MUST_CHECK;
int cuda_refuse(struct gp_client_error *err, int code, const char *fmt, ...) GP_PRINTF(3, 4);
// 0, or the device's error with its text.
int cuda_check(const struct gp_client_cuda *d, int rc, struct gp_client_error *err);

#endif
