// SPDX-License-Identifier: BSD-3-Clause
#include "pair.h"
#include "pair_machine.h"
#include "pair_shape.h"

#include <gp_rcu.h>

#include <stdarg.h>
#include <stdlib.h>
#include <xxhash.h>

#define JOB_ID	       1
#define BASE_PORT      9700
#define PAYLOAD	       528
#define STEPS_MAX      6000
#define FAULTS_NS      (4 * SEC)
#define PROGRESS_NS    (30 * SEC)
#define STEPS_CALM     3
#define IDLE_NS	       (200 * US)
#define GRAIN_NS       (10 * US)
#define FRAMES	       8192
#define BURST	       16
#define MEET_EVERY_MAX 6
#define PLAIN_NS       (10 * MS) // the shortest worker_timeout that a configuration may have

void pair_broken(struct pair_sim *s, const char *fmt, ...)
{
	if (s->why[0])
		return;
	va_list args;
	va_start(args, fmt);
	(void)vsnprintf(s->why, sizeof(s->why), fmt, args);
	va_end(args);
}

void pair_traced(struct pair_sim *s, const void *bytes, size_t len)
{
	s->trace = XXH3_64bits_withSeed(bytes, len, s->trace ^ rng_mix(s->now));
}

// ---- what a history is made of

static uint32_t draw(uint64_t seed, uint32_t what, uint32_t bound)
{
	return (uint32_t)rng_scale(rng_mix(rng_mix(seed * 2 + 1) ^ rng_mix(1000 + what)), bound);
}

bool pair_shape_ships(uint64_t seed)
{
	return draw(seed, 30, 3) == 0;
}

static void opts_choose(struct pair_sim *s)
{
	uint64_t seed = s->seed;
	s->o = (struct sim_opts){.seed = seed,
		.workers = 1 + draw(seed, 1, PAIR_WORKERS_MAX),
		.train = draw(seed, 2, 3) != 0,
		.mean = draw(seed, 3, 2),
		.atomicity = (uint8_t)(GP_ATOM_BLOCK + draw(seed, 4, 3)),
		.consistency = GP_CONSIST_BSP,
		.codec = GP_CLIENT_F32,
		.tensors = 1 + draw(seed, 5, 4),
		.elems_max = 16 + draw(seed, 6, 600),
		.payload_max = PAYLOAD,
		.slots = 4u << draw(seed, 7, 4),
		.window = 1 + draw(seed, 8, 16),
		.timeout_ns = (20 + draw(seed, 9, 40)) * MS,
		.steps = STEPS_MAX,
		.compute_ns = (20 + draw(seed, 10, 800)) * US};
	s->o.workers_min = s->o.workers;
	if (draw(seed, 11, 2))
		s->o.workers_min = 1 + draw(seed, 12, s->o.workers);
	s->cores[0] = 1 + draw(seed, 13, PAIR_CORES_MAX);
	s->cores[1] = 1 + draw(seed, 14, PAIR_CORES_MAX);
	s->takeovers_max = 1 + draw(seed, 15, 5);
	s->periodic = !s->plain && pair_shape_ships(seed);
	s->manual = s->periodic && draw(seed, 31, 3) == 0;
	s->full_every = 1 + draw(seed, 32, 4);
	s->o.train |= s->periodic;
	if (!s->plain && draw(seed, 40, 3) == 0)
		s->readers = 1 + draw(seed, 41, PAIR_READERS_MAX);
	if (s->plain)
		s->o.timeout_ns = PLAIN_NS;
	else if (!s->periodic)
		pair_async_choose(s);
	bool may = s->o.train && s->o.consistency <= GP_CONSIST_BSP && !s->plain;
	if (may && s->o.atomicity == GP_ATOM_STEP) {
		s->o.lamb = draw(seed, 40, 3) == 0;
		s->o.clip_percent = draw(seed, 41, 2) ? 30 + draw(seed, 42, 120) : 0;
	}
	// Steps of asynchronous jobs are each rank's own.
	if (!s->plain && !pair_is_async(s) && draw(seed, 42, 3) == 0)
		s->meet_every = 1 + draw(seed, 43, MEET_EVERY_MAX);
	if (s->o.embed) // who reads rows asks for them by their ids
		s->readers = 0;
	pair_both_choose(s, draw(seed, 50, 3) == 0);
	s->o.mixed = !s->plain && !s->codecs_one && !s->o.embed && draw(seed, 60, 3) == 0;
	model_init(&s->model, &s->o);
}

