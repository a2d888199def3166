// SPDX-License-Identifier: BSD-3-Clause
//
// The image of an asynchronous job: a cut counts as a whole, and is refused when anything lacks.
#include <gp_image.h>

#include <criterion/criterion.h>
#include <errno.h>

#define RANKS  3
#define ELEMS  20
#define BLOCKS 3 // of 8, 8 and 4 elements

static struct gp_image *image;
static struct gp_image_error err;
static struct gp_image_tensor tensor = {.name = "t", .dims_count = 1, .dims = {ELEMS}};
static struct gp_image_layout layout = {.name = "job",
	.id = 1,
	.kind = GP_KIND_TRAIN,
	.atomicity = GP_ATOM_BLOCK,
	.arrays_count = 2,
	.ranks = RANKS,
	.block_elems = 8,
	.tensors_count = 1,
	.tensors = &tensor};

static void setup(void)
{
	const struct gp_image_opts opts = {.memory_max = 1 << 20};
	cr_assert_eq(gp_image_create(&image, &opts, &err), 0);
}

static void teardown(void)
{
	gp_image_destroy(image);
}

TestSuite(image_cut, .init = setup, .fini = teardown);

static uint32_t elems_of(uint32_t block)
{
	return block < 2 ? 8 : 4;
}

static float value(uint32_t block, uint32_t generation, uint32_t array)
{
	return (float)(1000 * generation + 10 * block + array);
}

static int block(uint32_t b, uint32_t generation)
{
	uint8_t bytes[8 + 2 * 8 * sizeof(float)], *to = bytes + 8;
	gp_storef(bytes, 2.0f);
	gp_store32(bytes + 4, generation + b);
	for (uint32_t a = 0; a < 2; a++)
		for (uint32_t i = 0; i < elems_of(b); i++, to += 4)
			gp_storef(to, value(b, generation, a));
	const struct gp_image_blocks x = {.id = 1,
		.step = generation,
		.first = b,
		.run = 1,
		.bytes = bytes,
		.len = (size_t)(to - bytes)};
	return gp_image_blocks(image, &x, &err);
}

static int ranks(uint32_t generation, uint32_t blocks, uint32_t count)
{
	uint8_t clocks[4 * RANKS];
	for (uint32_t r = 0; r < RANKS; r++)
		gp_store32(clocks + 4 * (size_t)r, 100 * generation + r);
	const struct gp_image_ranks x = {.id = 1,
		.generation = generation,
		.blocks = blocks,
		.closed = generation,
		.updates = 5 * generation,
		.count = count,
		.clocks = clocks};
	return gp_image_ranks(image, &x, &err);
}

static int applied(
	uint32_t generation, uint16_t rank, uint32_t first, uint32_t words, uint64_t bits)
{
	uint8_t bytes[16] = {0};
	gp_store64(bytes, bits);
	const struct gp_image_applied x = {.id = 1,
		.rank = rank,
		.generation = generation,
		.first = first,
		.words = words,
		.bits = bytes};
	return gp_image_applied(image, &x, &err);
}

static int decide(uint32_t number, uint32_t generation)
{
	const struct gp_decision d = {.number = number,
		.kind = GP_DECIDED_CUT,
		.step = generation,
		.unit = GP_NO_CUT,
		.backup = true};
	return gp_image_decide(image, 1, &d, &err);
}

static void base(uint32_t generation, uint32_t decision)
{
	const struct gp_image_point point = {.base = 7, .decision = decision, .digest_every = 1};
	cr_assert_eq(gp_image_base(image, &layout, &point, generation, &err), 0, "%s", err.text);
	for (uint32_t b = 0; b < BLOCKS; b++)
		cr_assert_eq(block(b, generation), 0, "%s", err.text);
	cr_assert_eq(ranks(generation, BLOCKS, RANKS), 0, "%s", err.text);
	cr_assert_eq(gp_image_base_end(image, 1, &err), 0, "%s", err.text);
}

// Of block b what it was last in a generation that is out, clocks of `generation`.
static void expect(uint32_t generation, const uint32_t of[BLOCKS], uint64_t bits)
{
	struct gp_restore x;
	cr_assert_eq(gp_image_restore(image, 1, &x), 0);
	cr_assert_eq(x.step, generation);
	cr_assert(x.async && x.async->closed == generation && x.async->updates == 5 * generation);
	cr_assert_eq(x.async->clock[2], 100 * generation + 2);
	cr_assert_eq(x.async->applied[x.async->applied_words], bits);
	for (uint32_t b = 0; b < BLOCKS; b++) {
		const struct gp_restore_tensor *t = &x.tensors[0];
		bool ahead = t->ahead[b] != 0;
		cr_assert_eq((ahead ? t->ahead_values : t->values)[8 * b], value(b, of[b], 0));
		cr_assert_eq((ahead ? t->ahead_states : t->states)[0][8 * b], value(b, of[b], 1));
		cr_assert_eq((ahead ? t->ahead_updates : t->updates)[b], of[b] + b);
		cr_assert_eq((ahead ? t->ahead_weights : t->weights)[b], 2.0f);
	}
}

