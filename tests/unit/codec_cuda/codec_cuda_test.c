// SPDX-License-Identifier: BSD-3-Clause
//
// The device's encoders and decoders against the scalar ones of the CPU, bit for bit. A TAP program
// without a framework, so that it builds where there is only a compiler. Exits 77 without a device.
//   codec_cuda_test [--small]    --small: few tensors, for runs under a sanitizer
#include "../codec/codec_data.h"

#include <gp_codec_cuda.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define ELEMS_MAX    (3 * GP_CODEC_ELEMS_MAX + 64)
#define PAYLOAD_SIZE ((size_t)ELEMS_MAX * 32) // blocks of one element have a stride of 16
#define STAGING_SIZE ((size_t)24 << 20)
#define POISON	     0xa5
#define SEED	     UINT64_C(0x5eed)

enum data_kind {
	DATA_CLASSES,
	DATA_NORMAL,
	DATA_EQUAL,
	DATA_ZERO,
	DATA_TINY,
	DATA_HUGE,
	DATA_KINDS
};

static const char *const data_names[DATA_KINDS] = {
	"every class", "normal", "equal", "zero", "subnormal", "huge"};

// One tensor of one comparison.
struct shape {
	uint8_t codec;
	bool feedback;
	uint32_t block_elems, elems, k, shift; // shift: elements by which the arrays are misaligned
	enum data_kind kind;
};

struct bench {
	struct gp_codec_cuda *ctx;
	float *grad, *residual, *result;	     // device
	uint8_t *payload;			     // device
	float *h_grad, *h_residual, *h_got, *h_want; // host
	uint8_t *h_payload, *one;
	uint64_t seed;
	uint32_t tests, failed;
	bool small;
};

static void report(struct bench *b, bool good, const char *what, const char *detail)
{
	b->failed += !good;
	printf("%s %u - %s%s%s\n", good ? "ok" : "not ok", ++b->tests, what, *detail ? ": " : "",
		detail);
	fflush(stdout);
}

static void must(struct bench *b, int rc, const char *what)
{
	if (rc == 0)
		return;
	printf("Bail out! %s: %s\n", what, gp_codec_cuda_error(b->ctx));
	exit(1);
}

static float normal(uint64_t *seed)
{
	double sum = 0;
	for (int i = 0; i < 12; i++)
		sum += data_next(seed) / 4294967296.0;
	return (float)(sum - 6);
}

static void fill(float *v, uint32_t elems, enum data_kind kind, uint64_t *seed)
{
	if (kind == DATA_CLASSES) {
		data_fill(v, elems, seed);
		return;
	}
	for (uint32_t i = 0; i < elems; i++) {
		uint32_t bits = data_next(seed);
		if (kind == DATA_NORMAL)
			v[i] = normal(seed) * 1e-3f;
		else if (kind == DATA_EQUAL)
			v[i] = bits & 1 ? 0.75f : -0.75f;
		else if (kind == DATA_ZERO)
			gp_store32(&v[i], bits & 0x80000000);
		else if (kind == DATA_TINY)
			gp_store32(&v[i], bits & 0x807fffff);
		else
			gp_store32(&v[i], (bits & 0x80ffffff) | 0x7e800000);
	}
}

static uint32_t last_of(const struct shape *s)
{
	return s->elems % s->block_elems ? s->elems % s->block_elems : s->block_elems;
}

static struct gp_codec_cuda_job job_of(const struct bench *b, const struct shape *s)
{
	struct gp_codec_cuda_job job = {
		.codec = s->codec,
		.block_elems = s->block_elems,
		.k = s->k,
		.k_last = GP_MIN(s->k, last_of(s)),
		.elems = s->elems,
		.grad = b->grad + s->shift,
		.residual = s->feedback ? b->residual + s->shift : NULL,
		.result = b->result + s->shift,
		.payload = b->payload,
	};
	job.stride = gp_codec_cuda_stride(&job);
	return job;
}