static void net_make(struct pair_sim *s)
{
	uint64_t seed = s->seed;
	bool bad = !s->plain && draw(seed, 20, 2);
	const struct gp_sim_opts o = {.seed = rng_mix(seed),
		.endpoints_max = 32,
		.frames_count = FRAMES,
		.mtu = 1472,
		.link = {.loss_ppm = bad ? draw(seed, 21, 100000) : 0,
			.duplicate_ppm = bad ? draw(seed, 22, 100000) : 0,
			.reorder_ppm = bad ? draw(seed, 23, 100000) : 0,
			.reorder_ns = 3 * MS,
			.delay_ns_min = 20 * US,
			.delay_ns_max = 20 * US + draw(seed, 24, 300) * US}};
	s->net = gp_sim_net_create(&o);
	GP_ASSERT(s->net);
}

static struct gp_addr addr_of(uint8_t host, uint32_t port)
{
	return (struct gp_addr){
		.ip = {[10] = 0xff, [11] = 0xff, 10, 0, 0, host}, .port = (uint16_t)port};
}

struct gp_xport *pair_endpoint(struct pair_sim *s, uint32_t host, uint32_t port)
{
	struct gp_addr a = addr_of((uint8_t)host, port);
	struct gp_xport *x = gp_sim_net_add(s->net, &a);
	GP_ASSERT(x);
	return x;
}

static void job_make(struct pair_sim *s)
{
	s->job = (struct gp_job_config){.name = "sim",
		.id = JOB_ID,
		.kind = s->o.train ? GP_KIND_TRAIN : GP_KIND_REDUCE,
		.atomicity = s->o.atomicity,
		.consistency = GP_CONSIST_BSP,
		.mean = s->o.mean,
		.deterministic = true,
		.workers = s->o.workers,
		.workers_min = s->o.workers_min,
		.slots = s->o.slots,
		.window = s->o.window,
		.tensors_max = MODEL_TENSORS_MAX,
		.payload_max = PAYLOAD,
		.memory_max = 4 << 20,
		.timeout_ns = s->o.timeout_ns,
		.recorded = true,
		.replicated = !s->periodic,
		.clip_norm = s->model.clip,
		.optim = {.kind = s->model.lamb	      ? GP_OPTIM_LAMB
				  : s->model.nesterov ? GP_OPTIM_NESTEROV
						      : GP_OPTIM_MOMENTUM,
			.lr = s->model.lr,
			.momentum = s->model.momentum,
			.beta1 = LAMB_BETA1,
			.beta2 = LAMB_BETA2,
			.epsilon = LAMB_EPSILON,
			.weight_decay = s->model.weight_decay}};
	pair_async_job(s);
}

// Snapshots every few steps, and what may be lost.
static void snapshots_make(struct pair_sim *s, const char *root)
{
	uint32_t interval = 1 + draw(s->seed, 33, 6);
	s->job.cut_interval = interval;
	if (s->periodic)
		s->job.lag_max = interval + draw(s->seed, 34, 3 * interval);
	s->disk[0] = pair_disk_create(root, "node0", rng_next(&s->rng));
	s->disk[1] = pair_disk_create(root, "node1", rng_next(&s->rng));
	oracle_keep(&s->oracle);
}

static void workers_make(struct pair_sim *s)
{
	for (uint32_t i = 0; i < s->o.workers; i++) {
		struct pair_worker *w = &s->w[i];
		*w = (struct pair_worker){.s = s, .rank = i, .server = i & 1};
		w->params = calloc(s->model.elems_total, sizeof(float));
		w->grad = calloc(s->model.elems_total, sizeof(float));
		w->residual = calloc(s->model.elems_total, sizeof(float));
		GP_ASSERT(w->params && w->grad && w->residual);
		for (uint32_t t = 0; t < s->model.tensors_count; t++)
			w->outs[t] = w->params + s->model.from[t];
		for (uint32_t k = 0; k < PAIR_CORES_MAX; k++)
			w->x[k] = pair_endpoint(s, 10 + i, 5000 + k);
		pair_worker_start(w);
	}
}

