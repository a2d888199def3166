// SPDX-License-Identifier: BSD-3-Clause
//
// How one value is encoded and decoded on the device, as lib/codec/codec_priv.h has it for the CPU.
// Compiled with --fmad=false; without fast-math, so division and subnormals are IEEE 754.
#ifndef CODEC_VALUE_CUH
#define CODEC_VALUE_CUH

#include "codec_cuda_priv.h"

#include <cuda_fp16.h>

static constexpr uint32_t KEY_MASK = 0x7fffffffu;
static constexpr uint32_t EXP_MASK = 0x7f800000u;
static constexpr uint32_t QUIET = 0x00400000u;
static constexpr uint32_t NAN_BITS = 0x7fc00000u;

static __device__ __forceinline__ uint32_t bits_of(float v)
{
	return __float_as_uint(v);
}

static __device__ __forceinline__ float float_of(uint32_t bits)
{
	return __uint_as_float(bits);
}

static __device__ __forceinline__ bool finite(float v)
{
	return (bits_of(v) & EXP_MASK) != EXP_MASK;
}

static __device__ __forceinline__ bool is_nan(float v)
{
	return (bits_of(v) & KEY_MASK) > EXP_MASK;
}

// The device answers every NaN as 0x7fffffff; the CPU's answer, which the encoders are defined by,
// is the first operand that is a NaN, made quiet, or its default NaN (Intel SDM volume 1, table
// 4-7).
static __device__ __forceinline__ float add_as_cpu(float a, float b)
{
	float sum = __fadd_rn(a, b);
	if (!is_nan(sum))
		return sum;
	if (is_nan(a))
		return float_of(bits_of(a) | QUIET);
	return float_of(is_nan(b) ? bits_of(b) | QUIET : 0xffc00000u);
}

// What error feedback keeps of acc when `sent` is what the receiver decodes.
static __device__ __forceinline__ float rest_of(float acc, float sent)
{
	return finite(sent) ? __fsub_rn(acc, sent) : 0.0f;
}

struct bf16 {
	static __device__ __forceinline__ uint16_t round(float v)
	{
		uint32_t bits = bits_of(v);
		if (is_nan(v))
			return (uint16_t)(bits >> 16 | 0x40);
		return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
	}

	static __device__ __forceinline__ float value(uint16_t half)
	{
		return float_of((uint32_t)half << 16);
	}
};

struct f16 {
	static __device__ __forceinline__ uint16_t round(float v)
	{
		uint32_t bits = bits_of(v);
		if (is_nan(v))
			return (uint16_t)((bits >> 16 & 0x8000) | 0x7e00 | (bits >> 13 & 0x3ff));
		return __half_as_ushort(__float2half_rn(v));
	}

	static __device__ __forceinline__ float value(uint16_t half)
	{
		if ((half & 0x7fff) > 0x7c00)
			return float_of((uint32_t)(half & 0x8000) << 16 | NAN_BITS |
					(uint32_t)(half & 0x7fff) << 13);
		return __half2float(__ushort_as_half(half));
	}
};

// scale is finite and above 0, |acc| at most 127.5 of it or so: adding 1.5 x 2^23 leaves the
// nearest integer, ties to even, in the lowest bits.
static __device__ __forceinline__ int int8_round(float acc, float scale)
{
	int q = (int)(bits_of(__fadd_rn(__fdiv_rn(acc, scale), 0x1.8p23f)) - 0x4b400000u);
	return max(-127, min(127, q));
}

static __device__ __forceinline__ float int8_value(int q, float scale)
{
	return is_nan(scale) ? scale : __fmul_rn((float)q, scale);
}

static __device__ __forceinline__ float sign_value(uint32_t negative, float scale)
{
	return float_of(bits_of(scale) ^ negative << 31);
}

// Where the values of a top-k payload begin.
static __host__ __device__ __forceinline__ uint32_t topk_values_offset(uint32_t count)
{
	return (2 + 2 * count + 3) & ~3u;
}

static __device__ __forceinline__ uint32_t block_len(
	const struct codec_cuda_work &w, uint32_t block)
{
	uint64_t left = w.elems - (uint64_t)block * w.block_elems;
	return left < w.block_elems ? (uint32_t)left : w.block_elems;
}

#endif
