// SPDX-License-Identifier: BSD-3-Clause
//
// The kernels for AVX-512 (F, BW and VL). What is beyond the last full vector is done by the same
// instructions under a mask, which neither reads nor writes what is not there; masked lanes hold
// zeros, so they count for nothing. Sparse values are placed one by one: the gather and scatter
// instructions take 3.5 to 4.7 cycles for each of some 20 elements on a Zen 5, that takes 2.6. What
// is quantised is in codec_avx512_quant.c.
#include "codec_avx512.h"
#include "codec_sparse.h"

#define ALL 0xffff // lanes

// ---- f32

static void f32_add(float *dst, const uint8_t *payload, uint32_t elems)
{
	uint32_t i = 0;
	for (; i + 16 <= elems; i += 16)
		_mm512_storeu_ps(dst + i, gp_fadd16(load16(dst + i), load16(payload + 4 * i)));
	if (i == elems)
		return;
	__mmask16 in = tail16(elems - i);
	__m512 sum = gp_fadd16(load16_in(in, dst + i), load16_in(in, payload + 4 * i));
	_mm512_mask_storeu_ps(dst + i, in, sum);
}

static inline __m512i keys16(__m512 v)
{
	return _mm512_and_si512(_mm512_castps_si512(v), _mm512_set1_epi32((int)CODEC_KEY_MASK));
}

// The largest magnitude as an integer, which is above all finite ones where one is not finite.
static bool keys_finite(const uint8_t *payload, uint32_t count)
{
	__m512i max = _mm512_setzero_si512();
	uint32_t i = 0;
	for (; i + 16 <= count; i += 16)
		max = _mm512_max_epu32(max, keys16(load16(payload + 4 * (size_t)i)));
	if (i < count)
		max = _mm512_max_epu32(
			max, keys16(load16_in(tail16(count - i), payload + 4 * (size_t)i)));
	return _mm512_cmpge_epu32_mask(max, _mm512_set1_epi32((int)CODEC_EXP_MASK)) == 0;
}

// `lines` is constant at every call.
static inline __attribute__((always_inline)) const uint8_t *lines_sum(
	const uint8_t *payload, __m512 sum[4], const uint32_t lines)
{
#pragma GCC unroll 8
	for (uint32_t i = 0; i < lines; i++)
		sum[i % 4] = gp_fadd16_of(sum[i % 4], payload + 64 * (size_t)i);
	return payload + 64 * (size_t)lines;
}

