// SPDX-License-Identifier: BSD-3-Clause
#include "accepted.h"
#include "rows.h"
#include "sent.h"

#include <xxhash.h>

#define IDLE_NS	     (100 * US) // between turns of a core that had nothing to do
#define IDLE_MAX_NS  (2 * MS)
#define IDLE_TURNS   16 // then it looks less often
#define CONTROL_NS   MS
#define SESSIONS_MAX 256
#define CARD_PPM     2000 // of turns
#define CARD_NS	     (20 * MS)
#define HELLO_RATE   10000
#define RATIO_OF_JOB (SENT_TOPK_RATIO * (1 << 24)) // of a top-k, as LAYOUT brings it

static uint64_t clock_now(const struct sim *s)
{
	return s->now + s->server_ahead;
}

// ---- cuts: what a snapshot would read

static void cut_compare(struct sim *s, const char *who)
{
	uint32_t elems;
	if (s->o->embed) {
		rows_cut(s, s->cut_step, who);
		return;
	}
	for (uint32_t b = 0; b < s->oracle.blocks_count; b++) {
		const float *v = gp_engine_block(s->engine, 0, b, s->cut_step, 0, &elems);
		if (!v) {
			sim_broken(s, "%s at step %u: block %u is gone", who, s->cut_step, b);
			return;
		}
		oracle_check_block(&s->oracle, v, elems, s->cut_step, b, who, s->cut_step);
	}
}

static void on_cut(void *arg, uint16_t job, uint32_t step, uint32_t decision)
{
	struct sim *s = arg;
	(void)decision;
	GP_ASSERT(job == SIM_JOB_ID);
	if (s->cut_held)
		sim_broken(s, "a cut at step %u before that at %u has ended", step, s->cut_step);
	s->cut_held = true;
	s->cut_step = step;
	s->cut_until = s->now;
	if (s->phase == SIM_FAULTS && sim_has(s->o, FAULT_CUTS))
		s->cut_until += rng_below(&s->rng, 2 * s->o->event_ns);
	s->stats.cuts++;
	cut_compare(s, "cut");
}

static void cuts_run(struct sim *s)
{
	if (s->cut_held && s->now >= s->cut_until) {
		cut_compare(s, "end of the cut");
		s->cut_held = false;
		gp_registrar_cut_release(gp_engine_registrar(s->engine), SIM_JOB_ID);
	}
	if (!s->cut_held && s->phase == SIM_FAULTS && sim_has(s->o, FAULT_CUTS) &&
		rng_hit(&s->rng, 20000))
		(void)!gp_registrar_cut(gp_engine_registrar(s->engine), SIM_JOB_ID);
}

// ---- a thread that reads without a cut

// What it has found stays as it is until its next quiescent state, whatever the cores do.
static void glance_end(struct sim *s)
{
	if (s->glance && XXH3_64bits(s->glance, s->glance_size) != s->glance_hash)
		sim_broken(s, "a block changed while another thread was reading it");
	s->glance = NULL;
}

static void glance_begin(struct sim *s)
{
	uint32_t elems, block = (uint32_t)rng_below(&s->rng, s->oracle.blocks_count);
	uint32_t newest = s->oracle.ledger.on ? s->oracle.ledger.cut : s->oracle.generation;
	s->glance = gp_engine_block(s->engine, 0, block, newest, 0, &elems);
	if (!s->glance)
		return;
	s->glance_size = sizeof(float) * elems;
	s->glance_hash = XXH3_64bits(s->glance, s->glance_size);
}

// ---- turns

void server_wake(struct sim *s, uint32_t core)
{
	struct sim_core *c = &s->cores[core];
	c->wake_at = GP_MIN(c->wake_at, GP_MAX(s->now + s->o->grain_ns, c->asleep_until));
}

