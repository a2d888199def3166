// SPDX-License-Identifier: BSD-3-Clause
//
// The table of codecs by wire id, and the choice of kernels.
#include "codec_priv.h"

#include <errno.h>
#include <stdatomic.h>

struct codec_ops {
	const char *name;
	size_t (*size_max)(uint32_t elems, uint32_t k);
	int (*check)(const uint8_t *payload, size_t len, uint32_t elems);
	bool (*finite)(const uint8_t *payload, uint32_t elems);
	void (*decode)(float *dst, const uint8_t *payload, uint32_t elems);
	void (*add)(float *dst, const uint8_t *payload, uint32_t elems);
	uint32_t (*encode)(const struct gp_codec_src *src, uint8_t *payload);
};

static const struct codec_kernels *const kernels_by_level[GP_SIMD_LEVELS] = {
	[GP_SIMD_SCALAR] = &codec_kernels_scalar,
#ifdef __x86_64__
	[GP_SIMD_AVX2] = &codec_kernels_avx2,
#endif
};

// Points into constant tables: any thread may set it, all set the same, so relaxed order is enough.
static _Atomic(const struct codec_kernels *) kernels_active;

int gp_codec_select(enum gp_simd_level level)
{
	if ((unsigned)level >= GP_SIMD_LEVELS || !kernels_by_level[level] || !gp_simd_has(level))
		return -ENOTSUP;
	atomic_store_explicit(&kernels_active, kernels_by_level[level], memory_order_relaxed);
	return 0;
}

const struct codec_kernels *codec_kernels_get(void)
{
	const struct codec_kernels *kn =
		atomic_load_explicit(&kernels_active, memory_order_relaxed);
	if (__builtin_expect(kn != NULL, 1))
		return kn;
	int level = GP_SIMD_LEVELS - 1;
	while (gp_codec_select((enum gp_simd_level)level) != 0)
		level--;
	return kernels_by_level[level];
}

static size_t none_size_max(uint32_t elems, uint32_t k)
{
	(void)elems, (void)k;
	return 0;
}

static int none_check(const uint8_t *payload, size_t len, uint32_t elems)
{
	(void)payload, (void)elems;
	return len == 0 ? GP_CODEC_OK : GP_CODEC_BAD_LENGTH;
}

static bool none_finite(const uint8_t *payload, uint32_t elems)
{
	(void)payload, (void)elems;
	return true;
}

static void none_decode(float *dst, const uint8_t *payload, uint32_t elems)
{
	(void)payload;
	memset(dst, 0, (size_t)elems * sizeof(*dst));
}

static void none_add(float *dst, const uint8_t *payload, uint32_t elems)
{
	(void)dst, (void)payload, (void)elems;
}

static uint32_t none_encode(const struct gp_codec_src *src, uint8_t *payload)
{
	(void)src, (void)payload;
	return 0;
}

static size_t f32_size_max(uint32_t elems, uint32_t k)
{
	(void)k;
	return (size_t)elems * 4;
}

static int f32_check(const uint8_t *payload, size_t len, uint32_t elems)
{
	(void)payload;
	return len == f32_size_max(elems, 0) ? GP_CODEC_OK : GP_CODEC_BAD_LENGTH;
}

static bool f32_finite(const uint8_t *payload, uint32_t elems)
{
	return codec_kernels_get()->f32_finite(payload, elems);
}

static void f32_decode(float *dst, const uint8_t *payload, uint32_t elems)
{
	memcpy(dst, payload, (size_t)elems * sizeof(*dst));
}

static void f32_add(float *dst, const uint8_t *payload, uint32_t elems)
{
	codec_kernels_get()->f32_add(dst, payload, elems);
}

static uint32_t f32_encode(const struct gp_codec_src *src, uint8_t *payload)
{
	memcpy(payload, src->grad, (size_t)src->elems * sizeof(*src->grad));
	return 4 * src->elems;
}

static size_t bf16_size_max(uint32_t elems, uint32_t k)
{
	(void)k;
	return (size_t)elems * 2;
}

