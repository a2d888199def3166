// SPDX-License-Identifier: BSD-3-Clause
//
// A worker's program: initial parameters, then steps; now and then it pulls, and now and then it
// does not ask for a result.
#include "rows.h"
#include "sent.h"

#include <math.h>

// What a contribution in `in` is made of, which is what was asked for.
static void codec_check(
	struct sim *s, const struct sim_node *n, uint32_t t, const struct gp_client_codec_state *in)
{
	uint8_t asked = sim_codec(s->o, n->idx, n->lives, t);
	float ratio = s->model.exact ? SENT_TOPK_RATIO_EXACT : SENT_TOPK_RATIO;
	bool by_time = asked == GP_CLIENT_AUTO &&
		       (in->codec == GP_CLIENT_F32 || in->codec == GP_CLIENT_BF16 ||
			       in->codec == GP_CLIENT_INT8);
	if (asked == 0)
		asked = s->o->codec;
	if ((!by_time && in->codec != (enum gp_client_codec)asked) ||
		(sent_is_topk(asked) && fabsf(in->topk_ratio - ratio) > 1e-6f))
		sim_broken(s, "worker %u: tensor %u is encoded as %u, %g of it, not as %u", n->idx,
			t, in->codec, (double)in->topk_ratio, asked);
}

static void contribution_tell(struct sim *s, struct sim_node *n, uint32_t t, uint32_t step,
	const struct gp_client_codec_state *in)
{
	const struct sim_opts *o = s->o;
	float *grad = n->grad + s->model.from[t];
	float *residual = n->residual + s->model.from[t];
	uint32_t block = sent_block_elems(o->payload_max), elems = s->model.elems[t];
	for (uint32_t at = 0; at < elems; at += block) {
		uint32_t len = GP_MIN(block, elems - at);
		bool finite = true;
		for (uint32_t i = 0; i < len && n->poisoned; i++)
			finite &= (bool)isfinite(grad[at + i]);
		if (!finite && o->nonfinite == GP_NONFINITE_IS_ZERO)
			memset(grad + at, 0, sizeof(float) * len);
		else if (in->codec != GP_CLIENT_F32 && !s->model.exact)
			sent_block((uint8_t)in->codec, (double)in->topk_ratio, grad + at,
				residual + at, len);
	}
	oracle_contribution(&s->oracle, n->idx, n->life, step, t, grad);
	oracle_codec(&s->oracle, n->idx, t, (uint8_t)in->codec);
}

static void poison(struct sim *s, struct sim_node *n, uint8_t codec, float *grad, uint32_t elems)
{
	static const float bad[] = {NAN, INFINITY, -INFINITY};
	if (codec != GP_CLIENT_F32 || s->phase != SIM_FAULTS || !rng_hit(&s->rng, s->o->nan_ppm))
		return;
	grad[rng_below(&s->rng, elems)] = bad[rng_below(&s->rng, 3)];
	n->poisoned = true;
}

static uint32_t tensor_next(const struct sim *s, const struct sim_node *n)
{
	uint32_t count = s->model.tensors_count;
	if (!sim_has(s->o, FAULT_ORDER))
		return count - 1 - n->pushed; // as they are scheduled
	uint64_t how = rng_mix(s->o->seed ^ n->idx);
	uint32_t at = (n->pushed + (uint32_t)(how >> 8)) % count;
	return how & 1 ? at : count - 1 - at;
}

// In a quarter of the histories tensors are encoded in pieces, of which each takes its time.
static void piece_push(struct sim *s, struct sim_node *n, uint32_t tensor)
{
	uint64_t how = rng_mix(s->o->seed ^ UINT64_C(0x70696563));
	uint32_t blocks = how % 4 == 0 ? 1 + (uint32_t)(how >> 8) % 4 : UINT32_MAX;
	uint64_t compute = s->o->compute_ns * n->slow;
	n->encoding = gp_ccore_push_more(n->core, tensor, blocks) > 0;
	if (n->encoding) {
		n->next_at = s->now + compute / 8;
		return;
	}
	n->pushed++;
	n->next_at = s->now + compute / 2 + rng_below(&s->rng, compute + 1);
	if (n->pushed == s->model.tensors_count)
		n->phase = NODE_STEP;
}

// What is pushed is where the result comes, unless that, or the result before, must stay there.
static bool is_in_place(const struct sim *s, const struct sim_node *n, uint8_t codec, bool quiet)
{
	bool lent = n->lends && codec == GP_CLIENT_F32;
	return s->o->in_place && !quiet && !lent && !(s->o->train && n->changed);
}

