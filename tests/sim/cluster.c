// SPDX-License-Identifier: BSD-3-Clause
#include "cluster.h"
#include "sent.h"

#include <gp_ccore.h>
#include <gp_codec.h>
#include <gp_engine.h>
#include <gp_xport_sim.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

#define WORKERS_MAX    8
#define CORES_MAX      4
#define JOB_ID	       1
#define SERVER_HOST    1
#define WORKER_HOST    10
#define BASE_PORT      9700
#define FRAMES	       32768
#define VIRTUAL_MAX_NS UINT64_C(600000000000) // progress bound: ten minutes
#define SERVER_TICK_NS UINT64_C(100000)
#define CONTROL_NS     UINT64_C(1000000)
#define KILL_WITHIN_NS UINT64_C(5000000)
#define BURST	       32

enum worker_phase { W_JOIN, W_REGISTER, W_READY, W_INIT, W_STEP, W_LEAVE, W_GONE };

struct worker {
	struct gp_ccore *core;
	enum worker_phase phase;
	uint32_t rank;
	uint32_t lives;
	uint32_t attached; // lanes
	uint64_t tick_at;
	uint64_t start_at;
	uint64_t kill_at; // UINT64_MAX: it lives through this step
	float *params;
	float *grad;
	struct gp_xport *lanes[CORES_MAX];
};

struct cluster {
	const struct cluster_opts *o;
	struct cluster_result *r;
	struct model model;
	struct gp_sim_net *net;
	struct gp_engine *engine;
	struct gp_job_config job;
	struct gp_xport *server[CORES_MAX];
	struct worker workers[WORKERS_MAX];
	uint64_t now;
	uint64_t control_at;
	uint64_t server_at;
	uint64_t random;
	float *history; // reference after step s at history + s * elems_total
	uint32_t history_count;
	float *ref_state;
	float *ref_grads[WORKERS_MAX];
	float *ref_residuals[WORKERS_MAX];
	bool failed;
};

__attribute__((format(printf, 2, 3))) static void fail(struct cluster *c, const char *fmt, ...)
{
	if (c->failed)
		return;
	c->failed = true;
	va_list args;
	va_start(args, fmt);
	vsnprintf(c->r->why, sizeof(c->r->why), fmt, args);
	va_end(args);
}

static uint64_t random_next(struct cluster *c)
{
	c->random ^= c->random << 13;
	c->random ^= c->random >> 7;
	c->random ^= c->random << 17;
	return c->random;
}

static bool chance(struct cluster *c, uint32_t ppm)
{
	return random_next(c) % GP_SIM_PPM < ppm;
}

static void *mem_take(void *arg, size_t size)
{
	(void)arg;
	void *p = aligned_alloc(GP_CACHE_LINE, gp_align_up(size, GP_CACHE_LINE));
	return p ? memset(p, 0, size) : NULL;
}

static void mem_give(void *arg, void *mem)
{
	(void)arg;
	free(mem);
}

static struct gp_addr address(uint32_t host, uint32_t port)
{
	return (struct gp_addr){.ip = {[10] = 0xff, [11] = 0xff, [12] = 10, [15] = (uint8_t)host},
		.port = (uint16_t)port};
}

// ---- the reference, one step after the other as it is needed

// A lossy codec sends what is near to gradient and residual together, block by block, and keeps the
// difference.
static void grad_as_sent(struct cluster *c, uint32_t rank, float *grad)
{
	if (c->o->codec == GP_CODEC_F32)
		return;
	uint32_t block = sent_block_elems(c->job.payload_max);
	float *residual = c->ref_residuals[rank];
	for (uint32_t t = 0; t < c->model.tensors_count; t++) {
		uint32_t left = c->model.elems[t];
		while (left > 0) {
			uint32_t elems = left < block ? left : block;
			sent_block(c->o->codec, grad, residual, elems);
			grad += elems;
			residual += elems;
			left -= elems;
		}
	}
}

