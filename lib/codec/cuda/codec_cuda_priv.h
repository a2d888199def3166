// SPDX-License-Identifier: BSD-3-Clause
//
// Between the context, which is C, and the kernels, which are CUDA C++: what one launch works on.
#ifndef CODEC_CUDA_PRIV_H
#define CODEC_CUDA_PRIV_H

#include <stddef.h>
#include <stdint.h>

// As in gp_codec.h, which CUDA C++ cannot read; context.c asserts that they are the same.
enum codec_cuda_id {
	CODEC_CUDA_NONE,
	CODEC_CUDA_F32,
	CODEC_CUDA_BF16,
	CODEC_CUDA_TOPK,
	CODEC_CUDA_F16,
	CODEC_CUDA_INT8,
	CODEC_CUDA_SIGN,
	CODEC_CUDA_TOPK_BF16,
	CODEC_CUDA_TOPK_F16,
};

// Checked by the caller: elems > 0, elems <= 2^34, block_elems in 1..16384, stride a multiple of 16
// that holds a payload, payload aligned to 16.
struct codec_cuda_work {
	uint64_t elems;
	uint64_t stride;
	const float *grad;
	float *residual; // NULL: no error feedback
	float *result;
	uint8_t *payload;
	uint32_t block_elems;
	uint32_t blocks;
	uint32_t k, k_last;
	uint32_t codec;
};

#ifdef __cplusplus
extern "C" {
#endif

// Each queues on the stream (a cudaStream_t) and returns a cudaError_t.
int codec_cuda_flat_encode(const struct codec_cuda_work *w, void *stream);
int codec_cuda_flat_decode(const struct codec_cuda_work *w, void *stream);
int codec_cuda_quant_encode(const struct codec_cuda_work *w, void *stream);
int codec_cuda_topk_encode(const struct codec_cuda_work *w, void *stream);
int codec_cuda_topk_decode(const struct codec_cuda_work *w, void *stream);

#ifdef __cplusplus
}
#endif

#endif
