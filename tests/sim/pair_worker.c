// SPDX-License-Identifier: BSD-3-Clause
#include "pair.h"
#include "pair_mem.h"
#include "sent.h"

#include <errno.h>
#include <stdlib.h>

#define ATTEMPT_NS (6 * MS)
#define SILENCE_NS (5 * MS)

static uint64_t now_of(const struct pair_worker *w)
{
	return pair_now(w->s, PAIR_WORKER + w->rank);
}

static void connect_to(struct pair_worker *w, uint32_t server)
{
	w->server = server;
	w->lanes = 1;
	w->give_up_at = now_of(w) + ATTEMPT_NS;
	gp_sim_connect(w->x[0], gp_sim_addr(w->s->node[server].x[0]));
}

void pair_worker_start(struct pair_worker *w)
{
	struct pair_sim *s = w->s;
	struct gp_ccore_config cfg = {
		.job = "sim",
		.server = "node",
		.v4 = true,
		.rank = (uint16_t)w->rank,
		.world = (uint16_t)s->o.workers,
		.incarnation = rng_next(&s->rng) | 1,
		.previous = w->life,
		.nonce = rng_next(&s->rng) | 1,
		.silence_ns = SILENCE_NS,
		.compress = {.codec = s->o.mixed ? (enum gp_client_codec)0 : GP_CLIENT_F32},
		.take = pair_mem_take,
		.give = pair_mem_give,
	};
	if (rng_mix(s->seed ^ UINT64_C(0x6c656e64) ^ (uint64_t)w->rank << 32) & 1)
		cfg.flags |= GP_CLIENT_BORROW;
	w->life = cfg.incarnation;
	w->lives++;
	memset(w->residual, 0, sizeof(float) * s->model.elems_total);
	w->phase = PAIR_JOINS;
	w->told = false;
	connect_to(w, w->server);
	if (gp_ccore_create(&w->core, &cfg, w->x[0]) != 0)
		pair_broken(s, "no memory");
}

void pair_worker_kill(struct pair_worker *w, uint64_t down_ns)
{
	gp_ccore_destroy(w->core);
	w->core = NULL;
	w->phase = PAIR_DEAD;
	w->back_at = w->s->now + down_ns;
}

static void session_lost(struct pair_worker *w)
{
	struct gp_ccore_again how = {.v4 = true,
		.incarnation = rng_next(&w->s->rng) | 1,
		.nonce = rng_next(&w->s->rng) | 1,
		.server = "node"};
	const struct gp_client_error *e = gp_ccore_error(w->core);
	uint32_t next = e && e->code == -ECONNRESET ? w->server : 1 - w->server;
	// Rows were dealt to the cores that there were: only who joins anew can go on elsewhere.
	if (e && e->code == -ESTALE && !w->s->o.embed)
		pair_broken(w->s, "worker %u: %s", w->rank, e->text);
	if (gp_ccore_can_again(w->core)) {
		w->life = how.incarnation;
		w->told = false;
		connect_to(w, next);
		gp_ccore_again(w->core, &how, w->x[0]);
		w->s->stats.rejoins++;
		return;
	}
	gp_ccore_destroy(w->core);
	w->server = next;
	pair_worker_start(w);
}

void pair_tensors_fill(const struct pair_sim *s, struct gp_client_tensor d[MODEL_TENSORS_MAX])
{
	const struct model *m = &s->model;
	memset(d, 0, sizeof(d[0]) * MODEL_TENSORS_MAX);
	for (uint32_t t = 0; t < m->tensors_count; t++) {
		(void)snprintf(d[t].name, sizeof(d[t].name), "t%u", t);
		d[t].dims_count = 1;
		d[t].dims[0] = s->o.embed ? m->dim[t] : m->elems[t];
		d[t].priority = m->tensors_count - t;
	}
}

// Asynchronous jobs contribute whole numbers that take more than a 16-bit codec has, in every n-th
// element of n workers.
static uint8_t codec_of(const struct pair_worker *w, uint32_t tensor)
{
	const struct sim_opts *o = &w->s->o;
	uint8_t codec = sim_codec(o, w->rank, w->lives, tensor);
	if (!w->s->model.exact || codec == GP_CLIENT_F32)
		return codec;
	return o->workers > 1 ? GP_CLIENT_TOPK : GP_CLIENT_F32;
}

static void tensors_register(struct pair_worker *w)
{
	struct gp_client_tensor d[MODEL_TENSORS_MAX];
	pair_tensors_fill(w->s, d);
	for (uint32_t t = 0; t < w->s->model.tensors_count && w->s->o.mixed; t++)
		d[t].compress = (struct gp_client_compress){
			.codec = (enum gp_client_codec)codec_of(w, t),
			.topk_ratio = w->s->model.exact ? SENT_TOPK_RATIO_EXACT : SENT_TOPK_RATIO};
	if (gp_ccore_register(w->core, d, w->s->model.tensors_count) != 0)
		pair_broken(w->s, "worker %u: %s", w->rank, gp_ccore_last(w->core)->text);
	w->phase = PAIR_REGISTERS;
}

