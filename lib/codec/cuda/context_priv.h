// SPDX-License-Identifier: BSD-3-Clause
//
// The state of one context, shared by context.c (its life, errors, copies) and job.c (its work).
#ifndef CODEC_CUDA_CONTEXT_PRIV_H
#define CODEC_CUDA_CONTEXT_PRIV_H

#include "gp_codec_cuda.h"

// cudaStream_t and cudaEvent_t point to these: this header needs no toolkit.
struct CUstream_st;
struct CUevent_st;

// A staged call is cut into at most this many pieces, each of at least so many bytes.
#define CUDA_PIECES_MAX	     64
#define CUDA_PIECE_SIZE_MIN  (UINT64_C(4) << 20)
#define CUDA_ERROR_TEXT_SIZE 160
#define CUDA_NAME_SIZE	     256

struct gp_codec_cuda {
	int device;
	bool own_stream;
	struct CUstream_st *stream;	 // encodes and decodes
	struct CUstream_st *copy_stream; // staged payloads to pinned memory
	size_t staging_size;
	uint8_t *staging_device, *staging_pinned;
	struct CUevent_st *encoded[CUDA_PIECES_MAX], *copied[CUDA_PIECES_MAX];
	uint32_t pieces;	// of the last staged call
	uint32_t pieces_copied; // known to have arrived
	uint32_t blocks, piece_blocks;
	struct CUevent_st *marks[GP_CODEC_CUDA_MARKS_COUNT];
	char error[CUDA_ERROR_TEXT_SIZE];
	char name[CUDA_NAME_SIZE];
};

// 0, or the errno for err after writing "what: CUDA's text".
int codec_cuda_check(struct gp_codec_cuda *ctx, int err, const char *what) GP_MUST_CHECK;
// The calling thread works with the context's device from now on.
int codec_cuda_enter(struct gp_codec_cuda *ctx) GP_MUST_CHECK;

#endif
