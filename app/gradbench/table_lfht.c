// SPDX-License-Identifier: BSD-3-Clause
//
// gradbench table: liburcu's lock-free hash table, for comparison; the only source outside lib/rcu
// that includes it. A node holds the row itself, in one array; the table is made with as many
// buckets as rows, so that nothing is resized while time is taken. Rows change without protection
// from readers, which flatters it.
#include "bench.h"
#include "table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <urcu/urcu-qsbr.h>

#include <urcu/rculfhash.h>

struct node {
	struct cds_lfht_node link;
	uint64_t id;
	float row[]; // values, then sums
};

struct state {
	struct cds_lfht *table;
	uint8_t *nodes;
	uint64_t rows, buckets;
	uint32_t dim;
	size_t node_size;
	float *scratch;
};

static uint64_t hash(uint64_t id)
{
	uint64_t z = (id ^ id >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static int match(struct cds_lfht_node *link, const void *key)
{
	const uint64_t *id = key;
	return ((const struct node *)(const void *)link)->id == *id;
}

static struct node *node_at(const struct state *s, uint64_t i)
{
	return (struct node *)(void *)(s->nodes + i * s->node_size);
}

static struct node *node_find(struct state *s, uint64_t id)
{
	struct cds_lfht_iter iter;
	cds_lfht_lookup(s->table, hash(id), match, &id, &iter);
	struct cds_lfht_node *link = cds_lfht_iter_get_node(&iter);
	GP_ASSERT(link);
	return (struct node *)(void *)link;
}

static void close_lfht(void *state)
{
	struct state *s = state;
	if (!s)
		return;
	if (s->table) {
		for (uint64_t i = 0; i < s->rows; i++)
			(void)cds_lfht_del(s->table, &node_at(s, i)->link);
		(void)cds_lfht_destroy(s->table, NULL);
		urcu_qsbr_unregister_thread();
	}
	bench_give(s->nodes, s->node_size * s->rows);
	free(s->scratch);
	free(s);
}

static int open_lfht(void **state, uint64_t rows, uint32_t dim, const struct gp_optim_params *optim)
{
	struct state *s = calloc(1, sizeof(*s));
	(void)optim;
	*state = s;
	if (!s)
		return -ENOMEM;
	s->dim = dim;
	s->node_size = gp_align_up(sizeof(struct node) + 2 * sizeof(float) * dim, 16);
	s->buckets = gp_pow2_up(rows);
	s->scratch = calloc(2 * dim, sizeof(float));
	s->nodes = bench_take(s->node_size * rows);
	if (!s->scratch || !s->nodes)
		return -ENOMEM;
	urcu_qsbr_register_thread();
	s->table =
		cds_lfht_new_flavor(s->buckets, s->buckets, s->buckets, 0, &urcu_qsbr_flavor, NULL);
	if (!s->table)
		return -ENOMEM;
	for (; s->rows < rows; s->rows++) {
		struct node *n = node_at(s, s->rows);
		n->id = s->rows;
		cds_lfht_node_init(&n->link);
		cds_lfht_add(s->table, hash(n->id), &n->link);
	}
	return 0;
}

static void update_lfht(void *state, const struct gp_optim_plan *plan, const uint64_t *ids,
	const float *grads, uint32_t n)
{
	struct state *s = state;
	urcu_qsbr_read_lock();
	for (uint32_t i = 0; i < n; i++) {
		float *row = node_find(s, ids[i])->row;
		const struct gp_optim_block b = {.grad = grads + (size_t)i * s->dim,
			.w = row,
			.state = row + s->dim,
			.w_out = s->scratch,
			.state_out = s->scratch + s->dim,
			.elems = s->dim,
			.stride = s->dim,
			.step = plan->step,
			.lr_scale = 1};
		gp_optim_run(plan, &b);
		memcpy(row, s->scratch, 2 * sizeof(float) * s->dim);
	}
	urcu_qsbr_read_unlock();
}

static void get_lfht(void *state, const uint64_t *ids, uint32_t n, float *out)
{
	struct state *s = state;
	urcu_qsbr_read_lock();
	for (uint32_t i = 0; i < n; i++)
		memcpy(out + (size_t)i * s->dim, node_find(s, ids[i])->row, sizeof(float) * s->dim);
	urcu_qsbr_read_unlock();
}

// Nodes and the table's own bucket nodes.
static uint64_t bytes_lfht(void *state)
{
	const struct state *s = state;
	return s->node_size * s->rows + sizeof(struct cds_lfht_node) * s->buckets;
}

const struct table_subject table_subject_lfht = {
	.name = "cds_lfht",
	.open = open_lfht,
	.update = update_lfht,
	.get = get_lfht,
	.bytes = bytes_lfht,
	.close = close_lfht,
};
