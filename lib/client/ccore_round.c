// SPDX-License-Identifier: BSD-3-Clause
//
// Rounds: a step, the initial parameters, a pull of everything. And what a new view does to them.
#include "ccore_rows.h"

#include <math.h>

bool gp_ccore_ready(const struct gp_ccore *c)
{
	return c->laid_out && (cc_is_reader(c) || c->member) && c->fate != GP_CCORE_AGAIN;
}

uint32_t gp_ccore_step(const struct gp_ccore *c)
{
	return c->step;
}

bool gp_ccore_done(const struct gp_ccore *c)
{
	return c->todo == 0 && !c->generation_wanted && !c->read.open && c->phase == CC_SETTLED &&
	       (c->member || cc_is_reader(c)) && c->fate != GP_CCORE_AGAIN;
}

bool gp_ccore_tensor_done(const struct gp_ccore *c, uint32_t tensor)
{
	GP_ASSERT(tensor < c->tensors_count);
	if (cc_is_async(c))
		return gp_ccore_done(c);
	return c->tensors[tensor].open == 0 && c->fate != GP_CCORE_AGAIN;
}

bool gp_ccore_tensor_take(struct gp_ccore *c, uint32_t tensor)
{
	bool done = gp_ccore_tensor_done(c, tensor);
	c->tensors[tensor].taken |= done && !cc_is_async(c);
	return done;
}

int gp_ccore_tensor_pushed(struct gp_ccore *c, uint32_t tensor)
{
	if (c->error.code)
		return c->error.code;
	if (tensor >= c->tensors_count)
		return cc_refuse_call(c, -EINVAL, "tensor %u is not one of the %u registered",
			tensor, c->tensors_count);
	if (!c->tensors[tensor].pushed)
		return cc_refuse_call(c, -EINVAL,
			"tensor '%s' is waited for and was not pushed in step %u",
			c->tensors[tensor].d.name, c->step);
	return cc_is_async(c) ? gp_ccore_step_whole(c) : 0;
}

static bool is_trained(const struct gp_ccore *c)
{
	return c->w.kind == GP_KIND_TRAIN;
}

// ---- contributions

// The block joins the round. What is committed already needs no sending, only its result.
static void block_begin(struct gp_ccore *c, uint32_t block, bool want, bool gives)
{
	struct cc_block *b = &c->blocks[block];
	bool committed = c->units[cc_block_unit(c, block)].committed;
	GP_ASSERT(b->state == CC_IDLE);
	b->want = want;
	b->sent_before = false;
	if (committed && !want)
		cc_block_set(c, block, CC_FINAL);
	else if (gives && !committed)
		cc_block_unsent(c, block);
	else
		cc_block_set(c, block, CC_ACCEPTED);
	c->uncollected += committed && want;
}

int cc_push_check(struct gp_ccore *c, uint32_t tensor, bool gives, float weight)
{
	if (c->error.code)
		return c->error.code;
	if (cc_is_reader(c))
		return cc_refuse_call(c, -EINVAL, "a reader cannot contribute");
	if (c->fate == GP_CCORE_AGAIN)
		return cc_refuse_call(c, -EBUSY, "this rank is joining again");
	if (cc_embeds(c))
		return cc_refuse_call(c, -EINVAL, "an embed job takes rows, not tensors");
	if (!c->laid_out || c->running)
		return cc_refuse_call(c, -EINVAL,
			"contributions begin after registration and initial parameters");
	if (tensor >= c->tensors_count)
		return cc_refuse_call(
			c, -EINVAL, "tensor %u is outside 0..%u", tensor, c->tensors_count - 1);
	if (c->tensors[tensor].pushed)
		return cc_refuse_call(c, -EALREADY, "tensor '%s' was already pushed in step %u",
			c->tensors[tensor].d.name, c->step);
	if (gives && (!isfinite(weight) || !(weight > 0)))
		return cc_refuse_call(c, -EINVAL,
			"tensor '%s': the weight must be finite and above 0, seen %g",
			c->tensors[tensor].d.name, (double)weight);
	return 0;
}

void cc_push_begin(struct gp_ccore *c, struct cc_tensor *t, float weight, float *out)
{
	c->mode = CC_STEP;
	c->round_step = c->step;
	t->weight = weight;
	t->out = out;
	t->pushed = true;
	c->pushed++;
}