static struct pair_sim *pair_open(uint64_t seed, const struct pair_how *how)
{
	struct pair_sim *s = calloc(1, sizeof(*s));
	GP_ASSERT(s);
	s->seed = seed;
	s->plain = how->plain;
	s->codecs_one = how->codecs_one;
	s->times = how->times;
	s->now = 1000 * MS;
	pair_machine_begin();
	pair_machine_set_now(s->now);
	rng_start(&s->rng, rng_mix(seed) ^ 0x7061697273);
	pair_net_start(s);
	opts_choose(s);
	oracle_start(&s->oracle, &s->o, &s->model);
	net_make(s);
	job_make(s);
	pair_async_start(s);
	if (s->periodic || s->op.saves)
		snapshots_make(s, how->root);
	s->endpoints = 1 + draw(seed, 25, 3);
	pair_register_open(s, how->root);
	s->out = calloc(PAIR_DECISIONS_MAX, sizeof(*s->out));
	GP_ASSERT(s->out);
	for (uint32_t i = 0; i < 2; i++) {
		s->node[i].told = calloc(PAIR_DECISIONS_MAX, sizeof(struct gp_decision));
		s->node[i].in = malloc(PAIR_IN_SIZE);
		GP_ASSERT(s->node[i].told && s->node[i].in);
		for (uint32_t k = 0; k < s->cores[i]; k++)
			s->node[i].x[k] = pair_endpoint(s, 1 + i, BASE_PORT + k);
		pair_node_start(s, i);
	}
	workers_make(s);
	pair_readers_make(s);
	pair_trouble_start(s);
	return s;
}

static void pair_close(struct pair_sim *s)
{
	for (uint32_t i = 0; i < s->o.workers; i++) {
		gp_ccore_destroy(s->w[i].core);
		free(s->w[i].params);
		free(s->w[i].grad);
		free(s->w[i].residual);
	}
	pair_readers_free(s);
	pair_wire_free(s);
	pair_register_close(s);
	for (uint32_t i = 0; i < 2; i++) {
		pair_node_free(&s->node[i]);
		pair_disk_destroy(s->disk[i]);
		free(s->node[i].told);
		free(s->node[i].in);
	}
	gp_sim_net_destroy(s->net);
	oracle_end(&s->oracle);
	free(s->out);
	free(s);
}

// ---- the loop

static bool node_takes(struct pair_node *n, struct gp_xport *x, struct gp_frame **f, uint32_t got)
{
	struct pair_sim *s = n->s;
	uint32_t k = 0;
	while (k < s->cores[n->idx] && n->x[k] != x)
		k++;
	if (k == s->cores[n->idx])
		return false;
	for (uint32_t i = 0; i < got; i++) {
		bool asleep = s->now < n->awake_at;
		if (!n->alive || !pair_reaches(s, pair_place_of(f[i]), n->idx) ||
			(asleep && n->held_count == PAIR_HELD_MAX)) {
			x->ops->release(x, f[i]);
		} else if (asleep) {
			n->held_at[n->held_count] = (uint8_t)k;
			n->held[n->held_count++] = f[i];
		} else {
			gp_core_rx(gp_engine_core(n->engine, k), &f[i], 1, pair_now(s, n->idx));
		}
	}
	return true;
}

// Whose lane of now it is; NULL: nobody's.
static struct pair_worker *worker_of(struct pair_sim *s, const struct gp_xport *x, uint32_t *lane)
{
	for (uint32_t i = 0; i < s->o.workers; i++) {
		struct pair_worker *w = &s->w[i];
		for (uint32_t k = 0; k < w->lanes && w->core; k++)
			if (w->x[k] == x) {
				*lane = k;
				return w;
			}
	}
	return NULL;
}

static void worker_takes(struct pair_sim *s, struct gp_xport *x, struct gp_frame **f, uint32_t got)
{
	uint32_t lane, place;
	struct pair_worker *w = worker_of(s, x, &lane);
	for (uint32_t i = 0; i < got; i++) {
		place = w ? PAIR_WORKER + w->rank : 0;
		if (w && pair_reaches(s, pair_place_of(f[i]), place))
			gp_ccore_rx(w->core, lane, &f[i], 1, pair_now(s, place));
		else
			x->ops->release(x, f[i]);
	}
}