static void init_begin(struct pair_worker *w)
{
	model_initial(&w->s->model, w->rank, w->params);
	if (gp_ccore_init(w->core, w->outs) != 0)
		pair_broken(w->s, "worker %u: %s", w->rank, gp_ccore_last(w->core)->text);
	w->pushed = 0;
	w->phase = PAIR_INITS;
}

// Where steps may be lost: not with a leader that is gone, whose last answers may still be on their
// way.
static bool is_of_now(const struct pair_worker *w)
{
	bool loses = w->s->periodic || w->s->op.saves;
	return !loses || gp_ccore_epoch(w->core) == w->s->epoch;
}

// It goes on as if nothing had been lost.
static void goes_on(struct pair_worker *w)
{
	struct pair_sim *s = w->s;
	if (!is_of_now(w))
		return;
	if (pair_lost_since(s, w->rewinds, w->done))
		pair_broken(s, "worker %u is told nothing, and step %u that it had done is lost",
			w->rank, w->done);
	w->rewinds = s->op.rewinds;
}

// It is told that what it had in hand is void: something was lost, or went on without it.
static void goes_back(struct pair_worker *w)
{
	struct pair_sim *s = w->s;
	const struct oracle *k = &s->oracle;
	w->told = true;
	s->stats.rolled_back++;
	memset(w->residual, 0, sizeof(float) * s->model.elems_total);
	bool begun = w->phase == PAIR_STEPS && !pair_is_async(s) && is_of_now(w);
	bool moved = k->generation != w->done || k->units_next > 0;
	if (begun && !moved && !pair_lost_since(s, w->rewinds, w->done))
		pair_broken(
			s, "worker %u is told to begin anew, and step %u stands", w->rank, w->done);
	init_begin(w);
}

static void init_end(struct pair_worker *w)
{
	struct pair_sim *s = w->s;
	uint32_t generation = gp_ccore_pull_end(w->core);
	uint32_t step = gp_ccore_step(w->core);
	if (pair_is_async(s) && !s->o.embed)
		pair_async_begins(w, generation);
	else if (s->o.train && is_of_now(w))
		oracle_check_mixed(&s->oracle, w->params, step - 1, "init of worker", w->rank);
	if (step <= w->done && !pair_lost_since(s, w->rewinds, w->done))
		pair_broken(s, "worker %u was told step %u is done, and begins with step %u",
			w->rank, w->done, step);
	pair_meet_begin(w, step);
	w->first = step;
	w->done = pair_is_async(s) ? w->done : step - 1;
	w->rewinds = is_of_now(w) ? s->op.rewinds : w->rewinds;
	w->phase = PAIR_STEPS;
}

static void step_push(struct pair_worker *w)
{
	struct pair_sim *s = w->s;
	if (!pair_rows_push(w, gp_ccore_step(w->core)))
		return;
	w->pushed = s->model.tensors_count;
	w->next_at = now_of(w) + rng_below(&s->rng, s->o.compute_ns);
}

// What the server decodes of it.
static void contribution_tell(struct pair_worker *w, uint32_t step, uint32_t t)
{
	struct pair_sim *s = w->s;
	struct gp_client_codec_state in;
	uint32_t from = s->model.from[t], elems = s->model.elems[t];
	uint32_t block = sent_block_elems(s->o.payload_max);
	if (gp_ccore_codec(w->core, t, &in) != 0)
		pair_broken(s, "worker %u: tensor %u has no codec", w->rank, t);
	for (uint32_t at = 0; at < elems && in.codec != GP_CLIENT_F32; at += block)
		sent_block((uint8_t)in.codec, (double)in.topk_ratio, w->grad + from + at,
			w->residual + from + at, GP_MIN(block, elems - at));
	oracle_contribution(&s->oracle, w->rank, s->lives[w->rank], step, t, w->grad + from);
}

static void tensor_push(struct pair_worker *w)
{
	struct pair_sim *s = w->s;
	const struct model *m = &s->model;
	uint32_t t = m->tensors_count - 1 - w->pushed, step = gp_ccore_step(w->core);
	float *grad = w->grad + m->from[t], *out = w->params + m->from[t];
	if (pair_is_async(s))
		pair_async_give(s, w->rank, step, t, grad);
	else
		model_gradient(m, w->rank, step, t, out, grad);
	if (gp_ccore_push(w->core, t, grad, model_weight(m, w->rank), out) != 0) {
		if (!gp_ccore_error(w->core))
			pair_broken(
				s, "worker %u: push: %s", w->rank, gp_ccore_last(w->core)->text);
		return;
	}
	if (!pair_is_async(s))
		contribution_tell(w, step, t);
	w->pushed++;
	w->next_at = now_of(w) + rng_below(&s->rng, s->o.compute_ns);
}