// Encodes on the device and brings payloads and residual back.
static void device_encode(
	struct bench *b, const struct shape *s, const struct gp_codec_cuda_job *job, uint32_t *lens)
{
	size_t size = (size_t)s->elems * sizeof(float),
	       bytes = gp_codec_cuda_blocks(job) * job->stride;
	memset(b->h_payload, POISON, bytes);
	must(b, gp_codec_cuda_copy(b->ctx, (void *)job->grad, b->h_grad, size), "upload");
	must(b, gp_codec_cuda_copy(b->ctx, b->residual + s->shift, b->h_residual, size), "upload");
	must(b, gp_codec_cuda_copy(b->ctx, b->payload, b->h_payload, bytes), "upload");
	must(b, gp_codec_cuda_encode(b->ctx, job, lens), "encode");
	must(b, gp_codec_cuda_copy(b->ctx, b->h_payload, b->payload, bytes), "download");
	must(b, gp_codec_cuda_copy(b->ctx, b->h_got, b->residual + s->shift, size), "download");
	must(b, gp_codec_cuda_sync(b->ctx), "sync");
}

static const char *block_differs(struct bench *b, const struct shape *s,
	const struct gp_codec_cuda_job *job, uint32_t block, uint32_t len)
{
	uint32_t from = block * s->block_elems, elems = GP_MIN(s->block_elems, s->elems - from);
	struct gp_codec_src src = {.grad = b->h_grad + from,
		.residual = s->feedback ? b->h_residual + from : NULL,
		.elems = elems,
		.k = GP_MIN(s->k, elems)};
	const uint8_t *got = b->h_payload + block * job->stride;
	uint32_t want_len = gp_codec_encode(s->codec, &src, b->one);
	if (len != want_len)
		return "length";
	if (memcmp(got, b->one, len) != 0)
		return "payload";
	for (size_t i = len; i < job->stride; i++) {
		if (got[i] != POISON)
			return "bytes beyond the payload";
	}
	if (memcmp(b->h_got + from, b->h_residual + from, elems * sizeof(float)) != 0)
		return "residual";
	if (gp_codec_check(s->codec, got, len, elems) != GP_CODEC_OK)
		return "check";
	gp_codec_decode(s->codec, b->h_want + from, got, len, elems);
	return NULL;
}

static const char *decode_differs(
	struct bench *b, const struct shape *s, const struct gp_codec_cuda_job *job)
{
	size_t size = (size_t)s->elems * sizeof(float);
	memset(b->h_got, POISON, size);
	must(b, gp_codec_cuda_copy(b->ctx, job->result, b->h_got, size), "upload");
	must(b, gp_codec_cuda_decode(b->ctx, job), "decode");
	must(b, gp_codec_cuda_copy(b->ctx, b->h_got, job->result, size), "download");
	must(b, gp_codec_cuda_sync(b->ctx), "sync");
	return memcmp(b->h_got, b->h_want, size) == 0 ? NULL : "decoded values";
}

// NULL or what differs.
static const char *shape_differs(struct bench *b, const struct shape *s, uint32_t *lens)
{
	struct gp_codec_cuda_job job = job_of(b, s);
	const char *wrong = NULL;
	fill(b->h_grad, s->elems, s->kind, &b->seed);
	fill(b->h_residual, s->elems, s->kind, &b->seed);
	device_encode(b, s, &job, lens);
	for (uint32_t i = 0; i < gp_codec_cuda_blocks(&job) && !wrong; i++)
		wrong = block_differs(b, s, &job, i, lens[i]);
	return wrong ? wrong : decode_differs(b, s, &job);
}

static bool shape_try(struct bench *b, const struct shape *s, uint32_t *lens)
{
	const char *wrong = shape_differs(b, s, lens);
	if (wrong)
		printf("# %s differs: %s, block of %u, %u elements, k %u, shift %u, feedback %d\n",
			wrong, data_names[s->kind], s->block_elems, s->elems, s->k, s->shift,
			s->feedback);
	return !wrong;
}

// All kinds of data, lengths and alignments of one codec and block size. Returns tensors, or 0
// after the first that differs.
static uint32_t block_try(struct bench *b, struct shape s, uint32_t *lens)
{
	uint32_t n = 0, block = s.block_elems;
	const uint32_t lengths[] = {0, 1, block - 1, block, block + 1, 3 * block, 2 * block + 37};
	const uint32_t ks[] = {GP_MAX(1u, block / 100), 0, block / 2, block, 1};
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(lengths) * DATA_KINDS; i++) {
		s.elems = GP_MIN(lengths[i / DATA_KINDS], 4 * block);
		s.kind = (enum data_kind)(i % DATA_KINDS);
		s.k = gp_codec_is_topk(s.codec) ? ks[i % GP_ARRAY_SIZE(ks)] : 0;
		for (s.shift = 0; s.shift < 2; s.shift++, n++) {
			if (!shape_try(b, &s, lens))
				return 0;
		}
	}
	return n;
}

