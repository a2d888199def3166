// SPDX-License-Identifier: BSD-3-Clause
#include "takeover_rig.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <gp_backup.h>
#include <stdlib.h>

#define MS	   UINT64_C(1000000)
#define PORT	   9700
#define TIMEOUT	   (200 * MS)
#define ATTEMPT	   (300 * MS)
#define TIME_MAX   (60000 * MS)
#define BLOCK_MAX  16
#define ALL_ELEMS  (TR_ELEMS + TR_ELEMS_B)
#define BARRIER_ID 7

static const uint64_t dims[2][1] = {{TR_ELEMS}, {TR_ELEMS_B}};
static const struct gp_client_tensor model[2] = {
	{.name = "w", .dims_count = 1, .dims = {TR_ELEMS}},
	{.name = "b", .dims_count = 1, .dims = {TR_ELEMS_B}, .priority = 1},
};

struct tr_how tr_how(void)
{
	return (struct tr_how){.kind = GP_KIND_TRAIN,
		.atomicity = GP_ATOM_STEP,
		.codec = GP_CLIENT_F32,
		.cores = {1, 1},
		.workers = 2,
		.workers_min = 2,
		.seed = 1,
		.kill_at = TR_NEVER,
		.kill_rank = TR_NEVER};
}

static void *mem_take(void *arg, size_t size)
{
	(void)arg;
	size = gp_align_up(size, GP_CACHE_LINE);
	void *mem = aligned_alloc(GP_CACHE_LINE, size);
	return mem ? memset(mem, 0, size) : NULL;
}

static void mem_give(void *arg, void *mem)
{
	(void)arg;
	free(mem);
}

// ---- servers

static struct gp_addr addr_of(uint8_t host, uint32_t port)
{
	return (struct gp_addr){
		.ip = {[10] = 0xff, [11] = 0xff, 10, 0, 0, host}, .port = (uint16_t)port};
}

static void server_start(struct tr_rig *r, uint32_t i)
{
	struct tr_server *s = &r->server[i];
	bool differs = i == 1 && r->how.block_elems_differ;
	for (uint32_t k = 0; k < r->how.cores[i]; k++) {
		struct gp_addr a = addr_of((uint8_t)(1 + i), PORT + k);
		s->x[k] = gp_sim_net_add(r->net, &a);
		cr_assert(s->x[k]);
	}
	s->cfg = (struct gp_engine_config){
		.cores_count = r->how.cores[i],
		.base_port = PORT,
		.epoch = i == 1 && r->how.epoch_b ? r->how.epoch_b - 1 : 5,
		.sessions_max = 16,
		.ring_size = 64,
		.payload_max = differs ? 1300 : 1452,
		.standby = i == 1,
		.hello_rate = 1000000,
		.seed = 1 + i,
		.jobs_count = 1,
		.jobs = &r->job,
		.take = mem_take,
		.give = mem_give,
	};
	cr_assert_eq(gp_engine_create(&s->e, &s->cfg, s->x), 0);
	s->alive = true;
}

static void server_turn(struct tr_rig *r, struct tr_server *s)
{
	for (uint32_t k = 0; k < s->cfg.cores_count; k++)
		(void)gp_core_tick(gp_engine_core(s->e, k), r->now);
	(void)gp_registrar_poll(gp_engine_registrar(s->e), r->now);
	gp_rcu_quiescent();
	gp_rcu_grace_turn(gp_engine_grace(s->e));
}

// ---- the takeover

static void tensor_copy(
	struct tr_rig *r, const struct gp_backup_base *base, uint32_t t, bool ahead, uint32_t step)
{
	const struct gp_engine *e = r->server[0].e;
	struct gp_tensor_view v;
	cr_assert(gp_engine_tensor_view(e, 0, t, &v));
	for (uint32_t b = 0; b < v.blocks_count; b++) {
		struct gp_backup_block x;
		if (ahead && !r->ahead[t][b])
			continue;
		cr_assert(gp_backup_block(e, base->job_idx, v.first_block + b, step, &x));
		size_t at = (t ? TR_ELEMS : 0) + (size_t)b * 336;
		for (uint32_t k = 0; k < x.arrays_count; k++)
			memcpy(r->values[ahead][k] + at, x.arrays[k], sizeof(float) * x.elems);
	}
}

