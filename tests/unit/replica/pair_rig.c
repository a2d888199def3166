// SPDX-License-Identifier: BSD-3-Clause
#include "pair_rig.h"

#include <gp_backup_rows.h>

static bool on_block(
	void *arg, uint32_t job_idx, uint32_t block, uint32_t step, struct gp_backup_block *out)
{
	struct pair *p = arg;
	return gp_backup_block(p->r->e, job_idx, block, step, out);
}

static bool on_ranks(void *arg, uint32_t job_idx, uint32_t generation, struct gp_backup_ranks *out)
{
	const struct pair *p = arg;
	return gp_backup_ranks(p->r->e, job_idx, generation, out);
}

static uint64_t on_applied(
	void *arg, uint32_t job_idx, uint32_t generation, uint32_t rank, uint32_t first)
{
	const struct pair *p = arg;
	return gp_backup_applied(p->r->e, job_idx, generation, rank, first);
}

static void on_held(void *arg, uint32_t job_idx, uint32_t decision, uint32_t epoch)
{
	struct pair *p = arg;
	(void)job_idx;
	if (epoch != 0)
		p->due = decision;
}

static void on_base(void *arg, const struct gp_backup_base *base)
{
	struct pair *p = arg;
	struct gp_image_tensor tensors[TENSORS] = {0};
	struct gp_stream_error err;
	struct gp_job_view v;
	struct gp_tensor_view t;
	gp_engine_job_view(p->r->e, 0, &v);
	for (uint32_t i = 0; i < v.tensors_count; i++) {
		cr_assert(gp_engine_tensor_view(p->r->e, 0, i, &t));
		strcpy(tensors[i].name, t.name);
		tensors[i].dims_count = t.dims_count;
		memcpy(tensors[i].dims, t.dims, sizeof(t.dims[0]) * t.dims_count);
		struct gp_backup_room room;
		if (!gp_backup_table_room(p->r->e, 0, i, &room))
			continue;
		tensors[i].state = room.state;
		tensors[i].rows = room.rows;
		tensors[i].changes = room.changes;
	}
	const struct gp_image_layout layout = {.name = "job",
		.id = v.id,
		.kind = v.kind,
		.atomicity = v.atomicity,
		.ranks = v.consistency == GP_CONSIST_BSP ? 0 : (uint16_t)v.workers,
		.arrays_count = v.kind == GP_KIND_TRAIN
					? (uint8_t)(1 + gp_optim_states(p->r->jobs[0].optim.kind))
					: 1,
		.block_elems = v.block_elems,
		.tensors_count = v.tensors_count,
		.tensors = tensors};
	int rc = gp_feeder_base(p->feeder, 0, &layout, base, &err);
	cr_assert_eq(rc, 0, "%s", err.text);
}

static void on_decided(void *arg, uint32_t job_idx, const struct gp_decision *d)
{
	struct pair *p = arg;
	struct gp_stream_error err;
	cr_assert_eq(gp_feeder_decide(p->feeder, job_idx, d, &err), 0, "%s", err.text);
}

static void side_init(struct stream_side *s)
{
	const struct gp_stream_events events = {.arg = s};
	cr_assert_eq(gp_stream_pipe_init(&s->out, 1 << 16), 0);
	struct gp_stream_sink sink = gp_stream_pipe_sink(&s->out);
	cr_assert_eq(gp_stream_create(&s->stream, &sink, &events), 0);
}

void pair_connect(struct pair *p)
{
	struct gp_stream_error err;
	struct gp_stream_hello hello = {.product = "test", .node = 0, .life = 1};
	gp_stream_close(p->primary.stream);
	gp_stream_close(p->backup.stream);
	gp_stream_pipe_clear(&p->primary.out);
	gp_stream_pipe_clear(&p->backup.out);
	cr_assert_eq(gp_stream_open(p->primary.stream, &hello, &err), 0);
	hello.node = 1;
	cr_assert_eq(gp_stream_open(p->backup.stream, &hello, &err), 0);
}

void pair_up(struct pair *p, struct rig *r, uint64_t seed)
{
	pair_up_with(p, r, seed, 0);
}

