// SPDX-License-Identifier: BSD-3-Clause
//
// gradbench allreduce: one rank of an all-reduce through a server, for each of some sizes.
// scripts/bench-peers runs it in turns with other libraries.
#include "allreduce.h"
#include "bench.h"
#include "gradbench.h"

#include <getopt.h>
#include <gp_client.h>

#define TIMEOUT_MS 60000

struct allreduce {
	struct gp_client_opts o;
	const char *jobs;
	struct allreduce_size sizes[ALLREDUCE_SIZES_MAX];
	uint32_t sizes_count;
	bool in_place; // gradients are copied by the client and overwritten by results
	double us[ALLREDUCE_TIMES_MAX];
	uint64_t retransmits;
};

static int bad(const struct allreduce *a, const char *job, const struct gp_client_error *err)
{
	fprintf(stderr, "gradbench: rank %u, job %s: %s\n", a->o.rank, job, err->text);
	return err->code ? err->code : -1;
}

// What is summed, and where the sum goes.
struct values {
	float *own;
	float *sum;
};

static int once(struct gp_client *c, const struct values *v, struct gp_client_error *err)
{
	int rc = gp_client_push_pull(c, 0, v->own, 1, v->sum, err);
	return rc ? rc : gp_client_wait(c, TIMEOUT_MS, err);
}

// In place every time begins with the rank's own values.
static int times_run(struct allreduce *a, const struct allreduce_size *s, struct gp_client *c,
	const struct values *v, struct gp_client_error *err)
{
	int rc = 0;
	for (uint32_t i = 0; i < allreduce_warm(s) + s->times && rc == 0; i++) {
		if (i == 0 || a->in_place)
			allreduce_fill(v->own, s->bytes, a->o.rank);
		if (!a->in_place) // a result that does not come must not be the one before
			memset(v->sum, 0xff, s->bytes);
		rc = gp_client_barrier(c, i, TIMEOUT_MS, err);
		if (rc)
			break;
		double from = allreduce_now_us();
		rc = once(c, v, err);
		if (i >= allreduce_warm(s))
			a->us[i - allreduce_warm(s)] = allreduce_now_us() - from;
	}
	return rc;
}

static int size_run(struct allreduce *a, const struct allreduce_size *s, const struct values *v)
{
	char job[64];
	struct gp_client_tensor t = {
		.name = "v", .dims_count = 1, .dims = {s->bytes / sizeof(float)}};
	struct gp_client_error err = {0};
	struct gp_client *c = NULL;
	snprintf(job, sizeof(job), "%s%llu", a->jobs, (unsigned long long)s->bytes);
	a->o.job = job;
	int rc = gp_client_create(&c, &a->o, &err);
	if (!rc)
		rc = gp_client_register(c, &t, 1, TIMEOUT_MS, &err);
	if (!rc)
		rc = times_run(a, s, c, v, &err);
	if (!rc && !allreduce_good(v->sum, s->bytes, a->o.world)) {
		snprintf(err.text, sizeof(err.text),
			"the result is not the sum; is it a reduce job?");
		rc = -1;
	}
	struct gp_client_stats stats = {0};
	if (!rc)
		gp_client_stats(c, &stats);
	a->retransmits += stats.retransmits;
	gp_client_destroy(c);
	return rc ? bad(a, job, &err) : 0;
}

static int sizes_run(struct allreduce *a)
{
	uint64_t most = 0;
	for (uint32_t i = 0; i < a->sizes_count; i++)
		most = GP_MAX(most, a->sizes[i].bytes);
	struct values v = {.own = bench_take(most)};
	v.sum = a->in_place ? v.own : bench_take(most);
	if (!v.own || !v.sum)
		return EXIT_FAILED;
	bool tells = a->o.rank == 0;
	if (tells)
		printf("{\"bench\":\"allreduce\",\"how\":\"gradplane\",\"rows\":[");
	int rc = 0;
	for (uint32_t i = 0; i < a->sizes_count && rc == 0; i++) {
		rc = size_run(a, &a->sizes[i], &v);
		if (rc == 0 && tells)
			allreduce_row(&a->sizes[i], a->us, i == 0);
	}
	if (rc == 0 && tells)
		printf("],\"retransmits\":%llu,\"sums\":\"checked\"}\n",
			(unsigned long long)a->retransmits);
	if (!a->in_place)
		bench_give(v.sum, most);
	bench_give(v.own, most);
	return rc ? EXIT_FAILED : EXIT_OK;
}

static int usage(FILE *to)
{
	fprintf(to,
		"usage: gradbench allreduce --server ADDRESS --rank R --world W --sizes LIST\n"
		"       [--jobs PREFIX] [--path-mtu N] [--transport TEXT] [--in-place]\n\n"
		"  --sizes LIST    BYTESxTIMES,...: 1024x200,104857600x5\n"
		"  --jobs PREFIX   a reduce job (sums) of W workers for each size: PREFIX and the\n"
		"                  bytes (default b: b1024, b104857600)\n"
		"  --path-mtu N    IP MTU to probe with (default: of the interface)\n"
		"  --transport T   how datagrams travel (docs/transports.md; default udp)\n"
		"  --in-place      results overwrite gradients, which the client copies (default: "
		"it "
		"borrows them)\n\n"
		"All ranks run at the same time. Rank 0 prints one line of JSON: for each size "
		"the\n"
		"median time of an all-reduce in microseconds, as a training program sees it.\n");
	return to == stdout ? EXIT_OK : EXIT_USAGE;
}

static bool option_take(struct allreduce *a, int c, const char *text)
{
	uint64_t n = 0;
	switch (c) {
	case 's':
		a->o.server = text;
		return true;
	case 'j':
		a->jobs = text;
		return strlen(text) <= 20;
	case 't':
		a->o.transport = text;
		return true;
	case 'z':
		a->sizes_count = allreduce_sizes(text, a->sizes);
		return a->sizes_count > 0;
	case 'r':
		if (strcmp(text, "0") != 0 && !bench_number(text, 255, &n))
			return false;
		a->o.rank = (uint32_t)n;
		return true;
	case 'w':
		if (!bench_number(text, 256, &n))
			return false;
		a->o.world = (uint32_t)n;
		return true;
	case 'i':
		a->in_place = true;
		a->o.flags &= ~(uint32_t)GP_CLIENT_BORROW;
		return true;
	case 'm':
		if (!bench_number(text, 9216, &n))
			return false;
		a->o.path_mtu = (uint32_t)n;
		return true;
	default:
		return false;
	}
}

static int allreduce_main(int argc, char **argv)
{
	static const struct option longs[] = {
		{"server", required_argument, NULL, 's'},
		{"jobs", required_argument, NULL, 'j'},
		{"sizes", required_argument, NULL, 'z'},
		{"rank", required_argument, NULL, 'r'},
		{"world", required_argument, NULL, 'w'},
		{"path-mtu", required_argument, NULL, 'm'},
		{"transport", required_argument, NULL, 't'},
		{"in-place", no_argument, NULL, 'i'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	static struct allreduce a = {
		.jobs = "b", .o = {.join_timeout_ms = 10000, .flags = GP_CLIENT_BORROW}};
	int c;
	while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (c == 'h')
			return usage(stdout);
		if (!option_take(&a, c, optarg))
			return usage(stderr);
	}
	bool whole = a.o.server && a.sizes_count > 0 && a.o.world > 0 && optind == argc;
	return whole ? sizes_run(&a) : usage(stderr);
}

const struct command command_allreduce = {.name = "allreduce",
	.help = "one rank of an all-reduce of some sizes (scripts/bench-peers)",
	.run = allreduce_main};