// Threads are preempted: another core's turn, or control's, in the middle of this core's. Control
// does not end a grace period there, since this core is not quiescent.
static void on_moment(void *arg, uint32_t core)
{
	struct sim *s = arg;
	if (s->preempted || !s->turning || s->phase != SIM_FAULTS ||
		!rng_hit(&s->rng, s->o->preempt_ppm))
		return;
	uint32_t other = (uint32_t)rng_below(&s->rng, s->o->cores + 1);
	s->preempted = true;
	tap_decisions(s); // what this core has decided, others may show
	if (other == s->o->cores && s->control_asleep_until <= s->now)
		(void)gp_registrar_poll(gp_engine_registrar(s->engine), clock_now(s));
	else if (other < s->o->cores && other != core && s->cores[other].asleep_until <= s->now)
		server_core_run(s, other);
	s->preempted = false;
}

static void core_turn(struct sim *s, uint32_t core)
{
	struct sim_core *c = &s->cores[core];
	struct gp_core *k = gp_engine_core(s->engine, core);
	struct wire_endpoint *e = &s->wire.endpoints[WIRE_HOST_SERVER][core];
	struct gp_frame *frames[SIM_BURST];
	uint32_t n = wire_take(e, frames, SIM_BURST);
	if (n > 0) {
		struct accepted pushes;
		accepted_before(&pushes, s, core, frames, n);
		gp_core_rx(k, frames, n, clock_now(s));
		accepted_after(&pushes, s, core);
	}
	tap_core_rx(s, core);
	uint32_t work = gp_core_tick(k, clock_now(s));
	if (n > 0 || work > 0)
		tap_core(s, core);
	// A card that is slow to send refers to results for a while.
	if (s->phase == SIM_FAULTS && sim_has(s->o, FAULT_CARD) && rng_hit(&s->rng, CARD_PPM))
		c->card_until = s->now + rng_spread(rng_next(&s->rng), 50 * US, CARD_NS);
	bool sends = s->phase != SIM_FAULTS || s->now >= c->card_until;
	if (sends && rng_next(&s->rng) & 3)
		wire_flush(e);
	if (n > 0 || work > 0 || (sends && e->tx.head != e->tx.tail)) {
		c->idle = 0;
		c->wake_at = s->now + s->o->grain_ns;
		for (uint32_t i = 0; work > 0 && i < s->o->cores; i++)
			server_wake(s, i);
	} else {
		c->idle++;
		c->wake_at = s->now + (c->idle < IDLE_TURNS ? IDLE_NS : IDLE_MAX_NS);
	}
}

void server_core_run(struct sim *s, uint32_t core)
{
	bool turning = s->turning;
	s->turning = true;
	core_turn(s, core);
	s->turning = turning;
}

void server_control_run(struct sim *s)
{
	uint32_t work = gp_registrar_poll(gp_engine_registrar(s->engine), clock_now(s));
	cuts_run(s);
	glance_end(s);
	gp_rcu_grace_turn(gp_engine_grace(s->engine));
	gp_rcu_quiescent();
	glance_begin(s);
	s->control_idle = work > 0 ? 0 : s->control_idle + 1;
	s->control_at = s->now + CONTROL_NS;
	for (uint32_t i = 0; work > 0 && i < s->o->cores; i++)
		server_wake(s, i);
}

// ---- set-up

static uint64_t memory_max(const struct sim *s)
{
	const struct sim_opts *o = s->o;
	uint32_t elems = (o->payload_max - GP_WIRE_OVERHEAD_MAX) / 64 * 16;
	uint64_t versions = (uint64_t)s->oracle.blocks_count * (4 + o->cuts_max) + o->cores * 16;
	if (s->model.exact) // pushes that are staged, two of each rank
		versions += 4 * (uint64_t)s->oracle.blocks_count * o->workers;
	return (512 << 10) + (o->embed ? rows_memory(s) : 0) +
	       versions * (160 + (4 + 4 * s->model.states) * (uint64_t)elems) +
	       (uint64_t)o->cores * o->slots * (64 + 48 * (uint64_t)o->workers) +
	       (uint64_t)s->oracle.units_count * 1024;
}

