// SPDX-License-Identifier: BSD-3-Clause
//
// Codecs: how the elements of one block travel as the payload of one section.
//
// Wire forms, little-endian, at any alignment:
//   none  nothing; every element is +0 (a block with nothing to say)
//   f32   elems x binary32
//   bf16  elems x the upper half of binary32, rounded to nearest, ties to even; a NaN stays a NaN
//   and
//         is made quiet; a finite value beyond the largest bf16 becomes infinity
//   topk  u16 count, u16 index[count] strictly increasing and < elems, zero bytes up to a multiple
//         of 4, binary32 value[count]; every other element is absent
// An absent element decodes to +0 and adds nothing.
//
// Trust: gp_codec_check proves everything about a payload before any of it is used. Decode and add
// take only checked payloads; handing them others is a bug of the caller, not an error.
//
// Error feedback (Seide et al. 2014, "1-Bit Stochastic Gradient Descent"; Stich et al. 2018,
// "Sparsified SGD with Memory"): acc = grad + residual is what the rank would like to send, and
// residual = acc - sent is kept for its next step. An element whose sent value is not finite leaves
// residual 0, so that one NaN does not poison a rank for ever.
//
// Threads: no state but the table of kernels, chosen once from the CPU and never freed; every call
// is safe from any thread. Memory: all of it is the caller's; nothing is allocated; buffers of one
// call do not overlap. All kernels give the same bytes, NaN payloads included.
#ifndef GP_CODEC_H
#define GP_CODEC_H

#include <gp_base.h>
#include <gp_simd.h>

// Wire ids; never renumbered.
enum gp_codec_id {
	GP_CODEC_NONE = 0,
	GP_CODEC_F32 = 1,
	GP_CODEC_BF16 = 2,
	GP_CODEC_TOPK = 3,
	GP_CODEC_COUNT,
};

// A block has at most this many elements (64 KiB of f32, more than fits any datagram).
#define GP_CODEC_ELEMS_MAX 16384

// Why a payload was refused.
enum gp_codec_reason {
	GP_CODEC_OK = 0,
	GP_CODEC_BAD_ID = -1,	  // no such codec
	GP_CODEC_BAD_LENGTH = -2, // not the length that codec, elements and count call for
	GP_CODEC_BAD_PAD = -3,	  // padding that is not zero
	GP_CODEC_BAD_ORDER = -4,  // indices that do not strictly increase
	GP_CODEC_BAD_RANGE = -5,  // an index beyond the block
};

// What a rank encodes: one block of its gradient.
struct gp_codec_src {
	const float *grad;
	float *residual; // in and out; NULL: no error feedback. none and f32 lose nothing and
			 // ignore it
	uint32_t elems;
	uint32_t k; // topk: elements to keep, at most elems
};

// Name and id, as in configuration files; NULL and -EINVAL for unknown ones.
const char *gp_codec_name(uint8_t id);
int gp_codec_parse(const char *name) GP_MUST_CHECK;
// A word for a counter or a log line; never NULL.
const char *gp_codec_reason_name(int reason);

// Elements that a top-k of `ratio` keeps of a block: ceil(ratio * elems), at least 1, at most
// elems.
uint32_t gp_codec_topk_count(double ratio, uint32_t elems) GP_MUST_CHECK;
// Bytes of the longest payload of a block; exact for every codec when k (used by topk only) is what
// is encoded. 0 for an unknown id.
size_t gp_codec_size_max(uint8_t id, uint32_t elems, uint32_t k) GP_MUST_CHECK;

// GP_CODEC_OK, or the first reason in the order of the enum. Reads at most len bytes; elems is the
// block's own count, at most GP_CODEC_ELEMS_MAX.
int gp_codec_check(uint8_t id, const uint8_t *payload, size_t len, uint32_t elems) GP_MUST_CHECK;
// True when no value of a checked payload is NaN or infinite.
bool gp_codec_finite(uint8_t id, const uint8_t *payload, size_t len, uint32_t elems) GP_MUST_CHECK;
// dst[0..elems) = value, +0 where absent.
void gp_codec_decode(uint8_t id, float *dst, const uint8_t *payload, size_t len, uint32_t elems);
// dst[i] = dst[i] + value, one rounding each, where present.
void gp_codec_add(uint8_t id, float *dst, const uint8_t *payload, size_t len, uint32_t elems);

// Writes one payload of at most gp_codec_size_max(id, elems, k) bytes and returns its length.
// topk keeps the k elements of acc that are largest by absolute value; among equals the lowest
// index wins; a NaN is larger than everything, so it is sent and the receiver can name it.
uint32_t gp_codec_encode(
	uint8_t id, const struct gp_codec_src *src, uint8_t *payload) GP_MUST_CHECK;

// Uses the kernels of that level from now on: for tests and measurements. -ENOTSUP when this
// machine or this library has none of that level. Without it the best ones are chosen at the first
// call.
int gp_codec_select(enum gp_simd_level level) GP_MUST_CHECK;

#endif
