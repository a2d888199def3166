// SPDX-License-Identifier: BSD-3-Clause
//
// A generation of a table read by one thread while its owner changes, makes and drops rows: what is
// read must be what was there at the pin, row by row. The value of a row is how often it was
// updated, so anything that is too old, too new or torn shows.
//
//	cut_stress [--plant]
//
// --plant publishes copies after the change instead of before: the reader must notice, or this
// harness is blind; it goes on until it did. TAP on standard output; exit 0 when all held.
#include "stress.h"

#include <gp_kept.h>
#include <gp_rows.h>

#define DIM	16
#define IDS	30000
#define BATCH	64
#define COPIES	4000
#define CUTS	20
#define LONG_NS UINT64_C(60000000000) // and no longer, whatever has been read by then

enum phase { IDLE, PINNED, READ };

struct stress {
	struct gp_rows *rows;
	struct gp_kept *kept;
	struct gp_rcu_grace grace;
	struct gp_optim_params optim;
	bool plant;
	_Atomic bool stop;
	_Atomic int phase;
	// Of the pin: written by the owner before PINNED, read after.
	uint32_t updates;
	uint32_t was[IDS]; // updates of each row, 0: not there
	// The owner's.
	uint32_t now[IDS];
	uint32_t step, generation;
	uint64_t waits;
	// The reader's.
	uint64_t ids[2 * IDS + COPIES];
	uint32_t count;
	uint64_t cuts, rows_read, wrong, from_copies;
};

// ---- the owner

static float *keep_begin(struct stress *s, uint64_t id, bool *there, uint32_t *step)
{
	if (gp_kept_has(s->kept, id, s->generation))
		return NULL;
	float *to = gp_kept_put(s->kept, id, s->generation);
	*step = 0;
	*there = gp_rows_read(s->rows, id, to, NULL, step) == 0;
	return to;
}

