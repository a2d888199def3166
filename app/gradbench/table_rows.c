// SPDX-License-Identifier: BSD-3-Clause
//
// gradbench table: the rows of lib/table.
#include "bench.h"
#include "table.h"

#include <errno.h>
#include <gp_rows.h>
#include <stdlib.h>

#define BATCH 1024u
#define AHEAD 16u

struct state {
	struct gp_rcu_grace grace;
	struct gp_rows *rows;
	void *mem;
	size_t size;
	double put_ns; // of a row, when it was filled
};

static void close_rows(void *state)
{
	struct state *s = state;
	if (s)
		bench_give(s->mem, s->size);
	free(s);
}

static int fill(struct state *s, uint64_t rows, uint32_t dim)
{
	float *zeros = calloc(2 * dim, sizeof(float));
	int rc = zeros ? 0 : -ENOMEM;
	uint64_t from = bench_cpu_ns();
	for (uint64_t id = 0; rc == 0 && id < rows; id++) {
		gp_rows_ahead(s->rows, id + AHEAD, false);
		rc = gp_rows_put(s->rows, id, 0, zeros, zeros + dim);
		if (id % BATCH == 0) // a control thread's work: nobody else reads here
			atomic_fetch_add_explicit(&s->grace.passed, 2, memory_order_release);
	}
	s->put_ns = (double)(bench_cpu_ns() - from) / (double)rows;
	free(zeros);
	return rc;
}

// ---- as a snapshot reads it

struct ids {
	uint64_t *at;
	uint64_t count;
};

static void on_row(void *arg, uint64_t id, uint32_t step, const float *row)
{
	struct ids *x = arg;
	(void)step, (void)row;
	x->at[x->count++] = id;
}

static int id_compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;
	return (*x > *y) - (*x < *y);
}

static double since_ns(uint64_t *from, uint64_t rows)
{
	uint64_t now = bench_cpu_ns(), ns = now - *from;
	*from = now;
	return (double)ns / (double)rows;
}

static int whole_rows(void *state, struct table_whole *out)
{
	struct state *s = state;
	struct ids x = {0};
	uint64_t rows = gp_rows_stats(s->rows)->rows, from = bench_cpu_ns();
	uint32_t step, dim = gp_rows_dim(s->rows);
	struct gp_rows_scan scan = {.row_seen = on_row, .arg = &x};
	float *row = malloc(sizeof(float) * (dim + gp_rows_state(s->rows)));
	x.at = malloc(sizeof(x.at[0]) * rows);
	if (!row || !x.at) {
		free(row);
		free(x.at);
		fprintf(stderr, "gradbench: no memory for the ids of rows\n");
		return -ENOMEM;
	}
	out->put = s->put_ns;
	while (gp_rows_scan(s->rows, &scan))
		;
	out->ids = since_ns(&from, rows);
	qsort(x.at, x.count, sizeof(x.at[0]), id_compare);
	out->sort = since_ns(&from, rows);
	for (uint64_t i = 0; i < rows; i++) {
		gp_rows_ahead(s->rows, x.at[GP_MIN(i + 2 * AHEAD, rows - 1)], false);
		gp_rows_ahead(s->rows, x.at[GP_MIN(i + AHEAD, rows - 1)], true);
		GP_ASSERT(gp_rows_read(s->rows, x.at[i], row, row + dim, &step) == 0);
	}
	out->read = since_ns(&from, rows);
	free(row);
	free(x.at);
	return 0;
}

static int open_rows(void **state, uint64_t rows, uint32_t dim, const struct gp_optim_params *optim)
{
	struct state *s = calloc(1, sizeof(*s));
	const struct gp_rows_config cfg = {.rows_max = rows, .dim = dim, .optim = *optim};
	const char *why;
	*state = s;
	if (!s)
		return -ENOMEM;
	if (gp_rows_check(&cfg, &why) != 0) {
		fprintf(stderr, "gradbench: %s\n", why);
		return -EINVAL;
	}
	s->size = gp_rows_size(&cfg);
	s->mem = bench_take(s->size);
	if (!s->mem)
		return -ENOMEM;
	s->rows = gp_rows_init(s->mem, &cfg, &s->grace);
	return fill(s, rows, dim);
}

static void update_rows(void *state, const struct gp_optim_plan *plan, const uint64_t *ids,
	const float *grads, uint32_t n)
{
	struct state *s = state;
	GP_ASSERT(gp_rows_update(s->rows, plan, 1, ids, grads, n, NULL) == 0);
}

static void get_rows(void *state, const uint64_t *ids, uint32_t n, float *out)
{
	struct state *s = state;
	gp_rows_get(s->rows, ids, n, out);
}

static uint64_t bytes_rows(void *state)
{
	const struct state *s = state;
	return gp_rows_stats(s->rows)->memory_used;
}

const struct table_subject table_subject_rows = {
	.name = "gp_rows",
	.open = open_rows,
	.update = update_rows,
	.get = get_rows,
	.bytes = bytes_rows,
	.whole = whole_rows,
	.close = close_rows,
};
