// SPDX-License-Identifier: BSD-3-Clause
//
// A cut of many blocks, of which few are sent: one turn looks at so many and no more, and the next
// goes on there.
#include <criterion/criterion.h>
#include <gp_feeder.h>
#include <gp_follower.h>

#include <errno.h>

#define BLOCKS	    20000
#define BLOCK_ELEMS 16
#define RANKS	    8
#define LOOKS_MAX   512

struct end {
	struct gp_stream *stream;
	struct gp_stream_pipe out;
};

static struct end primary, backup;
static struct gp_feeder *feeder;
static struct gp_follower *follower;
static struct gp_image *image;
static struct gp_stream_error err;
static uint32_t looks, held, turns;
static uint32_t changed; // block that generation 1 changed
static uint32_t clocks[RANKS];
static float values[BLOCK_ELEMS];

static bool on_block(
	void *arg, uint32_t job_idx, uint32_t block, uint32_t step, struct gp_backup_block *out)
{
	(void)arg;
	(void)job_idx;
	looks++;
	values[0] = (float)block;
	*out = (struct gp_backup_block){.arrays = {values},
		.arrays_count = 1,
		.elems = BLOCK_ELEMS,
		.weight = 1.0f,
		.made = block == changed ? step : 0};
	return true;
}

static bool on_ranks(void *arg, uint32_t job_idx, uint32_t generation, struct gp_backup_ranks *out)
{
	(void)arg;
	(void)job_idx;
	(void)generation;
	*out = (struct gp_backup_ranks){.count = RANKS, .clock = clocks, .applied = true};
	return true;
}

static uint64_t on_applied(
	void *arg, uint32_t job_idx, uint32_t generation, uint32_t rank, uint32_t first)
{
	(void)arg;
	(void)job_idx;
	looks += 64;
	return generation == 1 && rank == RANKS - 1 && first / 64 == changed / 64
		       ? UINT64_C(1) << changed % 64
		       : 0;
}

static void on_held(void *arg, uint32_t job_idx, uint32_t decision, uint32_t epoch)
{
	(void)arg;
	(void)epoch;
	held = decision;
	cr_assert_eq(gp_feeder_released(feeder, job_idx, decision), 0);
}

static void end_open(struct end *e, uint32_t node)
{
	const struct gp_stream_events none = {0};
	const struct gp_stream_hello hello = {.product = "test", .node = node, .life = 1};
	cr_assert_eq(gp_stream_pipe_init(&e->out, 1 << 16), 0);
	struct gp_stream_sink sink = gp_stream_pipe_sink(&e->out);
	cr_assert_eq(gp_stream_create(&e->stream, &sink, &none), 0);
	cr_assert_eq(gp_stream_open(e->stream, &hello, &err), 0);
}

static void setup(void)
{
	const struct gp_image_opts image_opts = {.memory_max = 8 << 20};
	const struct gp_feeder_opts opts = {.jobs_count = 1,
		.digest_every = 1,
		.looks_max = LOOKS_MAX,
		.block = on_block,
		.ranks = on_ranks,
		.applied = on_applied,
		.held = on_held};
	struct gp_image_error why;
	changed = UINT32_MAX;
	cr_assert_eq(gp_feeder_create(&feeder, &opts), 0);
	cr_assert_eq(gp_image_create(&image, &image_opts, &why), 0);
	const struct gp_follower_opts how = {.image = image};
	cr_assert_eq(gp_follower_create(&follower, &how), 0);
	end_open(&primary, 0);
	end_open(&backup, 1);
	gp_stream_set_feeder(primary.stream, feeder);
	gp_stream_set_follower(backup.stream, follower);
	gp_feeder_epoch(feeder, 1);
	gp_follower_epoch(follower, 1);
}

static void teardown(void)
{
	gp_stream_destroy(primary.stream);
	gp_stream_destroy(backup.stream);
	gp_feeder_destroy(feeder);
	gp_follower_destroy(follower);
	gp_image_destroy(image);
	gp_stream_pipe_fini(&primary.out);
	gp_stream_pipe_fini(&backup.out);
}

