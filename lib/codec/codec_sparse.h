// SPDX-License-Identifier: BSD-3-Clause
//
// Where sparse values go: a tile of 16-bit values is widened by the
// dense decoder of the same level, then each value goes to its place.
#ifndef GP_CODEC_SPARSE_H
#define GP_CODEC_SPARSE_H

#include "codec_priv.h"

#define CODEC_TILE 64

static inline void codec_sparse_set_f32(
	float *dst, const uint8_t *index, const uint8_t *value, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		gp_storef(&dst[gp_load16(index + 2 * i)], gp_loadf(value + 4 * i));
}

static inline void codec_sparse_add_f32(
	float *dst, const uint8_t *index, const uint8_t *value, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		uint32_t at = gp_load16(index + 2 * i);
		dst[at] = gp_fadd(dst[at], gp_loadf(value + 4 * i));
	}
}

typedef void (*codec_widen)(float *dst, const uint8_t *payload, uint32_t elems);
typedef void (*codec_place)(float *dst, const uint8_t *index, const uint8_t *value, uint32_t count);

static inline __attribute__((always_inline)) void codec_sparse_tiles(float *dst,
	const uint8_t *index, const uint8_t *value, uint32_t count, codec_widen widen,
	codec_place place)
{
	float tile[CODEC_TILE];
	for (uint32_t first = 0; first < count; first += CODEC_TILE) {
		uint32_t n = GP_MIN(count - first, (uint32_t)CODEC_TILE);
		widen(tile, value + 2 * first, n);
		place(dst, index + 2 * first, (const uint8_t *)tile, n);
	}
}

// The four of 16-bit values for a level that has bf16_decode and f16_decode.
#define CODEC_SPARSE_HALVES                                                                        \
	static void sparse_set_bf16(                                                               \
		float *dst, const uint8_t *index, const uint8_t *value, uint32_t count)            \
	{                                                                                          \
		codec_sparse_tiles(dst, index, value, count, bf16_decode, codec_sparse_set_f32);   \
	}                                                                                          \
	static void sparse_add_bf16(                                                               \
		float *dst, const uint8_t *index, const uint8_t *value, uint32_t count)            \
	{                                                                                          \
		codec_sparse_tiles(dst, index, value, count, bf16_decode, codec_sparse_add_f32);   \
	}                                                                                          \
	static void sparse_set_f16(                                                                \
		float *dst, const uint8_t *index, const uint8_t *value, uint32_t count)            \
	{                                                                                          \
		codec_sparse_tiles(dst, index, value, count, f16_decode, codec_sparse_set_f32);    \
	}                                                                                          \
	static void sparse_add_f16(                                                                \
		float *dst, const uint8_t *index, const uint8_t *value, uint32_t count)            \
	{                                                                                          \
		codec_sparse_tiles(dst, index, value, count, f16_decode, codec_sparse_add_f32);    \
	}

#endif
