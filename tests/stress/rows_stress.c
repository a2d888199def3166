// SPDX-License-Identifier: BSD-3-Clause
//
// A table of rows under real threads: an owner that makes, updates and drops rows while the table
// grows from one segment, readers that look rows up, one that scans the whole table again and
// again, and a control thread that ends grace periods. All elements of a row are always equal, so a
// torn row shows; rows that are never dropped must always be found, and once in every scan.
//
//	rows_stress [--plant]
//
// Tables grow within milliseconds, so there are many short rounds. --plant counts grace periods
// without waiting for the readers: the use of a segment after its retirement must be noticed, or
// this harness is blind; it goes on until it was. TAP on standard output; exit 0 when all held.
#include "stress.h"

#include <gp_rows.h>

#define DIM	   16
#define PINNED	   1000
#define IDS	   60000
#define BATCH	   64
#define ROUNDS	   40
#define ROUNDS_MAX 400 // with --plant
#define ROUND_NS   UINT64_C(150000000)
#define STEPS_MIN  2000 // with --plant: a round grows as much on a machine that is busy elsewhere
#define STAY_MASK  63

struct stress {
	struct gp_rows *rows;
	struct gp_rows_config cfg;
	struct gp_rcu_grace grace;
	bool plant;
	_Atomic bool stop;
	_Atomic uint64_t reads;
	_Atomic uint64_t scans;
	_Atomic uint64_t torn;
	_Atomic uint64_t missed;
	_Atomic uint64_t again; // gave up because the owner was in the way
};

static void count(_Atomic uint64_t *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static void batch_update(struct stress *s, uint32_t step, const uint64_t *ids, uint32_t n)
{
	static float grads[BATCH][DIM];
	struct gp_optim_plan plan;
	gp_optim_plan_init(&plan, &s->cfg.optim, step);
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t k = 0; k < DIM; k++)
			grads[i][k] = (float)(step % 13) + (float)i;
	(void)gp_rows_update(s->rows, &plan, 1, ids, grads[0], n, NULL);
}

static bool goes_on(const struct stress *s, uint32_t step, uint64_t end)
{
	uint64_t seen = atomic_load_explicit(&s->torn, memory_order_relaxed) +
			atomic_load_explicit(&s->missed, memory_order_relaxed);
	return seen == 0 && (now_ns() < end || (s->plant && step < STEPS_MIN));
}

static void *owner_run(void *arg)
{
	struct stress *s = arg;
	uint64_t seed = 1, end = now_ns() + ROUND_NS;
	gp_rcu_register_thread();
	for (uint32_t step = 2; goes_on(s, step, end); step++) {
		uint64_t ids[BATCH], range = GP_MIN(IDS, PINNED + 20 * step);
		for (uint32_t i = 0; i < BATCH; i++)
			ids[i] = next(&seed) % range;
		batch_update(s, step, ids, BATCH);
		for (uint32_t i = 0; i < BATCH / 4; i++) {
			uint64_t id = next(&seed) % range;
			if (id >= PINNED)
				(void)gp_rows_drop(s->rows, id);
		}
		gp_rcu_quiescent();
	}
	atomic_store_explicit(&s->stop, true, memory_order_release);
	gp_rcu_unregister_thread();
	return NULL;
}

static bool whole(const float *v)
{
	for (uint32_t k = 1; k < DIM; k++)
		if (v[k] != v[0])
			return false;
	return true;
}

static void *reader_run(void *arg)
{
	struct stress *s = arg;
	uint64_t seed = (uint64_t)(uintptr_t)&seed;
	gp_rcu_register_thread();
	while (!atomic_load_explicit(&s->stop, memory_order_acquire)) {
		for (uint32_t i = 0; i < 64; i++) {
			float values[DIM], state[DIM];
			uint32_t step;
			uint64_t id = next(&seed) % (i % 2 ? PINNED : IDS);
			int rc = gp_rows_read(s->rows, id, values, state, &step);
			count(&s->reads);
			if (rc == -EAGAIN)
				count(&s->again);
			else if (rc != 0 && id < PINNED)
				count(&s->missed);
			else if (rc == 0 && !(whole(values) && whole(state)))
				count(&s->torn);
		}
		gp_rcu_quiescent();
	}
	gp_rcu_unregister_thread();
	return NULL;
}

struct told {
	struct stress *s;
	uint8_t times[PINNED];
	uint64_t rows;
};

static void on_row(void *arg, uint64_t id, uint32_t step, const float *row)
{
	struct told *t = arg;
	(void)step;
	if (!whole(row) || !whole(row + DIM))
		count(&t->s->torn);
	if (id < PINNED)
		t->times[id]++;
	if ((t->rows++ & STAY_MASK) == 0) // the longer it is in a segment, the more shows
		nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
}

static void *scanner_run(void *arg)
{
	struct stress *s = arg;
	gp_rcu_register_thread();
	while (!atomic_load_explicit(&s->stop, memory_order_acquire)) {
		float row[2 * DIM];
		struct told t = {.s = s};
		struct gp_rows_scan scan = {.row = row, .row_seen = on_row, .arg = &t};
		while (gp_rows_scan(s->rows, &scan))
			gp_rcu_quiescent();
		gp_rcu_quiescent();
		for (uint32_t i = 0; i < PINNED && scan.missed == 0; i++)
			if (t.times[i] != 1)
				count(&s->missed);
		count(&s->scans);
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

// Pinned rows first, so that readers may rely on them.
static void round_run(struct stress *s, void *mem)
{
	void *(*const runs[])(void *) = {
		owner_run, scanner_run, control_run, reader_run, reader_run};
	s->rows = gp_rows_init(mem, &s->cfg, &s->grace);
	atomic_store_explicit(&s->stop, false, memory_order_relaxed);
	for (uint64_t at = 0; at < PINNED; at += BATCH / 4) {
		uint64_t ids[BATCH / 4];
		uint32_t n = (uint32_t)GP_MIN(BATCH / 4, PINNED - at);
		for (uint32_t i = 0; i < n; i++)
			ids[i] = at + i;
		batch_update(s, 1, ids, n);
	}
	threads_run(runs, GP_ARRAY_SIZE(runs), s);
}

int main(int argc, char **argv)
{
	static struct stress s;
	s.plant = is_planted(argc, argv);
	s.cfg = (struct gp_rows_config){.rows_max = IDS,
		.dim = DIM,
		.optim = {.kind = GP_OPTIM_ADAGRAD, .lr = 0.1f, .epsilon = 1e-6f}};
	void *mem = lines_take(gp_rows_size(&s.cfg));
	uint64_t splits = 0;
	uint32_t rounds = s.plant ? ROUNDS_MAX : ROUNDS;
	for (uint32_t round = 0; round < rounds && s.torn + s.missed == 0; round++) {
		round_run(&s, mem);
		splits += gp_rows_stats(s.rows)->splits;
	}
	free(mem);
	printf("1..5\n");
	bool ok = say(1, s.torn == 0, "no row is torn", s.torn);
	ok &= say(2, s.missed == 0, "rows that stay are found, once a scan", s.missed);
	ok &= say(3, s.reads > 1000 && s.scans > 0, "rows were read", s.reads + s.scans);
	ok &= say(4, splits > 0, "tables grew", splits);
	ok &= say(5, s.again * 100 <= s.reads, "hardly a reader gave up", s.again);
	return ok ? 0 : 1;
}
