// SPDX-License-Identifier: BSD-3-Clause
//
// gradbench table: the rows of lib/table.
#include "bench.h"
#include "table.h"

#include <errno.h>
#include <gp_rows.h>
#include <stdlib.h>

#define BATCH 1024u

struct state {
	struct gp_rcu_grace grace;
	struct gp_rows *rows;
	void *mem;
	size_t size;
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
	for (uint64_t id = 0; rc == 0 && id < rows; id++) {
		rc = gp_rows_put(s->rows, id, 0, zeros, zeros + dim);
		if (id % BATCH == 0) // a control thread's work: nobody else reads here
			atomic_fetch_add_explicit(&s->grace.passed, 2, memory_order_release);
	}
	free(zeros);
	return rc;
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
	.close = close_rows,
};
