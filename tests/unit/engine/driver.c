// SPDX-License-Identifier: BSD-3-Clause
//
// The rig: engine, network, time.
#include "driver.h"

#include <stdlib.h>

#define QUIET_ROUNDS 12
#define ROUND_NS     UINT64_C(100000)
#define ROUNDS_MAX   100000
#define FRAMES_COUNT 8192

const struct tensor model[TENSORS] = {
	{.name = "w", .priority = 0, .dims_count = 2, .dims = {70, 10}},
	{.name = "b", .priority = 1, .dims_count = 1, .dims = {B_ELEMS}},
};

uint32_t model_elems(uint32_t block)
{
	static const uint32_t elems[BLOCKS] = {336, 336, 28, B_ELEMS};
	return elems[block];
}

static void *rig_take(void *arg, size_t size)
{
	struct rig *r = arg;
	if (r->takes_left == 0)
		return NULL;
	r->takes_left--;
	void *p = aligned_alloc(GP_CACHE_LINE, gp_align_up(size, GP_CACHE_LINE));
	return p ? memset(p, 0, size) : NULL;
}

static void rig_give(void *arg, void *mem)
{
	(void)arg;
	free(mem);
}

static void on_cut(void *arg, uint16_t job, uint32_t step, uint32_t decision)
{
	(void)job, (void)decision;
	struct rig *r = arg;
	r->cuts_ready++;
	r->cut_step = step;
	r->decided_before_cut = r->decided_count;
}

static void on_closed(void *arg, uint16_t job, uint32_t rank, const char *why)
{
	(void)job, (void)rank;
	struct rig *r = arg;
	strncpy(r->closed_why, why, sizeof(r->closed_why) - 1);
}

static void on_layout(void *arg, uint16_t job)
{
	(void)job;
	((struct rig *)arg)->layouts_ready++;
}

static void on_decided(void *arg, uint16_t job, const struct gp_decision *d)
{
	struct rig *r = arg;
	cr_assert_eq(job, 1);
	cr_assert_lt(r->decided_count, RIG_DECIDED_MAX);
	r->decided[r->decided_count++] = *d;
}

struct rig *rig_new(void)
{
	struct rig *r = calloc(1, sizeof(*r));
	r->now = 1000 * RIG_MS;
	r->takes_left = UINT32_MAX;
	r->frames_count = FRAMES_COUNT;
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(r->jobs); i++) {
		r->jobs[i] = (struct gp_job_config){
			.id = (uint16_t)(i + 1),
			.kind = GP_KIND_REDUCE,
			.atomicity = GP_ATOM_STEP,
			.consistency = GP_CONSIST_BSP,
			.workers = 2,
			.workers_min = 1,
			.slots = 16,
			.window = 64,
			.tensors_max = 16,
			.payload_max = 1152,
			.memory_max = 4 << 20,
			.timeout_ns = RIG_TIMEOUT_NS,
			.optim = {.kind = GP_OPTIM_MOMENTUM, .lr = 0.1f, .momentum = 0.9f},
		};
		strcpy(r->jobs[i].name, i == 0 ? "job" : "other");
	}
	r->cfg = (struct gp_engine_config){
		.cores_count = 1,
		.base_port = RIG_BASE_PORT,
		.epoch = 7,
		.sessions_max = 32,
		.ring_size = 256,
		.payload_max = RIG_PAYLOAD,
		.hello_rate = 100000,
		.seed = 5,
		.jobs_count = 1,
		.jobs = r->jobs,
		.take = rig_take,
		.give = rig_give,
		.mem_arg = r,
	};
	return r;
}

static struct gp_addr rig_addr(uint8_t host, uint16_t port)
{
	return (struct gp_addr){
		.ip = {[10] = 0xff, [11] = 0xff, [12] = 10, [15] = host}, .port = port};
}

