// SPDX-License-Identifier: BSD-3-Clause
#include "replication_rig.h"

#include "bench.h"

#include <errno.h>
#include <event2/event.h>
#include <gp_link.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define EPOCH		 1
#define WARM_STEPS	 2 // after the base: all memory of the image was touched
#define STEPS_AHEAD	 2 // shipped and not yet acknowledged
#define BLOCK_1500	 336u
#define BLOCK_9000	 2208u
#define OUT_MAX		 (4u << 20)
#define DECISIONS_WINDOW 8192

struct rig {
	struct replication_opts o;
	struct gp_image_tensor tensor;
	struct gp_image_layout layout;
	uint32_t blocks_count, units_count;
	uint64_t elems;
	float *arrays[GP_IMAGE_ARRAYS_MAX];
	struct gp_feeder *feeder;
	struct gp_follower *follower;
	struct gp_image *image;
	uint32_t decided, held; // decisions
	struct gp_stream_error err;
	// Over sockets.
	struct event_base *base, *backup_base;
	struct gp_link *primary, *backup;
	_Atomic bool over;
};

static bool on_block(
	void *arg, uint32_t job_idx, uint32_t block, uint32_t step, struct gp_backup_block *out)
{
	const struct rig *r = arg;
	uint64_t at = (uint64_t)block * r->layout.block_elems;
	(void)job_idx;
	(void)step;
	*out = (struct gp_backup_block){.arrays_count = r->layout.arrays_count,
		.elems = (uint32_t)GP_MIN((uint64_t)r->layout.block_elems, r->elems - at),
		.weight = 1};
	for (uint32_t a = 0; a < r->layout.arrays_count; a++)
		out->arrays[a] = r->arrays[a] + at;
	return true;
}

static void on_held(void *arg, uint32_t job_idx, uint32_t decision, uint32_t epoch)
{
	struct rig *r = arg;
	if (epoch == 0)
		return;
	r->held = decision;
	int rc = gp_feeder_released(r->feeder, job_idx, decision);
	GP_ASSERT(rc == 0);
}

static int fail(const struct rig *r, int rc)
{
	fprintf(stderr, "gradbench replication: %s\n",
		r->err.text[0] ? r->err.text : strerrordesc_np(-rc));
	return rc;
}

static size_t array_size(const struct rig *r)
{
	return sizeof(float) * r->elems;
}

static int job_make(struct rig *r)
{
	r->elems = (uint64_t)r->o.table_mb * 1000000 / sizeof(float);
	r->tensor = (struct gp_image_tensor){.name = "w", .dims_count = 1, .dims = {r->elems}};
	r->layout = (struct gp_image_layout){.name = "bench",
		.id = 1,
		.kind = GP_KIND_TRAIN,
		.atomicity = r->o.blocks ? GP_ATOM_BLOCK : GP_ATOM_STEP,
		.arrays_count = (uint8_t)(1 + r->o.states),
		.block_elems = r->o.mtu == 1500 ? BLOCK_1500 : BLOCK_9000,
		.tensors_count = 1,
		.tensors = &r->tensor};
	r->blocks_count = (uint32_t)gp_div_up(r->elems, r->layout.block_elems);
	r->units_count = r->o.blocks ? r->blocks_count : 1;
	for (uint32_t a = 0; a < r->layout.arrays_count; a++) {
		r->arrays[a] = bench_take(array_size(r));
		if (!r->arrays[a])
			return -ENOMEM;
		for (uint64_t i = 0; i < r->elems; i++)
			r->arrays[a][i] = (float)(i % 1000);
	}
	return 0;
}

static int sides_make(struct rig *r)
{
	struct gp_image_error why;
	const struct gp_feeder_opts feeder = {.jobs_count = 1,
		.window = DECISIONS_WINDOW,
		.digest_every = r->o.digest ? 1 : 0,
		.arg = r,
		.block = on_block,
		.held = on_held};
	const struct gp_image_opts image = {.memory_max = UINT64_MAX};
	int rc = gp_feeder_create(&r->feeder, &feeder);
	if (rc == 0)
		rc = gp_image_create(&r->image, &image, &why);
	const struct gp_follower_opts follower = {.image = r->image};
	if (rc == 0)
		rc = gp_follower_create(&r->follower, &follower);
	uint32_t *steps = calloc(r->units_count, sizeof(*steps));
	const struct gp_backup_base base = {.steps = steps};
	if (rc == 0)
		rc = steps ? gp_feeder_base(r->feeder, 0, &r->layout, &base, &r->err) : -ENOMEM;
	free(steps);
	if (rc != 0)
		return rc;
	gp_feeder_epoch(r->feeder, EPOCH);
	gp_follower_epoch(r->follower, EPOCH);
	return 0;
}

