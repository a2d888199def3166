// SPDX-License-Identifier: BSD-3-Clause
//
// Codecs: how the elements of one block travel as the payload of one section.
//
// Wire forms, little-endian, at any alignment; "padded" is with zero bytes to a multiple of 4:
//   none       nothing; every element is +0 (a block with nothing to say)
//   f32        elems x binary32
//   bf16       elems x the upper half of binary32, rounded to nearest, ties to even; a NaN stays a
//              NaN and is made quiet; a finite value beyond the largest bf16 becomes infinity
//   topk       u16 count, u16 index[count] strictly increasing and < elems, padded, binary32
//              value[count]; every other element is absent
//   f16        elems x binary16, rounded to nearest, ties to even, into subnormals too; a finite
//              value of 65520 and more becomes infinity; a NaN keeps its sign and the upper 10 bits
//              of its payload and is made quiet, when encoded and when decoded
//   int8       binary32 scale, i8 q[elems], padded; the value is q x scale, rounded once
//   sign       binary32 scale, elems bits from the lowest of the first byte on, padded; the value
//              is scale, with the sign bit flipped where the bit is 1
//   topk_bf16  topk with bf16 value[count], padded
//   topk_f16   topk with f16 value[count], padded
// An absent element decodes to +0 and adds nothing. A scale is finite and its sign bit is 0, or it
// is the NaN 0x7fc00000; a q of -128 is refused.
//
// How a block is quantised; acc[] is what the rank would like to send, every operation is rounded
// to binary32 on its own:
//   int8  m = largest |acc| (a NaN is larger than everything). m not finite: scale 0x7fc00000, all
//   q
//         0. Else scale = m / 127, and q = 0 where scale came out as 0, else acc / scale rounded to
//         an integer, ties to even, within -127..127.
//   sign  Sixteen lanes begin at +0; lane j adds |acc[j]|, |acc[j + 16]|, ... in that order. Then
//         lane j adds lane j + 8 for j < 8, lane j + 4 for j < 4, lane j + 2 for j < 2, lane 1 for
//         j = 0. scale = lane 0 / elems (0 without elements); a bit is the sign bit of acc, -0
//         included. If scale is not finite, it is 0x7fc00000 and all bits are 0.
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
	GP_CODEC_F16 = 4,
	GP_CODEC_INT8 = 5,
	GP_CODEC_SIGN = 6,
	GP_CODEC_TOPK_BF16 = 7,
	GP_CODEC_TOPK_F16 = 8,
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
	GP_CODEC_BAD_SCALE = -6,  // a scale that is negative, infinite or another NaN
	GP_CODEC_BAD_VALUE = -7,  // a q of -128
};

// What a rank encodes: one block of its gradient.
struct gp_codec_src {
	const float *grad;
	float *residual; // in and out; NULL: no error feedback. none and f32 lose nothing and
			 // ignore it
	uint32_t elems;
	uint32_t k; // topk and its 16-bit forms: elements to keep, at most elems
	// Above 0: of the top-k ones only those with |acc| >= threshold are kept, at most k (the
	// largest), none perhaps; NaN is above any threshold. Finite. 0: exactly k.
	float threshold;
};

// Name and id, as in configuration files; NULL and -EINVAL for unknown ones.
const char *gp_codec_name(uint8_t id);
int gp_codec_parse(const char *name) GP_MUST_CHECK;
// A word for a counter or a log line; never NULL.
const char *gp_codec_reason_name(int reason);

// Whether the codec keeps some elements only, so that k counts.
static inline bool gp_codec_is_topk(uint8_t id)
{
	return id == GP_CODEC_TOPK || id == GP_CODEC_TOPK_BF16 || id == GP_CODEC_TOPK_F16;
}