static void workers_add(struct rig *r)
{
	for (uint32_t i = 0; i < RIG_WORKERS_MAX; i++) {
		struct worker *w = &r->w[i];
		w->r = r;
		w->incarnation = 1000 + i;
		w->rank = GP_WIRE_RANK_NONE;
		for (uint32_t k = 0; k < r->cfg.cores_count; k++) {
			struct gp_addr a = rig_addr((uint8_t)(10 + i), (uint16_t)(5000 + k));
			w->x[k] = gp_sim_net_add(r->net, &a);
			cr_assert(w->x[k]);
		}
	}
}

void rig_start(struct rig *r)
{
	gp_rcu_register_thread();
	const struct gp_sim_opts opts = {.seed = 1,
		.frames_count = r->frames_count,
		.mtu = RIG_PAYLOAD + 20,
		.endpoints_max = 64};
	r->net = gp_sim_net_create(&opts);
	cr_assert(r->net);
	for (uint32_t i = 0; i < r->cfg.cores_count; i++) {
		struct gp_addr a = rig_addr(1, (uint16_t)(RIG_BASE_PORT + i));
		r->core_x[i] = gp_sim_net_add(r->net, &a);
		cr_assert(r->core_x[i]);
	}
	workers_add(r);
	cr_assert_eq(gp_engine_create(&r->e, &r->cfg, r->core_x), 0);
	r->reg = gp_engine_registrar(r->e);
	const struct gp_registrar_events ev = {.arg = r,
		.cut_ready = on_cut,
		.session_closed = on_closed,
		.layout_ready = on_layout,
		.decided = on_decided};
	gp_registrar_set_events(r->reg, &ev);
}

void rig_up(struct rig *r)
{
	rig_start(r);
	for (uint32_t i = 0; i < r->jobs[0].workers; i++) {
		cr_assert_eq(worker_enter(&r->w[i], (uint16_t)i), 0);
		worker_attach(&r->w[i]);
	}
	for (uint32_t i = 0; i < r->jobs[0].workers; i++)
		cr_assert_eq(worker_bring(&r->w[i]), 0);
	rig_run(r);
	for (uint32_t i = 0; i < r->jobs[0].workers; i++)
		cr_assert_eq(r->w[i].view, 1, "worker %u knows view 1", i);
}

static void rig_end(struct rig *r)
{
	for (uint32_t i = 0; i < RIG_WORKERS_MAX; i++)
		seen_clear(&r->w[i]);
	gp_engine_destroy(r->e);
	gp_sim_net_destroy(r->net);
	gp_rcu_unregister_thread();
	free(r);
}

static void verdicts_add_up(const struct rig *r)
{
	for (uint32_t i = 0; i < r->cfg.cores_count; i++) {
		const struct gp_core_stats *s = gp_core_stats(gp_engine_core(r->e, i));
		uint64_t sum = 0;
		for (int v = 0; v < GP_VERDICT_COUNT; v++)
			sum += gp_counter_read(&s->verdicts[v]);
		cr_assert_eq(sum, gp_counter_read(&s->rx_datagrams));
	}
}

void rig_free(struct rig *r)
{
	char why[256] = "";
	r->asleep = 0;
	r->no_control = r->no_grace = false;
	rig_run(r);
	bool rest = gp_engine_at_rest(r->e, why, sizeof(why));
	cr_assert(rest, "%s", why);
	cr_assert_eq(gp_sim_net_frames_free(r->net), r->frames_count, "frames are missing");
	verdicts_add_up(r);
	rig_end(r);
}

void rig_free_busy(struct rig *r)
{
	verdicts_add_up(r);
	rig_end(r);
}

// ---- time

static void view_learn(struct worker *w, const struct gp_msg *m)
{
	struct gp_commit c;
	gp_wire_get_commit(m, &c);
	for (uint32_t i = 0; i < c.n; i++) {
		struct gp_commit_entry e;
		gp_wire_get_commit_entry(m, i, &e);
		if (e.kind == GP_DECISION_VIEW && !gp_before(e.view, w->view))
			w->view = e.view;
		if (c.first + i == w->decision + 1)
			w->decision++;
	}
}