static void ahead_note(struct tr_rig *r, const struct gp_backup_base *base)
{
	for (uint32_t u = 0; u < base->units_count; u++) {
		uint32_t first, n;
		n = gp_backup_unit_blocks(r->server[0].e, 0, u, &first);
		for (uint32_t b = first; b < first + n; b++)
			r->ahead[b >= 3][b >= 3 ? b - 3 : b] =
				base->steps[u] == base->generation + 1;
	}
}

// B takes A's place where it has all; else it begins from something like a snapshot of A's.
static struct gp_history history_of(const struct tr_rig *r, const struct gp_backup_base *base)
{
	if (r->how.others)
		return (struct gp_history){.before = 77};
	if (r->how.ahead)
		return base->history;
	return (struct gp_history){.before = gp_engine_history(r->server[0].e, 0, r->restore.step)};
}

static void on_base(void *arg, const struct gp_backup_base *base)
{
	struct tr_rig *r = arg;
	bool reduce = r->how.kind == GP_KIND_REDUCE; // whose generation 0 holds nothing
	bool whole = base->generation != UINT32_MAX && !(reduce && base->generation == 0);
	r->restore = (struct gp_restore){
		.step = base->generation, .decision = base->decision, .tensors_count = 2};
	r->restore.tensors = r->tensors;
	r->restore.block_elems = r->how.ahead ? 336 : 0;
	if (r->how.ahead)
		ahead_note(r, base);
	for (uint32_t t = 0; t < 2; t++) {
		size_t at = t ? TR_ELEMS : 0;
		r->tensors[t] = (struct gp_restore_tensor){.name = model[t].name,
			.dims_count = 1,
			.dims = dims[t],
			.values = whole ? r->values[0][0] + at : NULL,
			.states = {whole ? r->values[0][1] + at : NULL},
			.ahead = r->how.ahead ? r->ahead[t] : NULL,
			.ahead_values = r->values[1][0] + at,
			.ahead_states = {r->values[1][1] + at}};
		if (whole)
			tensor_copy(r, base, t, false, base->generation);
		if (r->how.ahead)
			tensor_copy(r, base, t, true, base->generation + 1);
	}
	// A step that was lost: the values do not matter to who only looks at numbers.
	if (whole && base->generation >= r->how.behind)
		r->restore.step -= r->how.behind;
	r->restore.history = history_of(r, base);
}

static void on_decided(void *arg, uint32_t job_idx, const struct gp_decision *d)
{
	(void)arg, (void)job_idx, (void)d; // A is gone
}

// What A has decided is what B holds, released or not.
static void kill(struct tr_rig *r)
{
	struct tr_server *a = &r->server[0], *b = &r->server[1];
	const struct gp_backup_sink sink = {.arg = r, .base = on_base, .decided = on_decided};
	cr_assert(gp_backup_gate(a->e, 0, true));
	for (uint32_t k = 0; k < a->cfg.cores_count; k++)
		(void)gp_core_tick(gp_engine_core(a->e, k), r->now);
	(void)gp_backup_poll(a->e, &sink, UINT32_MAX);
	a->alive = false;
	bool any = r->restore.tensors && (r->restore.step != UINT32_MAX || r->how.ahead);
	for (int rc = any ? -EBUSY : 0; rc == -EBUSY;) {
		rc = gp_registrar_restore(gp_engine_registrar(b->e), 1, &r->restore);
		cr_assert(rc == 0 || rc == -EBUSY, "%d", rc);
		server_turn(r, b);
	}
	uint32_t epoch = r->how.epoch_b ? r->how.epoch_b : a->cfg.epoch + 1;
	cr_assert_eq(gp_registrar_promote(gp_engine_registrar(b->e), epoch), 0);
	if (r->how.kill_rank != TR_NEVER)
		r->w[r->how.kill_rank].phase = TR_DEAD;
}

// ---- workers

static void core_open(struct tr_worker *w)
{
	struct gp_ccore_config cfg = {
		.job = "job",
		.v4 = true,
		.rank = (uint16_t)w->rank,
		.world = (uint16_t)w->r->how.workers,
		.incarnation = 1000 * (w->rank + 1) + ++w->attempts,
		.nonce = w->attempts,
		.silence_ns = 50 * MS,
		.flags = w->r->how.borrows ? GP_CLIENT_BORROW : 0,
		.compress = {.codec = w->r->how.codec,
			.topk_ratio = 0.1f,
			.by_caller = w->r->how.by_caller > 0},
		.take = mem_take,
		.give = mem_give,
	};
	strcpy(cfg.server, w->server ? "B" : "A");
	w->lanes_count = 1;
	w->give_up_at = w->r->now + ATTEMPT;
	gp_sim_connect(w->lanes[0], gp_sim_addr(w->r->server[w->server].x[0]));
	cr_assert_eq(gp_ccore_create(&w->core, &cfg, w->lanes[0]), 0);
}

