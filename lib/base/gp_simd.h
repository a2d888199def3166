// SPDX-License-Identifier: BSD-3-Clause
//
// What the arithmetic kernels of codec, aggr and optim share: the instruction-set levels among
// which their tables choose at start, and float operations whose operand order is fixed.
//
// Why the order matters: when both operands are NaN, x86 answers with the first one, made quiet
// (Intel SDM volume 1, table 4-7). A compiler may swap the operands of `a + b`, so the same source
// can give other NaN bits in another variant or build. These wrappers keep `a` first; everything
// else about them is plain IEEE 754 binary32, rounded once. Pure; nothing here holds state.
#ifndef GP_SIMD_H
#define GP_SIMD_H

#include <gp_base.h>

#if defined(__AVX2__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

enum gp_simd_level { GP_SIMD_SCALAR, GP_SIMD_AVX2, GP_SIMD_AVX512, GP_SIMD_LEVELS };

// Whether this machine, its operating system included, runs code of that level.
static inline bool gp_simd_has(enum gp_simd_level level)
{
	if (level == GP_SIMD_SCALAR)
		return true;
#ifdef __x86_64__
	if (level == GP_SIMD_AVX2)
		return __builtin_cpu_supports("avx2") != 0;
	if (level == GP_SIMD_AVX512)
		return __builtin_cpu_supports("avx512f") != 0;
#endif
	return false;
}

static inline float gp_fadd(float a, float b)
{
#if defined(__AVX__)
	__asm__("vaddss %1, %0, %0" : "+x"(a) : "x"(b));
	return a;
#elif defined(__SSE__)
	__asm__("addss %1, %0" : "+x"(a) : "x"(b));
	return a;
#else
	return a + b;
#endif
}

static inline float gp_fmul(float a, float b)
{
#if defined(__AVX__)
	__asm__("vmulss %1, %0, %0" : "+x"(a) : "x"(b));
	return a;
#elif defined(__SSE__)
	__asm__("mulss %1, %0" : "+x"(a) : "x"(b));
	return a;
#else
	return a * b;
#endif
}

#ifdef __AVX2__
static inline __m256 gp_fadd8(__m256 a, __m256 b)
{
	__m256 r;
	__asm__("vaddps %2, %1, %0" : "=x"(r) : "x"(a), "x"(b));
	return r;
}

// The same with an addend in memory, at any address.
static inline __m256 gp_fadd8_of(__m256 a, const void *b)
{
	__asm__("vaddps %1, %0, %0" : "+x"(a) : "m"(*(const __m256_u *)b));
	return a;
}

static inline __m256 gp_fmul8(__m256 a, __m256 b)
{
	__m256 r;
	__asm__("vmulps %2, %1, %0" : "=x"(r) : "x"(a), "x"(b));
	return r;
}
#endif

#ifdef __AVX512F__
static inline __m512 gp_fadd16(__m512 a, __m512 b)
{
	__m512 r;
	__asm__("vaddps %2, %1, %0" : "=v"(r) : "v"(a), "v"(b));
	return r;
}

static inline __m512 gp_fadd16_of(__m512 a, const void *b)
{
	__asm__("vaddps %1, %0, %0" : "+v"(a) : "m"(*(const __m512_u *)b));
	return a;
}

static inline __m512 gp_fmul16(__m512 a, __m512 b)
{
	__m512 r;
	__asm__("vmulps %2, %1, %0" : "=v"(r) : "v"(a), "v"(b));
	return r;
}
#endif

#endif