// Every contribution is looked through for NaN and infinity when it arrives. No sum with one of
// them is finite, so one addition for each line tells that all are finite; only where the sum is
// not, because it is too large or really, the values are looked at one by one.
static bool f32_finite(const uint8_t *payload, uint32_t count)
{
	const uint8_t *p = payload;
	__m512 sum[4] = {
		_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
	uint32_t lines = count / 16;
	for (; lines >= 8; lines -= 8)
		p = lines_sum(p, sum, 8);
	if (lines & 4)
		p = lines_sum(p, sum, 4);
	if (lines & 2)
		p = lines_sum(p, sum, 2);
	if (lines & 1)
		p = lines_sum(p, sum, 1);
	if (count % 16 > 0)
		sum[3] = gp_fadd16(sum[3], load16_in(tail16(count % 16), p));
	sum[0] = gp_fadd16(gp_fadd16(sum[0], sum[1]), gp_fadd16(sum[2], sum[3]));
	const __m512i exp = _mm512_set1_epi32((int)CODEC_EXP_MASK);
	return _mm512_cmpge_epu32_mask(keys16(sum[0]), exp) == 0 || keys_finite(payload, count);
}

// ---- bf16

static inline __m512 bf16_wide(__m256i half)
{
	return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

static void bf16_decode(float *dst, const uint8_t *payload, uint32_t elems)
{
	uint32_t i = 0;
	for (; i + 16 <= elems; i += 16)
		_mm512_storeu_ps(dst + i, bf16_wide(load16_half(payload + 2 * i)));
	if (i == elems)
		return;
	__mmask16 in = tail16(elems - i);
	_mm512_mask_storeu_ps(dst + i, in, bf16_wide(load16_half_in(in, payload + 2 * i)));
}

static void bf16_add(float *dst, const uint8_t *payload, uint32_t elems)
{
	uint32_t i = 0;
	for (; i + 16 <= elems; i += 16) {
		__m512 value = bf16_wide(load16_half(payload + 2 * i));
		_mm512_storeu_ps(dst + i, gp_fadd16(load16(dst + i), value));
	}
	if (i == elems)
		return;
	__mmask16 in = tail16(elems - i);
	__m512 value = bf16_wide(load16_half_in(in, payload + 2 * i));
	_mm512_mask_storeu_ps(dst + i, in, gp_fadd16(load16_in(in, dst + i), value));
}

// Sixteen bf16, each in the low half of its lane.
static inline __m512i bf16_round16(__m512 v)
{
	__m512i bits = _mm512_castps_si512(v), high = _mm512_srli_epi32(bits, 16);
	__m512i odd = _mm512_and_si512(high, _mm512_set1_epi32(1));
	__m512i biased = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
	__mmask16 nan = _mm512_cmpgt_epi32_mask(keys16(v), _mm512_set1_epi32((int)CODEC_EXP_MASK));
	return _mm512_mask_or_epi32(
		_mm512_srli_epi32(biased, 16), nan, high, _mm512_set1_epi32(0x40));
}

static inline void bf16_store(uint8_t *payload, __mmask16 in, __m512i half)
{
	_mm256_mask_storeu_epi16(payload, in, _mm512_cvtepi32_epi16(half));
}

static void bf16_encode(uint8_t *payload, const float *grad, uint32_t elems)
{
	uint32_t i = 0;
	for (; i + 16 <= elems; i += 16)
		bf16_store(payload + 2 * i, ALL, bf16_round16(load16(grad + i)));
	__mmask16 in = tail16(elems - i);
	bf16_store(payload + 2 * i, in, bf16_round16(load16_in(in, grad + i)));
}

static inline void bf16_step(uint8_t *payload, const float *grad, float *residual, __mmask16 in)
{
	__m512 acc = gp_fadd16(load16_in(in, grad), load16_in(in, residual));
	__m512i half = bf16_round16(acc);
	bf16_store(payload, in, half);
	__m512 sent = _mm512_castsi512_ps(_mm512_slli_epi32(half, 16));
	_mm512_mask_storeu_ps(residual, in, codec_rest16(acc, sent));
}

static void bf16_encode_ef(uint8_t *payload, const float *grad, float *residual, uint32_t elems)
{
	uint32_t i = 0;
	for (; i + 16 <= elems; i += 16)
		bf16_step(payload + 2 * i, grad + i, residual + i, ALL);
	bf16_step(payload + 2 * i, grad + i, residual + i, tail16(elems - i));
}

// ---- f16

static void f16_decode(float *dst, const uint8_t *payload, uint32_t elems)
{
	uint32_t i = 0;
	for (; i + 16 <= elems; i += 16)
		_mm512_storeu_ps(dst + i, _mm512_cvtph_ps(load16_half(payload + 2 * i)));
	if (i == elems)
		return;
	__mmask16 in = tail16(elems - i);
	_mm512_mask_storeu_ps(dst + i, in, _mm512_cvtph_ps(load16_half_in(in, payload + 2 * i)));
}

static void f16_add(float *dst, const uint8_t *payload, uint32_t elems)
{
	uint32_t i = 0;
	for (; i + 16 <= elems; i += 16) {
		__m512 value = _mm512_cvtph_ps(load16_half(payload + 2 * i));
		_mm512_storeu_ps(dst + i, gp_fadd16(load16(dst + i), value));
	}
	if (i == elems)
		return;
	__mmask16 in = tail16(elems - i);
	__m512 value = _mm512_cvtph_ps(load16_half_in(in, payload + 2 * i));
	_mm512_mask_storeu_ps(dst + i, in, gp_fadd16(load16_in(in, dst + i), value));
}

static inline __m256i f16_round16(__m512 v)
{
	return _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT);
}

static void f16_encode(uint8_t *payload, const float *grad, uint32_t elems)
{
	uint32_t i = 0;
	for (; i + 16 <= elems; i += 16)
		_mm256_storeu_si256((__m256i *)(payload + 2 * i), f16_round16(load16(grad + i)));
	__mmask16 in = tail16(elems - i);
	_mm256_mask_storeu_epi16(payload + 2 * i, in, f16_round16(load16_in(in, grad + i)));
}

static inline void f16_step(uint8_t *payload, const float *grad, float *residual, __mmask16 in)
{
	__m512 acc = gp_fadd16(load16_in(in, grad), load16_in(in, residual));
	__m256i half = f16_round16(acc);
	_mm256_mask_storeu_epi16(payload, in, half);
	_mm512_mask_storeu_ps(residual, in, codec_rest16(acc, _mm512_cvtph_ps(half)));
}

static void f16_encode_ef(uint8_t *payload, const float *grad, float *residual, uint32_t elems)
{
	uint32_t i = 0;
	for (; i + 16 <= elems; i += 16)
		f16_step(payload + 2 * i, grad + i, residual + i, ALL);
	f16_step(payload + 2 * i, grad + i, residual + i, tail16(elems - i));
}

static bool half_finite(const uint8_t *payload, uint32_t count, uint16_t mask)
{
	const __m512i exp = _mm512_set1_epi16((int16_t)mask);
	__mmask32 bad = 0;
	for (uint32_t i = 0; i < count; i += 32) {
		__m512i e = _mm512_maskz_loadu_epi16(tail32(count - i), payload + 2 * i);
		bad |= _mm512_cmpeq_epi16_mask(_mm512_and_si512(e, exp), exp);
	}
	return bad == 0;
}

// ---- choice

static void accumulate(float *residual, const float *grad, uint32_t elems)
{
	uint32_t i = 0;
	for (; i + 16 <= elems; i += 16)
		_mm512_storeu_ps(residual + i, gp_fadd16(load16(grad + i), load16(residual + i)));
	if (i == elems)
		return;
	__mmask16 in = tail16(elems - i);
	__m512 acc = gp_fadd16(load16_in(in, grad + i), load16_in(in, residual + i));
	_mm512_mask_storeu_ps(residual + i, in, acc);
}

static int32_t key_max(const float *acc, uint32_t elems)
{
	__m512i max0 = _mm512_setzero_si512(), max1 = max0;
	uint32_t i = 0;
	for (; i + 32 <= elems; i += 32) {
		max0 = _mm512_max_epi32(max0, keys16(load16(acc + i)));
		max1 = _mm512_max_epi32(max1, keys16(load16(acc + i + 16)));
	}
	for (; i < elems; i += 16)
		max0 = _mm512_max_epi32(max0, keys16(load16_in(tail16(elems - i), acc + i)));
	return _mm512_reduce_max_epi32(_mm512_max_epi32(max0, max1));
}

// A masked lane has key 0, which is above -1: it is left out by the mask.
static uint32_t count_above(const float *acc, uint32_t elems, int32_t above)
{
	const __m512i limit = _mm512_set1_epi32(above);
	uint32_t n = 0, i = 0;
	for (; i + 16 <= elems; i += 16)
		n += (uint32_t)__builtin_popcount(
			_mm512_cmpgt_epi32_mask(keys16(load16(acc + i)), limit));
	__mmask16 in = tail16(elems - i);
	__m512i keys = keys16(load16_in(in, acc + i));
	return n + (uint32_t)__builtin_popcount(_mm512_mask_cmpgt_epi32_mask(in, keys, limit));
}

// The lowest `n` bits that are set.
static inline uint32_t lowest_bits(uint32_t bits, uint32_t n)
{
	uint32_t rest = bits;
	for (; n > 0 && rest; n--)
		rest &= rest - 1;
	return bits & ~rest;
}

// Indices of the lanes to keep, packed to the front and stored as 16 bits each.
static uint32_t select_indices(uint8_t *out, const float *acc, uint32_t elems, struct codec_cut cut)
{
	const __m512i limit = _mm512_set1_epi32(cut.above);
	__m512i idx = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
	uint32_t n = 0;
	for (uint32_t i = 0; i < elems; i += 16) {
		__mmask16 in = tail16(elems - i);
		__m512i keys = keys16(load16_in(in, acc + i));
		uint32_t kept = _mm512_mask_cmpgt_epi32_mask(in, keys, limit);
		if (cut.equals > 0) {
			uint32_t equal = lowest_bits(
				_mm512_mask_cmpeq_epi32_mask(in, keys, limit), cut.equals);
			cut.equals -= (uint32_t)__builtin_popcount(equal);
			kept |= equal;
		}
		if (kept) {
			uint32_t count = (uint32_t)__builtin_popcount(kept);
			__m512i packed = _mm512_maskz_compress_epi32((__mmask16)kept, idx);
			_mm256_mask_storeu_epi16(
				out + 2 * n, tail16(count), _mm512_cvtepi32_epi16(packed));
			n += count;
		}
		idx = _mm512_add_epi32(idx, _mm512_set1_epi32(16));
	}
	return n;
}

CODEC_SPARSE_HALVES

const struct codec_kernels codec_kernels_avx512 = {
	.f32_add = f32_add,
	.f32_finite = f32_finite,
	.bf16_decode = bf16_decode,
	.bf16_add = bf16_add,
	.bf16_encode = bf16_encode,
	.bf16_encode_ef = bf16_encode_ef,
	.f16_decode = f16_decode,
	.f16_add = f16_add,
	.f16_encode = f16_encode,
	.f16_encode_ef = f16_encode_ef,
	.half_finite = half_finite,
	.int8_legal = codec_int8_legal_avx512,
	.int8_decode = codec_int8_decode_avx512,
	.int8_add = codec_int8_add_avx512,
	.int8_encode = codec_int8_encode_avx512,
	.sign_decode = codec_sign_decode_avx512,
	.sign_add = codec_sign_add_avx512,
	.sign_encode = codec_sign_encode_avx512,
	.abs_lanes = codec_abs_lanes_avx512,
	.accumulate = accumulate,
	.key_max = key_max,
	.count_above = count_above,
	.select = select_indices,
	.sparse_set = {codec_sparse_set_f32, sparse_set_bf16, sparse_set_f16},
	.sparse_add = {codec_sparse_add_f32, sparse_add_bf16, sparse_add_f16},
};