static void core_again(struct tr_worker *w)
{
	struct gp_ccore_again how = {.v4 = true,
		.incarnation = 1000 * (w->rank + 1) + ++w->attempts,
		.nonce = w->attempts};
	strcpy(how.server, w->server ? "B" : "A");
	w->lanes_count = 1;
	w->give_up_at = w->r->now + ATTEMPT;
	gp_sim_connect(w->lanes[0], gp_sim_addr(w->r->server[w->server].x[0]));
	gp_ccore_again(w->core, &how, w->lanes[0]);
}

static void session_lost(struct tr_worker *w)
{
	const struct gp_client_error *why = gp_ccore_error(w->core);
	if (why)
		memcpy(w->text, why->text, sizeof(w->text));
	w->refused_old += why && why->code == -EHOSTUNREACH && strstr(why->text, "old leader");
	w->reformed += why && why->code == -ESTALE;
	w->server ^= why && why->code == -ESTALE ? 0 : 1;
	if (gp_ccore_can_again(w->core)) {
		core_again(w);
		return;
	}
	gp_ccore_destroy(w->core);
	core_open(w);
	w->phase = TR_JOINS;
}

static void lanes_attach(struct tr_worker *w)
{
	for (; w->lanes_count < gp_ccore_lanes(w->core); w->lanes_count++) {
		uint32_t i = w->lanes_count;
		gp_sim_connect(w->lanes[i], gp_sim_addr(w->r->server[w->server].x[i]));
		gp_ccore_attach(w->core, i, w->lanes[i]);
	}
}

// Differs for each rank, step and element; halves and quarters, so that sums are not exact in the
// codecs that round.
static void grad_fill(struct tr_worker *w, uint32_t step)
{
	for (uint32_t i = 0; i < ALL_ELEMS; i++)
		w->grad[i] = (float)((i * 37 + step * 101 + w->rank * 59) % 211) * 0.0137f - 1.1f;
}

// Encoded at once, and handed over block by block.
static int push_encoded(struct tr_worker *w, uint32_t t)
{
	struct gp_client_blocks b;
	struct encoder *e = &w->encoder[t];
	cr_assert_eq(gp_ccore_blocks(w->core, t, &b), 0);
	int rc = gp_ccore_push_encoded(w->core, t, encoder_begin(e, &b), 1, w->pointers[t]);
	w->given[t] = 0;
	if (rc == 0)
		encoder_run(e, w->grad + (t ? TR_ELEMS : 0));
	return rc;
}

static void blocks_give(struct tr_worker *w)
{
	for (uint32_t t = 0; t < w->pushed; t++) {
		uint32_t blocks = w->encoder[t].blocks.count;
		w->given[t] = GP_MIN(w->given[t] + w->r->how.by_caller, blocks);
		int rc = gp_ccore_encoded_ready(w->core, t, w->given[t]);
		cr_assert_eq(rc, 0, "%s", gp_ccore_last(w->core)->text);
	}
}

static int push(struct tr_worker *w, uint32_t t)
{
	if (w->r->how.by_caller)
		return push_encoded(w, t);
	return gp_ccore_push(w->core, t, w->grad + (t ? TR_ELEMS : 0), 1, w->pointers[t]);
}

#define SCRIBBLE 12345.0f

static void result_use(struct tr_worker *w)
{
	if (!w->r->how.takes || w->took || !gp_ccore_tensor_take(w->core, 0))
		return;
	w->took = true;
	w->was = w->out[0];
	w->out[0] = SCRIBBLE;
}

static void step_end(struct tr_worker *w)
{
	cr_assert_eq(gp_ccore_step_end(w->core), 0);
	w->pushed = 0;
	if (!w->took)
		return;
	cr_assert_eq(w->out[0], SCRIBBLE, "a result in use was written again");
	w->out[0] = w->was;
	w->took = false;
}

