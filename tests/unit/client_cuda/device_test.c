// SPDX-License-Identifier: BSD-3-Clause
//
// What libgradplane_cuda asks of a device of CUDA, against lib/codec on the CPU. All else of that
// library is tested on a device in host memory (step_test.c). A TAP program without a framework, so
// that it builds where there is only a compiler. Exits 77 without a device.
#include <client_cuda_priv.h>

#include <errno.h>
#include <gp_codec.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK	384
#define BLOCKS	9000 // several pieces of f32
#define ELEMS	((uint64_t)BLOCK * BLOCKS - 100)
#define K	4
#define STAGING ((size_t)BLOCK * BLOCKS * 4)
#define PAYLOAD ((size_t)BLOCK * 8)

struct tensor {
	float *grad, *residual;	    // device
	float *h_grad, *h_residual; // host, ordinary memory
	float *got;		    // pinned
	uint32_t *lens;
	uint32_t ready;
	struct cuda_encode e;
};

static const struct cuda_device_ops *const ops = &cuda_device;
static void *dev;
static struct tensor tensors[CUDA_SLOTS];
static uint32_t tests, failed;

static void report(bool good, const char *what, const char *detail)
{
	failed += !good;
	printf("%s %u - %s: %s\n", good ? "ok" : "not ok", ++tests, what, detail);
	fflush(stdout);
}

static void must(int rc, const char *what)
{
	if (rc == 0)
		return;
	printf("Bail out! %s: %s\n", what, ops->error(dev));
	exit(1);
}

static void tensor_take(struct tensor *t, uint32_t seed)
{
	size_t size = ELEMS * sizeof(float);
	t->grad = ops->alloc(dev, size, false);
	t->residual = ops->alloc(dev, size, false);
	t->got = ops->alloc(dev, size, true);
	t->h_grad = malloc(size);
	t->h_residual = malloc(size);
	t->lens = calloc(BLOCKS, sizeof(*t->lens));
	GP_ASSERT(t->grad && t->residual && t->got && t->h_grad && t->h_residual && t->lens);
	for (uint64_t i = 0; i < ELEMS; i++) {
		seed = seed * 1664525 + 1013904223;
		t->h_grad[i] = (float)(int32_t)seed * 1e-9f;
	}
	must(ops->copy(dev, t->grad, t->h_grad, size), "upload");
}

static void tensor_give(struct tensor *t)
{
	ops->free(dev, t->grad, false);
	ops->free(dev, t->residual, false);
	ops->free(dev, t->got, true);
	free(t->h_grad);
	free(t->h_residual);
	free(t->lens);
}

static void tensor_begin(struct tensor *t, uint8_t codec)
{
	bool topk = gp_codec_is_topk(codec);
	memset(t->h_residual, 0, ELEMS * sizeof(float));
	t->e = (struct cuda_encode){
		.blocks = {.codec = (enum gp_client_codec)codec,
			.block_elems = BLOCK,
			.count = BLOCKS,
			.elems = ELEMS,
			.k = topk ? K : 0,
			.k_last = topk ? K - 1 : 0,
			.payload_max = (uint32_t)gp_codec_size_max(codec, BLOCK, K)},
		.grad = t->grad,
		.residual = codec == GP_CODEC_F32 ? NULL : t->residual,
	};
	t->e.stride = gp_align_up(t->e.blocks.payload_max, CUDA_STRIDE);
	must(ops->zero(dev, t->residual, ELEMS), "zero");
}

// The next block that is said to be there is, and is what the CPU makes of it.
static bool block_same(struct tensor *t, uint32_t slot, uint32_t i)
{
	static uint8_t want[PAYLOAD];
	const struct gp_client_blocks *b = &t->e.blocks;
	uint64_t at = (uint64_t)i * BLOCK;
	bool last = i + 1 == BLOCKS;
	const struct gp_codec_src src = {
		.grad = t->h_grad + at,
		.residual = t->e.residual ? t->h_residual + at : NULL,
		.elems = last ? (uint32_t)(ELEMS - at) : BLOCK,
		.k = last ? b->k_last : b->k,
	};
	uint32_t len = gp_codec_encode((uint8_t)b->codec, &src, want);
	return t->lens[i] == len &&
	       memcmp(ops->staging(dev, slot) + (size_t)i * t->e.stride, want, len) == 0;
}

static bool slot_follow(struct tensor *t, uint32_t slot)
{
	bool good = true;
	uint32_t ready = 0;
	must(ops->ready(dev, slot, &ready), "ready");
	good = ready >= t->ready && ready <= BLOCKS;
	for (; t->ready < ready && good; t->ready++)
		good = block_same(t, slot, t->ready);
	return good;
}

static bool residual_same(struct tensor *t)
{
	size_t size = ELEMS * sizeof(float);
	must(ops->copy(dev, t->got, t->residual, size), "download");
	must(ops->sync(dev), "sync");
	return memcmp(t->got, t->h_residual, size) == 0;
}

// Two tensors at once, two steps, so that the second begins with what the first kept back.
static void codec_test(uint8_t codec)
{
	bool good = true;
	for (uint32_t i = 0; i < CUDA_SLOTS; i++)
		tensor_begin(&tensors[i], codec);
	must(ops->sync(dev), "sync");
	for (uint32_t step = 0; step < 2; step++) {
		for (uint32_t i = 0; i < CUDA_SLOTS; i++) {
			tensors[i].ready = 0;
			must(ops->encode(dev, i, &tensors[i].e, tensors[i].lens), "encode");
		}
		while (good && (tensors[0].ready < BLOCKS || tensors[1].ready < BLOCKS))
			for (uint32_t i = 0; i < CUDA_SLOTS; i++)
				good &= slot_follow(&tensors[i], i);
	}
	for (uint32_t i = 0; i < CUDA_SLOTS; i++)
		good &= residual_same(&tensors[i]);
	report(good, "two tensors, two steps", gp_codec_name(codec));
}

static void refusals_test(void)
{
	errno = 0;
	void *memory = ops->alloc(dev, (size_t)1 << 50, false);
	report(!memory && errno == ENOMEM, "no device memory", ops->error(dev));
	struct cuda_encode e = tensors[0].e;
	e.stride += 8;
	report(ops->encode(dev, 1, &e, tensors[0].lens) == -EINVAL, "an odd stride",
		ops->error(dev));
	report(ops->sync(dev) == 0, "it works after refusals", "sync");
}

int main(void)
{
	const struct gp_client_cuda_opts o = {.device = 0};
	char why[256];
	if (!ops->available(why, sizeof(why))) {
		int rc = ops->open(&dev, &o, STAGING, why, sizeof(why));
		printf("1..0 # SKIP client_cuda_device: %s\n", why);
		return rc == -ENODEV && !dev ? 77 : 1;
	}
	if (gp_codec_select(GP_SIMD_SCALAR) != 0 ||
		ops->open(&dev, &o, STAGING, why, sizeof(why)) != 0) {
		printf("Bail out! %s\n", why);
		return 1;
	}
	for (uint32_t i = 0; i < CUDA_SLOTS; i++)
		tensor_take(&tensors[i], i + 1);
	for (uint8_t codec = GP_CODEC_F32; codec < GP_CODEC_COUNT; codec++)
		codec_test(codec);
	refusals_test();
	for (uint32_t i = 0; i < CUDA_SLOTS; i++)
		tensor_give(&tensors[i]);
	ops->close(dev);
	printf("1..%u\n", tests);
	return failed != 0;
}