static void job_config(struct sim *s)
{
	const struct sim_opts *o = s->o;
	s->job = (struct gp_job_config){
		.name = "sim",
		.id = SIM_JOB_ID,
		.kind = o->train ? GP_KIND_TRAIN : GP_KIND_REDUCE,
		.atomicity = o->atomicity,
		.consistency = o->consistency,
		.stale = o->stale,
		.stale_max = UINT32_MAX,
		.bound = o->bound,
		.quorum_min = o->quorum_min,
		.quorum_wait_ns = o->quorum_wait_ns,
		.cut_age_ns = o->cut_age_ns,
		.cuts_max = o->cuts_max,
		.mean = o->mean,
		.deterministic = !o->mixed, // else codecs may be chosen by time
		.codec = o->mixed ? o->codec | (uint32_t)RATIO_OF_JOB << 8 : 0,
		.nonfinite = o->nonfinite,
		.workers = o->workers,
		.workers_min = o->workers_min,
		.slots = o->slots,
		.sparse_max = 50,
		.window = o->window,
		.tensors_max = MODEL_TENSORS_MAX,
		.payload_max = o->payload_max,
		.memory_max = memory_max(s),
		.timeout_ns = o->timeout_ns,
		.cut_interval = o->cut_interval,
		.clip_norm = s->model.clip,
		.optim = {.kind = s->model.exact      ? GP_OPTIM_SGD
				  : s->model.lamb     ? GP_OPTIM_LAMB
				  : s->model.nesterov ? GP_OPTIM_NESTEROV
						      : GP_OPTIM_MOMENTUM,
			.lr = s->model.lr,
			.momentum = s->model.exact ? 0.0f : s->model.momentum,
			.beta1 = LAMB_BETA1,
			.beta2 = LAMB_BETA2,
			.epsilon = LAMB_EPSILON,
			.weight_decay = s->model.exact ? 0.0f : s->model.weight_decay},
	};
	if (o->embed)
		rows_job(s, &s->job);
}

// The job begins where another life of the server ended.
static bool restore(struct sim *s)
{
	static struct gp_restore_tensor tensors[MODEL_TENSORS_MAX];
	static uint64_t dims[MODEL_TENSORS_MAX];
	static char names[MODEL_TENSORS_MAX][8];
	const float *state, *values = oracle_restored(&s->oracle, &state);
	for (uint32_t t = 0; t < s->model.tensors_count; t++) {
		(void)snprintf(names[t], sizeof(names[t]), "t%u", t);
		dims[t] = s->model.elems[t];
		tensors[t] = (struct gp_restore_tensor){.name = names[t],
			.dims_count = 1,
			.dims = &dims[t],
			.values = values + s->model.from[t],
			.states = {state + s->model.from[t]}};
		if (s->model.lamb)
			tensors[t].states[1] = state + s->model.elems_total + s->model.from[t];
		if (s->o->embed)
			rows_restore(s, t, values + s->model.from[t], &tensors[t]);
	}
	const struct gp_restore r = {.step = s->o->first_step,
		.decision = s->o->first_decision,
		.tensors_count = s->model.tensors_count,
		.tensors = tensors};
	return gp_registrar_restore(gp_engine_registrar(s->engine), SIM_JOB_ID, &r) == 0;
}

bool server_start(struct sim *s)
{
	const struct sim_opts *o = s->o;
	job_config(s);
	const struct gp_engine_config cfg = {
		.cores_count = o->cores,
		.base_port = WIRE_BASE_PORT,
		.epoch = 1,
		.sessions_max = SESSIONS_MAX,
		.ring_size = o->ring_size,
		.payload_max = o->payload_max,
		.hello_rate = HELLO_RATE,
		.seed = o->seed | 1,
		.jobs_count = 1,
		.jobs = &s->job,
		.take = sim_take,
		.give = sim_give,
		.mem_arg = s,
	};
	for (uint32_t i = 0; i < o->cores; i++)
		s->ports[i] = wire_xport(&s->wire, WIRE_HOST_SERVER, i);
	if (gp_engine_create(&s->engine, &cfg, s->ports) != 0)
		return false;
	const struct gp_registrar_events ev = {.arg = s, .cut_ready = on_cut};
	gp_registrar_set_events(gp_engine_registrar(s->engine), &ev);
	s->decision = o->first_decision;
	s->wire.moment_arg = s;
	s->wire.moment = o->preempt_ppm ? on_moment : NULL;
	return !o->restored || restore(s);
}