void cc_push_go(struct gp_ccore *c, const struct cc_tensor *t)
{
	bool want = t->out != NULL && !cc_is_async(c);
	for (uint32_t i = 0; i < t->blocks_count; i++)
		block_begin(c, t->first_block + i, want, true);
	if (cc_is_async(c))
		c->phase = CC_COMMITTING;
	for (uint32_t i = 0; i < c->lanes_count; i++) {
		cc_low_advance(c, &c->lanes[i]);
		cc_holes_back(&c->lanes[i], t->first_block / c->lanes_count);
	}
}

int gp_ccore_push_begin(
	struct gp_ccore *c, uint32_t tensor, const float *grad, float weight, float *out)
{
	int rc = cc_push_check(c, tensor, grad != NULL, weight);
	if (rc)
		return rc;
	struct cc_tensor *t = &c->tensors[tensor];
	if (grad && t->how.by_caller)
		return cc_refuse_call(c, -EINVAL,
			"tensor '%s' is encoded by its caller; see gp_client_push_encoded",
			t->d.name);
	rc = cc_borrow_check(c, t, grad, out);
	if (rc)
		return rc;
	cc_push_begin(c, t, grad ? weight : 0, out);
	bool borrows = grad && cc_borrows(c, t);
	t->values = grad && !borrows ? cc_codec_begin(c, t, grad) : NULL;
	t->lacking = t->values ? t->blocks_count : 0;
	if (borrows)
		cc_borrow_begin(c, t, grad);
	for (uint32_t i = 0; i < t->blocks_count && !grad; i++)
		cc_codec_empty(&c->blocks[t->first_block + i]);
	cc_push_go(c, t);
	return 0;
}

uint32_t gp_ccore_push_more(struct gp_ccore *c, uint32_t tensor, uint32_t blocks)
{
	struct cc_tensor *t = &c->tensors[tensor];
	if (!t->values) // nothing is left, or the step has become void
		return 0;
	for (; t->lacking > 0 && blocks > 0; blocks--) {
		uint32_t i = t->blocks_count - t->lacking;
		cc_codec_block(c, t, i, t->codec, t->values);
		cc_block_here(c, t);
	}
	if (t->lacking == 0)
		t->values = NULL;
	return t->lacking;
}

int gp_ccore_push(struct gp_ccore *c, uint32_t tensor, const float *grad, float weight, float *out)
{
	int rc = gp_ccore_push_begin(c, tensor, grad, weight, out);
	if (rc == 0)
		(void)gp_ccore_push_more(c, tensor, UINT32_MAX);
	return rc;
}

// ---- steps

static const char *unpushed_name(const struct gp_ccore *c)
{
	for (uint32_t i = 0; i < c->tensors_count; i++)
		if (!c->tensors[i].pushed)
			return c->tensors[i].d.name;
	return "";
}

static void step_begin(struct gp_ccore *c, uint32_t step)
{
	cc_blocks_reset(c);
	c->mode = CC_STEP;
	c->running = false;
	c->generation_wanted = false; // of a pull that was given up
	c->step = step;
	c->round_step = step;
	c->confirmed = c->known;
	cc_async_begin(c);
}

int gp_ccore_step_whole(struct gp_ccore *c)
{
	if (c->error.code)
		return c->error.code;
	if (c->pushed == 0 || c->pushed == c->tensors_count)
		return 0;
	return cc_refuse_call(c, -EINVAL,
		"%u of %u tensors were pushed in step %u ('%s' was not): a step needs all",
		c->pushed, c->tensors_count, c->step, unpushed_name(c));
}

// The results of `step` are whole in the caller's memory.
static void results_held(struct cc_tensor *t, uint32_t step)
{
	t->held = t->out;
	t->held_step = step;
}

int gp_ccore_step_end(struct gp_ccore *c)
{
	int rc = gp_ccore_step_whole(c);
	if (rc || c->pushed == 0)
		return rc;
	GP_ASSERT(gp_ccore_done(c));
	for (uint32_t i = 0; i < c->tensors_count; i++)
		results_held(&c->tensors[i], c->round_step);
	step_begin(c, (cc_is_async(c) ? c->after : c->step) + 1);
	cc_codecs_step(c);
	return 0;
}

// ---- rounds that pull

