// SPDX-License-Identifier: BSD-3-Clause
//
// gradbench table: row updates and look-ups of one core, adagrad in f32, with uniform ids and with
// ids by Zipf's law, beside a comparison table in turns of the same run.
#include "bench.h"
#include "gradbench.h"
#include "table.h"

#include <gp_kept.h>

#include <getopt.h>
#include <math.h>
#include <stdlib.h>

#define BATCH	 1024u
#define OPS	 (UINT32_C(1) << 20) // of one measurement
#define SKEW	 0.99
#define SUBJECTS 2
#define COPIES	 (1u << 20) // to reckon with

enum work { WORK_UPDATE, WORK_GET, WORKS };
enum ids { IDS_UNIFORM, IDS_ZIPF, IDS_KINDS };

static const char *const work_names[] = {"update", "look-up"};
static const char *const ids_names[] = {"uniform", "zipf 0.99"};

struct table_bench {
	uint64_t rows;
	uint32_t dim, rounds, subjects_count;
	bool json;
	struct bench_env env;
	struct bench_guard guard;
	struct gp_optim_params optim;
	const struct table_subject *subjects[SUBJECTS];
	void *state[SUBJECTS];
	struct bench_series ns[SUBJECTS][IDS_KINDS][WORKS]; // of a row
	struct table_whole whole[SUBJECTS];
	uint64_t *ids[IDS_KINDS]; // OPS of them
	float *grads, *out;	  // BATCH rows
	uint32_t step;
};