static void row_change(struct stress *s, uint64_t id, bool drop)
{
	static const float grad[DIM] = {
		-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
	struct gp_optim_plan plan;
	bool there;
	uint32_t step;
	const float *copy = keep_begin(s, id, &there, &step);
	if (copy && !s->plant)
		gp_kept_publish(s->kept, there, step, step);
	gp_optim_plan_init(&plan, &s->optim, s->step);
	if (drop)
		(void)gp_rows_drop(s->rows, id);
	else if (gp_rows_update(s->rows, &plan, 1, &id, grad, 1, NULL) == 0)
		s->now[id]++;
	if (drop)
		s->now[id] = 0;
	if (copy && s->plant && (id & 31) == 0)
		sched_yield(); // now and then for long
	if (copy && s->plant)
		gp_kept_publish(s->kept, there, step, step);
}

static void pin(struct stress *s)
{
	s->generation++;
	gp_kept_trim(s->kept, s->generation);
	gp_kept_pin(s->kept, s->generation);
	s->updates = s->step;
	memcpy(s->was, s->now, sizeof(s->was));
	atomic_store_explicit(&s->phase, PINNED, memory_order_release);
}

static void *owner_run(void *arg)
{
	struct stress *s = arg;
	uint64_t seed = 1;
	gp_rcu_register_thread();
	while (!atomic_load_explicit(&s->stop, memory_order_acquire)) {
		gp_rcu_quiescent();
		int phase = atomic_load_explicit(&s->phase, memory_order_acquire);
		if (phase == READ) {
			gp_kept_unpin(s->kept);
			atomic_store_explicit(&s->phase, IDLE, memory_order_relaxed);
		} else if (phase == IDLE && next(&seed) % 64 == 0) {
			pin(s);
		}
		if (gp_kept_pinned(s->kept) && gp_kept_room(s->kept) < BATCH) {
			s->waits++;
			sched_yield();
			continue;
		}
		s->step++;
		uint64_t range = GP_MIN(IDS, 500 + 4 * (uint64_t)s->step);
		for (uint32_t i = 0; i < BATCH; i++)
			row_change(s, next(&seed) % range, i % 8 == 7);
	}
	gp_rcu_unregister_thread();
	return NULL;
}

// ---- the reader

static void id_add(struct stress *s, uint64_t id)
{
	if (s->count == GP_ARRAY_SIZE(s->ids))
		abort();
	s->ids[s->count++] = id;
}

static void on_row(void *arg, uint64_t id, uint32_t step, const float *row)
{
	struct stress *s = arg;
	(void)row;
	if (!gp_before(s->updates, step))
		id_add(s, id);
}

static void ids_collect(struct stress *s)
{
	struct gp_rows_scan scan = {.row_seen = on_row, .arg = s};
	struct gp_kept_copy c;
	bool more = true;
	s->count = 0;
	while (more) {
		uint32_t before = s->count;
		struct gp_rows_scan again = scan;
		more = gp_rows_scan(s->rows, &scan);
		if (scan.missed > 0) {
			scan = again;
			s->count = before;
			more = true;
			sched_yield();
		}
		gp_rcu_quiescent();
	}
	for (uint64_t n = 0; gp_kept_seen(s->kept, n, &c); n++)
		if (gp_kept_get(s->kept, c.id, &c) && c.there)
			id_add(s, c.id);
}

static bool row_right(struct stress *s, uint64_t id)
{
	float row[DIM];
	uint32_t step;
	int rc;
	struct gp_kept_copy c;
	while ((rc = gp_rows_read(s->rows, id, row, NULL, &step)) == -EAGAIN)
		sched_yield();
	if (rc != 0 || gp_before(s->updates, step)) {
		if (!gp_kept_get(s->kept, id, &c) || !c.there)
			return false;
		memcpy(row, c.row, sizeof(row));
		s->from_copies++;
	}
	for (uint32_t k = 0; k < DIM; k++)
		if (row[k] != (float)s->was[id])
			return false;
	return true;
}

static void cut_read(struct stress *s)
{
	static bool told[IDS];
	memset(told, 0, sizeof(told));
	ids_collect(s);
	for (uint32_t i = 0; i < s->count; i++)
		told[s->ids[i]] = true;
	for (uint32_t id = 0; id < IDS; id++) {
		s->wrong += told[id] != (s->was[id] > 0);
		if (!told[id])
			continue;
		s->wrong += !row_right(s, id);
		s->rows_read++;
		if (id % 256 == 0)
			gp_rcu_quiescent();
	}
	s->cuts++;
}

static void *reader_run(void *arg)
{
	struct stress *s = arg;
	uint64_t end = now_ns() + LONG_NS;
	gp_rcu_register_thread();
	while (now_ns() < end && (s->plant ? s->wrong == 0 : s->cuts < CUTS)) {
		if (atomic_load_explicit(&s->phase, memory_order_acquire) == PINNED) {
			cut_read(s);
			atomic_store_explicit(&s->phase, READ, memory_order_release);
		}
		gp_rcu_quiescent();
		sched_yield();
	}
	atomic_store_explicit(&s->stop, true, memory_order_release);
	gp_rcu_unregister_thread();
	return NULL;
}

static void *control_run(void *arg)
{
	struct stress *s = arg;
	graces_run(&s->grace, &s->stop, false);
	return NULL;
}

int main(int argc, char **argv)
{
	static struct stress s;
	void *(*const runs[])(void *) = {owner_run, reader_run, control_run};
	s.plant = is_planted(argc, argv);
	s.optim = (struct gp_optim_params){.kind = GP_OPTIM_SGD, .lr = 1};
	const struct gp_rows_config rows = {.rows_max = IDS, .dim = DIM, .optim = s.optim};
	const struct gp_kept_config kept = {.copies_max = COPIES, .floats = DIM, .hash_key = 7};
	void *rows_mem = lines_take(gp_rows_size(&rows));
	void *kept_mem = lines_take(gp_kept_size(&kept));
	s.rows = gp_rows_init(rows_mem, &rows, &s.grace);
	s.kept = gp_kept_init(kept_mem, &kept, 0);
	threads_run(runs, GP_ARRAY_SIZE(runs), &s);
	free(rows_mem);
	free(kept_mem);
	printf("1..4\n");
	bool ok = say(1, s.wrong == 0, "what is read is what was there", s.wrong);
	ok &= say(2, s.cuts > 2, "generations were read", s.cuts);
	ok &= say(3, s.from_copies > 0, "rows had changed", s.from_copies);
	ok &= say(4, s.step > 500, "and went on changing", s.step);
	return ok ? 0 : 1;
}
