// SPDX-License-Identifier: BSD-3-Clause
//
// The replicating thread of a rig's job 0: what it was told since its gate was closed last.
#ifndef GATE_RIG_H
#define GATE_RIG_H

#include "driver.h"

#include <gp_backup.h>

#include <stdlib.h>

#define EVENTS_MAX 64

struct gate {
	struct rig *r;
	struct gp_backup_sink sink;
	struct gp_backup_base base;
	uint32_t steps[BLOCKS];
	uint32_t bases;
	struct gp_decision decided[EVENTS_MAX];
	uint32_t count;
};

static inline void gate_on_base(void *arg, const struct gp_backup_base *base)
{
	struct gate *g = arg;
	g->base = *base;
	memcpy(g->steps, base->steps, sizeof(g->steps[0]) * base->units_count);
	g->bases++;
	g->count = 0;
}

static inline void gate_on_decided(void *arg, uint32_t job_idx, const struct gp_decision *d)
{
	struct gate *g = arg;
	uint32_t before = g->count ? g->decided[g->count - 1].number : g->base.decision;
	cr_assert_eq(job_idx, 0);
	cr_assert_lt(g->count, EVENTS_MAX);
	cr_assert(d->backup ? gp_before(before, d->number) : d->number == before + 1,
		"without a gap, but for cuts");
	g->decided[g->count++] = *d;
}

static inline struct gate *gate_of(struct rig *r)
{
	struct gate *g = calloc(1, sizeof(*g));
	g->r = r;
	g->sink =
		(struct gp_backup_sink){.arg = g, .base = gate_on_base, .decided = gate_on_decided};
	return g;
}

static inline void gate_free(struct gate *g)
{
	rig_free_busy(g->r);
	free(g);
}

static inline void turn(struct gate *g)
{
	rig_run(g->r);
	while (gp_backup_poll(g->r->e, &g->sink, 3) > 0)
		rig_run(g->r);
}

static inline void close_gate(struct gate *g)
{
	uint32_t bases = g->bases;
	cr_assert(gp_backup_gate(g->r->e, 0, true));
	turn(g);
	cr_assert_eq(g->bases, bases + 1);
}

static inline void release(struct gate *g, uint32_t decision)
{
	cr_assert(gp_backup_release(g->r->e, 0, decision));
	turn(g);
}

static inline const struct gp_decision *last_told(const struct gate *g)
{
	cr_assert_gt(g->count, 0);
	return &g->decided[g->count - 1];
}

#endif