static void step_turn(struct tr_worker *w)
{
	uint32_t step = gp_ccore_step(w->core);
	if (step > TR_STEPS) {
		w->phase = TR_OVER;
	} else if (step == TR_BARRIER && !w->met) {
		cr_assert_eq(gp_ccore_barrier(w->core, BARRIER_ID), 0);
		w->phase = TR_MEETS;
	} else if (w->pushed < 2) {
		uint32_t t = w->pushed++;
		grad_fill(w, step);
		int rc = push(w, t);
		cr_assert_eq(rc, 0, "%s", gp_ccore_last(w->core)->text);
	} else {
		result_use(w);
		if (gp_ccore_done(w->core))
			step_end(w);
	}
	if (w->r->how.by_caller)
		blocks_give(w);
}

static void init_begin(struct tr_worker *w)
{
	for (uint32_t i = 0; i < ALL_ELEMS; i++)
		w->out[i] = (float)(i % 17) - 8 + (float)w->rank;
	cr_assert_eq(gp_ccore_init(w->core, w->pointers), 0);
	w->pushed = 0;
	w->took = false;
	memset(w->encoder, 0, sizeof(w->encoder)); // what was kept back is not of this step
	w->phase = TR_INITS;
}

static void joined(struct tr_worker *w)
{
	if (gp_ccore_phase(w->core) != GP_CCORE_JOINED)
		return;
	cr_assert_eq(gp_ccore_register(w->core, model, 2), 0);
	w->phase = TR_REGISTERS;
}

static void program(struct tr_worker *w)
{
	if (gp_ccore_phase(w->core) == GP_CCORE_PORTS)
		lanes_attach(w);
	switch (w->phase) {
	case TR_JOINS:
		joined(w);
		return;
	case TR_REGISTERS:
		if (gp_ccore_ready(w->core))
			init_begin(w);
		return;
	case TR_INITS:
		if (gp_ccore_done(w->core)) {
			(void)gp_ccore_pull_end(w->core);
			w->phase = TR_STEPS_ON;
		}
		return;
	case TR_MEETS:
		if (gp_ccore_barrier_done(w->core)) {
			w->met = true;
			w->phase = TR_STEPS_ON;
		}
		return;
	case TR_STEPS_ON:
		step_turn(w);
		return;
	default:
		return;
	}
}

static uint64_t worker_turn(struct tr_worker *w)
{
	uint64_t at = gp_ccore_tick(w->core, w->r->now);
	bool mute = gp_ccore_phase(w->core) == GP_CCORE_HELLO && w->r->now > w->give_up_at;
	enum gp_ccore_fate before = gp_ccore_fate(w->core);
	if (gp_ccore_error(w->core) || mute) {
		session_lost(w);
		return w->r->now;
	}
	if (before == GP_CCORE_AGAIN) {
		if (gp_ccore_phase(w->core) == GP_CCORE_PORTS)
			lanes_attach(w);
		return at;
	}
	if (before == GP_CCORE_ROLLED_BACK && w->rolled_back == 0) {
		w->rolled_back++;
		w->resumed_at = gp_ccore_step(w->core);
		init_begin(w);
	}
	program(w);
	return at;
}

// ---- the history

static void frame_arrives(struct tr_rig *r, struct gp_xport *x, struct gp_frame *f)
{
	for (uint32_t i = 0; i < 2; i++)
		for (uint32_t k = 0; k < r->how.cores[i]; k++)
			if (r->server[i].x[k] == x && r->server[i].alive) {
				gp_core_rx(gp_engine_core(r->server[i].e, k), &f, 1, r->now);
				return;
			}
	for (uint32_t i = 0; i < r->how.workers; i++)
		for (uint32_t k = 0; k < r->w[i].lanes_count; k++)
			if (r->w[i].lanes[k] == x && r->w[i].phase != TR_DEAD) {
				gp_ccore_rx(r->w[i].core, k, &f, 1, r->now);
				return;
			}
	x->ops->release(x, f);
}