static const float *reference(struct cluster *c, uint32_t step)
{
	size_t n = c->model.elems_total;
	if (c->history_count == 0) {
		if (c->o->train)
			model_initial(&c->model, c->history);
		c->history_count = 1;
	}
	for (; c->history_count <= step; c->history_count++) {
		float *prev = c->history + n * (c->history_count - 1);
		float *next = prev + n;
		memcpy(next, prev, sizeof(float) * n);
		for (uint32_t r = 0; r < c->o->workers; r++) {
			model_gradient(&c->model, r, c->history_count, prev, c->ref_grads[r]);
			grad_as_sent(c, r, c->ref_grads[r]);
		}
		model_step(&c->model, c->o->workers, c->ref_grads, next, c->ref_state);
	}
	return c->history + n * step;
}

static void compare(struct cluster *c, const float *seen, uint32_t step, uint32_t from,
	uint32_t count, const char *who, uint32_t idx)
{
	const float *want = reference(c, step) + from;
	for (uint32_t i = 0; i < count; i++)
		if (memcmp(&want[i], &seen[i], sizeof(float)) != 0) {
			fail(c, "%s %u, step %u, element %u: %.9g, the reference has %.9g", who,
				idx, step, from + i, (double)seen[i], (double)want[i]);
			return;
		}
}

// ---- cuts: what a snapshot would read

static void on_cut(void *arg, uint16_t job, uint32_t step, uint32_t decision)
{
	struct cluster *c = arg;
	(void)decision;
	struct gp_tensor_view tv;
	uint32_t elems, from[MODEL_TENSORS_MAX], at = 0;
	for (uint32_t t = 0; t < c->model.tensors_count; t++) {
		from[t] = at;
		at += c->model.elems[t];
	}
	for (uint32_t t = 0; gp_engine_tensor_view(c->engine, 0, t, &tv); t++) {
		uint32_t own = (uint32_t)strtoul(tv.name + 1, NULL, 10);
		for (uint32_t b = 0, done = 0; b < tv.blocks_count; b++, done += elems) {
			const float *v =
				gp_engine_block(c->engine, 0, tv.first_block + b, step, 0, &elems);
			if (!v) {
				fail(c, "cut at %u: block %u is gone", step, tv.first_block + b);
				return;
			}
			compare(c, v, step, from[own] + done, elems, "cut", step);
		}
	}
	c->r->cuts++;
	gp_registrar_cut_release(gp_engine_registrar(c->engine), job);
}

// ---- workers

static void worker_start(struct cluster *c, struct worker *w)
{
	struct gp_ccore_config cfg = {
		.job = "sim",
		.server = "server",
		.v4 = true,
		.rank = (uint16_t)w->rank,
		.world = (uint16_t)c->o->workers,
		.flags = w->lives > 0 ? GP_CLIENT_REPLACE : 0,
		.incarnation = random_next(c) | 1,
		.nonce = random_next(c),
		.codec = c->o->codec,
		.topk_ratio = SENT_TOPK_RATIO,
		.take = mem_take,
		.give = mem_give,
	};
	w->lives++;
	w->phase = W_JOIN;
	w->attached = 1;
	w->tick_at = c->now;
	if (gp_ccore_create(&w->core, &cfg, w->lanes[0]) != 0)
		fail(c, "worker %u: no memory", w->rank);
}

static void worker_kill(struct cluster *c, struct worker *w)
{
	struct gp_client_stats st;
	gp_ccore_stats(w->core, &st);
	c->r->retransmits += st.retransmits;
	gp_ccore_destroy(w->core);
	w->core = NULL;
	w->start_at = c->now + random_next(c) % UINT64_C(800000000);
	c->r->kills++;
}

static bool worker_register(struct cluster *c, struct worker *w)
{
	struct gp_client_tensor d[MODEL_TENSORS_MAX] = {0};
	for (uint32_t t = 0; t < c->model.tensors_count; t++) {
		snprintf(d[t].name, sizeof(d[t].name), "t%u", t);
		d[t].dims_count = 1;
		d[t].dims[0] = c->model.elems[t];
		d[t].priority = c->model.tensors_count - t;
	}
	return gp_ccore_register(w->core, d, c->model.tensors_count) == 0;
}