static void worker_takes(struct worker *w, uint32_t core, const struct gp_frame *f)
{
	cr_assert_lt(w->seen_count, RIG_SEEN_MAX);
	struct seen *s = &w->seen[w->seen_count++];
	s->bytes = malloc(f->len);
	memcpy(s->bytes, f->data, f->len);
	s->core = core;
	enum gp_verdict v = gp_wire_parse(s->bytes, f->len, &s->m);
	cr_assert_eq(v, GP_VERDICT_OK, "the server sent what is %s", gp_verdict_name(v));
	if (s->m.h.type == GP_WIRE_COMMIT)
		view_learn(w, &s->m);
}

static void hand_over(struct rig *r, struct gp_xport *x, struct gp_frame **f, uint32_t n)
{
	for (uint32_t i = 0; i < r->cfg.cores_count; i++) {
		if (r->core_x[i] == x) {
			gp_core_rx(gp_engine_core(r->e, i), f, n, r->now);
			return;
		}
		for (uint32_t k = 0; k < RIG_WORKERS_MAX; k++) {
			if (r->w[k].x[i] != x)
				continue;
			for (uint32_t j = 0; j < n; j++) {
				worker_takes(&r->w[k], i, f[j]);
				x->ops->release(x, f[j]);
			}
			return;
		}
	}
	cr_assert_fail("an endpoint of nobody");
}

static void starve(struct rig *r, bool begin)
{
	struct gp_xport *x = r->core_x[0];
	while (begin && r->starved_count < r->starve) {
		struct gp_frame *f = x->ops->alloc(x);
		if (!f)
			return;
		r->starved[r->starved_count++] = f;
	}
	while (!begin && r->starved_count > 0)
		x->ops->release(x, r->starved[--r->starved_count]);
}

uint32_t rig_round(struct rig *r)
{
	struct gp_frame *frames[GP_ENGINE_BURST_MAX];
	struct gp_xport *x;
	uint32_t n, work = 0;
	r->now += ROUND_NS;
	starve(r, true);
	while ((n = gp_sim_net_deliver(r->net, r->now, &x, frames, GP_ARRAY_SIZE(frames))) > 0) {
		hand_over(r, x, frames, n);
		work += n;
	}
	for (uint32_t i = 0; i < r->cfg.cores_count; i++)
		if (!(r->asleep >> i & 1))
			work += gp_core_tick(gp_engine_core(r->e, i), r->now);
	starve(r, false);
	if (!r->no_control)
		work += gp_registrar_poll(r->reg, r->now);
	gp_rcu_quiescent();
	if (!r->no_grace)
		gp_rcu_grace_turn(gp_engine_grace(r->e));
	return work;
}

void rig_run(struct rig *r)
{
	uint32_t quiet = 0;
	for (uint32_t i = 0; quiet < QUIET_ROUNDS; i++) {
		cr_assert_lt(i, ROUNDS_MAX, "it does not come to rest");
		quiet = rig_round(r) > 0 ? 0 : quiet + 1;
	}
}

void rig_wait(struct rig *r, uint64_t ns, uint32_t alive)
{
	for (uint64_t end = r->now + ns; r->now < end;) {
		for (uint32_t i = 0; i < RIG_WORKERS_MAX; i++)
			if (alive >> i & 1)
				worker_heartbeat(&r->w[i], r->w[i].welcome.home, r->w[i].decision);
		rig_run(r);
		r->now += 50 * RIG_MS;
	}
	rig_run(r);
}

uint64_t rig_verdicts(const struct rig *r, enum gp_verdict v)
{
	return rig_count(
		r, offsetof(struct gp_core_stats, verdicts) + v * sizeof(struct gp_counter));
}

uint64_t rig_count(const struct rig *r, size_t offset)
{
	uint64_t sum = 0;
	for (uint32_t i = 0; i < r->cfg.cores_count; i++) {
		const uint8_t *s = (const uint8_t *)gp_core_stats(gp_engine_core(r->e, i));
		sum += gp_counter_read((const struct gp_counter *)(const void *)(s + offset));
	}
	return sum;
}

struct gp_job_view rig_job(const struct rig *r)
{
	struct gp_job_view v;
	gp_engine_job_view(r->e, 0, &v);
	return v;
}
