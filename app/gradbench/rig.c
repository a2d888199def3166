// SPDX-License-Identifier: BSD-3-Clause
#include "bench.h"
#include "rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define TURN_NS	     1000
#define GRACE_TURNS  128
#define BASE_PORT    9700
#define MEMORY_FREE  (UINT64_C(64) << 20)
#define SETTLE_TURNS 100000

void *rig_mem_take(struct rig *r, size_t size)
{
	if (r->mems_count == GP_ARRAY_SIZE(r->mems))
		return NULL;
	void *p = bench_take(size);
	if (p) {
		r->mems[r->mems_count] = p;
		r->mem_sizes[r->mems_count++] = size;
	}
	return p;
}

static void *engine_take(void *arg, size_t size)
{
	return rig_mem_take(arg, size);
}

static void engine_give(void *arg, void *mem)
{
	(void)arg, (void)mem; // all of it goes back in rig_destroy
}

// ---- creation

static void workers_fill(struct rig *r)
{
	for (uint32_t i = 0; i < r->workers_count; i++) {
		struct rig_worker *w = &r->workers[i];
		w->job = (uint16_t)(i / r->o.workers);
		w->rank = (uint16_t)(i % r->o.workers);
		w->lag = r->o.workers > 1 ? r->o.skew * w->rank / (r->o.workers - 1) : 0;
		w->peer = (struct gp_addr){.ip = {[10] = 0xff, [11] = 0xff, [12] = 10, [15] = 2},
			.port = (uint16_t)(RIG_PORT + i)};
	}
}

static void jobs_fill(struct rig *r)
{
	uint64_t values = r->o.table_bytes / r->o.jobs;
	for (uint32_t i = 0; i < r->o.jobs; i++) {
		struct gp_job_config *j = &r->jobs[i];
		*j = (struct gp_job_config){
			.id = (uint16_t)(i + 1),
			.kind = r->o.train ? GP_KIND_TRAIN : GP_KIND_REDUCE,
			.atomicity = GP_ATOM_TENSOR,
			.consistency = GP_CONSIST_BSP,
			.workers = r->o.workers,
			.workers_min = r->o.workers,
			.slots = r->o.slots,
			.window = r->o.window,
			.tensors_max = r->o.tensors,
			.payload_max = r->o.mtu - 48,
			.memory_max = values * 8 + r->o.tensors * UINT64_C(2048) + MEMORY_FREE,
			.timeout_ns = UINT64_C(3600000000000),
			.optim = {.kind = GP_OPTIM_MOMENTUM, .lr = 0.01f, .momentum = 0.9f},
		};
		snprintf(j->name, sizeof(j->name), "bench%u", i);
	}
}

static int engine_make(struct rig *r)
{
	struct gp_xport *x = &r->x.base;
	r->cfg = (struct gp_engine_config){
		.cores_count = 1,
		.base_port = BASE_PORT,
		.epoch = 1,
		.sessions_max = r->workers_count,
		.ring_size = 1024,
		.payload_max = r->o.mtu - 48,
		.hello_rate = 1,
		.cookie_key = {.bytes = {1}},
		.seed = 1,
		.jobs_count = r->o.jobs,
		.jobs = r->jobs,
		.take = engine_take,
		.give = engine_give,
		.mem_arg = r,
	};
	int rc = gp_engine_create(&r->engine, &r->cfg, &x);
	if (rc)
		return rc;
	r->core = gp_engine_core(r->engine, 0);
	return 0;
}

static void heads_fill(struct rig *r)
{
	for (uint32_t i = 0; i < r->workers_count; i++) {
		struct rig_worker *w = &r->workers[i];
		const struct gp_header h = {.version = GP_WIRE_VERSION,
			.type = GP_WIRE_PUSH,
			.flags = GP_WIRE_F_WANT,
			.pad = gp_wire_pad(42, GP_WIRE_F_WANT, 1, GP_WIRE_PAD_MAX),
			.job = r->jobs[w->job].id,
			.rank = w->rank,
			.session = w->session,
			.epoch = r->cfg.epoch,
			.view = 1,
			.sections = 1};
		uint8_t head[128];
		(void)gp_wire_begin(head, sizeof(head), &h);
		const struct gp_section s = {.len = (uint16_t)(r->block_elems * sizeof(float)),
			.run = 1,
			.codec = GP_CODEC_F32,
			.weight = 1};
		gp_wire_put_section(head, 0, &s);
		memcpy(w->head, head, sizeof(w->head));
		w->step = 1;
	}
}

uint64_t rig_step_packets(const struct rig *r)
{
	return (uint64_t)r->workers_count * r->blocks;
}

