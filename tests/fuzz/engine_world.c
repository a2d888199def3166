// SPDX-License-Identifier: BSD-3-Clause
//
// The engine under the fuzzer: surroundings and invariants.
#include "engine_world.h"

#define BASE_PORT   9700
#define TIMEOUT_NS  (200 * MS_NS)
#define ROUND_NS    UINT64_C(100000)
#define REST_ROUNDS 40

const uint64_t tensor_elems[TENSORS] = {200, 10};

// libFuzzer takes these for coverage: inputs that reach new states are kept.
__attribute__((section("__libfuzzer_extra_counters"))) static uint8_t states_seen[8192];

// ---- the engine's surroundings

static void *mem_take(void *arg, size_t size)
{
	(void)arg;
	size = gp_align_up(size, GP_CACHE_LINE);
	void *p = aligned_alloc(GP_CACHE_LINE, size);
	GP_ASSERT(p);
	return memset(p, 0, size);
}

static void mem_give(void *arg, void *mem)
{
	(void)arg;
	free(mem);
}

static void on_cut_ready(void *arg, uint16_t job, uint32_t step, uint32_t decision)
{
	struct world *w = arg;
	(void)job, (void)decision;
	GP_ASSERT(!w->cut_ready);
	w->cut_ready = true;
	uint32_t elems; // a reduce job's generation is nothing that is kept
	for (uint32_t b = 0; b < BLOCKS && w->job.kind == GP_KIND_TRAIN; b++)
		GP_ASSERT(gp_engine_block(w->e, 0, b, step, 0, &elems));
}

static struct gp_addr peer_addr(uint32_t peer, uint32_t core)
{
	return (struct gp_addr){
		.ip = {[10] = 0xff, [11] = 0xff, [12] = 10, [15] = (uint8_t)(10 + peer)},
		.port = (uint16_t)(5000 + core)};
}

static void commit_learn(struct peer *p, const struct gp_msg *m)
{
	struct gp_commit c;
	gp_wire_get_commit(m, &c);
	for (uint32_t i = 0; i < c.n; i++) {
		struct gp_commit_entry e;
		gp_wire_get_commit_entry(m, i, &e);
		if (e.kind == GP_DECISION_VIEW)
			p->view = e.view;
		p->decision = c.first + i;
	}
}

static void welcome_learn(struct peer *p, const struct gp_msg *m)
{
	struct gp_welcome x;
	gp_wire_get_welcome(m, &x);
	if (x.incarnation != p->incarnation || x.session == p->session)
		return;
	p->session = x.session;
	p->job = x.job;
	p->rank = x.rank;
	p->epoch = m->h.epoch;
	p->view = m->h.view;
	p->decision = x.decision;
	memset(p->packet, 0, sizeof(p->packet));
}

static void on_sent(struct port *port, const struct gp_addr *to, const uint8_t *data, uint32_t len,
	const struct gp_msg *m)
{
	struct world *w = port->owner;
	uint32_t i = to->ip[15] - 10u;
	(void)data;
	GP_ASSERT(i < PEERS);
	struct peer *p = &w->peers[i];
	p->bytes_got += len;
	if (i == STRANGER)
		GP_ASSERT(p->bytes_got <= p->bytes_sent);
	if (m->h.type == GP_WIRE_HELLO_REPLY) {
		struct gp_hello hello;
		gp_wire_get_hello(m, &hello);
		memcpy(p->cookie[port->idx], hello.cookie, GP_WIRE_COOKIE_SIZE);
	} else if (m->h.type == GP_WIRE_WELCOME) {
		welcome_learn(p, m);
	} else if (m->h.type == GP_WIRE_COMMIT) {
		commit_learn(p, m);
	}
}

static const float values[200] = {1.0f};

void world_restore(struct world *w, uint32_t step, uint32_t decision)
{
	static const struct gp_restore_tensor tensors[TENSORS] = {
		{.name = "a",
			.dims_count = 1,
			.dims = &tensor_elems[0],
			.values = values,
			.states = {values}},
		{.name = "b",
			.dims_count = 1,
			.dims = &tensor_elems[1],
			.values = values,
			.states = {values}},
	};
	const struct gp_restore r = {
		.step = step, .decision = decision, .tensors_count = TENSORS, .tensors = tensors};
	int rc = gp_registrar_restore(w->reg, w->job.id, &r);
	GP_ASSERT(rc == 0);
}