static void worker_init(struct cluster *c, struct worker *w)
{
	float *params[MODEL_TENSORS_MAX];
	float *at = w->params;
	for (uint32_t t = 0; t < c->model.tensors_count; at += c->model.elems[t++])
		params[t] = at;
	static float *kept[WORKERS_MAX][MODEL_TENSORS_MAX];
	memcpy(kept[w->rank], params, sizeof(params));
	if (c->o->train)
		model_initial(&c->model, w->params);
	if (gp_ccore_init(w->core, kept[w->rank]) != 0)
		fail(c, "worker %u: init: %s", w->rank, gp_ccore_last(w->core)->text);
	w->phase = W_INIT;
}

// Pushes all tensors of the step in an order of its own.
static void worker_push(struct cluster *c, struct worker *w)
{
	uint32_t n = c->model.tensors_count, first = (uint32_t)(random_next(c) % n);
	uint32_t step = gp_ccore_step(w->core);
	const float *base = c->o->train ? w->params : reference(c, step - 1);
	model_gradient(&c->model, w->rank, step, base, w->grad);
	for (uint32_t k = 0; k < n; k++) {
		uint32_t t = (first + k) % n, from = 0;
		for (uint32_t i = 0; i < t; i++)
			from += c->model.elems[i];
		if (gp_ccore_push(w->core, t, w->grad + from, model_weight(&c->model, w->rank),
			    w->params + from) != 0)
			fail(c, "worker %u: push: %s", w->rank, gp_ccore_last(w->core)->text);
	}
	w->phase = W_STEP;
	bool dies = step < c->o->steps && chance(c, c->o->kill_ppm);
	w->kill_at = dies ? c->now + random_next(c) % KILL_WITHIN_NS : UINT64_MAX;
}

static void worker_step_done(struct cluster *c, struct worker *w)
{
	uint32_t step = gp_ccore_step(w->core);
	compare(c, w->params, step, 0, c->model.elems_total, "worker", w->rank);
	c->r->hash = XXH3_64bits_withSeed(
		w->params, sizeof(float) * c->model.elems_total, c->r->hash ^ w->rank);
	if (gp_ccore_step_end(w->core) != 0)
		fail(c, "worker %u: %s", w->rank, gp_ccore_last(w->core)->text);
	if (step >= c->o->steps) {
		gp_ccore_leave(w->core);
		w->phase = W_LEAVE;
	} else {
		worker_push(c, w);
	}
}

static void worker_advance(struct cluster *c, struct worker *w)
{
	const struct gp_client_error *e = gp_ccore_error(w->core);
	if (e && w->phase != W_LEAVE) {
		fail(c, "worker %u: %s", w->rank, e->text);
		return;
	}
	if (gp_ccore_phase(w->core) == GP_CCORE_PORTS)
		for (; w->attached < gp_ccore_lanes(w->core); w->attached++)
			gp_ccore_attach(w->core, w->attached, w->lanes[w->attached]);
	if (w->phase == W_JOIN && gp_ccore_phase(w->core) == GP_CCORE_JOINED) {
		if (!worker_register(c, w))
			fail(c, "worker %u: register: %s", w->rank, gp_ccore_last(w->core)->text);
		w->phase = W_REGISTER;
	}
	if (w->phase == W_REGISTER && gp_ccore_ready(w->core))
		worker_init(c, w);
	if (w->phase == W_INIT && gp_ccore_done(w->core)) {
		(void)gp_ccore_pull_end(w->core);
		uint32_t step = gp_ccore_step(w->core);
		if (c->o->train)
			compare(c, w->params, step - 1, 0, c->model.elems_total, "init", w->rank);
		if (step > c->o->steps) { // it came back after the others had finished
			gp_ccore_leave(w->core);
			w->phase = W_LEAVE;
		} else {
			worker_push(c, w);
		}
	}
	if (w->phase == W_STEP && gp_ccore_done(w->core))
		worker_step_done(c, w);
	if (w->phase == W_LEAVE && (e || gp_ccore_phase(w->core) == GP_CCORE_LEFT)) {
		struct gp_client_stats st;
		gp_ccore_stats(w->core, &st);
		c->r->retransmits += st.retransmits;
		gp_ccore_destroy(w->core);
		w->core = NULL;
		w->phase = W_GONE;
	}
}

