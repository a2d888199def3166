// SPDX-License-Identifier: BSD-3-Clause
//
// gradbench codec: encoders and decoders over one large tensor, against a copy of the same tensor
// by the same device in the same run. Rates are of f32 bytes: 4 x elements / time, the copy's too.
#include "codec_server.h"
#include "gradbench.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>

#define PATTERN_ELEMS 4000037u // prime: blocks of one repetition are cut elsewhere than in the next
#define TOPK_RATIO    0.01
#define WARM_UPS      3
#define ROWS_MAX      48

static const struct codec_device *const devices[] = {
	&codec_device_cpu,
#ifdef GRADBENCH_CUDA
	&codec_device_cuda,
#endif
};

static const char *const op_names[] = {"copy", "encode", "encode+ef", "decode", "add"};

struct options {
	const struct codec_device *device;
	uint64_t elems;
	uint32_t block_elems, repeats;
	bool json, server;
};

struct row {
	struct codec_task task;
	double median_us, min_us, max_us;
	double gb_s;	 // of f32
	double moved_gb; // what memory must move at least, read and written
};

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

// Bytes an ideal device moves for the task.
static double bytes_moved(const struct codec_task *t)
{
	double f32 = 4.0 * (double)t->elems;
	double blocks = (double)gp_div_up(t->elems, t->block_elems);
	double payload = blocks * (double)gp_codec_size_max(t->codec, t->block_elems, t->k);
	switch (t->op) {
	case CODEC_COPY:
		return 2 * f32;
	case CODEC_ENCODE:
	case CODEC_DECODE:
		return f32 + payload;
	case CODEC_ENCODE_FEEDBACK:
		return 3 * f32 + payload;
	case CODEC_ADD:
		return 2 * f32 + payload;
	}
	return 0;
}

static int row_measure(const struct options *o, void *state, struct row *r)
{
	double us[BENCH_REPEATS_MAX];
	for (uint32_t i = 0; i < WARM_UPS + o->repeats; i++) {
		int rc = o->device->time(state, &r->task, &us[i < WARM_UPS ? 0 : i - WARM_UPS]);
		if (rc)
			return rc;
	}
	qsort(us, o->repeats, sizeof(us[0]), compare);
	r->min_us = us[0];
	r->max_us = us[o->repeats - 1];
	r->median_us = us[o->repeats / 2];
	r->gb_s = 4e-3 * (double)r->task.elems / r->median_us;
	r->moved_gb = bytes_moved(&r->task) * 1e-9;
	return 0;
}

static double share_of_copy(const struct row *r, const struct row *copy)
{
	return r->gb_s / copy->gb_s;
}

// How near to the copy's rate of bytes read and written.
static double share_moved(const struct row *r, const struct row *copy)
{
	return r->moved_gb / r->median_us / (copy->moved_gb / copy->median_us);
}

static const char *row_name(const struct row *r)
{
	return r->task.op == CODEC_COPY ? "-" : gp_codec_name(r->task.codec);
}

static void text_print(const struct options *o, const char *model, const struct row *rows, size_t n)
{
	printf("%s: %llu elements in blocks of %u, top-k %g %%, median of %u\n", model,
		(unsigned long long)o->elems, o->block_elems, TOPK_RATIO * 100, o->repeats);
	printf("%-10s %-10s %10s %8s %8s %8s %8s\n", "codec", "work", "us", "spread", "GB/s",
		"of copy", "moved");
	for (const struct row *r = rows; r < rows + n; r++)
		printf("%-10s %-10s %10.1f %7.1f%% %8.1f %7.1f%% %7.1f%%\n", row_name(r),
			op_names[r->task.op], r->median_us,
			100 * (r->max_us - r->min_us) / r->median_us, r->gb_s,
			100 * share_of_copy(r, rows), 100 * share_moved(r, rows));
}

static void json_print(const struct options *o, const char *model, const struct row *rows, size_t n)
{
	printf("{\"device\":\"%s\",\"model\":\"%s\",\"elems\":%llu,\"block_elems\":%u,"
	       "\"topk_ratio\":%g,\"repeats\":%u,\"rows\":[",
		o->device->name, model, (unsigned long long)o->elems, o->block_elems, TOPK_RATIO,
		o->repeats);
	for (const struct row *r = rows; r < rows + n; r++)
		printf("%s{\"codec\":\"%s\",\"work\":\"%s\",\"us\":%.1f,\"us_min\":%.1f,"
		       "\"us_max\":%.1f,\"gb_s\":%.2f,\"of_copy\":%.4f,\"moved_of_copy\":%.4f}",
			r == rows ? "" : ",", row_name(r), op_names[r->task.op], r->median_us,
			r->min_us, r->max_us, r->gb_s, share_of_copy(r, rows),
			share_moved(r, rows));
	printf("]}\n");
}

// The copy first, then what the device has of each codec. Feedback only where something is lost.
static size_t rows_plan(const struct options *o, struct row *rows)
{
	size_t n = 0;
	uint32_t last = (uint32_t)(o->elems % o->block_elems);
	struct codec_task t = {.codec = GP_CODEC_F32,
		.op = CODEC_COPY,
		.block_elems = o->block_elems,
		.elems = o->elems};
	rows[n++].task = t;
	for (t.codec = GP_CODEC_F32; t.codec < GP_CODEC_COUNT; t.codec++) {
		bool topk = gp_codec_is_topk(t.codec);
		t.k = topk ? gp_codec_topk_count(TOPK_RATIO, o->block_elems) : 0;
		t.k_last = topk ? gp_codec_topk_count(TOPK_RATIO, last ? last : o->block_elems) : 0;
		for (t.op = CODEC_ENCODE; t.op <= CODEC_ADD; t.op++) {
			bool lossless = t.codec == GP_CODEC_F32 && t.op == CODEC_ENCODE_FEEDBACK;
			if (o->device->has(t.op) && !lossless)
				rows[n++].task = t;
		}
	}
	GP_ASSERT(n <= ROWS_MAX);
	return n;
}

