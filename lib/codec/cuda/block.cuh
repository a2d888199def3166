// SPDX-License-Identifier: BSD-3-Clause
//
// What the codecs share that look at a whole block: int8, sign and the top-k ones. One warp has one
// block, so that nothing but warp shuffles is needed; its elements stay in registers from the only
// read of the gradient to the only write of the residual. Blocks too large for that lie in shared
// memory.
#ifndef CODEC_BLOCK_CUH
#define CODEC_BLOCK_CUH

#include "codec_value.cuh"

#include <cuda_runtime.h>

static constexpr uint32_t WARP = 32;
static constexpr uint32_t WARPS = 4; // blocks that one group of threads encodes
static constexpr uint32_t ALL = 0xffffffffu;

// Where a lane's j-th element is in the block. STRIPED: 32 neighbours for the 32 lanes. QUADS: four
// neighbours for a lane, so that it loads 16 bytes and stores 4.
struct striped {
	static __device__ __forceinline__ uint32_t index(uint32_t j, uint32_t lane)
	{
		return j * WARP + lane;
	}
};

struct quads {
	static __device__ __forceinline__ uint32_t index(uint32_t j, uint32_t lane)
	{
		return j / 4 * (4 * WARP) + lane * 4 + j % 4;
	}
};

// A lane's share of the block. +0 beyond the block's end.
template <uint32_t ITEMS> struct in_registers {
	float v[ITEMS];

	__device__ __forceinline__ in_registers(float *, uint32_t)
	{
	}
	static __device__ __forceinline__ uint32_t items(uint32_t)
	{
		return ITEMS;
	}
	__device__ __forceinline__ float get(uint32_t j) const
	{
		return v[j];
	}
	__device__ __forceinline__ void set(uint32_t j, float x)
	{
		v[j] = x;
	}
	static constexpr uint32_t warps = WARPS;
};

struct in_shared {
	float *v;

	__device__ __forceinline__ in_shared(float *shared, uint32_t lane) : v(shared + lane)
	{
	}
	static __device__ __forceinline__ uint32_t items(uint32_t elems)
	{
		return (elems + WARP - 1) / WARP;
	}
	__device__ __forceinline__ float get(uint32_t j) const
	{
		return v[j * WARP];
	}
	__device__ __forceinline__ void set(uint32_t j, float x)
	{
		v[j * WARP] = x;
	}
	static constexpr uint32_t warps = 1;
};

struct span {
	const float *grad;
	float *residual;
	uint8_t *out;
	uint32_t elems, k, codec;
};

static __device__ __forceinline__ span span_of(const struct codec_cuda_work &w, uint32_t block)
{
	uint64_t from = (uint64_t)block * w.block_elems;
	return span{w.grad + from, w.residual ? w.residual + from : nullptr,
		w.payload + block * w.stride, block_len(w, block),
		block + 1 == w.blocks ? w.k_last : w.k, w.codec};
}

static constexpr uint32_t BATCH = 8;

// acc = grad + residual for a few elements. All loads come before the first addition, so that they
// are under way together; NaN is looked for once.
static __device__ __forceinline__ void sums_of(float *acc, const float *rest)
{
	float sum[BATCH];
	bool odd = false;
#pragma unroll
	for (uint32_t n = 0; n < BATCH; n++) {
		sum[n] = __fadd_rn(acc[n], rest[n]);
		odd |= !(sum[n] == sum[n]);
	}
#pragma unroll
	for (uint32_t n = 0; n < BATCH; n++)
		acc[n] = odd ? add_as_cpu(acc[n], rest[n]) : sum[n];
}

template <class PLACE, bool FEEDBACK, class HOLD>
static __device__ __forceinline__ void load(HOLD &acc, const span &s, uint32_t lane)
{
#pragma unroll
	for (uint32_t from = 0; from < acc.items(s.elems); from += BATCH) {
		float x[BATCH] = {}, rest[BATCH] = {};
#pragma unroll
		for (uint32_t n = 0; n < BATCH; n++) {
			uint32_t i = PLACE::index(from + n, lane);
			if (i < s.elems) {
				x[n] = s.grad[i];
				if (FEEDBACK)
					rest[n] = s.residual[i];
			}
		}
		if (FEEDBACK)
			sums_of(x, rest);
#pragma unroll
		for (uint32_t n = 0; n < BATCH; n++) {
			if (from + n < acc.items(s.elems))
				acc.set(from + n, x[n]);
		}
	}
}

// Zero bytes from `len` on up to a multiple of 4.
static __device__ __forceinline__ void pad(uint8_t *out, uint32_t len, uint32_t lane)
{
	if (lane < (4 - len % 4) % 4)
		out[len + lane] = 0;
}

template <class CODEC, class HOLD, bool FEEDBACK>
static __global__ void __launch_bounds__(WARP *WARPS) encode_kernel(struct codec_cuda_work w)
{
	extern __shared__ float shared[];
	uint32_t block = blockIdx.x * HOLD::warps + threadIdx.x / WARP;
	if (block < w.blocks)
		CODEC::template encode<HOLD, FEEDBACK>(
			span_of(w, block), shared, threadIdx.x % WARP);
}

template <class CODEC, class HOLD, bool FEEDBACK>
static cudaError_t hold_launch(const struct codec_cuda_work &w, size_t shared, cudaStream_t s)
{
	uint32_t grid = (w.blocks + HOLD::warps - 1) / HOLD::warps;
	if (shared > 48 << 10) {
		cudaError_t err = cudaFuncSetAttribute(encode_kernel<CODEC, HOLD, FEEDBACK>,
			cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared);
		if (err != cudaSuccess)
			return err;
	}
	encode_kernel<CODEC, HOLD, FEEDBACK><<<grid, WARP * HOLD::warps, shared, s>>>(w);
	return cudaGetLastError();
}

// The sizes suit blocks of datagrams of 1500 and of 9000 bytes.
template <class CODEC, class LARGE, bool FEEDBACK>
static cudaError_t size_launch(const struct codec_cuda_work &w, cudaStream_t s)
{
	uint64_t elems = w.elems < w.block_elems ? w.elems : w.block_elems;
	if (elems <= 12 * WARP)
		return hold_launch<CODEC, in_registers<12>, FEEDBACK>(w, 0, s);
	if (elems <= 72 * WARP)
		return hold_launch<CODEC, in_registers<72>, FEEDBACK>(w, 0, s);
	size_t shared = (elems + WARP - 1) / WARP * WARP * sizeof(float);
	return hold_launch<LARGE, in_shared, FEEDBACK>(w, shared, s);
}

template <class CODEC, class LARGE>
static cudaError_t launch(const struct codec_cuda_work &w, cudaStream_t s)
{
	return w.residual ? size_launch<CODEC, LARGE, true>(w, s)
			  : size_launch<CODEC, LARGE, false>(w, s);
}

template <class CODEC>
static cudaError_t launch_same(const struct codec_cuda_work &w, cudaStream_t s)
{
	return launch<CODEC, CODEC>(w, s);
}

#endif
