// SPDX-License-Identifier: BSD-3-Clause
//
// The quantisers: int8 by the largest element of the block, sign by the mean magnitude.
#include "block.cuh"

// Four elements at once where all four exist; needs a block that begins at a multiple of 16 bytes.
template <bool FEEDBACK, class HOLD>
static __device__ __forceinline__ void load_quads(HOLD &acc, const span &s, uint32_t lane)
{
#pragma unroll
	for (uint32_t j = 0; j < acc.items(s.elems); j += 4) {
		uint32_t i = quads::index(j, lane);
		float4 g = make_float4(0, 0, 0, 0), r = g;
		if (i < s.elems) {
			g = *reinterpret_cast<const float4 *>(s.grad + i);
			if (FEEDBACK)
				r = *reinterpret_cast<const float4 *>(s.residual + i);
		}
		acc.set(j, FEEDBACK ? add_as_cpu(g.x, r.x) : g.x);
		acc.set(j + 1, FEEDBACK ? add_as_cpu(g.y, r.y) : g.y);
		acc.set(j + 2, FEEDBACK ? add_as_cpu(g.z, r.z) : g.z);
		acc.set(j + 3, FEEDBACK ? add_as_cpu(g.w, r.w) : g.w);
	}
}

// Largest key in the block; NaN is above infinity.
template <class HOLD>
static __device__ __forceinline__ uint32_t key_max(const HOLD &acc, uint32_t elems)
{
	uint32_t max = 0;
#pragma unroll
	for (uint32_t j = 0; j < acc.items(elems); j++)
		max = ::max(max, bits_of(acc.get(j)) & KEY_MASK);
	return __reduce_max_sync(ALL, max);
}

struct int8_scale {
	float scale;
	bool zero; // every q is 0
};

static __device__ __forceinline__ int8_scale int8_scale_of(uint32_t max)
{
	if (max >= EXP_MASK)
		return int8_scale{float_of(NAN_BITS), true};
	float scale = __fdiv_rn(float_of(max), 127.0f);
	return int8_scale{scale, scale == 0};
}

template <class HOLD, bool FEEDBACK>
static __device__ __forceinline__ void int8_striped(const span &s, float *shared, uint32_t lane)
{
	HOLD acc(shared, lane);
	load<striped, FEEDBACK>(acc, s, lane);
	int8_scale by = int8_scale_of(key_max(acc, s.elems));
	if (lane == 0)
		*reinterpret_cast<float *>(s.out) = by.scale;
#pragma unroll
	for (uint32_t j = 0; j < acc.items(s.elems); j++) {
		uint32_t i = striped::index(j, lane);
		if (i >= s.elems)
			continue;
		int q = by.zero ? 0 : int8_round(acc.get(j), by.scale);
		s.out[4 + i] = (uint8_t)q;
		if (FEEDBACK)
			s.residual[i] = rest_of(acc.get(j), int8_value(q, by.scale));
	}
	pad(s.out, 4 + s.elems, lane);
}

// For blocks of a multiple of four elements.
template <class HOLD, bool FEEDBACK>
static __device__ __forceinline__ void int8_quads(const span &s, uint32_t lane)
{
	HOLD acc(nullptr, lane);
	load_quads<FEEDBACK>(acc, s, lane);
	int8_scale by = int8_scale_of(key_max(acc, s.elems));
	if (lane == 0)
		*reinterpret_cast<float *>(s.out) = by.scale;
#pragma unroll
	for (uint32_t j = 0; j < acc.items(s.elems); j += 4) {
		uint32_t i = quads::index(j, lane), four = 0;
		if (i >= s.elems)
			continue;
		float rest[4];
#pragma unroll
		for (uint32_t n = 0; n < 4; n++) {
			int q = by.zero ? 0 : int8_round(acc.get(j + n), by.scale);
			four |= (uint32_t)(q & 0xff) << 8 * n;
			rest[n] = rest_of(acc.get(j + n), int8_value(q, by.scale));
		}
		*reinterpret_cast<uint32_t *>(s.out + 4 + i) = four;
		if (FEEDBACK)
			*reinterpret_cast<float4 *>(s.residual + i) =
				make_float4(rest[0], rest[1], rest[2], rest[3]);
	}
}