void pair_up_with(struct pair *p, struct rig *r, uint64_t seed, uint32_t looks_max)
{
	struct gp_image_error err;
	*p = (struct pair){.r = r, .random = seed};
	const struct gp_feeder_opts feeder = {.jobs_count = 1,
		.digest_every = 1,
		.looks_max = looks_max,
		.arg = p,
		.block = on_block,
		.ranks = on_ranks,
		.applied = on_applied,
		.engine = r->e,
		.held = on_held};
	const struct gp_image_opts image = {.memory_max = 16 << 20};
	side_init(&p->primary);
	side_init(&p->backup);
	cr_assert_eq(gp_feeder_create(&p->feeder, &feeder), 0);
	cr_assert_eq(gp_image_create(&p->image, &image, &err), 0);
	// Of cuts of tables a turn puts a few rows in their places.
	const struct gp_follower_opts follower = {.image = p->image, .rows_max = 5};
	cr_assert_eq(gp_follower_create(&p->follower, &follower), 0);
	gp_stream_set_feeder(p->primary.stream, p->feeder);
	gp_stream_set_follower(p->backup.stream, p->follower);
	gp_feeder_epoch(p->feeder, 1);
	gp_follower_epoch(p->follower, 1);
	pair_connect(p);
	cr_assert(gp_backup_gate(r->e, 0, true));
}

void pair_down(struct pair *p)
{
	gp_stream_destroy(p->primary.stream);
	gp_stream_destroy(p->backup.stream);
	gp_feeder_destroy(p->feeder);
	gp_follower_destroy(p->follower);
	gp_image_destroy(p->image);
	gp_stream_pipe_fini(&p->primary.out);
	gp_stream_pipe_fini(&p->backup.out);
}

static size_t pass(struct stream_side *from, struct stream_side *to, size_t max)
{
	struct gp_stream_error err;
	size_t used;
	cr_assert_eq(gp_stream_turn(from->stream, &err), 0, "%s", err.text);
	size_t len = GP_MIN(max, gp_stream_pipe_len(&from->out));
	int rc = gp_stream_input(to->stream, gp_stream_pipe_data(&from->out), len, &used, &err);
	cr_assert_eq(rc, 0, "%s", err.text);
	gp_stream_pipe_drain(&from->out, used);
	cr_assert_eq(gp_stream_turn(to->stream, &err), 0, "%s", err.text);
	return used;
}

uint32_t pair_engine_turn(struct pair *p)
{
	const struct gp_backup_sink sink = {.arg = p, .base = on_base, .decided = on_decided};
	struct gp_feeder_view v;
	rig_run(p->r);
	uint32_t n = gp_backup_poll(p->r->e, &sink, gp_feeder_room(p->feeder));
	if (!gp_feeder_view(p->feeder, 0, &v) || !gp_before(v.released, p->due))
		return n;
	cr_assert(gp_backup_release(p->r->e, 0, p->due));
	cr_assert_eq(gp_feeder_released(p->feeder, 0, p->due), 0);
	rig_run(p->r);
	return n + 1;
}

void pair_turn(struct pair *p)
{
	pair_engine_turn(p);
	size_t most = p->calm ? SIZE_MAX : history_random(&p->random, 12000);
	pass(&p->primary, &p->backup, most);
	pass(&p->backup, &p->primary, history_random(&p->random, 200));
	pair_engine_turn(p);
	if (!p->calm && history_random(&p->random, 12) == 0)
		pair_connect(p);
}

void pair_run(struct pair *p)
{
	size_t moved = 1;
	while (moved > 0) {
		moved = pair_engine_turn(p);
		moved += pass(&p->primary, &p->backup, SIZE_MAX);
		moved += pass(&p->backup, &p->primary, SIZE_MAX);
		moved += gp_feeder_goes_on(p->feeder) + gp_stream_pipe_len(&p->primary.out);
		moved += gp_follower_goes_on(p->follower);
	}
}

struct rig *pair_promote(const struct pair *p, const struct gp_job_config *cfg, uint32_t cores)
{
	struct rig *r = rig_new();
	struct gp_restore x;
	r->jobs[0] = *cfg;
	r->cfg.standby = true;
	r->cfg.cores_count = cores;
	rig_start(r);
	if (gp_image_restore(p->image, 1, &x) == 0)
		cr_assert_eq(gp_registrar_restore(r->reg, 1, &x), 0);
	rig_run(r);
	cr_assert_eq(gp_registrar_promote(r->reg, 100), 0);
	return r;
}