static int bf16_check(const uint8_t *payload, size_t len, uint32_t elems)
{
	(void)payload;
	return len == bf16_size_max(elems, 0) ? GP_CODEC_OK : GP_CODEC_BAD_LENGTH;
}

static bool bf16_finite(const uint8_t *payload, uint32_t elems)
{
	uint32_t bad = 0;
	for (uint32_t i = 0; i < elems; i++)
		bad |= (gp_load16(payload + 2 * i) & 0x7f80) == 0x7f80;
	return !bad;
}

static void bf16_decode(float *dst, const uint8_t *payload, uint32_t elems)
{
	codec_kernels_get()->bf16_decode(dst, payload, elems);
}

static void bf16_add(float *dst, const uint8_t *payload, uint32_t elems)
{
	codec_kernels_get()->bf16_add(dst, payload, elems);
}

static uint32_t bf16_encode(const struct gp_codec_src *src, uint8_t *payload)
{
	const struct codec_kernels *kn = codec_kernels_get();
	if (src->residual)
		kn->bf16_encode_ef(payload, src->grad, src->residual, src->elems);
	else
		kn->bf16_encode(payload, src->grad, src->elems);
	return 2 * src->elems;
}

static size_t topk_size_max(uint32_t elems, uint32_t k)
{
	return codec_topk_size(GP_MIN(k, elems));
}

static bool topk_finite(const uint8_t *payload, uint32_t elems)
{
	uint32_t count = gp_load16(payload);
	GP_ASSERT(count <= elems);
	return codec_kernels_get()->f32_finite(payload + codec_topk_values_offset(count), count);
}

static const struct codec_ops codecs[GP_CODEC_COUNT] = {
	[GP_CODEC_NONE] = {"none", none_size_max, none_check, none_finite, none_decode, none_add,
		none_encode},
	[GP_CODEC_F32] = {"f32", f32_size_max, f32_check, f32_finite, f32_decode, f32_add,
		f32_encode},
	[GP_CODEC_BF16] = {"bf16", bf16_size_max, bf16_check, bf16_finite, bf16_decode, bf16_add,
		bf16_encode},
	[GP_CODEC_TOPK] = {"topk", topk_size_max, codec_topk_check, topk_finite, codec_topk_decode,
		codec_topk_add, codec_topk_encode},
};

const char *gp_codec_name(uint8_t id)
{
	return id < GP_CODEC_COUNT ? codecs[id].name : NULL;
}

int gp_codec_parse(const char *name)
{
	for (int id = 0; id < GP_CODEC_COUNT; id++) {
		if (strcmp(name, codecs[id].name) == 0)
			return id;
	}
	return -EINVAL;
}

const char *gp_codec_reason_name(int reason)
{
	static const char *const names[] = {"ok", "codec_unknown", "codec_length", "codec_pad",
		"codec_index_order", "codec_index_range"};
	return reason <= 0 && reason >= GP_CODEC_BAD_RANGE ? names[-reason] : "codec_other";
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
	return id < GP_CODEC_COUNT ? codecs[id].size_max(elems, k) : 0;
}

int gp_codec_check(uint8_t id, const uint8_t *payload, size_t len, uint32_t elems)
{
	GP_ASSERT(elems <= GP_CODEC_ELEMS_MAX);
	return id < GP_CODEC_COUNT ? codecs[id].check(payload, len, elems) : GP_CODEC_BAD_ID;
}

// What the caller has proved with gp_codec_check, as far as it can be seen at no cost.
static inline const struct codec_ops *checked(
	uint8_t id, const uint8_t *payload, size_t len, uint32_t elems)
{
	GP_ASSERT(id < GP_CODEC_COUNT && elems <= GP_CODEC_ELEMS_MAX);
	uint32_t k = id == GP_CODEC_TOPK && len >= 4 ? gp_load16(payload) : 0;
	GP_ASSERT(len == codecs[id].size_max(elems, k));
	return &codecs[id];
}

bool gp_codec_finite(uint8_t id, const uint8_t *payload, size_t len, uint32_t elems)
{
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
	return codecs[id].encode(src, payload);
}