static void codec_test(struct bench *b, uint8_t codec, bool feedback, uint32_t *lens)
{
	static const uint32_t all[] = {
		1, 3, 8, 33, 336, 384, 385, 1000, 2208, 2304, 2305, 4096, GP_CODEC_ELEMS_MAX};
	static const uint32_t few[] = {8, 33, 336, 2309};
	const uint32_t *blocks = b->small ? few : all;
	size_t count = b->small ? GP_ARRAY_SIZE(few) : GP_ARRAY_SIZE(all);
	char what[64], detail[64] = "";
	uint32_t sum = 0, n = 1;
	for (size_t i = 0; i < count && n; i++) {
		struct shape s = {.codec = codec, .feedback = feedback, .block_elems = blocks[i]};
		n = block_try(b, s, lens);
		sum += n;
	}
	snprintf(what, sizeof(what), "%s%s", gp_codec_name(codec),
		feedback ? " with error feedback" : "");
	snprintf(detail, sizeof(detail), "%u tensors", sum);
	report(b, n != 0, what, detail);
}

// Pieces arrive in order, and what has arrived is what the plain call gives.
static void staged_test(struct bench *b, uint8_t codec)
{
	enum { BLOCK = 336, BLOCKS = 20000 };
	size_t size = (size_t)BLOCK * BLOCKS * sizeof(float);
	float *grad = malloc(size), *device = gp_codec_cuda_alloc(b->ctx, size);
	uint8_t *payload = gp_codec_cuda_alloc(b->ctx, STAGING_SIZE), *want = malloc(STAGING_SIZE);
	GP_ASSERT(grad && device && payload && want);
	for (uint32_t i = 0; i < BLOCK * BLOCKS; i++)
		grad[i] = (float)(int32_t)data_next(&b->seed);
	struct gp_codec_cuda_job job = {.codec = codec,
		.block_elems = BLOCK,
		.k = 4,
		.k_last = 3,
		.elems = (uint64_t)BLOCK * BLOCKS - 5,
		.grad = device,
		.payload = payload};
	job.stride = gp_codec_cuda_stride(&job);
	size_t bytes = gp_codec_cuda_blocks(&job) * job.stride;
	bool good = bytes <= STAGING_SIZE;
	must(b, gp_codec_cuda_copy(b->ctx, device, grad, size), "upload");
	for (int round = 0; round < 2 && good; round++) {
		uint32_t ready = 0, before = 0;
		must(b, gp_codec_cuda_encode_staged(b->ctx, &job, NULL), "encode_staged");
		while (ready < BLOCKS) {
			must(b, gp_codec_cuda_ready(b->ctx, &ready), "ready");
			good &= ready >= before && ready <= BLOCKS;
			before = ready;
		}
		must(b, gp_codec_cuda_encode(b->ctx, &job, NULL), "encode");
		must(b, gp_codec_cuda_copy(b->ctx, want, payload, bytes), "download");
		must(b, gp_codec_cuda_sync(b->ctx), "sync");
		for (uint32_t i = 0; i < BLOCKS && good; i++) {
			size_t len = gp_codec_size_max(codec, i + 1 < BLOCKS ? BLOCK : BLOCK - 5,
				i + 1 < BLOCKS ? job.k : job.k_last);
			good = memcmp(gp_codec_cuda_staging(b->ctx) + i * job.stride,
				       want + i * job.stride, len) == 0;
		}
	}
	report(b, good, "staged", gp_codec_name(codec));
	gp_codec_cuda_free(b->ctx, device);
	gp_codec_cuda_free(b->ctx, payload);
	free(grad);
	free(want);
}

static void fault_try(struct bench *b, struct gp_codec_cuda_job job, int want, const char *what)
{
	int rc = want == -ENOSPC ? gp_codec_cuda_encode_staged(b->ctx, &job, NULL)
				 : gp_codec_cuda_encode(b->ctx, &job, NULL);
	report(b, rc == want, what, gp_codec_cuda_error(b->ctx));
}