// Sixteen partial sums, each in the order of its elements: lane l < 16 adds its own element, then
// that of lane l + 16, which is the next of its sum. Elements beyond the end are +0 and change
// nothing.
template <class HOLD>
static __device__ __forceinline__ float abs_sum(const HOLD &acc, uint32_t elems)
{
	float sum = 0;
#pragma unroll
	for (uint32_t j = 0; j < acc.items(elems); j++) {
		float x = fabsf(acc.get(j)), next = __shfl_down_sync(ALL, x, 16);
		sum = __fadd_rn(__fadd_rn(sum, x), next);
	}
#pragma unroll
	for (uint32_t step = 8; step > 0; step /= 2)
		sum = __fadd_rn(sum, __shfl_down_sync(ALL, sum, step));
	return __shfl_sync(ALL, sum, 0);
}

template <class HOLD, bool FEEDBACK>
static __device__ __forceinline__ void sign_encode(const span &s, float *shared, uint32_t lane)
{
	HOLD acc(shared, lane);
	load<striped, FEEDBACK>(acc, s, lane);
	float scale = __fdiv_rn(abs_sum(acc, s.elems), (float)s.elems);
	bool good = finite(scale);
	if (!good)
		scale = float_of(NAN_BITS);
	if (lane == 0)
		*reinterpret_cast<float *>(s.out) = scale;
	uint32_t *words = reinterpret_cast<uint32_t *>(s.out + 4), mine = 0;
#pragma unroll
	for (uint32_t j = 0; j < acc.items(s.elems); j++) {
		uint32_t i = striped::index(j, lane), negative = bits_of(acc.get(j)) >> 31;
		uint32_t word = __ballot_sync(ALL, negative && good);
		if (lane == j % WARP)
			mine = word;
		if (j % WARP == WARP - 1 || j + 1 == acc.items(s.elems)) {
			uint32_t at = j / WARP * WARP + lane;
			if (lane <= j % WARP && at * WARP < s.elems)
				words[at] = mine;
		}
		if (FEEDBACK && i < s.elems)
			s.residual[i] = rest_of(acc.get(j), sign_value(negative, scale));
	}
}

struct int8_codec {
	template <class HOLD, bool FEEDBACK>
	static __device__ __forceinline__ void encode(const span &s, float *shared, uint32_t lane)
	{
		int8_striped<HOLD, FEEDBACK>(s, shared, lane);
	}
};

struct int8_quads_codec {
	template <class HOLD, bool FEEDBACK>
	static __device__ __forceinline__ void encode(const span &s, float *, uint32_t lane)
	{
		int8_quads<HOLD, FEEDBACK>(s, lane);
	}
};

struct sign_codec {
	template <class HOLD, bool FEEDBACK>
	static __device__ __forceinline__ void encode(const span &s, float *shared, uint32_t lane)
	{
		sign_encode<HOLD, FEEDBACK>(s, shared, lane);
	}
};

static bool quads_fit(const struct codec_cuda_work &w)
{
	uintptr_t low = (uintptr_t)w.grad | (uintptr_t)w.residual;
	return w.block_elems % 4 == 0 && w.elems % 4 == 0 && low % 16 == 0;
}

int codec_cuda_quant_encode(const struct codec_cuda_work *w, void *stream)
{
	cudaStream_t s = (cudaStream_t)stream;
	if (w->codec == CODEC_CUDA_INT8 && quads_fit(*w))
		return launch<int8_quads_codec, int8_codec>(*w, s);
	if (w->codec == CODEC_CUDA_INT8)
		return launch_same<int8_codec>(*w, s);
	if (w->codec == CODEC_CUDA_SIGN)
		return launch_same<sign_codec>(*w, s);
	return cudaErrorInvalidValue;
}