// Every consistency, direct and staged, with every policy for what is late.
static void consistency_choose(struct gp_job_config *j, uint8_t how)
{
	static const struct {
		uint8_t consistency, atomicity, stale;
	} ways[] = {
		{GP_CONSIST_BSP, 0, 0},
		{GP_CONSIST_SSP, GP_ATOM_BLOCK, GP_STALE_HOLD},
		{GP_CONSIST_ASP, GP_ATOM_STEP, GP_STALE_HOLD},
		{GP_CONSIST_QUORUM, GP_ATOM_STEP, GP_STALE_HOLD},
		{GP_CONSIST_QUORUM, GP_ATOM_STEP, GP_STALE_REFUSE},
		{GP_CONSIST_ADAPTIVE, GP_ATOM_BLOCK, GP_STALE_SCALE},
		{GP_CONSIST_ASP, GP_ATOM_BLOCK, GP_STALE_REFUSE},
		{GP_CONSIST_SSP, GP_ATOM_STEP, GP_STALE_SCALE},
	};
	uint32_t i = how >> 4 & 7;
	j->consistency = ways[i].consistency;
	if (j->consistency == GP_CONSIST_BSP && (how & 3) != 2)
		return;
	j->atomicity = ways[i].atomicity;
	j->stale = ways[i].stale;
	if (j->consistency != GP_CONSIST_QUORUM)
		j->kind = GP_KIND_TRAIN;
	j->bound = 1;
	j->stale_max = 1;
	j->staleness_lr = how >> 2 & 1;
	j->quorum_min = 1;
	j->quorum_wait_ns = how & 8 ? UINT64_MAX : 0;
	j->cuts_max = 4;
	j->optim.delay_compensation = how & 8 ? 0.1f : 0.0f;
}

static void job_choose(struct world *w)
{
	struct input *in = &w->in;
	uint8_t a = input_u8(in), b = input_u8(in);
	w->how = input_u8(in);
	w->cores = 1 + (a & 1);
	w->job = (struct gp_job_config){
		.name = "job",
		.id = (uint16_t)(1 + (a >> 1 & 1)), // home is core 0 or 1
		.kind = a & 4 ? GP_KIND_TRAIN : GP_KIND_REDUCE,
		.atomicity = (uint8_t)(GP_ATOM_BLOCK + (a >> 3) % 3),
		.consistency = GP_CONSIST_BSP,
		.mean = a >> 7,
		.nonfinite = (w->how >> 2 & 3) % 3,
		.workers = 2,
		.workers_min = 1 + (b & 1),
		.slots = 1u << (b >> 1 & 3),
		.window = 1 + (b >> 3 & 7),
		.tensors_max = 4,
		.payload_max = PAYLOAD,
		.memory_max = 256 << 10,
		.timeout_ns = TIMEOUT_NS,
		.cut_interval = b & 64 ? 2 : 0,
		.optim = {.kind = b & 128 ? GP_OPTIM_MOMENTUM : GP_OPTIM_SGD,
			.lr = 0.1f,
			.momentum = 0.9f},
	};
	consistency_choose(&w->job, w->how);
	if ((w->how & 3) == 2)
		rows_job_choose(w, a, b);
}

void world_begin(struct world *w)
{
	struct gp_xport *xports[CORES_MAX];
	job_choose(w);
	for (uint32_t i = 0; i < w->cores; i++) {
		w->port[i] = (struct port){
			.x = {.ops = &port_ops, .mtu = MTU}, .sent = on_sent, .owner = w, .idx = i};
		xports[i] = &w->port[i].x;
	}
	for (uint32_t i = 0; i < PEERS; i++) {
		w->peers[i].incarnation = 1000 * (i + 1);
		w->peers[i].rank = i < 2 ? (uint16_t)i : GP_WIRE_RANK_NONE;
		for (uint32_t k = 0; k < w->cores; k++)
			w->peers[i].addr[k] = peer_addr(i, k);
	}
	const struct gp_engine_config cfg = {.cores_count = w->cores,
		.base_port = BASE_PORT,
		.epoch = 7,
		.sessions_max = 6,
		.ring_size = 64,
		.payload_max = MTU,
		.hello_rate = 1000,
		.seed = 5,
		.jobs_count = 1,
		.jobs = &w->job,
		.take = mem_take,
		.give = mem_give};
	int rc = gp_engine_create(&w->e, &cfg, xports);
	GP_ASSERT(rc == 0);
	w->reg = gp_engine_registrar(w->e);
	const struct gp_registrar_events ev = {.arg = w, .cut_ready = on_cut_ready};
	gp_registrar_set_events(w->reg, &ev);
}

// ---- what must always be true

static void verdicts_check(const struct world *w)
{
	for (uint32_t i = 0; i < w->cores; i++) {
		const struct gp_core_stats *s = gp_core_stats(gp_engine_core(w->e, i));
		uint64_t sum = 0;
		for (int v = 0; v < GP_VERDICT_COUNT; v++)
			sum += gp_counter_read(&s->verdicts[v]);
		GP_ASSERT(sum == gp_counter_read(&s->rx_datagrams));
	}
}

const struct job_core *world_job(const struct world *w, uint32_t core)
{
	return gp_engine_core(w->e, core)->jobs[w->job.id];
}

static uint32_t parts_held(const struct job_core *jc, uint32_t workers)
{
	uint32_t n = 0, open = 0;
	for (uint32_t s = 0; s <= jc->slot_mask; s++) {
		const struct slot *slot = &jc->slots[s];
		if (!slot->open)
			continue;
		open++;
		GP_ASSERT(gp_ranks_count(&slot->ranks) == slot->count);
		gp_ranks_foreach(r, &slot->ranks) n +=
			jc->parts[(size_t)s * workers + r].frame != NULL;
	}
	GP_ASSERT(open == jc->slots_open);
	return n;
}