static void faults_test(struct bench *b)
{
	struct shape s = {.codec = GP_CODEC_TOPK, .block_elems = 336, .elems = 1000, .k = 4};
	struct gp_codec_cuda_job good = job_of(b, &s), job = good;
	job.codec = GP_CODEC_COUNT;
	fault_try(b, job, -EINVAL, "an unknown codec is refused");
	job = good, job.block_elems = 0;
	fault_try(b, job, -EINVAL, "blocks of nothing are refused");
	job = good, job.block_elems = GP_CODEC_ELEMS_MAX + 1;
	fault_try(b, job, -EINVAL, "too large blocks are refused");
	job = good, job.elems = GP_CODEC_CUDA_ELEMS_MAX + 1;
	fault_try(b, job, -EINVAL, "too many elements are refused");
	job = good, job.k_last = 329;
	fault_try(b, job, -EINVAL, "k beyond the last block is refused");
	job = good, job.stride += 8;
	fault_try(b, job, -EINVAL, "an odd stride is refused");
	job = good, job.stride -= 16;
	fault_try(b, job, -EINVAL, "a short stride is refused");
	job = good, job.payload += 4;
	fault_try(b, job, -EINVAL, "a misaligned payload is refused");
	job = good, job.codec = GP_CODEC_F32, job.elems = STAGING_SIZE, job.k = job.k_last = 0;
	job.stride = gp_codec_cuda_stride(&job);
	fault_try(b, job, -ENOSPC, "more than the staging holds is refused");
	errno = 0;
	void *memory = gp_codec_cuda_alloc(b->ctx, (size_t)1 << 50);
	report(b, !memory && errno == ENOMEM, "no memory", gp_codec_cuda_error(b->ctx));
	must(b, gp_codec_cuda_encode(b->ctx, &good, NULL), "encode after failures");
	report(b, gp_codec_cuda_sync(b->ctx) == 0, "the context works after refusals", "");
}

static bool memory_take(struct bench *b)
{
	size_t size = ELEMS_MAX * sizeof(float);
	b->grad = gp_codec_cuda_alloc(b->ctx, size);
	b->residual = gp_codec_cuda_alloc(b->ctx, size);
	b->result = gp_codec_cuda_alloc(b->ctx, size);
	b->payload = gp_codec_cuda_alloc(b->ctx, PAYLOAD_SIZE);
	b->h_grad = malloc(size);
	b->h_residual = malloc(size);
	b->h_got = malloc(size);
	b->h_want = malloc(size);
	b->h_payload = malloc(PAYLOAD_SIZE);
	b->one = malloc(GP_CODEC_ELEMS_MAX * 8);
	return b->grad && b->residual && b->result && b->payload && b->h_grad && b->h_residual &&
	       b->h_got && b->h_want && b->h_payload && b->one;
}

static void memory_give(struct bench *b)
{
	gp_codec_cuda_free(b->ctx, b->grad);
	gp_codec_cuda_free(b->ctx, b->residual);
	gp_codec_cuda_free(b->ctx, b->result);
	gp_codec_cuda_free(b->ctx, b->payload);
	free(b->h_grad);
	free(b->h_residual);
	free(b->h_got);
	free(b->h_want);
	free(b->h_payload);
	free(b->one);
}

int main(int argc, char **argv)
{
	struct bench b = {.seed = SEED, .small = argc > 1 && strcmp(argv[1], "--small") == 0};
	struct gp_codec_cuda_opts opts = {.staging_size = STAGING_SIZE};
	static uint32_t lens[ELEMS_MAX];
	char why[256];
	if (!gp_codec_cuda_available(why, sizeof(why))) {
		int rc = gp_codec_cuda_create(&b.ctx, &opts, why, sizeof(why));
		printf("1..0 # SKIP codec_cuda: %s\n", why);
		return rc == -ENODEV && !b.ctx ? 77 : 1;
	}
	if (gp_codec_select(GP_SIMD_SCALAR) != 0 ||
		gp_codec_cuda_create(&b.ctx, &opts, why, sizeof(why)) != 0) {
		printf("Bail out! %s\n", why);
		return 1;
	}
	printf("# %s, seed %#llx\n", gp_codec_cuda_name(b.ctx), (unsigned long long)b.seed);
	GP_ASSERT(memory_take(&b));
	for (uint8_t codec = 0; codec < GP_CODEC_COUNT; codec++) {
		codec_test(&b, codec, false, lens);
		codec_test(&b, codec, true, lens);
	}
	staged_test(&b, GP_CODEC_BF16);
	staged_test(&b, GP_CODEC_TOPK);
	faults_test(&b);
	memory_give(&b);
	gp_codec_cuda_destroy(b.ctx);
	printf("1..%u\n", b.tests);
	return b.failed != 0;
}
