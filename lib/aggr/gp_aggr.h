// SPDX-License-Identifier: BSD-3-Clause
//
// The deterministic sum of one block: contributions are held until all are there and summed once,
// in ascending rank order, each in the codec in which it came. The sum starts as a copy of the
// lowest rank's value; then, element by element, sum = sum + value in binary32, rounded once each,
// never contracted. So the same set of contributions gives the same bytes, whatever order they came
// in. An element that a sparse contribution leaves out starts as +0 or is left as it is.
//
// A contribution with a scale other than 1 (one that was clamped, or came late) counts as value *
// scale, each product rounded to binary32 before the sum; what it leaves out counts as +0.
//
// The norm of a contribution, for the clamp: the squares of its values, exact in binary64, are
// added in binary64 by sixteen lanes that begin at +0; lane j adds those of elements j, j + 16, ...
// in that order; then lane j adds lane j + 8 for j < 8, j + 4 for j < 4, j + 2 for j < 2, lane 1
// for j = 0. The norm is the square root of lane 0. A norm above norm_max gives the scale norm_max
// / norm, divided in binary64 and rounded once to binary32 (at least 2^-149); else 1.
//
// When all are f32 there is one pass: tiles of the block stay in registers while all ranks are
// added to them; each payload is read once and the sum is written once.
//
// Threads: no state but the table of kernels, chosen once from the CPU; safe from any thread.
// Memory: the caller's; nothing is allocated. All kernels give the same bytes, NaN payloads
// included.
#ifndef GP_AGGR_H
#define GP_AGGR_H

#include <gp_base.h>
#include <gp_codec.h>

// One rank's contribution to one block. The payload has passed gp_codec_check for the same block
// and stays readable, at any alignment, until the call returns.
struct gp_contrib {
	const uint8_t *payload;
	uint32_t len;  // bytes
	float weight;  // share in a mean; gp_aggr_weights sums them, gp_aggr_sum does not look
	float scale;   // above 0; 1: the values as they are
	uint16_t rank; // ascending within one call; twice: a late one first
	uint8_t codec; // enum gp_codec_id
};

// dst[0..elems) = the sum of c[0..count), 1 <= count <= 2 GP_RANKS_MAX. dst is 64-byte aligned and
// overlaps no payload. Any elems up to GP_CODEC_ELEMS_MAX. `scratch` is elems floats, 64-byte
// aligned, used only where a scale is not 1.
//
// True: all of dst is finite, and with that every value of every contribution, since no sum with
// NaN or infinity is. False: nobody looked (some are not plain f32), or it is not, or one of its
// own sums of all elements was too large.
bool gp_aggr_sum(
	float *dst, const struct gp_contrib *c, uint32_t count, uint32_t elems, float *scratch);
// The norm of one contribution without its scale; `scratch` as above, used where it is not f32.
double gp_aggr_norm(const struct gp_contrib *c, uint32_t elems, float *scratch) GP_MUST_CHECK;
// The scale of a contribution of that norm.
float gp_aggr_clamp(double norm, float norm_max) GP_MUST_CHECK;
// Of a block's values: the sum of squares as in the norm above, lane 0 without the root.
double gp_aggr_squares(const float *values, uint32_t elems) GP_MUST_CHECK;
// dst[i] = src[i] * factor, each product rounded to binary32; 1 copies. The same memory, or apart.
void gp_aggr_times(float *dst, const float *src, uint32_t elems, float factor);
// The weights summed in rank order, in binary32: the divisor of a weighted mean.
float gp_aggr_weights(const struct gp_contrib *c, uint32_t count) GP_MUST_CHECK;
// dst[i] = dst[i] / divisor: a real division, not a product with the inverse. A mean is
// gp_aggr_scale(dst, elems, gp_aggr_weights(c, count)). dst is 64-byte aligned.
void gp_aggr_scale(float *dst, uint32_t elems, float divisor);

// Uses the kernels of that level from now on: for tests and measurements. -ENOTSUP when this
// machine has none of that level. Without it the best ones are chosen at the first call.
int gp_aggr_select(enum gp_simd_level level) GP_MUST_CHECK;

#endif
