// SPDX-License-Identifier: BSD-3-Clause
//
// A question to the register: endpoint after endpoint; a swap without an answer is in doubt, and
// settled by reading.
#include "lead_priv.h"

static void course_begin(struct lead_course *c, enum lead_phase phase)
{
	GP_ASSERT(c->phase == LEAD_PHASE_IDLE);
	c->phase = phase;
	c->question.swap = phase == LEAD_PHASE_SWAP;
	c->tried = c->rounds = 0;
}

void lead_course_get(struct lead_course *c)
{
	course_begin(c, LEAD_PHASE_GET);
}

void lead_course_swap(
	struct lead_course *c, const struct gp_lead_held *from, const struct gp_lead_record *to)
{
	GP_ASSERT(!from->exists || to->epoch > from->record.epoch);
	course_begin(c, LEAD_PHASE_SWAP);
	c->question.from = *from;
	c->question.to = *to;
}

static bool course_ask(struct lead_course *c, enum lead_phase phase)
{
	c->phase = phase;
	c->question.swap = phase == LEAD_PHASE_SWAP;
	return true;
}

static bool course_end(struct lead_course *c, enum gp_lead_answer answer, enum gp_lead_answer *out)
{
	c->phase = LEAD_PHASE_IDLE;
	*out = answer;
	return false;
}

// False when all endpoints have been tried in vain.
static bool next_endpoint(struct lead_course *c)
{
	uint32_t count = GP_MAX(c->endpoints_count, 1u);
	c->failures++;
	c->question.endpoint = (c->question.endpoint + 1) % count;
	return ++c->tried < count;
}

static bool turn_get(struct lead_course *c, enum lead_outcome outcome,
	const struct gp_lead_held *held, enum gp_lead_answer *answer)
{
	(void)held;
	if (outcome == LEAD_IS)
		return course_end(c, GP_LEAD_CURRENT, answer);
	return next_endpoint(c) ? course_ask(c, LEAD_PHASE_GET)
				: course_end(c, GP_LEAD_AWAY, answer);
}

static bool is_ours(const struct lead_course *c, const struct gp_lead_held *held)
{
	return held->exists && gp_lead_record_equal(&held->record, &c->question.to);
}

static bool turn_swap(struct lead_course *c, enum lead_outcome outcome,
	const struct gp_lead_held *held, enum gp_lead_answer *answer)
{
	if (outcome == LEAD_FAILED) {
		c->doubts++;
		(void)next_endpoint(c);
		c->tried = 0;
		return course_ask(c, LEAD_PHASE_RESOLVE);
	}
	// A refusal may be of our second try, after the first has happened.
	return course_end(c, is_ours(c, held) ? GP_LEAD_COMMITTED : GP_LEAD_REFUSED, answer);
}

static bool turn_resolve(struct lead_course *c, enum lead_outcome outcome,
	const struct gp_lead_held *held, enum gp_lead_answer *answer)
{
	const struct gp_lead_held *from = &c->question.from;
	if (outcome == LEAD_FAILED)
		return next_endpoint(c) ? course_ask(c, LEAD_PHASE_RESOLVE)
					: course_end(c, GP_LEAD_UNKNOWN, answer);
	if (is_ours(c, held))
		return course_end(c, GP_LEAD_COMMITTED, answer);
	if (held->exists != from->exists || held->version != from->version)
		return course_end(c, GP_LEAD_REFUSED, answer);
	return ++c->rounds < GP_LEAD_ROUNDS_MAX ? course_ask(c, LEAD_PHASE_SWAP)
						: course_end(c, GP_LEAD_UNKNOWN, answer);
}

bool lead_course_turn(struct lead_course *c, enum lead_outcome outcome,
	const struct gp_lead_held *held, enum gp_lead_answer *answer)
{
	static bool (*const turns[])(struct lead_course *, enum lead_outcome,
		const struct gp_lead_held *, enum gp_lead_answer *) = {
		[LEAD_PHASE_GET] = turn_get,
		[LEAD_PHASE_SWAP] = turn_swap,
		[LEAD_PHASE_RESOLVE] = turn_resolve,
	};
	GP_ASSERT(c->phase != LEAD_PHASE_IDLE && (held || outcome == LEAD_FAILED));
	return turns[c->phase](c, outcome, held, answer);
}