static uint32_t version_check(const struct gp_version *v)
{
	GP_ASSERT(!v || v->hold.count == 0);
	return v != NULL;
}

static void versions_check(const struct gp_table *t)
{
	uint32_t named = 0;
	for (uint32_t i = 0; i < t->blocks_count; i++) {
		named += version_check(t->blocks[i].shadow);
		for (struct gp_version *v = t->blocks[i].cur; v; v = v->older)
			named += version_check(v);
	}
	GP_ASSERT(named + t->free_count + t->retired_count == t->versions_count);
}

// Everything has been turned until nothing happened, and what was sent has left.
static void rest_check(const struct world *w)
{
	for (uint32_t i = 0; i < w->cores; i++) {
		const struct job_core *jc = world_job(w, i);
		uint32_t held = 0;
		if (jc) {
			held = parts_held(jc, w->job.workers);
			versions_check(&jc->table);
		}
		GP_ASSERT(w->port[i].refs == held);
	}
}

static uint32_t async_note(const struct world *w)
{
	uint32_t h = w->job.consistency;
	for (uint32_t i = 0; i < w->cores; i++) {
		const struct job_core *jc = world_job(w, i);
		if (!jc || !core_is_async(jc))
			continue;
		const struct async_core *a = jc->async;
		const struct async_home *home = jc->job->home->async;
		h = h * 31 + GP_MIN(jc->generation, 4);
		h = h * 31 + a->applying + 2 * (uint32_t)(a->tell.w[0] & 3) +
		    8 * jc->table.cuts_count;
		h = h * 31 + GP_MIN(a->ranks[0].low_step - a->ranks[1].low_step + 3, 6);
		for (uint32_t r = 0; r < w->job.workers * a->stages_per_rank; r++)
			h = h * 31 + (a->stages[r].used ? 1 + a->stages[r].count : 0);
		h = h * 31 + home->parked + 4 * home->cuts_count;
		for (uint32_t k = 0; k < home->cuts_count; k++)
			h = h * 3 + (home->cuts[k].pin == PIN_NONE	     ? 0
					    : home->cuts[k].pin >= PIN_START ? 1
									     : 2);
	}
	return h;
}

static void state_note(const struct world *w)
{
	uint32_t h = w->job.atomicity * 8u + w->job.kind;
	for (uint32_t i = 0; i < w->cores; i++) {
		const struct job_core *jc = world_job(w, i);
		if (!jc)
			continue;
		h = h * 31 + GP_MIN(jc->generation + 1, 3);
		h = h * 31 + GP_MIN(jc->view, 3);
		h = h * 31 + jc->slots_open;
		h = h * 31 + jc->deferred_count;
		h = h * 31 + jc->units_next;
		h = h * 31 + jc->done_count;
		h = h * 31 + GP_MIN(jc->held_count, 2);
		h = h * 31 + (jc->table.cuts_count > 0) + 2 * jc->stopping +
		    4 * (jc->members_count - 1);
	}
	h = h * 31 + async_note(w);
	h *= 2654435761u;
	states_seen[h >> 19] = 1;
}

void world_core_turn(struct world *w, uint32_t core)
{
	if (!(w->asleep >> core & 1))
		(void)gp_core_tick(gp_engine_core(w->e, core), w->now);
}

void world_check(const struct world *w)
{
	verdicts_check(w);
	if (world_embeds(w))
		rows_check(w);
	state_note(w);
}

// ---- time

void world_turn(struct world *w)
{
	w->now += ROUND_NS;
	for (uint32_t i = 0; i < w->cores; i++)
		world_core_turn(w, i);
	if (!w->no_control)
		(void)gp_registrar_poll(w->reg, w->now);
	gp_rcu_quiescent();
	if (!w->no_grace)
		gp_rcu_grace_turn(gp_engine_grace(w->e));
}

void world_end(struct world *w)
{
	w->asleep = 0;
	w->no_control = w->no_grace = false;
	for (uint32_t i = 0; i < REST_ROUNDS; i++) {
		for (uint32_t k = 0; k < w->cores; k++) {
			w->port[k].starve = 0;
			port_leave(&w->port[k], 0);
		}
		world_turn(w);
	}
	for (uint32_t k = 0; k < w->cores; k++)
		port_leave(&w->port[k], 0);
	verdicts_check(w);
	rest_check(w);
	for (uint32_t k = 0; k < w->cores; k++) {
		const struct job_core *jc = world_job(w, k);
		for (uint32_t s = 0; jc && s <= jc->slot_mask; s++)
			gp_ranks_foreach(r, &jc->slots[s].ranks)
			{
				struct part *p = &jc->parts[(size_t)s * w->job.workers + r];
				if (jc->slots[s].open && p->frame)
					port_release(&w->port[k].x, p->frame);
			}
		GP_ASSERT(w->port[k].refs == 0);
	}
	gp_engine_destroy(w->e);
}