static int rig_build(struct rig *r)
{
	const struct rig_opts *o = &r->o;
	r->workers_count = o->jobs * o->workers;
	r->block_elems = (o->mtu - 48 - 108) / 64 * 16;
	uint64_t block_size = r->block_elems * sizeof(float);
	uint64_t each = GP_MAX(o->table_bytes / block_size / o->jobs / o->tensors, 1u);
	r->blocks = (uint32_t)each * o->tensors;
	r->now = UINT64_C(1000000000);
	// A few periods a step, so that a small table does not run out of versions.
	r->grace_bursts =
		(uint32_t)GP_MIN(GP_MAX(rig_step_packets(r) / RIG_BURST / 8, 1u), GRACE_TURNS);
	r->jobs = calloc(o->jobs, sizeof(r->jobs[0]));
	r->workers = rig_mem_take(r, sizeof(r->workers[0]) * r->workers_count);
	uint32_t *where = rig_mem_take(r, sizeof(*where) * r->workers_count * r->blocks);
	if (!r->jobs || !r->workers || !where)
		return -ENOMEM;
	for (uint32_t i = 0; i < r->workers_count; i++)
		r->workers[i].where = where + (size_t)i * r->blocks;
	workers_fill(r);
	jobs_fill(r);
	int rc = rig_xport_init(r);
	if (rc == 0)
		rc = engine_make(r);
	return rc;
}

// ---- turning

void rig_turn(struct rig *r)
{
	r->now += TURN_NS;
	(void)gp_registrar_poll(gp_engine_registrar(r->engine), r->now);
	(void)gp_core_tick(r->core, r->now);
	gp_rcu_quiescent();
	gp_rcu_grace_turn(gp_engine_grace(r->engine));
}

void rig_submit(struct rig *r, struct gp_frame *f)
{
	gp_core_rx(r->core, &f, 1, r->now);
}

// ---- the generator

// Header, section and first line: what a port would just have written.
static void frame_write(struct rig *r, struct rig_worker *w, struct rig_frame *rf)
{
	uint8_t *data = rf->f.data;
	memcpy(data, w->head, GP_WIRE_HEADER_SIZE + GP_WIRE_SECTION_SIZE);
	gp_store32(data + 20, w->step);
	gp_store64(data + 24, ++w->packet);
	gp_store32(data + 32, w->decision);
	gp_store32(data + GP_WIRE_HEADER_SIZE, w->block);
	float *payload = rig_payload(r, rf->idx);
	float v = rig_stamp(w->rank, w->step, w->block);
	for (uint32_t i = 0; i < RIG_LINE_ELEMS; i++)
		payload[i] = v;
	rf->f.len =
		(uint32_t)((uint8_t *)payload - data) + r->block_elems * (uint32_t)sizeof(float);
	rf->f.tail = NULL;
	rf->f.peer = w->peer;
	w->where[w->block] = rf->idx;
}

// A burst of datagrams, in the order: one of each worker, then the next places. Fewer than asked
// for where the ring is empty or the run is over.
static uint32_t burst_make(struct rig *r, struct gp_frame **out)
{
	uint32_t n = 0, idle = 0;
	while (n < RIG_BURST && idle < r->workers_count) {
		struct rig_worker *w = &r->workers[r->turn];
		if (r->place >= w->lag && w->step != r->step_last + 1) {
			struct rig_frame *rf = rig_frame_take(&r->x);
			if (!rf)
				break;
			frame_write(r, w, rf);
			if (++w->block == r->blocks) {
				w->block = 0;
				w->step++;
			}
			out[n++] = &rf->f;
			idle = 0;
		} else {
			idle++;
		}
		if (++r->turn == r->workers_count) {
			r->turn = 0;
			r->place++;
		}
	}
	return n;
}

static void run_begin(struct rig *r, uint32_t steps)
{
	r->step_last = r->workers[0].step + steps - 1;
	r->place = 0;
	r->turn = 0;
}

static bool run_committed(const struct rig *r)
{
	for (uint32_t j = 0; j < r->o.jobs; j++) {
		struct gp_job_view v;
		gp_engine_job_view(r->engine, j, &v);
		if (v.generation != r->step_last)
			return false;
	}
	return true;
}

static void burst_end(struct rig *r)
{
	(void)gp_core_tick(r->core, r->now);
	gp_rcu_quiescent();
	if (++r->burst_count < r->grace_bursts)
		return;
	r->burst_count = 0;
	gp_rcu_grace_turn(gp_engine_grace(r->engine));
}

