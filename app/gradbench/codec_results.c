// SPDX-License-Identifier: BSD-3-Clause
//
// gradbench codec --server, third table: when it pays to send a sparse result as what it has. The
// server encodes it for each worker and the worker decodes it, where a dense one goes by reference
// and is copied; the bytes saved are worth that time on links slower than the last column.
#include "bench.h"
#include "codec_server.h"

#include <gp_codec.h>

#include <stdlib.h>

#define TURNS  2000u
#define ROUNDS 7

static double per_turn(uint64_t from)
{
	return (double)(bench_cpu_ns() - from) / TURNS;
}

struct times {
	struct bench_series encode, decode, copy;
};

static void round_run(struct times *t, const float *block, float *out, uint8_t *payload,
	uint32_t elems, size_t room)
{
	const struct gp_codec_change change = {.now = block, .elems = elems};
	uint32_t len = 0;
	uint64_t from = bench_cpu_ns();
	for (uint32_t i = 0; i < TURNS; i++)
		len = gp_codec_encode_changed(GP_CODEC_TOPK, &change, room, payload);
	bench_series_add(&t->encode, per_turn(from));
	from = bench_cpu_ns();
	for (uint32_t i = 0; i < TURNS; i++)
		gp_codec_decode(GP_CODEC_TOPK, out, payload, len, elems);
	bench_series_add(&t->decode, per_turn(from));
	from = bench_cpu_ns();
	for (uint32_t i = 0; i < TURNS; i++)
		gp_codec_decode(
			GP_CODEC_F32, out, (const uint8_t *)block, 4 * (size_t)elems, elems);
	bench_series_add(&t->copy, per_turn(from));
}

static void row_print(uint32_t percent, uint32_t elems, uint32_t kept, const struct times *t)
{
	double dense = 4.0 * elems;
	double bytes = (double)gp_codec_size_max(GP_CODEC_TOPK, elems, kept);
	double encode = bench_series_stat(&t->encode).median;
	double decode = bench_series_stat(&t->decode).median;
	double copy = bench_series_stat(&t->copy).median;
	double spent = encode + decode - copy;
	printf("%8u%% %8.0f %7.0f%% %10.1f %10.1f %10.1f ", percent, bytes, 100 * bytes / dense,
		encode, decode, copy);
	if (bytes >= dense)
		printf("%12s\n", "never");
	else
		printf("%8.0f Gb/s\n", 8 * (dense - bytes) / GP_MAX(spent, 1e-3));
}

int codec_results_run(uint32_t elems)
{
	static const uint32_t percents[] = {1, 5, 10, 20, 30, 40, 50, 60, 70};
	size_t room = 8 * (size_t)elems + 64;
	float *block = calloc(elems, sizeof(float)), *out = calloc(elems, sizeof(float));
	uint8_t *payload = malloc(room);
	int rc = block && out && payload ? 0 : -1;
	if (rc == 0)
		printf("a sparse result as topk, ns a block, and the link up to which it pays\n"
		       "%9s %8s %8s %10s %10s %10s %12s\n",
			"not zero", "bytes", "of f32", "encode", "decode", "f32 copy",
			"pays up to");
	for (uint32_t p = 0; rc == 0 && p < GP_ARRAY_SIZE(percents); p++) {
		struct times t = {0};
		uint32_t kept = 0;
		for (uint32_t i = 0; i < elems; i++) {
			bool set = (i * UINT64_C(2654435761) >> 7) % 100 < percents[p];
			block[i] = set ? (float)i + 1 : 0;
			kept += set;
		}
		for (uint32_t i = 0; i < ROUNDS; i++)
			round_run(&t, block, out, payload, elems, room);
		row_print(percents[p], elems, kept, &t);
	}
	free(block);
	free(out);
	free(payload);
	return rc;
}