TestSuite(feeder_cut, .init = setup, .fini = teardown, .timeout = 60);

// What is chosen is looked at once more to be copied.
static void side_turn(struct end *e)
{
	looks = 0;
	turns++;
	cr_assert_eq(gp_stream_turn(e->stream, &err), 0, "%s", err.text);
	cr_assert_leq(looks, 2 * LOOKS_MAX, "in one turn");
}

static size_t pass(struct end *from, struct end *to)
{
	size_t used;
	side_turn(from);
	int rc = gp_stream_input(to->stream, gp_stream_pipe_data(&from->out),
		gp_stream_pipe_len(&from->out), &used, &err);
	cr_assert_eq(rc, 0, "%s", err.text);
	gp_stream_pipe_drain(&from->out, used);
	side_turn(to);
	return used;
}

// Until nothing moves and no turn has to go on.
static void run(void)
{
	bool more = true;
	turns = 0;
	while (more) {
		size_t moved = pass(&primary, &backup);
		moved += pass(&backup, &primary);
		more = moved > 0 || gp_feeder_goes_on(feeder) ||
		       gp_stream_pipe_len(&primary.out) > 0;
	}
}

static void base(void)
{
	static struct gp_image_tensor tensor = {
		.name = "t", .dims_count = 1, .dims = {BLOCKS * BLOCK_ELEMS}};
	static const uint32_t steps[BLOCKS];
	const struct gp_image_layout layout = {.name = "job",
		.id = 1,
		.kind = GP_KIND_TRAIN,
		.atomicity = GP_ATOM_BLOCK,
		.arrays_count = 1,
		.ranks = RANKS,
		.block_elems = BLOCK_ELEMS,
		.tensors_count = 1,
		.tensors = &tensor};
	const struct gp_backup_base b = {.decision = 1, .steps = steps};
	cr_assert_eq(gp_feeder_base(feeder, 0, &layout, &b, &err), 0, "%s", err.text);
	run();
	cr_assert_eq(held, 1);
}

Test(feeder_cut, a_turn_looks_at_a_bounded_number_of_blocks)
{
	struct gp_restore x;
	const struct gp_decision d = {
		.number = 9, .kind = GP_DECIDED_CUT, .step = 1, .unit = GP_NO_CUT, .backup = true};
	base();
	for (uint32_t i = 0; i < 3; i++) {
		struct gp_decision next = d;
		const uint32_t places[] = {0, BLOCKS / 2, BLOCKS - 1};
		changed = places[i];
		next.number += i;
		next.step += i;
		cr_assert_eq(gp_feeder_decide(feeder, 0, &next, &err), 0, "%s", err.text);
		run();
		cr_assert_eq(held, next.number);
		cr_assert_geq(turns, (1 + RANKS) * (BLOCKS / LOOKS_MAX), "it was looked at whole");
		cr_assert_eq(gp_image_restore(image, 1, &x), 0);
		cr_assert_eq(x.step, next.step);
		bool brought = x.async->applied[(size_t)x.async->applied_words * (RANKS - 1) +
						changed / 64] >>
				       changed % 64 &
			       1;
		cr_assert_eq(brought, i == 0);
	}
}

// The sink is full: what was looked at in vain is not looked at again, and nobody asks for a turn.
Test(feeder_cut, a_full_sink_is_waited_for)
{
	const struct gp_decision d = {
		.number = 9, .kind = GP_DECIDED_CUT, .step = 1, .unit = GP_NO_CUT, .backup = true};
	base();
	changed = 400;
	cr_assert_eq(gp_feeder_decide(feeder, 0, &d, &err), 0, "%s", err.text);
	primary.out.to = primary.out.size;
	side_turn(&primary);
	cr_assert_eq(looks, LOOKS_MAX);
	cr_assert_not(gp_feeder_goes_on(feeder));
	side_turn(&primary);
	cr_assert_eq(looks, LOOKS_MAX);
	cr_assert_eq(gp_stream_pipe_len(&primary.out), primary.out.size);
	gp_stream_pipe_clear(&primary.out);
	run();
	cr_assert_eq(held, 9);
}