static void pull_begin(struct gp_ccore *c, enum cc_mode mode, uint32_t step)
{
	cc_blocks_reset(c);
	c->mode = (uint8_t)mode;
	c->running = true;
	c->round_step = step;
	bool gives = mode == CC_INIT_ZERO && c->lowest == c->w.rank;
	for (uint32_t i = 0; i < c->tensors_count; i++) {
		struct cc_tensor *t = &c->tensors[i];
		t->out = c->params[i];
		t->weight = 1.0f;
		for (uint32_t k = 0; k < t->blocks_count; k++)
			block_begin(c, t->first_block + k, true, gives);
	}
	for (uint32_t i = 0; i < c->lanes_count; i++) // also those that found nothing to wait for
		c->lanes[i].pull_at = c->now;
}

// Every rank keeps its values encoded: any of them may be the lowest of the view in the end.
void cc_init_begin(struct gp_ccore *c)
{
	if (c->view_step == 0)
		pull_begin(c, CC_INIT_ZERO, 0);
	else if (cc_is_async(c))
		cc_round_read(c, c->view_step, 0);
	else
		pull_begin(c, CC_INIT, c->view_step - 1);
}

int gp_ccore_init(struct gp_ccore *c, float *const *params)
{
	if (c->error.code)
		return c->error.code;
	if (cc_is_reader(c))
		return gp_ccore_pull(c, params);
	if (!gp_ccore_ready(c) || c->running || c->pushed > 0)
		return cc_refuse_call(c, -EBUSY,
			"initial parameters come after registration and before the first step");
	if (!is_trained(c))
		return 0;
	for (uint32_t i = 0; i < c->tensors_count; i++)
		for (uint32_t k = 0; k < c->tensors[i].blocks_count; k++)
			cc_codec_block(c, &c->tensors[i], k, GP_CODEC_F32, params[i]);
	c->params = params;
	cc_init_begin(c);
	return 0;
}

void cc_pull_newest(struct gp_ccore *c)
{
	c->running = true;
	c->mode = CC_PULL;
	c->generation_wanted = true;
	c->generation_since = c->home_time + 1;
	c->pulls_restarted = 0;
	cc_retry_start(&c->generation_retry, 20 * MS, 200 * MS);
}

int gp_ccore_pull(struct gp_ccore *c, float *const *out)
{
	if (c->error.code)
		return c->error.code;
	if (cc_embeds(c))
		return cc_refuse_call(c, -EINVAL, "an embed job gives rows, not tensors");
	if (!c->laid_out || c->running || c->pushed > 0 || c->fate == GP_CCORE_AGAIN)
		return cc_refuse_call(c, -EBUSY, "a pull comes after registration, between steps");
	c->params = out;
	if (cc_is_async(c) && !(c->w.flags & GP_WELCOME_STANDBY)) {
		cc_round_read(c, cc_is_reader(c) ? 0 : c->step, 0);
		return 0;
	}
	cc_pull_newest(c);
	return 0;
}

void cc_round_read(struct gp_ccore *c, uint32_t clock, uint32_t flags)
{
	cc_blocks_reset(c);
	c->mode = CC_PULL;
	c->running = true;
	c->step = clock;
	c->pulls_restarted = 0;
	cc_read_begin(c, clock, flags);
}

void cc_round_pull(struct gp_ccore *c, uint32_t generation)
{
	c->generation_wanted = false;
	if (cc_embeds(c))
		cc_rows_fetch(c, generation);
	else
		pull_begin(c, CC_PULL, generation);
}

uint32_t gp_ccore_pull_end(struct gp_ccore *c)
{
	uint32_t generation = c->round_step;
	if (!c->running) // reduce jobs have nothing to begin with
		return generation;
	uint32_t step = c->step;
	c->pulled = true;
	c->newest = generation;
	bool init = c->mode == CC_INIT || c->mode == CC_INIT_ZERO;
	if (init)
		step = c->round_step + 1;
	for (uint32_t i = 0; init && !c->mixed && i < c->tensors_count; i++)
		results_held(&c->tensors[i], c->round_step);
	step_begin(c, step);
	return generation;
}

// ---- a session had again

void cc_step_void(struct gp_ccore *c, uint32_t step)
{
	c->closed = step - 1;
	step_begin(c, step);
}