// To whom it is.
static void take(struct pair_sim *s, struct gp_xport *x, struct gp_frame **f, uint32_t got)
{
	for (uint32_t i = 0; i < got; i++)
		pair_traced(s, f[i]->data, f[i]->len);
	if (!node_takes(&s->node[0], x, f, got) && !node_takes(&s->node[1], x, f, got))
		if (!pair_reader_takes(s, x, f, got))
			worker_takes(s, x, f, got);
}

static void turn(struct pair_sim *s)
{
	struct gp_xport *x;
	struct gp_frame *f[BURST];
	uint32_t got;
	uint64_t next = s->now + IDLE_NS;
	s->turn++;
	gp_sim_net_set_now(s->net, s->now);
	pair_machine_set_now(s->now);
	pair_trouble_turn(s);
	while ((got = gp_sim_net_deliver(s->net, s->now, &x, f, BURST)) > 0)
		take(s, x, f, got);
	if (s->periodic)
		pair_operator_turn(s);
	else
		pair_wire_turn(s);
	if (s->op.saves)
		pair_both_turn(s);
	pair_register_turn(s);
	pair_node_turn(&s->node[0]);
	pair_node_turn(&s->node[1]);
	for (uint32_t i = 0; i < s->o.workers; i++)
		next = GP_MIN(next, pair_worker_turn(&s->w[i]));
	pair_readers_turn(s);
	pair_meet_turn(s);
	next = GP_MIN(next, gp_sim_net_next_time(s->net));
	s->now = GP_MAX(next, s->now + GRAIN_NS);
}

static bool all_over(const struct pair_sim *s)
{
	for (uint32_t i = 0; i < s->o.workers; i++)
		if (s->w[i].phase != PAIR_OVER && !s->w[i].passed)
			return false;
	return true;
}

static uint32_t generation(const struct pair_sim *s)
{
	return s->oracle.generation == UINT32_MAX ? 0 : s->oracle.generation;
}

static void calm_begin(struct pair_sim *s)
{
	s->calm = true;
	s->calm_at = s->now;
	s->last_step = generation(s) + STEPS_CALM;
	pair_trouble_end(s);
}

static void run(struct pair_sim *s)
{
	uint64_t began = s->now;
	while (!s->why[0] && !pair_machine_trouble()) {
		turn(s);
		if (s->oracle.why[0])
			pair_broken(s, "%s", s->oracle.why);
		bool late = s->now - began > FAULTS_NS ||
			    generation(s) + 2 * STEPS_CALM > s->oracle.rows;
		if (!s->calm && (late || s->takeovers >= s->takeovers_max))
			calm_begin(s);
		if (s->calm && all_over(s))
			break;
		if (s->calm && s->now - s->calm_at > PROGRESS_NS)
			pair_broken(s,
				"no progress after the faults: generation %u of %u, node 0 %s %s, "
				"node 1 %s %s",
				generation(s), s->last_step, s->node[0].alive ? "is" : "is dead",
				gp_lead_role_name(s->node[0].rules.role),
				s->node[1].alive ? "is" : "is dead",
				gp_lead_role_name(s->node[1].rules.role));
	}
	if (!s->why[0] && !pair_machine_trouble())
		pair_check_end(s);
	if (s->oracle.why[0])
		pair_broken(s, "%s", s->oracle.why);
	if (pair_machine_trouble()) // whatever came of it
		(void)snprintf(s->why, sizeof(s->why), "the machine's disk, not the history's: %s",
			pair_machine_trouble());
}

bool pair_run(uint64_t seed, const struct pair_how *how, struct pair_stats *sum, uint64_t *hash,
	char why[PAIR_WHY_SIZE])
{
	struct pair_sim *s = pair_open(seed, how);
	run(s);
	memcpy(why, s->why, PAIR_WHY_SIZE);
	s->stats.histories = 1;
	s->stats.commits = s->oracle.commits;
	s->stats.checks = s->oracle.checks;
	const uint64_t *from = (const uint64_t *)&s->stats;
	uint64_t *to = (uint64_t *)sum;
	for (uint32_t i = 0; i < sizeof(*sum) / sizeof(*to); i++)
		to[i] += from[i];
	bool ok = why[0] == 0;
	*hash = s->trace ^ s->rng.s[0] ^ s->now ^ rng_mix(s->decision);
	pair_close(s);
	return ok;
}