static void worker_tick(struct cluster *c, struct worker *w)
{
	if (w->phase == W_GONE)
		return;
	if (!w->core) {
		if (c->now >= w->start_at)
			worker_start(c, w);
		return;
	}
	if (c->now < w->tick_at)
		return;
	(void)gp_ccore_tick(w->core, c->now);
	worker_advance(c, w);
	if (w->core)
		w->tick_at = gp_ccore_tick(w->core, c->now);
	if (w->core && w->phase == W_STEP && c->now >= w->kill_at)
		worker_kill(c, w);
}

// ---- the loop

static void arrivals(struct cluster *c)
{
	struct gp_frame *frames[BURST];
	struct gp_xport *to;
	uint32_t n;
	while ((n = gp_sim_net_deliver(c->net, c->now, &to, frames, BURST)) > 0) {
		const struct gp_addr *a = gp_sim_addr(to);
		uint32_t lane = a->port - BASE_PORT;
		if (a->ip[15] == SERVER_HOST) {
			gp_core_rx(gp_engine_core(c->engine, lane), frames, n, c->now);
			continue;
		}
		struct worker *w = &c->workers[a->ip[15] - WORKER_HOST];
		if (w->core && lane < w->attached) {
			gp_ccore_rx(w->core, lane, frames, n, c->now);
			w->tick_at = c->now;
			continue;
		}
		for (uint32_t i = 0; i < n; i++)
			to->ops->release(to, frames[i]);
	}
}

static void server_tick(struct cluster *c)
{
	for (uint32_t i = 0; i < c->o->cores; i++)
		(void)gp_core_tick(gp_engine_core(c->engine, i), c->now);
	c->server_at = c->now + SERVER_TICK_NS;
	if (c->now < c->control_at)
		return;
	c->control_at = c->now + CONTROL_NS;
	(void)gp_registrar_poll(gp_engine_registrar(c->engine), c->now);
	gp_rcu_grace_turn(gp_engine_grace(c->engine));
	gp_rcu_quiescent();
}

static bool all_gone(const struct cluster *c)
{
	for (uint32_t i = 0; i < c->o->workers; i++)
		if (c->workers[i].phase != W_GONE)
			return false;
	return true;
}

// Names what each worker waits for, and what the server counted.
static void stuck(struct cluster *c)
{
	fail(c, "no progress");
	char text[160];
	for (uint32_t i = 0; i < c->o->workers; i++) {
		struct worker *w = &c->workers[i];
		if (!w->core)
			continue;
		gp_ccore_waiting(w->core, text, sizeof(text));
		printf("worker %u: phase %d step %u waits for %s\n", i, w->phase,
			gp_ccore_step(w->core), text);
	}
	for (uint32_t k = 0; k < c->o->cores; k++)
		for (uint32_t v = 0; v < GP_VERDICT_COUNT; v++) {
			const struct gp_core_stats *st =
				gp_core_stats(gp_engine_core(c->engine, k));
			uint64_t n = gp_counter_read(&st->verdicts[v]);
			if (n > 0)
				printf("core %u: %s %llu\n", k, gp_verdict_name(v),
					(unsigned long long)n);
		}
}