static uint64_t mix(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

// Rank r has a share of r^-SKEW (Gray et al. 1994, "Quickly Generating Billion-Record Synthetic
// Databases"); ranks are dealt to ids as a hash falls.
static void zipf_fill(uint64_t *ids, uint64_t rows)
{
	double n = (double)rows, sum = 0, alpha = 1 / (1 - SKEW), two = 1 + pow(0.5, SKEW);
	for (uint64_t i = 1; i <= rows; i++)
		sum += pow((double)i, -SKEW);
	double eta = (1 - pow(2 / n, 1 - SKEW)) / (1 - two / sum);
	for (uint32_t i = 0; i < OPS; i++) {
		double u = (double)(mix(i) >> 11) * 0x1p-53, at = u * sum;
		uint64_t rank = at < 1	   ? 0
				: at < two ? 1
					   : (uint64_t)(n * pow(eta * u - eta + 1, alpha));
		ids[i] = mix(GP_MIN(rank, rows - 1)) % rows;
	}
}

static int bench_open(struct table_bench *b)
{
	for (int k = 0; k < IDS_KINDS; k++)
		b->ids[k] = malloc(sizeof(uint64_t) * OPS);
	b->grads = malloc(sizeof(float) * BATCH * b->dim);
	b->out = malloc(sizeof(float) * BATCH * b->dim);
	if (!b->ids[0] || !b->ids[1] || !b->grads || !b->out)
		return EXIT_FAILED;
	for (uint32_t i = 0; i < OPS; i++)
		b->ids[IDS_UNIFORM][i] = mix(i) % b->rows;
	zipf_fill(b->ids[IDS_ZIPF], b->rows);
	for (uint32_t i = 0; i < BATCH * b->dim; i++)
		b->grads[i] = (float)(int32_t)(mix(i) >> 40) * 0x1p-24f - 0.5f;
	for (uint32_t s = 0; s < b->subjects_count; s++)
		if (b->subjects[s]->open(&b->state[s], b->rows, b->dim, &b->optim) != 0)
			return EXIT_FAILED;
	return EXIT_OK;
}

static void bench_close(struct table_bench *b)
{
	for (uint32_t s = 0; s < b->subjects_count; s++)
		b->subjects[s]->close(b->state[s]);
	for (int k = 0; k < IDS_KINDS; k++)
		free(b->ids[k]);
	free(b->grads);
	free(b->out);
}

// ns of one row.
static double work_time(struct table_bench *b, uint32_t s, enum ids kind, enum work work)
{
	const struct table_subject *subject = b->subjects[s];
	struct gp_optim_plan plan;
	gp_optim_plan_init(&plan, &b->optim, ++b->step);
	uint64_t from = bench_cpu_ns();
	for (uint32_t at = 0; at < OPS; at += BATCH) {
		if (work == WORK_UPDATE)
			subject->update(b->state[s], &plan, b->ids[kind] + at, b->grads, BATCH);
		else
			subject->get(b->state[s], b->ids[kind] + at, BATCH, b->out);
	}
	return (double)(bench_cpu_ns() - from) / OPS;
}

static void rounds_run(struct table_bench *b)
{
	while (bench_guard_more(&b->guard, b->rounds)) {
		double ns[SUBJECTS][IDS_KINDS][WORKS];
		bench_guard_begin(&b->guard);
		for (uint32_t i = 0; i < b->subjects_count * IDS_KINDS * WORKS; i++) {
			uint32_t s = i / (IDS_KINDS * WORKS), k = i / WORKS % IDS_KINDS;
			ns[s][k][i % WORKS] = work_time(b, s, k, i % WORKS);
		}
		if (!bench_guard_end(&b->guard))
			continue;
		for (uint32_t i = 0; i < b->subjects_count * IDS_KINDS * WORKS; i++) {
			uint32_t s = i / (IDS_KINDS * WORKS), k = i / WORKS % IDS_KINDS;
			bench_series_add(&b->ns[s][k][i % WORKS], ns[s][k][i % WORKS]);
		}
	}
}

// Memory over what the values and the optimizer's sums take.
static double memory_ratio(const struct table_bench *b, uint32_t s)
{
	return (double)b->subjects[s]->bytes(b->state[s]) /
	       ((double)b->rows * b->dim * 2 * sizeof(float));
}

// Bytes that a row takes, and of them values and sums.
static double row_bytes(const struct table_bench *b, uint32_t s)
{
	return (double)b->subjects[s]->bytes(b->state[s]) / (double)b->rows;
}

static uint32_t row_payload(const struct table_bench *b)
{
	return b->dim * 2 * (uint32_t)sizeof(float);
}

// What a row takes once more while a generation is read that it was changed after.
static double copy_bytes(const struct table_bench *b)
{
	const struct gp_kept_config cfg = {.copies_max = COPIES, .floats = 2 * b->dim};
	return (double)gp_kept_size(&cfg) / COPIES;
}

static void text_print(const struct table_bench *b)
{
	bench_env_text(&b->env, &b->guard);
	printf("%llu rows of %u f32, adagrad, batches of %u\n%-10s %-10s %-8s %10s %18s %8s %8s\n",
		(unsigned long long)b->rows, b->dim, BATCH, "table", "ids", "work", "M rows/s",
		"least..most", "ns", "spread");
	for (uint32_t s = 0; s < b->subjects_count; s++) {
		for (uint32_t i = 0; i < IDS_KINDS * WORKS; i++) {
			const struct bench_series *ns = &b->ns[s][i / WORKS][i % WORKS];
			struct bench_stat x = bench_series_stat(ns);
			printf("%-10s %-10s %-8s %10.2f %8.2f..%8.2f %8.1f %7.1f%%\n",
				b->subjects[s]->name, ids_names[i / WORKS], work_names[i % WORKS],
				1e3 / x.median, 1e3 / x.max, 1e3 / x.min, x.median,
				100 * bench_series_spread(ns));
		}
		printf("%-10s memory: %.3f of the payload: %.1f bytes a row, %u of them values and "
		       "sums\n",
			b->subjects[s]->name, memory_ratio(b, s), row_bytes(b, s), row_payload(b));
		if (b->subjects[s]->whole)
			printf("%-10s kept: %.1f bytes a copy of a row, for generations that are "
			       "read\n",
				b->subjects[s]->name, copy_bytes(b));
		const struct table_whole *w = &b->whole[s];
		if (b->subjects[s]->whole)
			printf("%-10s snapshot: ns of a row: ids %.1f, sort %.1f, read %.1f: %.2f "
			       "M rows/s; put into an empty table %.1f: %.2f M rows/s\n",
				b->subjects[s]->name, w->ids, w->sort, w->read,
				1e3 / (w->ids + w->sort + w->read), w->put, 1e3 / w->put);
	}
}

static void json_print(const struct table_bench *b)
{
	printf("{\"bench\":\"table\",");
	bench_env_json(&b->env, &b->guard);
	printf("\"rows\":%llu,\"dim\":%u,\"tables\":[", (unsigned long long)b->rows, b->dim);
	for (uint32_t s = 0; s < b->subjects_count; s++) {
		printf("%s{\"name\":\"%s\",\"memory_ratio\":%.4f,\"row_bytes\":%.2f,"
		       "\"payload_bytes\":%u,\"copy_bytes\":%.2f,\"work\":[",
			s ? "," : "", b->subjects[s]->name, memory_ratio(b, s), row_bytes(b, s),
			row_payload(b), b->subjects[s]->whole ? copy_bytes(b) : 0);
		for (uint32_t i = 0; i < IDS_KINDS * WORKS; i++) {
			struct bench_stat x = bench_series_stat(&b->ns[s][i / WORKS][i % WORKS]);
			printf("%s{\"ids\":\"%s\",\"work\":\"%s\",\"mrows_s\":%.3f,"
			       "\"mrows_s_min\":%.3f,\"mrows_s_max\":%.3f}",
				i ? "," : "", ids_names[i / WORKS], work_names[i % WORKS],
				1e3 / x.median, 1e3 / x.max, 1e3 / x.min);
		}
		const struct table_whole *w = &b->whole[s];
		printf("]");
		if (b->subjects[s]->whole)
			printf(",\"whole_ns\":{\"ids\":%.2f,\"sort\":%.2f,\"read\":%.2f,\"put\":%."
			       "2f}",
				w->ids, w->sort, w->read, w->put);
		printf("}");
	}
	printf("]}\n");
}

static int bench_run(struct table_bench *b)
{
	bench_env_begin(&b->env, -1);
	bench_guard_init(&b->guard);
	int rc = bench_open(b);
	if (rc == EXIT_OK) {
		rounds_run(b);
		for (uint32_t s = 0; rc == EXIT_OK && s < b->subjects_count; s++)
			if (b->subjects[s]->whole &&
				b->subjects[s]->whole(b->state[s], &b->whole[s]) != 0)
				rc = EXIT_FAILED;
		bench_env_end(&b->env);
		(b->json ? json_print : text_print)(b);
	}
	bench_close(b);
	return rc;
}

static int usage(FILE *to)
{
	fprintf(to,
		"usage: gradbench table [--rows N] [--dim N] [--rounds N] [--alone] [--json]\n\n"
		"  --rows N    rows of the table, 2..100000000 (default 10000000)\n"
		"  --dim N     values of a row, 1..1024 (default 16)\n"
		"  --rounds N  rounds kept, 1..101 (default 11)\n"
		"  --alone     without liburcu's cds_lfht beside it\n\n"
		"M rows/s by CPU time; memory: of what values and adagrad's sums take, and of a\n"
		"copy that is kept of a row for a generation that is read.\n");
	return to == stdout ? EXIT_OK : EXIT_USAGE;
}

static int table_run(int argc, char **argv)
{
	static const struct option longs[] = {
		{"rows", required_argument, NULL, 'n'},
		{"dim", required_argument, NULL, 'd'},
		{"rounds", required_argument, NULL, 'r'},
		{"alone", no_argument, NULL, 'a'},
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	static struct table_bench b = {.rows = 10000000,
		.dim = 16,
		.rounds = 11,
		.subjects_count = SUBJECTS,
		.subjects = {&table_subject_rows, &table_subject_lfht},
		.optim = {.kind = GP_OPTIM_ADAGRAD, .lr = 0.01f, .epsilon = 1e-10f}};
	uint64_t n = 0;
	int c;
	while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (c == 'h')
			return usage(stdout);
		if (c == 'j')
			b.json = true;
		else if (c == 'a')
			b.subjects_count = 1;
		else if (c == 'n' && bench_number(optarg, 100000000, &n) && n > 1)
			b.rows = n;
		else if (c == 'd' && bench_number(optarg, 1024, &n))
			b.dim = (uint32_t)n;
		else if (c == 'r' && bench_number(optarg, BENCH_ROUNDS_MAX, &n))
			b.rounds = (uint32_t)n;
		else
			return usage(stderr);
	}
	return optind < argc ? usage(stderr) : bench_run(&b);
}

const struct command command_table = {
	.name = "table", .help = "sparse rows: updates and look-ups by id", .run = table_run};