// Decides what the window and the steps ahead allow, up to `last`.
static int decide(struct rig *r, uint32_t last)
{
	uint32_t ahead = r->o.blocks ? DECISIONS_WINDOW : STEPS_AHEAD;
	while (r->decided < last && r->decided - r->held < ahead && gp_feeder_room(r->feeder) > 0) {
		const struct gp_decision d = {.number = r->decided + 1,
			.kind = GP_DECIDED_COMMIT,
			.unit = r->decided % r->units_count,
			.step = r->decided / r->units_count + 1};
		int rc = gp_feeder_decide(r->feeder, 0, &d, &r->err);
		if (rc != 0)
			return rc;
		r->decided++;
	}
	return 0;
}

static uint64_t step_bytes(const struct rig *r)
{
	return array_size(r) * r->layout.arrays_count;
}

// ---- in memory: one thread, each part timed

struct wires {
	struct gp_stream *stream[2]; // primary, backup
	struct gp_stream_pipe out[2];
	uint64_t ns[2];
};

static int side_turn(struct rig *r, struct wires *w, uint32_t side)
{
	const struct gp_stream_pipe *from = &w->out[1 - side];
	size_t used;
	uint64_t begin = bench_cpu_ns();
	int rc = gp_stream_input(w->stream[side], gp_stream_pipe_data(from),
		gp_stream_pipe_len(from), &used, &r->err);
	if (rc == 0)
		rc = gp_stream_turn(w->stream[side], &r->err);
	w->ns[side] += bench_cpu_ns() - begin;
	if (rc == 0)
		gp_stream_pipe_drain(&w->out[1 - side], used);
	return rc;
}

static int memory_until(struct rig *r, struct wires *w, uint32_t last)
{
	int rc = 0;
	struct gp_feeder_view v = {0};
	while (rc == 0 && (r->held != last || !v.held_valid)) {
		rc = decide(r, last);
		for (uint32_t side = 0; rc == 0 && side < 2; side++)
			rc = side_turn(r, w, side);
		if (!gp_feeder_view(r->feeder, 0, &v))
			rc = -EIO;
	}
	return rc;
}

static int wires_make(struct rig *r, struct wires *w)
{
	const struct gp_stream_events events = {0};
	struct gp_stream_hello hello = {.product = "bench"};
	int rc = 0;
	for (uint32_t side = 0; rc == 0 && side < 2; side++) {
		// Small enough to stay in the cache, as it would in the kernel's.
		rc = gp_stream_pipe_init(&w->out[side], 2 * GP_STREAM_FRAME_MAX);
		struct gp_stream_sink sink = gp_stream_pipe_sink(&w->out[side]);
		if (rc == 0)
			rc = gp_stream_create(&w->stream[side], &sink, &events);
		hello.node = side;
		if (rc == 0)
			rc = gp_stream_open(w->stream[side], &hello, &r->err);
	}
	if (rc != 0)
		return rc;
	gp_stream_set_feeder(w->stream[0], r->feeder);
	gp_stream_set_follower(w->stream[1], r->follower);
	return 0;
}

static int memory_run(struct rig *r, struct replication_result *out)
{
	struct wires w = {0};
	int rc = wires_make(r, &w);
	if (rc == 0)
		rc = memory_until(r, &w, WARM_STEPS * r->units_count);
	uint64_t begin = bench_wall_ns();
	w.ns[0] = w.ns[1] = 0;
	if (rc == 0)
		rc = memory_until(r, &w, (WARM_STEPS + r->o.steps) * r->units_count);
	out->wall_ns = bench_wall_ns() - begin;
	out->primary_ns = w.ns[0];
	out->backup_ns = w.ns[1];
	for (uint32_t side = 0; side < 2; side++) {
		gp_stream_destroy(w.stream[side]);
		gp_stream_pipe_fini(&w.out[side]);
	}
	return rc;
}

// ---- over sockets: a thread each

static void *backup_thread(void *arg)
{
	struct rig *r = arg;
	cpu_set_t cpus;
	// The primary's thread is pinned to one CPU, and this one began there.
	memset(&cpus, 0xff, sizeof(cpus));
	pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus);
	while (!atomic_load_explicit(&r->over, memory_order_acquire))
		event_base_loop(r->backup_base, EVLOOP_ONCE);
	return NULL;
}

