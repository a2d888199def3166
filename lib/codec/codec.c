// SPDX-License-Identifier: BSD-3-Clause
//
// The table of codecs by wire id, and the choice of kernels.
#include "codec_priv.h"

#include <errno.h>
#include <stdatomic.h>

#ifdef __x86_64__
#include <cpuid.h>
#endif

static const struct codec_kernels *const kernels_by_level[GP_SIMD_LEVELS] = {
	[GP_SIMD_SCALAR] = &codec_kernels_scalar,
#ifdef __x86_64__
	[GP_SIMD_AVX2] = &codec_kernels_avx2,
	[GP_SIMD_AVX512] = &codec_kernels_avx512,
#endif
};

// Points into constant tables: any thread may set it, all set the same, so relaxed order is enough.
static _Atomic(const struct codec_kernels *) kernels_active;

// The AVX2 kernels convert f16 with F16C, which a virtual machine may hide; the AVX-512 ones handle
// bytes and halves, and the last few of them in smaller registers, under masks.
static bool level_runs(enum gp_simd_level level)
{
#ifdef __x86_64__
	unsigned a, b, c = 0, d;
	if (level >= GP_SIMD_AVX2 && !(__get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C)))
		return false;
	if (level == GP_SIMD_AVX512 &&
		!(__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")))
		return false;
#endif
	return gp_simd_has(level);
}

int gp_codec_select(enum gp_simd_level level)
{
	if ((unsigned)level >= GP_SIMD_LEVELS || !kernels_by_level[level] || !level_runs(level))
		return -ENOTSUP;
	atomic_store_explicit(&kernels_active, kernels_by_level[level], memory_order_relaxed);
	return 0;
}

static __attribute__((noinline)) const struct codec_kernels *kernels_choose(void)
{
	int level = GP_SIMD_LEVELS - 1;
	while (gp_codec_select((enum gp_simd_level)level) != 0)
		level--;
	return kernels_by_level[level];
}

const struct codec_kernels *codec_kernels_get(void)
{
	const struct codec_kernels *kn =
		atomic_load_explicit(&kernels_active, memory_order_relaxed);
	return __builtin_expect(kn != NULL, 1) ? kn : kernels_choose();
}

static const struct codec_ops *const codecs[GP_CODEC_COUNT] = {
	[GP_CODEC_NONE] = &codec_none,
	[GP_CODEC_F32] = &codec_f32,
	[GP_CODEC_BF16] = &codec_bf16,
	[GP_CODEC_TOPK] = &codec_topk,
	[GP_CODEC_F16] = &codec_f16,
	[GP_CODEC_INT8] = &codec_int8,
	[GP_CODEC_SIGN] = &codec_sign,
	[GP_CODEC_TOPK_BF16] = &codec_topk_bf16,
	[GP_CODEC_TOPK_F16] = &codec_topk_f16,
};

const char *gp_codec_name(uint8_t id)
{
	return id < GP_CODEC_COUNT ? codecs[id]->name : NULL;
}

int gp_codec_parse(const char *name)
{
	for (int id = 0; id < GP_CODEC_COUNT; id++) {
		if (strcmp(name, codecs[id]->name) == 0)
			return id;
	}
	return -EINVAL;
}

const char *gp_codec_reason_name(int reason)
{
	static const char *const names[] = {"ok", "codec_unknown", "codec_length", "codec_pad",
		"codec_index_order", "codec_index_range", "codec_scale", "codec_value"};
	return reason <= 0 && reason >= GP_CODEC_BAD_VALUE ? names[-reason] : "codec_other";
}

uint32_t gp_codec_topk_count(double ratio, uint32_t elems)
{
	double exact = ratio * elems;
	if (!(exact > 1)) // zero, negative and NaN too
		return GP_MIN(1u, elems);
	if (exact >= elems)
		return elems;
	uint32_t k = (uint32_t)exact;
	return k < exact ? k + 1 : k;
}

size_t gp_codec_size_max(uint8_t id, uint32_t elems, uint32_t k)
{
	GP_ASSERT(elems <= GP_CODEC_ELEMS_MAX);
	return id < GP_CODEC_COUNT ? codecs[id]->size_max(elems, k) : 0;
}

int gp_codec_check(uint8_t id, const uint8_t *payload, size_t len, uint32_t elems)
{
	GP_ASSERT(elems <= GP_CODEC_ELEMS_MAX);
	if (id == GP_CODEC_F32) // the usual one, at once
		return len == 4 * (size_t)elems ? GP_CODEC_OK : GP_CODEC_BAD_LENGTH;
	return id < GP_CODEC_COUNT ? codecs[id]->check(payload, len, elems) : GP_CODEC_BAD_ID;
}

// What the caller has proved with gp_codec_check, as far as it can be seen at no cost.
static inline const struct codec_ops *checked(
	uint8_t id, const uint8_t *payload, size_t len, uint32_t elems)
{
	GP_ASSERT(id < GP_CODEC_COUNT && elems <= GP_CODEC_ELEMS_MAX);
	uint32_t k = gp_codec_is_topk(id) && len >= 4 ? gp_load16(payload) : 0;
	GP_ASSERT(len == codecs[id]->size_max(elems, k));
	return codecs[id];
}

bool gp_codec_f32_finite(const uint8_t *payload, uint32_t elems)
{
	return codec_kernels_get()->f32_finite(payload, elems);
}

bool gp_codec_finite(uint8_t id, const uint8_t *payload, size_t len, uint32_t elems)
{
	if (id == GP_CODEC_F32 && len == 4 * (size_t)elems)
		return gp_codec_f32_finite(payload, elems);
	return checked(id, payload, len, elems)->finite(payload, elems);
}

void gp_codec_decode(uint8_t id, float *dst, const uint8_t *payload, size_t len, uint32_t elems)
{
	checked(id, payload, len, elems)->decode(dst, payload, elems);
}

void gp_codec_add(uint8_t id, float *dst, const uint8_t *payload, size_t len, uint32_t elems)
{
	checked(id, payload, len, elems)->add(dst, payload, elems);
}

uint32_t gp_codec_encode(uint8_t id, const struct gp_codec_src *src, uint8_t *payload)
{
	GP_ASSERT(id < GP_CODEC_COUNT);
	GP_ASSERT(src->elems <= GP_CODEC_ELEMS_MAX);
	return codecs[id]->encode(src, payload);
}
