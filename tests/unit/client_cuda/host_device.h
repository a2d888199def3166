// SPDX-License-Identifier: BSD-3-Clause
//
// A device in host memory: what libgradplane_cuda asks of one, done by lib/codec. As on a GPU what
// is queued is done later: blocks are encoded when somebody asks what is ready, or waits.
#ifndef CLIENT_CUDA_HOST_DEVICE_H
#define CLIENT_CUDA_HOST_DEVICE_H

#include <client_cuda_priv.h>

// gp_client_cuda_opts.stream points to one; the test's.
struct host_device {
	uint32_t pace;	      // blocks encoded between two questions
	uint32_t allocs_max;  // that succeed
	uint32_t encodes_max; // that succeed
	uint32_t memories;    // not freed
	struct host_slot {
		struct cuda_encode e;
		uint8_t *staging;
		uint32_t *lens;
		uint32_t done;
	} slots[CUDA_SLOTS];
};

extern const struct cuda_device_ops host_device;

#endif