Test(image_cut, counts_as_a_whole_with_its_decision)
{
	base(4, 10);
	expect(4, (const uint32_t[]){4, 4, 4}, 0);
	cr_assert_eq(block(1, 5), 0);
	cr_assert_eq(block(1, 5), 0, "once more, after a new connection");
	cr_assert_eq(ranks(5, 1, RANKS), 0);
	cr_assert_eq(applied(5, 1, 0, 1, 0x6), 0);
	expect(4, (const uint32_t[]){4, 4, 4}, 0);
	cr_assert_eq(decide(15, 5), 0, "%s", err.text);
	expect(5, (const uint32_t[]){4, 5, 4}, 0x6);
	cr_assert_eq(block(0, 5), 0, "too late: ignored");
	cr_assert_eq(block(0, 9), 0);
	cr_assert_eq(block(1, 9), 0);
	cr_assert_eq(ranks(9, 2, RANKS), 0);
	cr_assert_eq(decide(16, 9), 0, "%s", err.text);
	expect(9, (const uint32_t[]){9, 9, 4}, 0);
	cr_assert_eq(decide(16, 9), 0, "the same once more");
}

Test(image_cut, is_refused_when_anything_lacks)
{
	base(4, 10);
	cr_assert_eq(decide(11, 5), -EPROTO, "no ranks");
	cr_assert_eq(block(1, 5), 0);
	cr_assert_eq(ranks(5, 2, RANKS), 0);
	cr_assert_eq(decide(11, 5), -EPROTO, "one block of two");
	cr_assert(strstr(err.text, "of 2 blocks 1 came"), "%s", err.text);
	cr_assert_eq(block(2, 5), 0);
	cr_assert_eq(decide(11, 6), -EPROTO, "another generation");
	cr_assert_eq(decide(11, 4), -EPROTO, "one that was before");
	cr_assert_eq(ranks(5, 2, RANKS - 1), -EPROTO);
	cr_assert_eq(ranks(5, BLOCKS + 1, RANKS), -EPROTO);
	cr_assert_eq(ranks(4, 0, RANKS), -EPROTO);
	cr_assert_eq(applied(5, RANKS, 0, 1, 1), -EPROTO, "no such rank");
	cr_assert_eq(applied(5, 0, 0, 2, 1), -EPROTO, "beyond the blocks");
	cr_assert_eq(applied(5, 0, 1, 1, 1), -EPROTO);
	cr_assert_eq(applied(6, 0, 0, 1, 1), -EPROTO, "before its ranks");
	expect(4, (const uint32_t[]){4, 4, 4}, 0);
	cr_assert_eq(decide(11, 5), 0, "%s", err.text);
	expect(5, (const uint32_t[]){4, 5, 5}, 0);
}

Test(image_cut, what_was_staged_for_one_given_up_is_nothing)
{
	base(4, 10);
	cr_assert_eq(block(0, 5), 0);
	cr_assert_eq(ranks(5, 1, RANKS), 0);
	cr_assert_eq(applied(5, 1, 0, 1, 0x1), 0);
	cr_assert_eq(block(2, 6), 0);
	cr_assert_eq(ranks(6, 1, RANKS), 0);
	cr_assert_eq(decide(14, 6), 0, "%s", err.text);
	expect(6, (const uint32_t[]){4, 4, 6}, 0);
}

Test(image_cut, a_base_without_its_ranks_is_none)
{
	const struct gp_image_point point = {.base = 7, .decision = 3};
	struct gp_restore x;
	cr_assert_eq(gp_image_base(image, &layout, &point, 4, &err), 0);
	for (uint32_t b = 0; b < BLOCKS; b++)
		cr_assert_eq(block(b, 4), 0);
	cr_assert_eq(block(0, 5), -EPROTO, "not of the base");
	cr_assert_eq(gp_image_base_end(image, 1, &err), -EPROTO);
	cr_assert_eq(gp_image_restore(image, 1, &x), -ENOENT);
	cr_assert_eq(ranks(4, BLOCKS, RANKS), 0);
	cr_assert_eq(gp_image_base_end(image, 1, &err), 0);
	cr_assert_eq(gp_image_restore(image, 1, &x), 0);
}

// A bulk-synchronous job has no cuts for the backup.
Test(image_cut, is_nothing_for_other_jobs)
{
	layout.ranks = 0;
	const struct gp_image_point point = {.base = 7, .decision = 3};
	cr_assert_eq(gp_image_base(image, &layout, &point, GP_IMAGE_NONE, &err), 0);
	cr_assert_eq(gp_image_base_end(image, 1, &err), 0);
	cr_assert_eq(ranks(1, 0, 0), -EPROTO);
	cr_assert_eq(decide(4, 1), -EPROTO);
}