void cc_step_again(struct gp_ccore *c, bool committed)
{
	c->mode = CC_STEP;
	c->round_step = c->step;
	c->collecting = committed;
	for (uint32_t u = 0; u < c->layout.units_count; u++)
		c->units[u].committed = committed;
	for (uint32_t i = 0; i < c->tensors_count; i++) {
		const struct cc_tensor *t = &c->tensors[i];
		for (uint32_t k = 0; t->pushed && k < t->blocks_count; k++) {
			uint32_t block = t->first_block + k;
			bool sent_before = c->blocks[block].sent_before;
			c->units[cc_block_unit(c, block)].committed |= t->taken;
			bool want = t->out && !t->taken && !cc_is_async(c);
			// A server that is not ours may have spoken of it meanwhile.
			if (c->blocks[block].state != CC_IDLE)
				cc_block_set(c, block, CC_IDLE);
			block_begin(c, block, want, true);
			c->blocks[block].sent_before = sent_before;
		}
	}
	for (uint32_t i = 0; i < c->lanes_count; i++) {
		c->lanes[i].pull_at = c->now;
		cc_low_advance(c, &c->lanes[i]);
	}
}

// ---- a new view

// Everything of units that are not committed is void: it is sent again, in the new view.
static void blocks_void(struct gp_ccore *c, bool gives)
{
	for (uint32_t i = 0; i < c->layout.units_count; i++)
		c->units[i].voided = false;
	for (uint32_t i = 0; i < c->layout.blocks_count; i++) {
		struct cc_unit *u = &c->units[cc_block_unit(c, i)];
		uint8_t state = c->blocks[i].state;
		if (state == CC_IDLE || state == CC_FINAL || u->committed)
			continue;
		c->blocks[i].dirty |= state == CC_RESULT;
		c->stats.aborts += !u->voided;
		u->voided = true;
		cc_block_answered(c, i);
		if (gives)
			cc_block_unsent(c, i);
		else
			cc_block_set(c, i, CC_ACCEPTED);
	}
	for (uint32_t i = 0; i < c->lanes_count; i++) {
		struct cc_lane *l = &c->lanes[i];
		l->low = 0;
		cc_results_rewind(l);
		l->busy_until = 0;
		l->pull_at = c->now + 2 * cc_rtt_rto(&l->rtt);
		cc_low_advance(c, l);
	}
}

static void left_behind(struct gp_ccore *c)
{
	cc_fail(c, -ECONNRESET,
		"job '%s' went on to step %u without rank %u, which is at step %u; join again",
		c->cfg.job, c->view_step, c->w.rank, c->step);
}

// Contributions meet nobody else's, so that those of a rank that stays are good in any view. One
// that becomes a member goes on with the view's step.
static void view_async(struct gp_ccore *c, bool was_member)
{
	if (was_member)
		return;
	c->closed = c->view_step - 1;
	c->read.clock = c->view_step;
	if (c->pushed == 0 && !c->running) {
		step_begin(c, c->view_step);
	} else if (c->phase == CC_COMMITTING) {
		c->step = c->view_step;
		c->round_step = c->view_step;
		c->yours = false;
		c->commit_late = false;
		blocks_void(c, true);
	} else {
		c->step = c->running ? c->view_step : c->view_step - 1;
		c->after = c->view_step - 1;
	}
}

void cc_round_view(struct gp_ccore *c, bool was_member)
{
	if (!c->member)
		return;
	if (c->fate == GP_CCORE_AGAIN) {
		cc_again_member(c);
		return;
	}
	if (cc_is_apart(c)) {
		view_async(c, was_member);
		return;
	}
	if (cc_is_async(c) && c->view_step != 0) { // the others went on from step 0
		cc_round_read(c, was_member ? 1 : c->view_step, 0);
		return;
	}
	switch (c->mode) {
	case CC_INIT_ZERO:
		blocks_void(c, c->lowest == c->w.rank);
		return;
	case CC_INIT:
		if (c->view_step - 1 != c->round_step)
			pull_begin(c, CC_INIT, c->view_step - 1);
		return;
	case CC_STEP:
		// What is final may be here before the word of an older view is: that takes nobody
		// back.
		if (c->pushed == 0 && c->round_step != c->view_step &&
			!(was_member && gp_before(c->view_step, c->step)))
			step_begin(c, c->view_step);
		else if (gp_before(c->step + 1, c->view_step))
			left_behind(c);
		blocks_void(c, true);
		return;
	default:
		return;
	}
}
