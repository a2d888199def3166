// SPDX-License-Identifier: BSD-3-Clause
//
// A core applies home's decisions, in their order.
#include "flight.h"

#include "engine_priv.h"
#include "whole.h"

static void apply_commit(struct gp_core *c, struct job_core *jc, const struct gp_decision *d)
{
	GP_ASSERT(d->unit < jc->job->units_count);
	GP_ASSERT(d->step == jc->committed[d->unit] + 1 && d->view == jc->view);
	GP_ASSERT(jc->unit_done[d->unit] == jc->unit_blocks[d->unit]);
	jc->committed[d->unit] = d->step;
	jc->unit_done[d->unit] = 0;
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(jc->members.w); i++)
		jc->counted_ahead.w[i] &= jc->members.w[i];
	if (++jc->units_next == jc->job->units_count) {
		jc->units_next = 0;
		jc->generation++;
		jc->counted = jc->counted_ahead;
		if (c->idx == jc->job->home_core && jc->job->home->cut_step == jc->generation)
			jc->job->home->cut_counted = jc->counted;
		memset(&jc->counted_ahead, 0xff, sizeof(jc->counted_ahead));
		flight_mark(c, jc);
		if (jc->async)
			async_begin(jc, jc->generation, NULL, jc->generation);
		if (jc->deferred_count > 0)
			slot_retry_deferred(c, jc);
	}
	gp_counter_add(&c->stats.units_committed, 1);
	if (jc->held_count > 0)
		pull_answer_held(c, jc);
}

static void low_reset(struct job_core *jc)
{
	jc->low_step = jc->generation + 1;
	jc->low_local = 0;
	low_advance(jc);
}

static void apply_view(struct gp_core *c, struct job_core *jc, const struct gp_decision *d)
{
	slot_clear_all(c, jc);
	for (uint32_t i = 0; i < jc->table.blocks_count; i++) {
		struct gp_block *b = &jc->table.blocks[i];
		gp_table_abort(&jc->table, b, jc->committed[b->unit]);
	}
	if (jc->whole)
		whole_abort(jc);
	for (uint32_t u = 0; u < jc->job->units_count; u++) {
		if (jc->unit_done[u] > 0)
			gp_counter_add(&c->stats.units_aborted, 1);
		jc->unit_done[u] = 0;
	}
	jc->done_first = 0;
	jc->done_count = jc->done_turns = 0;
	jc->view = d->view;
	jc->view_first_step = d->step;
	jc->members = d->members;
	jc->members_count = d->ranks;
	jc->lowest = d->lowest;
	jc->admitted = d->admitted;
	low_reset(jc);
}

static void apply_cut(struct job_core *jc, const struct gp_decision *d)
{
	gp_table_cut_begin(&jc->table, d->step);
	jc->cut_ended = false;
	jc->cut_seen_due = true;
	jc->cut_seen_step = d->step;
}

void apply_decision(struct gp_core *c, struct job_core *jc, const struct gp_decision *d)
{
	GP_ASSERT(d->number == jc->decision + 1);
	flight_decision(c, jc, d);
	jc->decision = d->number;
	if (core_is_async(jc)) {
		async_apply_decision(c, jc, d);
		return;
	}
	switch (d->kind) {
	case GP_DECIDED_COMMIT:
		apply_commit(c, jc, d);
		return;
	case GP_DECIDED_VIEW:
		apply_view(c, jc, d);
		return;
	case GP_DECIDED_CUT:
		apply_cut(jc, d);
		return;
	case GP_DECIDED_STOP:
		jc->stopping = true;
		jc->stop_step = d->step;
		return;
	default:
		GP_ASSERT(false); // home makes no other kind
	}
}
