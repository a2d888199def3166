// SPDX-License-Identifier: BSD-3-Clause
//
// gradbench codec --server: what a core of the server does with payloads. Those that lie in the
// cache, as arriving ones do, are added to a table that lies in memory, and compared with the plain
// addition of f32 payloads to the same table, in the same rounds; top-k is looked at where the
// block is in the cache as well, per element kept. Cycles are those of the core: counted against a
// chain of dependent additions, of which each takes one.
#include "bench.h"
#include "codec_server.h"
#include "roof.h"

#include <gp_codec.h>

#include <stdlib.h>

#define TABLE_SIZE   (UINT64_C(64) << 20)
#define PAYLOAD_SIZE (ROOF_CACHED_SIZE / 2) // one codec's payloads in the second-level cache
#define CHAIN_LEN    100000u
#define SPARSE_TURNS 20000u
#define BLOCKS	     4 // that the sparse ones go to in turn, so that none waits for the last store

struct dense {
	uint8_t codec;
	uint32_t k;
	struct bench_series ns, share;
};

struct sparse {
	uint8_t codec;
	uint32_t k;
	struct bench_series check, decode, add; // cycles for each element kept
};

struct server {
	struct roof roof;
	struct bench_guard guard;
	uint32_t elems;
	float *grad, *block[BLOCKS];
	uint8_t *payloads;
	struct bench_series roof_ns;
	struct dense dense[GP_CODEC_COUNT];
	struct sparse sparse[3 * 3];
	uint32_t dense_count, sparse_count;
};

// ns of one cycle, now.
static double cycle_ns(void)
{
	uint64_t x = 1, from = bench_cpu_ns();
	for (uint32_t i = 0; i < CHAIN_LEN; i++) {
		x += i;
		__asm__ volatile("" : "+r"(x)); // one addition after the other
	}
	return (double)(bench_cpu_ns() - from) / CHAIN_LEN;
}

// Payloads of this codec, one behind the other. Returns their size.
static uint32_t payloads_make(
	struct server *s, uint8_t codec, uint32_t k, uint32_t elems, uint32_t *count)
{
	const struct gp_codec_src src = {.grad = s->grad, .elems = elems, .k = k};
	uint32_t size = (uint32_t)gp_codec_size_max(codec, elems, k);
	*count = GP_MAX(PAYLOAD_SIZE / size, 1u);
	for (uint32_t i = 0; i < *count; i++)
		GP_ASSERT(gp_codec_encode(codec, &src, s->payloads + (size_t)i * size) == size);
	return size;
}

static double dense_ns(struct server *s, const struct dense *d)
{
	uint32_t count, at = 0, blocks = (uint32_t)(TABLE_SIZE / sizeof(float) / s->elems);
	uint32_t size = payloads_make(s, d->codec, d->k, s->elems, &count);
	uint64_t from = bench_cpu_ns();
	for (uint32_t b = 0; b < blocks; b++) {
		gp_codec_add(d->codec, s->roof.table[0] + (size_t)b * s->elems,
			s->payloads + (size_t)at * size, size, s->elems);
		at = at + 1 < count ? at + 1 : 0;
	}
	return (double)(bench_cpu_ns() - from) / blocks;
}

static void sparse_measure(struct server *s, struct sparse *r, double ns_per_cycle)
{
	uint32_t count, bad = 0;
	uint32_t size = payloads_make(s, r->codec, r->k, s->elems, &count);
	const uint8_t *p = s->payloads;
	uint32_t turns = SPARSE_TURNS / r->k + 1;
	double per = ns_per_cycle * turns * r->k;
	uint64_t from = bench_cpu_ns();
	for (uint32_t i = 0; i < turns; i++)
		bad |= (uint32_t)gp_codec_check(r->codec, p, size, s->elems);
	uint64_t checked = bench_cpu_ns();
	for (uint32_t i = 0; i < turns; i++)
		gp_codec_decode(r->codec, s->block[i % BLOCKS], p, size, s->elems);
	uint64_t decoded = bench_cpu_ns();
	for (uint32_t i = 0; i < turns; i++)
		gp_codec_add(r->codec, s->block[i % BLOCKS], p, size, s->elems);
	uint64_t added = bench_cpu_ns();
	GP_ASSERT(!bad);
	bench_series_add(&r->check, (double)(checked - from) / per);
	bench_series_add(&r->decode, (double)(decoded - checked) / per);
	bench_series_add(&r->add, (double)(added - decoded) / per);
}

static void round_run(struct server *s)
{
	double ns[GP_CODEC_COUNT];
	struct server before = *s;
	bench_guard_begin(&s->guard);
	double roof = roof_add_ns(&s->roof, s->elems);
	for (uint32_t i = 0; i < s->dense_count; i++) {
		ns[i] = dense_ns(s, &s->dense[i]);
		bench_series_add(&s->dense[i].ns, ns[i]);
	}
	// The roofline at both ends of the round.
	roof = (roof + roof_add_ns(&s->roof, s->elems)) / 2;
	bench_series_add(&s->roof_ns, roof);
	for (uint32_t i = 0; i < s->dense_count; i++)
		bench_series_add(&s->dense[i].share, roof / ns[i]);
	for (uint32_t i = 0; i < s->sparse_count; i++)
		sparse_measure(s, &s->sparse[i], cycle_ns());
	if (bench_guard_end(&s->guard))
		return;
	struct bench_guard guard = s->guard;
	*s = before;
	s->guard = guard;
}

