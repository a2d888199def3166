// SPDX-License-Identifier: BSD-3-Clause
//
// NACK: what only one worker lacks, although it has gone on to later blocks, is asked for again.
#include "driver.h"

#define WAIT (3 * RIG_MS)

static struct rig *up(uint32_t workers, uint32_t cores)
{
	struct rig *r = rig_new();
	r->jobs[0].workers = workers;
	r->cfg.cores_count = cores;
	rig_up(r);
	worker_push_all(&r->w[0], 1, true);
	return r;
}

static uint32_t nacks(struct rig *r, uint32_t rank, uint64_t ns)
{
	seen_clear(&r->w[rank]);
	rig_wait(r, ns, UINT32_MAX);
	return seen_count(&r->w[rank], GP_WIRE_NACK);
}

Test(nack, names_the_blocks_that_were_lost)
{
	struct rig *r = up(2, 1);
	worker_push_block(&r->w[1], 1, 0, true);
	worker_push_block(&r->w[1], 1, 3, true);
	cr_assert_geq(nacks(r, 1, WAIT), 1);
	const struct seen *s = seen_last(&r->w[1], GP_WIRE_NACK, 0);
	struct gp_section sec;
	cr_assert_eq(s->m.h.step, 1);
	cr_assert_eq(s->m.h.sections, 1);
	gp_wire_get_section(&s->m, 0, &sec);
	cr_assert_eq(sec.block, 1);
	cr_assert_eq(sec.run, 2);
	cr_assert_eq(nacks(r, 0, WAIT), 0);
	worker_push_block(&r->w[1], 1, 1, true);
	worker_push_block(&r->w[1], 1, 2, true);
	cr_assert_eq(nacks(r, 1, 50 * RIG_MS), 0);
	rig_free(r);
}

Test(nack, each_core_names_its_own)
{
	struct rig *r = up(2, 2);
	for (uint32_t b = 1; b < BLOCKS; b++)
		worker_push_block(&r->w[1], 1, b, true);
	cr_assert_geq(nacks(r, 1, WAIT), 1);
	const struct seen *s = seen_last(&r->w[1], GP_WIRE_NACK, 0);
	struct gp_section sec;
	gp_wire_get_section(&s->m, 0, &sec);
	cr_assert_eq(s->core, 0);
	cr_assert_eq(sec.block, 0);
	cr_assert_eq(sec.run, 1);
	rig_free_busy(r);
}

Test(nack, a_worker_that_has_not_computed_is_left_alone)
{
	struct rig *r = up(2, 1);
	worker_push_block(&r->w[1], 1, 0, true);
	worker_push_block(&r->w[1], 1, 1, true);
	cr_assert_eq(nacks(r, 1, 100 * RIG_MS), 0);
	rig_free_busy(r);
}

Test(nack, nobody_is_asked_where_two_are_missing)
{
	struct rig *r = up(3, 1);
	worker_push_block(&r->w[1], 1, 3, true);
	worker_push_block(&r->w[2], 1, 3, true);
	cr_assert_eq(nacks(r, 1, 20 * RIG_MS), 0);
	worker_push_block(&r->w[2], 1, 0, true);
	cr_assert_geq(nacks(r, 1, WAIT), 1);
	rig_free_busy(r);
}

Test(nack, questions_become_rarer)
{
	struct rig *r = up(2, 1);
	worker_push_block(&r->w[1], 1, 3, true);
	uint32_t first = nacks(r, 1, 10 * RIG_MS);
	cr_assert(first >= 1 && first <= 4, "%u", first);
	cr_assert_leq(nacks(r, 1, 200 * RIG_MS), 8);
	rig_free_busy(r);
}