static void step_check(const struct pair_worker *w)
{
	struct pair_sim *s = w->s;
	oracle_check(&s->oracle, w->params, w->done, 0, "worker", w->rank);
	const struct gp_ranks *in = &s->counted[w->done % GP_ARRAY_SIZE(s->counted)];
	if (w->done != w->first && !gp_ranks_has(in, w->rank))
		pair_broken(s, "worker %u was told that step %u has its contribution", w->rank,
			w->done);
}

static void step_turn(struct pair_worker *w)
{
	struct pair_sim *s = w->s;
	bool beyond = is_of_now(w) && gp_before(s->last_step, gp_ccore_step(w->core));
	if (s->calm && beyond && w->pushed == 0) {
		w->passed = true; // others may need it to go on
		if (!pair_is_async(s))
			w->phase = PAIR_OVER;
	}
	if (w->phase == PAIR_OVER || (w->pushed == 0 && pair_meets(w)))
		return;
	if (w->pushed < s->model.tensors_count) {
		if (now_of(w) >= w->next_at && s->o.embed)
			step_push(w);
		else if (now_of(w) >= w->next_at)
			tensor_push(w);
		return;
	}
	if (!gp_ccore_done(w->core))
		return;
	uint32_t step = gp_ccore_step(w->core);
	if (!pair_is_async(s) && step != w->done + 1)
		pair_broken(s, "worker %u ends step %u after step %u", w->rank, step, w->done);
	goes_on(w);
	w->done = step;
	if (s->o.embed)
		pair_async_committed(w, w->done);
	else if (pair_is_async(s))
		pair_async_done(w, w->done);
	else if (is_of_now(w))
		step_check(w);
	if (gp_ccore_step_end(w->core) != 0)
		pair_broken(s, "worker %u: %s", w->rank, gp_ccore_last(w->core)->text);
	w->pushed = 0;
	if (s->o.embed && rng_next(&s->rng) & 1 && pair_rows_pull(w))
		w->phase = PAIR_PULLS;
}

static void pull_end(struct pair_worker *w)
{
	pair_async_read(w, gp_ccore_pull_end(w->core));
	w->phase = PAIR_STEPS;
}

static void lanes_attach(struct pair_worker *w)
{
	if (gp_ccore_phase(w->core) != GP_CCORE_PORTS)
		return;
	for (; w->lanes < gp_ccore_lanes(w->core); w->lanes++) {
		gp_sim_connect(w->x[w->lanes], gp_sim_addr(w->s->node[w->server].x[w->lanes]));
		gp_ccore_attach(w->core, w->lanes, w->x[w->lanes]);
	}
}

static void program(struct pair_worker *w)
{
	switch (w->phase) {
	case PAIR_JOINS:
		if (gp_ccore_phase(w->core) == GP_CCORE_JOINED)
			tensors_register(w);
		return;
	case PAIR_REGISTERS:
		if (gp_ccore_ready(w->core))
			init_begin(w);
		return;
	case PAIR_INITS:
		if (gp_ccore_done(w->core))
			init_end(w);
		return;
	case PAIR_STEPS:
		step_turn(w);
		return;
	case PAIR_PULLS:
		if (gp_ccore_done(w->core))
			pull_end(w);
		return;
	default:
		return;
	}
}

// When its clock will show that, about.
static uint64_t true_time(const struct pair_worker *w, uint64_t at)
{
	uint64_t now = now_of(w);
	return at == GP_CCORE_NEVER ? at : w->s->now + (at > now ? (at - now) * 10 / 11 : 0);
}

uint64_t pair_worker_turn(struct pair_worker *w)
{
	if (w->phase == PAIR_DEAD) {
		if (w->s->now >= w->back_at)
			pair_worker_start(w);
		return w->s->now + MS;
	}
	uint64_t now = now_of(w);
	uint64_t at = true_time(w, gp_ccore_tick(w->core, now));
	bool mute = gp_ccore_phase(w->core) == GP_CCORE_HELLO && now > w->give_up_at;
	if (gp_ccore_error(w->core) || mute) {
		session_lost(w);
		return w->s->now;
	}
	lanes_attach(w);
	pair_async_watch(w);
	enum gp_ccore_fate fate = gp_ccore_fate(w->core);
	if (fate == GP_CCORE_WENT_ON && w->fate == GP_CCORE_AGAIN && w->phase == PAIR_STEPS)
		goes_on(w);
	w->fate = fate;
	if (fate == GP_CCORE_AGAIN)
		return at;
	if (fate == GP_CCORE_ROLLED_BACK && !w->told)
		goes_back(w);
	program(w);
	return at;
}