static void rows_plan(struct server *s)
{
	static const double shares[] = {0.01, 0.05, 0.25};
	for (uint8_t id = GP_CODEC_F32; id < GP_CODEC_COUNT; id++) {
		uint32_t k = gp_codec_is_topk(id) ? gp_codec_topk_count(shares[0], s->elems) : 0;
		s->dense[s->dense_count++] = (struct dense){.codec = id, .k = k};
		for (uint32_t i = 0; gp_codec_is_topk(id) && i < GP_ARRAY_SIZE(shares); i++)
			s->sparse[s->sparse_count++] = (struct sparse){
				.codec = id, .k = gp_codec_topk_count(shares[i], s->elems)};
	}
}

static void text_print(const struct server *s)
{
	double f32 = 4.0 * s->elems;
	struct bench_stat roof = bench_series_stat(&s->roof_ns);
	printf("add to a table of %llu MB, payloads of %u elements in the cache, one core, median "
	       "of %u rounds\n",
		(unsigned long long)(TABLE_SIZE >> 20), s->elems, s->guard.kept);
	printf("%-10s %10s %8s %12s\n", "codec", "ns/block", "GB/s", "of roofline");
	printf("%-10s %10.1f %8.1f %11.0f%%\n", "(roofline)", roof.median, f32 / roof.median,
		100.0);
	for (uint32_t i = 0; i < s->dense_count; i++) {
		struct bench_stat ns = bench_series_stat(&s->dense[i].ns);
		printf("%-10s %10.1f %8.1f %11.0f%%\n", gp_codec_name(s->dense[i].codec), ns.median,
			f32 / ns.median, 100 * bench_series_stat(&s->dense[i].share).median);
	}
	printf("cycles for each element kept, all in the cache\n%-10s %6s %8s %8s %8s\n", "codec",
		"kept", "check", "decode", "add");
	for (uint32_t i = 0; i < s->sparse_count; i++)
		printf("%-10s %6u %8.2f %8.2f %8.2f\n", gp_codec_name(s->sparse[i].codec),
			s->sparse[i].k, bench_series_stat(&s->sparse[i].check).median,
			bench_series_stat(&s->sparse[i].decode).median,
			bench_series_stat(&s->sparse[i].add).median);
}

static void json_print(const struct server *s)
{
	struct bench_stat roof = bench_series_stat(&s->roof_ns);
	printf("{\"table_mb\":%llu,\"block_elems\":%u,\"rounds\":%u,\"roofline_ns\":%.2f,\"add\":[",
		(unsigned long long)(TABLE_SIZE >> 20), s->elems, s->guard.kept, roof.median);
	for (uint32_t i = 0; i < s->dense_count; i++)
		printf("%s{\"codec\":\"%s\",\"ns\":%.2f,\"of_roofline\":%.4f}", i ? "," : "",
			gp_codec_name(s->dense[i].codec), bench_series_stat(&s->dense[i].ns).median,
			bench_series_stat(&s->dense[i].share).median);
	printf("],\"sparse\":[");
	for (uint32_t i = 0; i < s->sparse_count; i++)
		printf("%s{\"codec\":\"%s\",\"kept\":%u,\"check_cycles\":%.3f,"
		       "\"decode_cycles\":%.3f,\"add_cycles\":%.3f}",
			i ? "," : "", gp_codec_name(s->sparse[i].codec), s->sparse[i].k,
			bench_series_stat(&s->sparse[i].check).median,
			bench_series_stat(&s->sparse[i].decode).median,
			bench_series_stat(&s->sparse[i].add).median);
	printf("]}\n");
}

// Signs and magnitudes of a small generator: which elements are the largest is spread evenly.
static void grad_fill(float *grad, uint32_t elems)
{
	uint32_t x = 1;
	for (uint32_t i = 0; i < elems; i++) {
		x = x * 1664525 + 1013904223;
		grad[i] = (float)(int32_t)x * 0x1p-40f;
	}
}

int codec_server_run(uint32_t block_elems, uint32_t rounds, bool json)
{
	struct server *s = calloc(1, sizeof(*s));
	size_t room = PAYLOAD_SIZE + 8 * (size_t)block_elems;
	int rc = -1;
	if (!s)
		return rc;
	s->elems = block_elems;
	s->grad = malloc(sizeof(float) * block_elems);
	size_t block_size = gp_align_up(sizeof(float) * block_elems, GP_CACHE_LINE);
	float *blocks = aligned_alloc(GP_CACHE_LINE, BLOCKS * block_size);
	for (uint32_t i = 0; blocks && i < BLOCKS; i++)
		s->block[i] = memset(blocks + i * block_size / sizeof(float), 0, block_size);
	s->payloads = aligned_alloc(GP_CACHE_LINE, gp_align_up(room, GP_CACHE_LINE));
	if (s->grad && blocks && s->payloads && roof_init(&s->roof, TABLE_SIZE, 1) == 0) {
		grad_fill(s->grad, block_elems);
		rows_plan(s);
		bench_guard_init(&s->guard);
		while (bench_guard_more(&s->guard, rounds))
			round_run(s);
		(json ? json_print : text_print)(s);
		roof_fini(&s->roof);
		rc = 0;
	}
	free(s->grad);
	free(blocks);
	free(s->payloads);
	free(s);
	return rc;
}