// Bell-shaped, as gradients are: the sum of four uniform numbers.
static float *pattern_make(void)
{
	float *v = malloc(PATTERN_ELEMS * sizeof(*v));
	uint64_t x = 1;
	for (uint32_t i = 0; v && i < PATTERN_ELEMS; i++) {
		int32_t sum = 0;
		x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		uint64_t z = (x ^ x >> 29) * UINT64_C(0x9e3779b97f4a7c15);
		for (int part = 0; part < 4; part++)
			sum += (int32_t)(z >> 16 * part & 0xffff) - 0x8000;
		v[i] = (float)sum * 0x1p-26f;
	}
	return v;
}

static int bench_run(const struct options *o)
{
	struct row rows[ROWS_MAX] = {0};
	void *state = NULL;
	float *pattern = pattern_make();
	if (!pattern) {
		fprintf(stderr, "gradbench: no memory\n");
		return EXIT_FAILED;
	}
	int rc = o->device->open(&state, o->elems, pattern, PATTERN_ELEMS);
	free(pattern);
	if (rc)
		return rc == -ENODEV ? EXIT_SKIPPED : EXIT_FAILED;
	size_t n = rows_plan(o, rows);
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = row_measure(o, state, &rows[i]);
	if (rc == 0)
		(o->json ? json_print : text_print)(o, o->device->model(state), rows, n);
	o->device->close(state);
	return rc ? EXIT_FAILED : EXIT_OK;
}

static int usage(FILE *to)
{
	fprintf(to,
		"usage: gradbench codec [--device cpu|cuda | --server] [--elems N] [--block N]"
		" [--repeats N] [--json]\n\n"
		"  --device D   where the codecs run (default cpu, one core)\n"
		"  --elems N    elements of the tensor (default: cpu 10e6, cuda 100e6)\n"
		"  --block N    elements of a block (default 336: datagrams of 1500 bytes)\n"
		"  --repeats N  measurements, of which the median is printed (default 11)\n"
		"  --server     instead: what a core of the server does, payloads in the cache "
		"added to"
		" a table\n               in memory, against f32; and top-k in cycles per "
		"element\n\n"
		"GB/s counts 4 bytes an element. of copy: that rate against a copy of the tensor.\n"
		"moved: all bytes read and written in that time, against the copy's.\n");
	return to == stdout ? EXIT_OK : EXIT_USAGE;
}

static bool number_parse(const char *text, uint64_t max, uint64_t *out)
{
	char *end;
	errno = 0;
	*out = strtoull(text, &end, 10);
	return !errno && *end == '\0' && text[0] >= '0' && text[0] <= '9' && *out >= 1 &&
	       *out <= max;
}

static const struct codec_device *device_find(const char *name)
{
	for (size_t i = 0; i < GP_ARRAY_SIZE(devices); i++) {
		if (strcmp(devices[i]->name, name) == 0)
			return devices[i];
	}
	return NULL;
}

// -1: go on, else the exit status.
static int option_take(struct options *o, int c, const char *text)
{
	uint64_t n = 0;
	if (c == 'h')
		return usage(stdout);
	if (c == 'd') {
		o->device = device_find(text);
		if (o->device)
			return -1;
		bool cuda = strcmp(text, "cuda") == 0;
		fprintf(stderr, "gradbench: %s\n",
			cuda ? "cuda: skipped, built without it" : "--device takes cpu or cuda");
		return cuda ? EXIT_SKIPPED : EXIT_USAGE;
	}
	if (c == 'j')
		o->json = true;
	else if (c == 's')
		o->server = true;
	else if (c == 'e' && number_parse(text, UINT64_C(1) << 34, &n))
		o->elems = n;
	else if (c == 'b' && number_parse(text, GP_CODEC_ELEMS_MAX, &n))
		o->block_elems = (uint32_t)n;
	else if (c == 'r' && number_parse(text, BENCH_REPEATS_MAX, &n))
		o->repeats = (uint32_t)n;
	else
		return usage(stderr);
	return -1;
}

static int codec_run(int argc, char **argv)
{
	static const struct option longs[] = {
		{"device", required_argument, NULL, 'd'},
		{"elems", required_argument, NULL, 'e'},
		{"block", required_argument, NULL, 'b'},
		{"repeats", required_argument, NULL, 'r'},
		{"json", no_argument, NULL, 'j'},
		{"server", no_argument, NULL, 's'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	struct options o = {.device = &codec_device_cpu, .block_elems = 336, .repeats = 11};
	int c;
	while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		int status = option_take(&o, c, optarg);
		if (status >= 0)
			return status;
	}
	if (optind < argc)
		return usage(stderr);
	if (o.server) {
		int rc = codec_server_run(o.block_elems, o.repeats, o.json);
		if (rc == 0 && !o.json)
			rc = codec_results_run(o.block_elems);
		return rc ? EXIT_FAILED : EXIT_OK;
	}
	if (!o.elems)
		o.elems = o.device->elems_default;
	return bench_run(&o);
}

const struct command command_codec = {
	.name = "codec", .help = "encoders and decoders against a copy", .run = codec_run};
