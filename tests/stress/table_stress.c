// SPDX-License-Identifier: BSD-3-Clause
//
// The block store under real threads: an owner that steps its blocks as fast as it can, readers
// that look generations up and check every element, and a control thread that ends grace periods
// and cuts. A reader must never see a version change under it, and a pinned generation must always
// be found.
//
//	table_stress [--plant]
//
// --plant counts grace periods without waiting for the readers: the use after retire must be
// noticed, or this harness is blind. TAP on standard output; exit 0 when all held.
#include "stress.h"

#include <gp_table.h>

#define BLOCKS	    64
#define ELEMS	    64
#define READERS	    2
#define STEPS	    6000
#define CUT_EVERY   200
#define RUN_NS_MAX  UINT64_C(10000000000)
#define HOLD_YIELDS 8

struct stress {
	struct gp_table table;
	struct gp_rcu_grace grace;
	bool plant;
	_Atomic uint32_t step;	   // newest generation, by the owner
	_Atomic uint32_t cut_step; // pinned, 0 = none; by the owner
	_Atomic uint32_t cut_done; // of it; by reader 0
	_Atomic bool stop;
	_Atomic uint64_t checked;
	_Atomic uint64_t torn;
	_Atomic uint64_t missed;
};

static void block_step(struct stress *s, struct gp_block *b, uint32_t step)
{
	struct gp_version *v;
	while (!(v = gp_table_take(&s->table))) {
		gp_rcu_quiescent();
		sched_yield();
		if (atomic_load_explicit(&s->stop, memory_order_relaxed))
			return;
	}
	v->step = step;
	v->elems = ELEMS;
	for (uint32_t i = 0; i < ELEMS; i++)
		gp_version_values(v)[i] = (float)step;
	gp_table_publish(&s->table, b, v);
}

// As a polled core: a cut begins between two steps and ends when its reader is through.
static void cut_turn(struct stress *s, uint32_t step)
{
	uint32_t cut = atomic_load_explicit(&s->cut_step, memory_order_relaxed);
	if (cut == 0 && step % CUT_EVERY == 0) {
		gp_table_cut_begin(&s->table, step);
		atomic_store_explicit(&s->cut_step, step, memory_order_release);
		return;
	}
	// pairs with the release in cut_check
	if (cut != 0 && atomic_load_explicit(&s->cut_done, memory_order_acquire) == cut) {
		atomic_store_explicit(&s->cut_step, 0, memory_order_relaxed);
		gp_table_cut_end(&s->table, cut);
	}
	(void)gp_table_sweep(&s->table, BLOCKS);
}

static void *owner_run(void *arg)
{
	struct stress *s = arg;
	uint64_t end = now_ns() + RUN_NS_MAX;
	gp_rcu_register_thread();
	for (uint32_t step = 1; step <= STEPS && now_ns() < end; step++) {
		for (uint32_t b = 0; b < BLOCKS; b++)
			block_step(s, &s->table.blocks[b], step);
		atomic_store_explicit(&s->step, step, memory_order_release);
		cut_turn(s, step);
		gp_rcu_quiescent();
	}
	atomic_store_explicit(&s->stop, true, memory_order_release);
	gp_rcu_unregister_thread();
	return NULL;
}

static bool version_whole(struct gp_version *v, uint32_t step)
{
	for (uint32_t i = 0; i < ELEMS; i++)
		if (gp_version_values(v)[i] != (float)step)
			return false;
	return true;
}

static void look(struct stress *s, uint32_t block, uint32_t step, bool pinned)
{
	struct gp_version *v = gp_table_find(&s->table.blocks[block], step);
	if (!v) {
		if (pinned)
			atomic_fetch_add_explicit(&s->missed, 1, memory_order_relaxed);
		return;
	}
	for (int i = 0; i < HOLD_YIELDS;
		i++) // the longer it is held, the more an early reuse shows
		sched_yield();
	atomic_fetch_add_explicit(&s->checked, 1, memory_order_relaxed);
	if (!version_whole(v, step))
		atomic_fetch_add_explicit(&s->torn, 1, memory_order_relaxed);
}

static void *reader_run(void *arg)
{
	struct stress *s = arg;
	gp_rcu_register_thread();
	while (!atomic_load_explicit(&s->stop, memory_order_acquire)) {
		uint32_t step = atomic_load_explicit(&s->step, memory_order_acquire);
		for (uint32_t b = 0; b < BLOCKS && step > 0; b++)
			look(s, b, step, false);
		gp_rcu_quiescent();
	}
	gp_rcu_unregister_thread();
	return NULL;
}

// The snapshot thread: the whole pinned generation, passing quiescent states while it reads.
static void *cutter_run(void *arg)
{
	struct stress *s = arg;
	uint32_t done = 0;
	gp_rcu_register_thread();
	while (!atomic_load_explicit(&s->stop, memory_order_acquire)) {
		uint32_t cut = atomic_load_explicit(&s->cut_step, memory_order_acquire);
		for (uint32_t b = 0; b < BLOCKS && cut != 0 && cut != done; b++) {
			look(s, b, cut, true);
			gp_rcu_quiescent();
		}
		if (cut != 0)
			done = cut;
		atomic_store_explicit(&s->cut_done, done, memory_order_release);
		gp_rcu_quiescent();
		sched_yield();
	}
	gp_rcu_unregister_thread();
	return NULL;
}

static void *control_run(void *arg)
{
	struct stress *s = arg;
	graces_run(&s->grace, &s->stop, s->plant);
	return NULL;
}

int main(int argc, char **argv)
{
	static struct stress s;
	struct gp_arena arena;
	const struct gp_table_config cfg = {
		.blocks_count = BLOCKS, .elems_max = ELEMS, .cuts_max = 1};
	size_t size = gp_align_up(gp_table_size(&cfg), GP_CACHE_LINE);
	void *mem = lines_take(size);
	s.plant = is_planted(argc, argv);
	gp_arena_init(&arena, mem, size);
	if (gp_table_init(&s.table, &arena, &cfg, &s.grace) != 0)
		return 2;
	void *(*const runs[])(void *) = {
		owner_run, control_run, cutter_run, reader_run, reader_run};
	threads_run(runs, GP_ARRAY_SIZE(runs), &s);
	free(mem);
	printf("1..3\n# %u steps\n", s.step);
	bool ok = say(1, s.torn == 0, "no version changed under a reader", s.torn);
	ok &= say(2, s.missed == 0, "a pinned generation is always found", s.missed);
	ok &= say(3, s.checked > 1000, "readers saw enough versions", s.checked);
	return ok ? 0 : 1;
}