static void tensor_push(struct sim *s, struct sim_node *n)
{
	uint32_t t = tensor_next(s, n), step = gp_ccore_step(n->core);
	float *grad = n->grad + s->model.from[t], *out = n->params + s->model.from[t];
	bool quiet = rng_hit(&s->rng, s->o->quiet_ppm);
	float *values = n->values + s->model.from[t];
	struct gp_client_codec_state in = {0};
	model_gradient(&s->model, n->idx, step, t, out, grad);
	if (gp_ccore_codec(n->core, t, &in) == 0)
		codec_check(s, n, t, &in);
	if (is_in_place(s, n, (uint8_t)in.codec, quiet))
		values = out;
	poison(s, n, (uint8_t)in.codec, grad, s->model.elems[t]);
	memcpy(values, grad, sizeof(float) * s->model.elems[t]);
	if (gp_ccore_push_begin(
		    n->core, t, values, model_weight(&s->model, n->idx), quiet ? NULL : out) != 0) {
		if (!gp_ccore_error(n->core))
			sim_broken(s, "worker %u: push: %s", n->idx, gp_ccore_last(n->core)->text);
		return;
	}
	n->quiet |= (uint64_t)quiet << t;
	contribution_tell(s, n, t, step, &in);
	piece_push(s, n, t);
}

static void step_begin(struct sim *s, struct sim_node *n)
{
	n->pushed = 0;
	n->encoding = false;
	n->quiet = 0;
	n->phase = NODE_COMPUTE;
	n->next_at = s->now + rng_below(&s->rng, s->o->compute_ns * n->slow + 1);
}

// The job is over: everything to be trained is committed.
static bool is_over(const struct sim *s, const struct sim_node *n)
{
	if (s->oracle.ledger.on) // each for itself
		return s->phase != SIM_FAULTS && gp_ccore_ready(n->core) &&
		       gp_before(s->last_step, gp_ccore_step(n->core));
	return s->phase != SIM_FAULTS && oracle_whole(&s->oracle, s->last_step);
}

// Between steps: now and then, of an embed job half of the time.
static bool pull_begin(struct sim *s, struct sim_node *n)
{
	if (s->o->embed)
		return rng_next(&s->rng) & 1 && rows_pull(s, n);
	return rng_hit(&s->rng, s->o->pull_ppm) && gp_ccore_pull(n->core, n->outs) == 0;
}

static void step_end(struct sim *s, struct sim_node *n)
{
	uint32_t step = gp_ccore_step(n->core), generation = step;
	bool async = s->oracle.ledger.on;
	if (!async || tap_generation(n, &generation))
		node_check(s, n, generation, n->quiet, "worker");
	if (async && tap_generation(n, &generation))
		ledger_fresh(&s->oracle.ledger, n->idx, generation, step + 1);
	if (gp_ccore_step_end(n->core) != 0)
		sim_broken(s, "worker %u: %s", n->idx, gp_ccore_last(n->core)->text);
	if (is_over(s, n))
		node_leave(n);
	else if (pull_begin(s, n))
		n->phase = NODE_PULL;
	else
		step_begin(s, n);
}

static void init_begin(struct sim *s, struct sim_node *n)
{
	if (!gp_ccore_ready(n->core))
		return;
	model_initial(&s->model, n->idx, n->params);
	if (gp_ccore_init(n->core, n->outs) != 0)
		sim_broken(s, "worker %u: init: %s", n->idx, gp_ccore_last(n->core)->text);
	n->phase = NODE_INIT;
}

static void init_end(struct sim *s, struct sim_node *n)
{
	uint32_t generation = gp_ccore_pull_end(n->core);
	if (s->oracle.ledger.on && s->o->train)
		node_check(s, n, generation, 0, "init of worker");
	else if (s->o->train)
		node_check_mixed(s, n, gp_ccore_step(n->core) - 1, "init of worker");
	step_begin(s, n);
}

static void pull_end(struct sim *s, struct sim_node *n)
{
	uint32_t generation = gp_ccore_pull_end(n->core);
	node_check(s, n, generation, 0, "pull of worker");
	if (s->o->embed)
		ledger_fresh(&s->oracle.ledger, n->idx, generation, gp_ccore_step(n->core));
	s->stats.pulls++;
	step_begin(s, n);
}

void worker_advance(struct sim *s, struct sim_node *n)
{
	// Who comes back after the end has nothing to wait for, in a view that may never be.
	bool waits = n->phase == NODE_REGISTER || n->phase == NODE_INIT || n->phase == NODE_PULL ||
		     (n->phase == NODE_COMPUTE && n->pushed == 0);
	if (is_over(s, n) && waits) {
		node_leave(n);
		return;
	}
	if (n->phase == NODE_REGISTER)
		init_begin(s, n);
	if (n->phase == NODE_INIT && gp_ccore_done(n->core))
		init_end(s, n);
	if (n->phase == NODE_PULL && gp_ccore_done(n->core))
		pull_end(s, n);
	if (n->phase == NODE_COMPUTE && s->now >= n->next_at) {
		if (s->o->embed)
			rows_push(s, n);
		else if (n->encoding)
			piece_push(s, n, tensor_next(s, n));
		else
			tensor_push(s, n);
	}
	if (n->phase == NODE_STEP && gp_ccore_done(n->core))
		step_end(s, n);
}
