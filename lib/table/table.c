// SPDX-License-Identifier: BSD-3-Clause
#include <gp_table.h>

#include <errno.h>

static size_t version_size(uint32_t elems_max, uint32_t states_count)
{
	return sizeof(struct gp_version) + sizeof(float) * elems_max * (1 + (size_t)states_count);
}

static uint32_t versions_count(uint32_t blocks_count)
{
	return blocks_count * GP_TABLE_VERSIONS_PER_BLOCK +
	       blocks_count / GP_TABLE_BLOCKS_PER_EXTRA + GP_TABLE_VERSIONS_EXTRA;
}

size_t gp_table_size(uint32_t blocks_count, uint32_t elems_max, uint32_t states_count)
{
	return sizeof(struct gp_block) * (size_t)blocks_count +
	       version_size(elems_max, states_count) * versions_count(blocks_count) +
	       2 * GP_CACHE_LINE;
}

int gp_table_init(struct gp_table *t, struct gp_arena *arena, uint32_t blocks_count,
	uint32_t elems_max, uint32_t states_count, const struct gp_rcu_grace *grace)
{
	GP_ASSERT(elems_max > 0 && elems_max % 16 == 0);
	*t = (struct gp_table){
		.blocks_count = blocks_count,
		.elems_max = elems_max,
		.states_count = states_count,
		.versions_count = versions_count(blocks_count),
		.grace = grace,
	};
	size_t size = version_size(elems_max, states_count);
	t->blocks =
		gp_arena_take(arena, sizeof(struct gp_block) * (size_t)blocks_count, GP_CACHE_LINE);
	uint8_t *versions = gp_arena_take(arena, size * t->versions_count, GP_CACHE_LINE);
	if (!t->blocks || !versions)
		return -ENOMEM;
	for (uint32_t i = t->versions_count; i-- > 0;)
		gp_table_untake(t, (struct gp_version *)(void *)(versions + size * i));
	return 0;
}

// Moves what nobody can see any more from the retired queue to the free list. The queue is in order
// of retirement; one that a frame still refers to goes to the end.
static void table_reclaim(struct gp_table *t)
{
	for (uint32_t n = t->retired_count; n > 0; n--) {
		struct gp_version *v = t->retired_first;
		if (!gp_rcu_grace_over(t->grace, v->stamp))
			return;
		t->retired_first = v->next;
		v->next = NULL;
		if (v->hold.count == 0) {
			t->retired_count--;
			gp_table_untake(t, v);
			continue;
		}
		if (!t->retired_first)
			t->retired_first = v;
		else
			t->retired_last->next = v;
		t->retired_last = v;
	}
}

struct gp_version *gp_table_take(struct gp_table *t)
{
	if (!t->free_list)
		table_reclaim(t);
	struct gp_version *v = t->free_list;
	if (!v)
		return NULL;
	GP_ASSERT(t->free_count > 0 && v->hold.count == 0);
	t->free_list = v->next;
	t->free_count--;
	v->next = NULL;
	return v;
}

void gp_table_untake(struct gp_table *t, struct gp_version *v)
{
	GP_ASSERT(v->hold.count == 0);
	v->next = t->free_list;
	t->free_list = v;
	t->free_count++;
	GP_ASSERT(t->free_count + t->retired_count <= t->versions_count);
}

static void table_retire(struct gp_table *t, struct gp_version *v)
{
	v->stamp = gp_rcu_grace_stamp(t->grace);
	v->next = NULL;
	if (t->retired_count++ == 0)
		t->retired_first = v;
	else
		t->retired_last->next = v;
	t->retired_last = v;
}

void gp_table_publish(struct gp_table *t, struct gp_block *b, struct gp_version *v)
{
	struct gp_version *shadow = atomic_load_explicit(&b->shadow, memory_order_relaxed);
	struct gp_version *cur = atomic_load_explicit(&b->cur, memory_order_relaxed);
	if (shadow) {
		if (cur && t->cut_active && cur->step == t->cut_step) {
			GP_ASSERT(!atomic_load_explicit(&b->kept, memory_order_relaxed));
			gp_rcu_publish(&b->kept, cur);
			gp_rcu_publish(&b->cur, shadow);
		} else {
			gp_rcu_publish(&b->cur, shadow);
			if (cur)
				table_retire(t, cur);
		}
	}
	gp_rcu_publish(&b->shadow, v);
	b->done_step = v->step;
}

void gp_table_abort(struct gp_table *t, struct gp_block *b, uint32_t committed)
{
	struct gp_version *shadow = atomic_load_explicit(&b->shadow, memory_order_relaxed);
	if (!shadow || !gp_before(committed, shadow->step))
		return;
	gp_rcu_publish(&b->shadow, NULL);
	table_retire(t, shadow);
	b->done_step = committed;
}

void gp_table_cut_begin(struct gp_table *t, uint32_t step)
{
	GP_ASSERT(!t->cut_active);
	t->cut_active = true;
	t->cut_step = step;
}

void gp_table_cut_end(struct gp_table *t)
{
	GP_ASSERT(t->cut_active);
	t->cut_active = false;
	for (uint32_t i = 0; i < t->blocks_count; i++) {
		struct gp_version *v =
			atomic_load_explicit(&t->blocks[i].kept, memory_order_relaxed);
		if (!v)
			continue;
		gp_rcu_publish(&t->blocks[i].kept, NULL);
		table_retire(t, v);
	}
}

struct gp_version *gp_table_find(const struct gp_block *b, uint32_t step)
{
	// The owner moves a version shadow -> cur -> kept and writes the new place before it
	// overwrites the old one, so looking in that order, newest place last, cannot miss it.
	struct gp_version *v = gp_rcu_dereference(&b->shadow);
	if (v && v->step == step)
		return v;
	v = gp_rcu_dereference(&b->cur);
	if (v && v->step == step)
		return v;
	v = gp_rcu_dereference(&b->kept);
	return v && v->step == step ? v : NULL;
}