// Elements that a top-k of `ratio` keeps of a block: ceil(ratio * elems), at least 1, at most
// elems.
uint32_t gp_codec_topk_count(double ratio, uint32_t elems) GP_MUST_CHECK;
// Bytes of the longest payload of a block; exact for every codec when k (of the top-k ones) is what
// is encoded, which it is without a threshold. 0 for an unknown id.
size_t gp_codec_size_max(uint8_t id, uint32_t elems, uint32_t k) GP_MUST_CHECK;

// GP_CODEC_OK, or the first reason in the order of the enum. Reads at most len bytes; elems is the
// block's own count, at most GP_CODEC_ELEMS_MAX.
int gp_codec_check(uint8_t id, const uint8_t *payload, size_t len, uint32_t elems) GP_MUST_CHECK;
// True when no value of a checked payload is NaN or infinite.
bool gp_codec_finite(uint8_t id, const uint8_t *payload, size_t len, uint32_t elems) GP_MUST_CHECK;
// The same of an f32 payload of 4 * elems bytes.
bool gp_codec_f32_finite(const uint8_t *payload, uint32_t elems) GP_MUST_CHECK;
// dst[0..elems) = value, +0 where absent.
void gp_codec_decode(uint8_t id, float *dst, const uint8_t *payload, size_t len, uint32_t elems);
// dst[i] = dst[i] + value, one rounding each, where present.
void gp_codec_add(uint8_t id, float *dst, const uint8_t *payload, size_t len, uint32_t elems);

// Writes one payload of at most gp_codec_size_max(id, elems, k) bytes and returns its length.
// The top-k ones keep the k elements of acc that are largest by absolute value, before any
// rounding; among equals the lowest index wins; a NaN is larger than everything, so it is sent and
// the receiver can name it.
uint32_t gp_codec_encode(
	uint8_t id, const struct gp_codec_src *src, uint8_t *payload) GP_MUST_CHECK;

// What a block has become, and what it was.
struct gp_codec_change {
	const float *now;
	const float *before; // NULL: zeros of either sign
	uint32_t elems;
};

// The elements whose bits differ from what was before, as top-k or one of its 16-bit forms. Returns
// the length of the payload (with count 0 when nothing differs), or 0 when that would be more than
// size_max; room for size_max + 4 bytes. With `before` NULL decoding gives `now` again, but for the
// sign of zeros.
uint32_t gp_codec_encode_changed(uint8_t id, const struct gp_codec_change *change, size_t size_max,
	uint8_t *payload) GP_MUST_CHECK;
// dst[i] = value where present in a checked top-k payload, or in none (len 0); the rest stays.
void gp_codec_update(uint8_t id, float *dst, const uint8_t *payload, size_t len, uint32_t elems);

// A threshold for gp_codec_src that keeps about `keep` of `elems` elements of a whole tensor, from
// a sample of it: the tensor is cut into `samples` equal strata and one element of each is looked
// at, chosen by `seed`; |acc| at the place `keep / elems x samples` of the sorted sample is the
// answer. All is looked at when samples >= elems, and the answer is exact then: ties aside, `keep`
// elements. Else, with r = keep / elems x samples of the sample above the threshold, the share of
// the tensor that is kept has the mean keep / elems and a standard deviation of at most 1 / sqrt(r)
// of that (binomial; strata only help): gp_codec_sample_count gives r = 256, so 1/16; it is off by
// more than a quarter less than once in 10^4 times. Always above 0, so that no zero is kept. `work`
// is room for `samples` floats. residual NULL: none.
float gp_codec_threshold(const float *grad, const float *residual, uint64_t elems, uint64_t keep,
	uint32_t samples, uint64_t seed, float *work) GP_MUST_CHECK;
// How many samples that takes: 256 / (keep / elems), at most elems.
uint32_t gp_codec_sample_count(uint64_t elems, uint64_t keep) GP_MUST_CHECK;

// Uses the kernels of that level from now on: for tests and measurements. -ENOTSUP when this
// machine or this library has none of that level. Without it the best ones are chosen at the first
// call.
int gp_codec_select(enum gp_simd_level level) GP_MUST_CHECK;

#endif
