// SPDX-License-Identifier: BSD-3-Clause
//
// The release gate at its edges: rings that are full, words of a former closing, and a replay of a
// job behind it.
#include "forge_rig.h"

#include <gp_backup.h>

static struct rig *up(uint32_t cores, bool recorded)
{
	struct rig *r = rig_new();
	r->jobs[0].kind = GP_KIND_TRAIN;
	r->jobs[0].replicated = true;
	r->cfg.cores_count = cores;
	r->cfg.ring_size = 64;
	r->cfg.flight_cells = recorded ? 4096 : 0;
	r->cfg.flight_payloads = true;
	rig_up(r);
	worker_push_all(&r->w[0], 0, false);
	rig_run(r);
	return r;
}

static void on_base(void *arg, const struct gp_backup_base *base)
{
	*(uint32_t *)arg = base->decision;
}

static void on_decided(void *arg, uint32_t job_idx, const struct gp_decision *d)
{
	(void)job_idx;
	*(uint32_t *)arg = d->number;
}

// The newest decision that the replicating thread was told of.
static uint32_t told(struct rig *r)
{
	static uint32_t last;
	const struct gp_backup_sink sink = {.arg = &last, .base = on_base, .decided = on_decided};
	rig_run(r);
	while (gp_backup_poll(r->e, &sink, 3) > 0)
		rig_run(r);
	return last;
}

static void step(struct rig *r, uint32_t number)
{
	for (uint32_t i = 0; i < 2; i++)
		worker_push_all(&r->w[i], number, true);
	rig_run(r);
}

Test(gate_edge, a_home_that_sleeps_takes_so_many_words)
{
	struct rig *r = up(2, false);
	uint32_t words = 0;
	cr_assert(gp_backup_settled(r->e));
	r->asleep = 3;
	cr_assert(gp_backup_gate(r->e, 0, true));
	while (words < 1000 && gp_backup_release(r->e, 0, words))
		words++;
	cr_assert(words > 8 && words < 64, "%u", words);
	cr_assert_not(gp_backup_gate(r->e, 0, false), "there is no room for it");
	cr_assert_not(gp_backup_settled(r->e));
	r->asleep = 0;
	(void)told(r);
	cr_assert(gp_backup_settled(r->e));
	cr_assert(gp_backup_gate(r->e, 0, false));
	step(r, 1);
	cr_assert_eq(rig_job(r).generation, 1);
	rig_free(r);
}

// A release is of one closing, and goes no further than what is decided, nor back.
Test(gate_edge, a_release_of_another_closing)
{
	struct rig *r = up(1, false);
	cr_assert(gp_backup_gate(r->e, 0, true));
	(void)told(r);
	step(r, 1);
	uint32_t first = told(r);
	cr_assert(gp_backup_release(r->e, 0, first));
	(void)told(r);
	cr_assert_eq(rig_job(r).generation, 1);
	step(r, 2);
	uint32_t second = told(r);
	cr_assert_gt(second, first);
	cr_assert_lt(rig_job(r).generation, 2);
	r->asleep = 1;
	cr_assert(gp_backup_gate(r->e, 0, true));
	cr_assert(gp_backup_release(r->e, 0, second)); // before home has closed it anew
	r->asleep = 0;
	(void)told(r);
	cr_assert_lt(rig_job(r).generation, 2, "what waits goes on waiting");
	cr_assert(gp_backup_release(r->e, 0, second + 100)); // no more than there is
	rig_run(r);
	cr_assert_eq(rig_job(r).generation, 2);
	cr_assert(gp_backup_release(r->e, 0, first)); // nothing is taken back
	rig_run(r);
	cr_assert_eq(rig_job(r).generation, 2);
	step(r, 3);
	cr_assert_eq(rig_job(r).generation, 2);
	rig_free_busy(r);
}

Test(gate_edge, blocks_that_are_not_there)
{
	struct rig *r = rig_new();
	struct gp_backup_block b;
	r->jobs[0].replicated = true;
	rig_start(r);
	cr_assert_not(gp_backup_block(r->e, 0, 0, 1, &b), "there is no layout");
	rig_free(r);
	r = up(1, false);
	step(r, 1);
	cr_assert(gp_backup_block(r->e, 0, BLOCKS - 1, 1, &b));
	cr_assert_eq(b.elems, B_ELEMS);
	cr_assert_not(gp_backup_block(r->e, 0, BLOCKS, 1, &b));
	cr_assert_not(gp_backup_block(r->e, 0, 0, 9, &b), "of a step to come");
	rig_free(r);
}

// The words of the replicating thread are on record like all that reaches a core.
static void again(uint32_t cores)
{
	struct rig *r = up(cores, true);
	step(r, 1);
	cr_assert(gp_backup_gate(r->e, 0, true));
	(void)told(r);
	for (uint32_t number = 2; number <= 5; number++) {
		step(r, number);
		cr_assert_eq(rig_job(r).generation, number - 1);
		cr_assert(gp_backup_release(r->e, 0, told(r)));
		rig_run(r);
		cr_assert_eq(rig_job(r).generation, number);
	}
	worker_leave(&r->w[1]);
	rig_run(r);
	cr_assert(gp_backup_release(r->e, 0, told(r)));
	rig_run(r);
	worker_push_all(&r->w[0], 6, true);
	rig_run(r);
	cr_assert(gp_backup_gate(r->e, 0, false));
	rig_run(r);
	struct forge f = forge_new(r);
	const struct forged out = forge_replay(&f);
	cr_assert(out.rc == 0 && !out.x.differs, "%s", out.text);
	cr_assert_str_eq(out.x.missing, "");
	cr_assert_geq(out.x.decisions, 7);
	forge_free(&f);
	rig_free_busy(r);
}

Test(gate_edge, a_replay_of_a_job_behind_it)
{
	again(1);
}

Test(gate_edge, a_replay_on_two_cores)
{
	again(2);
}