double rig_run(struct rig *r, uint32_t steps)
{
	struct gp_frame *burst[RIG_BURST];
	run_begin(r, steps);
	uint64_t from = bench_cpu_ns();
	for (uint32_t empty = 0; empty < SETTLE_TURNS;) {
		uint32_t n = burst_make(r, burst);
		r->now += TURN_NS;
		if (n > 0)
			gp_core_rx(r->core, burst, n, r->now);
		burst_end(r);
		empty = n > 0 ? 0 : empty + 1;
		if (n == 0 && run_committed(r))
			break;
	}
	uint64_t ns = bench_cpu_ns() - from;
	rig_xport_settle(&r->x);
	return (double)ns;
}

void rig_endless(struct rig *r)
{
	run_begin(r, UINT32_MAX / 2);
}

uint32_t rig_burst(struct rig *r, bool feed, uint64_t *ns)
{
	struct gp_frame *burst[RIG_BURST];
	uint32_t n = feed ? burst_make(r, burst) : 0;
	r->now += TURN_NS;
	uint64_t from = bench_cpu_ns();
	if (n > 0)
		gp_core_rx(r->core, burst, n, r->now);
	(void)gp_core_tick(r->core, r->now);
	*ns = bench_cpu_ns() - from;
	gp_rcu_quiescent();
	return n;
}

void rig_endless_stop(struct rig *r)
{
	for (uint32_t i = 0; i < r->workers_count; i++) {
		uint32_t begun =
			r->workers[i].block > 0 ? r->workers[i].step : r->workers[i].step - 1;
		if (i == 0 || gp_before(r->step_last, begun))
			r->step_last = begun;
	}
}

bool rig_is_over(const struct rig *r)
{
	return run_committed(r);
}

double rig_generate(struct rig *r, uint32_t steps)
{
	struct gp_frame *burst[RIG_BURST];
	struct rig_worker *saved = calloc(r->workers_count, sizeof(*saved));
	GP_ASSERT(saved);
	memcpy(saved, r->workers, sizeof(*saved) * r->workers_count);
	run_begin(r, steps);
	uint64_t from = bench_cpu_ns();
	for (uint32_t n = 1; n > 0;) {
		n = burst_make(r, burst);
		for (uint32_t i = 0; i < n; i++)
			r->x.base.ops->release(&r->x.base, burst[i]);
	}
	uint64_t ns = bench_cpu_ns() - from;
	memcpy(r->workers, saved, sizeof(*saved) * r->workers_count);
	free(saved);
	return (double)ns;
}

double rig_read_frames(struct rig *r, uint64_t (*read)(const uint64_t *p, size_t words))
{
	uint64_t all = 0, from = bench_cpu_ns();
	for (uint32_t i = 0; i < r->o.frames; i++) {
		struct rig_frame *rf = r->x.ring[(r->x.ring_head + i) & r->x.ring_mask];
		const void *payload = rig_payload(r, rf->idx);
		all |= read(payload, r->block_elems * sizeof(float) / sizeof(uint64_t));
	}
	__asm__ volatile("" ::"r"(all));
	return (double)(bench_cpu_ns() - from) / r->o.frames;
}

// ---- whole

// Step 0: the lowest rank brings the parameters.
static void rig_initial(struct rig *r)
{
	for (uint32_t j = 0; j < r->o.jobs; j++) {
		struct rig_worker *w = &r->workers[(size_t)j * r->o.workers];
		w->step = 0;
		for (; w->block < r->blocks; w->block++) {
			struct rig_frame *rf = rig_frame_take(&r->x);
			GP_ASSERT(rf);
			frame_write(r, w, rf);
			rig_submit(r, &rf->f);
			rig_turn(r);
		}
		w->block = 0;
		w->step = 1;
	}
	rig_xport_settle(&r->x);
}

int rig_create(struct rig **out, const struct rig_opts *o)
{
	*out = NULL;
	struct rig *r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->o = *o;
	int rc = rig_build(r);
	if (rc == 0)
		rc = rig_join(r);
	if (rc) {
		fprintf(stderr, "gradbench: no engine: %s\n", strerror(-rc));
		rig_destroy(r);
		return rc;
	}
	heads_fill(r);
	rig_payloads_fill(r);
	if (o->train)
		rig_initial(r);
	*out = r;
	return 0;
}

void rig_destroy(struct rig *r)
{
	if (!r)
		return;
	gp_engine_destroy(r->engine);
	for (uint32_t i = 0; i < r->mems_count; i++)
		bench_give(r->mems[i], r->mem_sizes[i]);
	free(r->jobs);
	free(r);
}