static uint64_t thread_cpu_ns(pthread_t thread)
{
	struct timespec ts = {0};
	clockid_t clock;
	if (pthread_getcpuclockid(thread, &clock) == 0)
		clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

struct files {
	char cert[512], key[512], ca[512];
	struct gp_replica_tls tls;
};

static const struct gp_replica_tls *tls_of(
	struct files *f, const struct replication_opts *o, const char *self, const char *peer)
{
	if (o->wire != REPLICATION_TLS)
		return NULL;
	snprintf(f->cert, sizeof(f->cert), "%s/%s.pem", o->tls, self);
	snprintf(f->key, sizeof(f->key), "%s/%s.key", o->tls, self);
	snprintf(f->ca, sizeof(f->ca), "%s/ca.pem", o->tls);
	f->tls = (struct gp_replica_tls){
		.cert = f->cert, .key = f->key, .ca = f->ca, .peer_name = peer};
	return &f->tls;
}

static int links_make(struct rig *r)
{
	struct files a, b;
	char peer[32];
	struct gp_link_opts opts = {.product = "bench",
		.listen = "127.0.0.1:0",
		.life = 1,
		.silent_ms = 10000,
		.heartbeat_ms = 50,
		.out_max = OUT_MAX,
		.tls = tls_of(&a, &r->o, "primary", "replica")};
	r->base = event_base_new();
	r->backup_base = event_base_new();
	if (!r->base || !r->backup_base)
		return -ENOMEM;
	int rc = gp_link_create(r->base, &opts, &r->primary, &r->err);
	if (rc != 0)
		return rc;
	snprintf(peer, sizeof(peer), "127.0.0.1:%u", gp_link_port(r->primary));
	opts.listen = NULL;
	opts.peer = peer;
	opts.node = 1;
	opts.life = 2;
	opts.tls = tls_of(&b, &r->o, "replica", "primary");
	rc = gp_link_create(r->backup_base, &opts, &r->backup, &r->err);
	if (rc != 0)
		return rc;
	gp_link_set_feeder(r->primary, r->feeder);
	gp_link_set_follower(r->backup, r->follower);
	return 0;
}

static int links_until(struct rig *r, uint32_t last)
{
	int rc = 0;
	struct gp_feeder_view v = {0};
	uint64_t end = bench_wall_ns() + UINT64_C(120000000000);
	while (rc == 0 && (r->held != last || !v.held_valid)) {
		rc = decide(r, last);
		gp_link_turn(r->primary);
		event_base_loop(r->base, EVLOOP_ONCE);
		if (!gp_feeder_view(r->feeder, 0, &v))
			rc = -EIO;
		if (bench_wall_ns() > end)
			rc = -ETIMEDOUT;
	}
	return rc;
}

static int links_run(struct rig *r, struct replication_result *out)
{
	pthread_t thread;
	int rc = links_make(r);
	if (rc != 0)
		return rc;
	rc = -pthread_create(&thread, NULL, backup_thread, r);
	if (rc != 0)
		return rc;
	rc = links_until(r, WARM_STEPS * r->units_count);
	uint64_t begin = bench_wall_ns(), cpu = bench_cpu_ns(), backup = thread_cpu_ns(thread);
	if (rc == 0)
		rc = links_until(r, (WARM_STEPS + r->o.steps) * r->units_count);
	out->wall_ns = bench_wall_ns() - begin;
	out->primary_ns = bench_cpu_ns() - cpu;
	out->backup_ns = thread_cpu_ns(thread) - backup;
	atomic_store_explicit(&r->over, true, memory_order_release);
	pthread_join(thread, NULL);
	return rc;
}

// ----

static void rig_free(struct rig *r)
{
	gp_link_destroy(r->primary);
	gp_link_destroy(r->backup);
	if (r->base)
		event_base_free(r->base);
	if (r->backup_base)
		event_base_free(r->backup_base);
	gp_feeder_destroy(r->feeder);
	gp_follower_destroy(r->follower);
	gp_image_destroy(r->image);
	for (uint32_t a = 0; a < GP_IMAGE_ARRAYS_MAX; a++)
		if (r->arrays[a])
			bench_give(r->arrays[a], array_size(r));
	free(r);
}

int replication_run(const struct replication_opts *o, struct replication_result *out)
{
	struct rig *r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->o = *o;
	int rc = job_make(r);
	if (rc == 0)
		rc = sides_make(r);
	if (rc == 0)
		rc = o->wire == REPLICATION_MEMORY ? memory_run(r, out) : links_run(r, out);
	out->bytes = step_bytes(r) * o->steps;
	if (rc != 0)
		fail(r, rc);
	rig_free(r);
	return rc;
}