static bool turn(struct tr_rig *r)
{
	struct gp_xport *x;
	struct gp_frame *f;
	bool over = true;
	uint64_t next = r->now + MS;
	while (gp_sim_net_deliver(r->net, r->now, &x, &f, 1) > 0) {
		frame_arrives(r, x, f);
		if (++r->events == r->how.kill_at)
			kill(r);
	}
	for (uint32_t i = 0; i < 2; i++)
		if (r->server[i].alive)
			server_turn(r, &r->server[i]);
	for (uint32_t i = 0; i < r->how.workers; i++) {
		struct tr_worker *w = &r->w[i];
		if (w->phase == TR_DEAD)
			continue;
		next = GP_MIN(next, worker_turn(w));
		over &= w->phase == TR_OVER && gp_ccore_fate(w->core) != GP_CCORE_AGAIN;
	}
	next = GP_MIN(next, gp_sim_net_next_time(r->net));
	r->now = GP_MAX(next, r->now + MS / 100);
	return !over;
}

static void workers_add(struct tr_rig *r)
{
	for (uint32_t i = 0; i < r->how.workers; i++) {
		struct tr_worker *w = &r->w[i];
		w->r = r;
		w->rank = i;
		w->pointers[0] = w->out;
		w->pointers[1] = w->out + TR_ELEMS;
		for (uint32_t k = 0; k < TR_CORES_MAX; k++) {
			struct gp_addr a = addr_of((uint8_t)(10 + i), 5000 + k);
			w->lanes[k] = gp_sim_net_add(r->net, &a);
			cr_assert(w->lanes[k]);
		}
		core_open(w);
	}
}

static struct tr_rig *rig_open(const struct tr_how *how)
{
	struct tr_rig *r = calloc(1, sizeof(*r));
	r->how = *how;
	r->now = 1000 * MS;
	for (uint32_t i = 0; i < 4; i++)
		r->values[i / 2][i % 2] = calloc(ALL_ELEMS, sizeof(float));
	const struct gp_sim_opts opts = {.seed = how->seed,
		.endpoints_max = 32,
		.frames_count = 1024,
		.link = {.loss_ppm = how->loss_ppm,
			.delay_ns_min = MS / 20,
			.delay_ns_max = MS / 5}};
	r->net = gp_sim_net_create(&opts);
	r->job = (struct gp_job_config){.name = "job",
		.id = 1,
		.kind = how->kind,
		.atomicity = how->atomicity,
		.consistency = GP_CONSIST_BSP,
		.workers = how->workers,
		.workers_min = how->workers_min,
		.slots = 16,
		.window = 16,
		.tensors_max = 4,
		.payload_max = 1452, // as every path here: B cuts blocks as A does
		.memory_max = 1 << 20,
		.timeout_ns = TIMEOUT,
		.replicated = true,
		.optim = {.kind = GP_OPTIM_MOMENTUM, .lr = 0.1f, .momentum = 0.9f}};
	server_start(r, 0);
	server_start(r, 1);
	workers_add(r);
	return r;
}

static void rig_close(struct tr_rig *r)
{
	for (uint32_t i = 0; i < r->how.workers; i++)
		gp_ccore_destroy(r->w[i].core);
	gp_engine_destroy(r->server[0].e);
	gp_engine_destroy(r->server[1].e);
	gp_sim_net_destroy(r->net);
	for (uint32_t i = 0; i < 4; i++)
		free(r->values[i / 2][i % 2]);
	free(r);
}

static void end_note(struct tr_rig *r, struct tr_end *end)
{
	struct gp_job_view v;
	const struct gp_engine *e = r->server[r->server[0].alive ? 0 : 1].e;
	gp_engine_job_view(e, 0, &v);
	*end = (struct tr_end){.events = r->events, .generation = v.generation};
	if (v.ready && v.generation != UINT32_MAX)
		(void)!gp_engine_digest(e, 0, v.generation, &end->digest);
	for (uint32_t i = 0; i < r->how.workers; i++) {
		const struct tr_worker *w = &r->w[i];
		memcpy(end->out[i], w->out, sizeof(w->out));
		memcpy(end->text[i], w->text, sizeof(w->text));
		end->fate[i] = gp_ccore_fate(w->core);
		end->rolled_back[i] = w->rolled_back;
		end->resumed_at[i] = w->resumed_at;
		end->refused_old[i] = w->refused_old;
		end->reformed[i] = w->reformed;
	}
}

bool tr_run(const struct tr_how *how, struct tr_end *end)
{
	gp_rcu_register_thread();
	struct tr_rig *r = rig_open(how);
	bool on = true;
	while (on && r->now < TIME_MAX) {
		gp_sim_net_set_now(r->net, r->now);
		on = turn(r);
	}
	end_note(r, end);
	rig_close(r);
	gp_rcu_unregister_thread();
	return !on;
}