static void run(struct cluster *c)
{
	while (!c->failed && !all_gone(c)) {
		uint64_t next = GP_MIN(gp_sim_net_next_time(c->net), c->server_at);
		for (uint32_t i = 0; i < c->o->workers; i++) {
			struct worker *w = &c->workers[i];
			if (w->phase != W_GONE)
				next = GP_MIN(next, w->core ? w->tick_at : w->start_at);
		}
		c->now = GP_MAX(c->now, next);
		if (c->now > VIRTUAL_MAX_NS)
			stuck(c);
		gp_sim_net_set_now(c->net, c->now);
		arrivals(c);
		server_tick(c);
		for (uint32_t i = 0; i < c->o->workers; i++)
			worker_tick(c, &c->workers[i]);
	}
}

static void settle(struct cluster *c)
{
	for (uint64_t end = c->now + UINT64_C(3000000000); c->now < end; c->now += CONTROL_NS) {
		gp_sim_net_set_now(c->net, c->now);
		arrivals(c);
		server_tick(c);
	}
	char why[200];
	if (!gp_engine_at_rest(c->engine, why, sizeof(why)))
		fail(c, "not at rest: %s", why);
	if (gp_sim_net_frames_free(c->net) != FRAMES)
		fail(c, "%u frames did not come back", FRAMES - gp_sim_net_frames_free(c->net));
}

// ---- set-up

static bool net_start(struct cluster *c)
{
	const struct cluster_opts *o = c->o;
	const struct gp_sim_opts so = {
		.seed = o->seed,
		.endpoints_max = (WORKERS_MAX + 1) * CORES_MAX,
		.frames_count = FRAMES,
		.events_max = FRAMES,
		.mtu = o->mtu - 28,
		.link = {.loss_ppm = o->loss_ppm,
			.duplicate_ppm = o->duplicate_ppm,
			.reorder_ppm = o->reorder_ppm,
			.corrupt_ppm = o->corrupt_ppm,
			.delay_ns_min = 5000,
			.delay_ns_max = 50000,
			.reorder_ns = 2000000},
	};
	c->net = gp_sim_net_create(&so);
	if (!c->net)
		return false;
	for (uint32_t i = 0; i < o->cores; i++) {
		struct gp_addr a = address(SERVER_HOST, BASE_PORT + i);
		c->server[i] = gp_sim_net_add(c->net, &a);
		for (uint32_t w = 0; w < o->workers; w++) {
			a = address(WORKER_HOST + w, BASE_PORT + i);
			c->workers[w].lanes[i] = gp_sim_net_add(c->net, &a);
			gp_sim_connect(c->workers[w].lanes[i], gp_sim_addr(c->server[i]));
		}
	}
	return true;
}

static bool server_start(struct cluster *c)
{
	const struct cluster_opts *o = c->o;
	c->job = (struct gp_job_config){
		.name = "sim",
		.id = JOB_ID,
		.kind = o->train ? GP_KIND_TRAIN : GP_KIND_REDUCE,
		.atomicity = o->atomicity,
		.consistency = GP_CONSIST_BSP,
		.mean = c->model.mean,
		.deterministic = true,
		.workers = o->workers,
		.workers_min = o->workers,
		.slots = o->slots,
		.window = o->window,
		.tensors_max = MODEL_TENSORS_MAX,
		.payload_max = o->mtu - 48,
		.memory_max = 64 << 20,
		.timeout_ns = UINT64_C(500000000),
		.cut_interval = o->cut_interval,
		.optim = {.kind = c->model.nesterov ? GP_OPTIM_NESTEROV : GP_OPTIM_MOMENTUM,
			.lr = c->model.lr,
			.momentum = c->model.momentum,
			.weight_decay = c->model.weight_decay},
	};
	const struct gp_engine_config cfg = {
		.cores_count = o->cores,
		.base_port = BASE_PORT,
		.epoch = 1,
		.sessions_max = 64,
		.ring_size = o->ring_size,
		.payload_max = o->mtu - 48,
		.hello_rate = 10000,
		.seed = o->seed | 1,
		.jobs_count = 1,
		.jobs = &c->job,
		.take = mem_take,
		.give = mem_give,
	};
	if (gp_engine_create(&c->engine, &cfg, c->server) != 0)
		return false;
	const struct gp_registrar_events ev = {.arg = c, .cut_ready = on_cut};
	gp_registrar_set_events(gp_engine_registrar(c->engine), &ev);
	return true;
}

static void memory_take(struct cluster *c)
{
	size_t n = c->model.elems_total;
	c->history = calloc(n * (c->o->steps + 1), sizeof(float));
	c->ref_state = calloc(n, sizeof(float));
	for (uint32_t i = 0; i < c->o->workers; i++) {
		c->ref_grads[i] = calloc(n, sizeof(float));
		c->ref_residuals[i] = calloc(n, sizeof(float));
		c->workers[i] = (struct worker){.rank = i,
			.params = calloc(n, sizeof(float)),
			.grad = calloc(n, sizeof(float)),
			.start_at = random_next(c) % 20000000};
	}
}

static void memory_give(struct cluster *c)
{
	free(c->history);
	free(c->ref_state);
	for (uint32_t i = 0; i < c->o->workers; i++) {
		free(c->ref_grads[i]);
		free(c->ref_residuals[i]);
		free(c->workers[i].params);
		free(c->workers[i].grad);
		gp_ccore_destroy(c->workers[i].core);
	}
}

void cluster_run(const struct cluster_opts *o, struct cluster_result *r)
{
	struct cluster *c = calloc(1, sizeof(*c));
	*r = (struct cluster_result){0};
	c->o = o;
	c->r = r;
	c->random = o->seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
	model_init(&c->model, o->seed, o->elems_max);
	c->model.train = o->train;
	memory_take(c);
	if (!net_start(c) || !server_start(c))
		fail(c, "set-up failed: no memory, or options out of range");
	if (!c->failed)
		run(c);
	if (!c->failed)
		settle(c);
	r->ok = !c->failed;
	r->virtual_ns = c->now;
	r->datagrams = c->net ? gp_sim_net_stats(c->net)->sent : 0;
	memory_give(c);
	gp_engine_destroy(c->engine);
	gp_sim_net_destroy(c->net);
	free(c);
}

void cluster_opts_of_seed(struct cluster_opts *o, uint64_t seed, uint32_t steps)
{
	uint64_t x = seed * UINT64_C(0xd1342543de82ef95) + 1;
	uint32_t bits[16];
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(bits); i++) {
		x ^= x >> 32;
		x *= UINT64_C(0xd1342543de82ef95);
		bits[i] = (uint32_t)(x >> 33);
	}
	// Each fault is off in a part of the histories, so that the others show alone.
	uint32_t faults = bits[0];
	*o = (struct cluster_opts){
		.seed = seed,
		.workers = 2 + bits[1] % (WORKERS_MAX - 1),
		.cores = 1 + bits[2] % CORES_MAX,
		.steps = steps,
		.elems_max = bits[3] % 4 == 0 ? 20000 : 3000,
		.train = bits[4] % 3 != 0,
		.atomicity = (uint8_t)(GP_ATOM_BLOCK + bits[5] % 3),
		.codec = (uint8_t)(bits[6] % 2 ? GP_CODEC_F32
					       : GP_CODEC_F32 + bits[6] / 2 % GP_CODEC_TOPK_F16),
		.slots = 1u << (bits[7] % 7),
		.window = 1 + bits[8] % 64,
		.ring_size = 64u << (bits[9] % 3),
		.mtu = bits[10] % 4 == 0 ? 9000 : 1500,
		.cut_interval = bits[11] % 4,
		.loss_ppm = faults & 1 ? bits[12] % 300000 : 0,
		.duplicate_ppm = faults & 2 ? bits[13] % 300000 : 0,
		.reorder_ppm = faults & 4 ? bits[14] % 300000 : 0,
		.corrupt_ppm = 0, // a flipped bit is the transport's to find (UDP checksum)
	};
	// A worker that dies loses its residual, and with units smaller than a step its next life
	// may begin between two generations: such histories have no reference of plain loops.
	if (faults & 8 && o->codec == GP_CODEC_F32 && o->atomicity == GP_ATOM_STEP)
		o->kill_ppm = bits[15] % 300000;
}
