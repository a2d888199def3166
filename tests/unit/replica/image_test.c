// SPDX-License-Identifier: BSD-3-Clause
//
// The image: what it takes, what it refuses, and what an engine gets out of it.
#include "history.h"
#include "image_priv.h"

#include <criterion/criterion.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static struct history h;
static struct gp_image *image;
static struct gp_image_error err;
static uint64_t memory_max = 1 << 20;

static void setup(void)
{
	const struct gp_image_opts opts = {.memory_max = memory_max};
	cr_assert_eq(gp_image_create(&image, &opts, &err), 0);
}

static void teardown(void)
{
	gp_image_destroy(image);
}

TestSuite(image, .init = setup, .fini = teardown);

static void base(uint32_t generation, uint32_t decision)
{
	const struct gp_image_point point = {.base = 7, .decision = decision, .digest_every = 1};
	cr_assert_eq(gp_image_base(image, &h.layout, &point, generation, &err), 0, "%s", err.text);
}

// `run` blocks from `first` on as bytes of a message.
static int blocks_from(const struct history *from, uint32_t first, uint32_t run, uint32_t step)
{
	static uint8_t bytes[1 << 16];
	uint8_t *weight = bytes, *to = bytes + sizeof(float) * (size_t)run;
	for (uint32_t b = first; b < first + run; b++, weight += 4) {
		struct layout_at at = layout_seek(&from->l, b);
		gp_storef(weight, history_weight(b, step));
		for (uint32_t a = 0; a < from->l.arrays_count; a++)
			for (uint32_t i = 0; i < at.elems; i++, to += 4)
				gp_storef(to, history_value(from, b, step, a, i));
	}
	const struct gp_image_blocks b = {.id = from->layout.id,
		.step = step,
		.first = first,
		.run = run,
		.bytes = bytes,
		.len = (size_t)(to - bytes)};
	return gp_image_blocks(image, &b, &err);
}

static int blocks(uint32_t first, uint32_t run, uint32_t step)
{
	return blocks_from(&h, first, run, step);
}

static void unit_blocks(uint32_t unit, uint32_t step)
{
	uint32_t first, count = layout_unit_blocks(&h.l, unit, &first);
	cr_assert_eq(blocks(first, count, step), 0, "%s", err.text);
}

static int decide(uint32_t number, uint32_t unit, uint32_t step)
{
	const struct gp_decision d = {
		.number = number, .kind = GP_DECIDED_COMMIT, .unit = unit, .step = step};
	return gp_image_decide(image, h.layout.id, &d, &err);
}

static struct gp_image_view view(void)
{
	struct gp_image_view v;
	cr_assert(gp_image_find(image, h.layout.id, &v));
	return v;
}

Test(image, follows_a_history_of_every_kind)
{
	for (uint32_t k = 0; k < 12; k++) {
		struct gp_decision d;
		history_init(&h, (uint16_t)(1 + k), k & 1 ? GP_KIND_TRAIN : GP_KIND_REDUCE,
			(uint8_t)(GP_ATOM_BLOCK + k % 3), k & 1 ? k % 3 : 0, k);
		base(h.generation, 0);
		cr_assert_eq(gp_image_base_end(image, h.layout.id, &err), 0, "%s", err.text);
		for (uint32_t n = 0; n < 300; n++) {
			history_release(&h, h.decision);
			cr_assert(history_decide(&h, &d));
			if (d.kind == GP_DECIDED_COMMIT)
				unit_blocks(d.unit, d.step);
			cr_assert_eq(
				gp_image_decide(image, h.layout.id, &d, &err), 0, "%s", err.text);
			history_expect(&h, image, d.number);
			if (h.units_ahead == 0 && layout_has(&h.l, h.generation)) {
				cr_assert(view().digested);
				cr_assert_eq(view().digest_step, h.generation);
				cr_assert_eq(view().digest, history_digest(&h, h.generation));
			}
		}
	}
}

static void held_through(uint32_t generation, uint32_t decision)
{
	base(generation, decision);
	cr_assert_eq(blocks(0, h.l.blocks_count, generation), 0, "%s", err.text);
	cr_assert_eq(gp_image_base_end(image, h.layout.id, &err), 0, "%s", err.text);
}

// What is held stays until the new base is complete; one that has less is refused.
Test(image, a_base_beside_a_job_takes_its_place_when_it_is_complete)
{
	history_init(&h, 3, GP_KIND_TRAIN, GP_ATOM_STEP, 1, 1);
	for (uint32_t decision = 69; decision <= 71; decision++) {
		const struct gp_image_point p = {.base = 8, .decision = decision};
		held_through(4, 70);
		uint64_t memory = gp_image_memory(image);
		for (uint32_t whole = 0; whole < 2; whole++) {
			cr_assert_eq(gp_image_base_beside(image, &h.layout, &p, 5, &err), 0);
			cr_assert_eq(blocks(0, whole ? h.l.blocks_count : 1, 5), 0);
			cr_assert(view().based && view().renewed);
			cr_assert(view().point.decision == 70 && view().generation == 4);
			cr_assert_eq(gp_image_memory(image), 2 * memory);
			cr_assert_eq(decide(72, 0, 6), -EPROTO, "it is not complete");
			int rc = gp_image_base_end(image, 3, &err);
			cr_assert_eq(rc, whole && decision >= 70 ? 0 : -EPROTO, "%s", err.text);
			cr_assert_eq(view().generation, rc == 0 ? 5 : 4);
			cr_assert(view().based && view().renewed == (rc != 0));
			gp_image_beside_drop(image);
			cr_assert_eq(gp_image_memory(image), memory);
		}
	}
}

Test(image, a_base_may_lie_in_the_middle_of_a_step)
{
	history_init(&h, 3, GP_KIND_TRAIN, GP_ATOM_TENSOR, 2, 1);
	base(9, 70);
	cr_assert_eq(gp_image_base_ahead(image, 3, 1, &err), 0);
	cr_assert_eq(gp_image_base_ahead(image, 3, 4, &err), 0);
	cr_assert_eq(gp_image_base_ahead(image, 3, 4, &err), -EPROTO, "twice");
	cr_assert_eq(gp_image_base_ahead(image, 3, 5, &err), -EPROTO, "no such unit");
	cr_assert_eq(blocks(0, h.l.blocks_count, 9), 0);
	unit_blocks(1, 10);
	cr_assert_eq(gp_image_base_ahead(image, 3, 2, &err), -EPROTO, "too late");
	cr_assert_eq(gp_image_base_end(image, 3, &err), -EPROTO, "unit 4 lacks");
	struct gp_restore r;
	cr_assert_eq(gp_image_restore(image, 3, &r), -ENOENT);
	unit_blocks(4, 10);
	cr_assert_eq(gp_image_base_end(image, 3, &err), 0);
	cr_assert_eq(view().units_ahead, 2);
	unit_blocks(0, 10);
	cr_assert_eq(decide(71, 0, 10), 0, "%s", err.text);

	cr_assert_eq(gp_image_restore(image, 3, &r), 0);
	cr_assert_eq(r.step, 9);
	cr_assert_eq(r.decision, 71);
	cr_assert_eq(r.block_elems, h.layout.block_elems);
	cr_assert_eq(r.tensors_count, HISTORY_TENSORS);
	struct layout_at at = layout_seek(&h.l, 0);
	for (; at.block < h.l.blocks_count; layout_next(&h.l, &at)) {
		const struct gp_restore_tensor *t = &r.tensors[at.tensor];
		bool ahead = at.tensor == 0 || at.tensor == 1 || at.tensor == 4;
		size_t offset = (size_t)at.idx * h.layout.block_elems;
		cr_assert_str_eq(t->name, h.tensors[at.tensor].name);
		cr_assert_eq(t->dims[1], h.tensors[at.tensor].dims[1]);
		cr_assert_eq(t->ahead[at.idx], ahead);
		cr_assert_eq(t->weights[at.idx], history_weight(at.block, 9));
		cr_assert(!ahead || t->ahead_weights[at.idx] == history_weight(at.block, 10));
		for (uint32_t i = 0; i < at.elems; i++) {
			cr_assert_eq(t->values[offset + i], history_value(&h, at.block, 9, 0, i));
			cr_assert_eq(
				t->states[1][offset + i], history_value(&h, at.block, 9, 2, i));
			cr_assert(!ahead || t->ahead_states[0][offset + i] ==
						    history_value(&h, at.block, 10, 1, i));
		}
	}
}

Test(image, what_was_on_its_way_to_a_commit_is_not_restored)
{
	struct gp_restore r;
	history_init(&h, 3, GP_KIND_TRAIN, GP_ATOM_TENSOR, 2, 1);
	base(9, 70);
	cr_assert_eq(blocks(0, h.l.blocks_count, 9), 0);
	cr_assert_eq(gp_image_base_end(image, 3, &err), 0, "%s", err.text);
	unit_blocks(1, 10);
	cr_assert_eq(decide(71, 1, 10), 0, "%s", err.text);
	unit_blocks(2, 10); // its decision does not come
	cr_assert_eq(gp_image_restore(image, 3, &r), 0);
	cr_assert_eq(r.decision, 71);
	cr_assert(r.tensors[1].ahead[0], "committed");
	for (uint32_t t = 0; t < r.tensors_count; t++) {
		uint32_t first, count = layout_unit_blocks(&h.l, t, &first);
		for (uint32_t b = 0; b < count; b++)
			cr_assert_eq(r.tensors[t].ahead[b], t == 1, "tensor %u block %u", t, b);
	}
}

Test(image, nothing_to_restore_before_the_first_commit)
{
	struct gp_restore r;
	history_init(&h, 3, GP_KIND_TRAIN, GP_ATOM_TENSOR, 0, 1);
	base(GP_IMAGE_NONE, 0);
	cr_assert_eq(gp_image_base_end(image, 3, &err), 0);
	cr_assert_eq(gp_image_restore(image, 3, &r), -ENOENT);
	unit_blocks(2, 0);
	cr_assert_eq(decide(1, 2, 0), 0, "%s", err.text);
	cr_assert_eq(gp_image_restore(image, 3, &r), 0);
	cr_assert_eq(r.step, GP_IMAGE_NONE);
	cr_assert_null(r.tensors[2].values);
	cr_assert_eq(r.tensors[2].ahead[0], 1);
	cr_assert_eq(r.tensors[1].ahead[0], 0);
	cr_assert_eq(
		r.tensors[2].ahead_values[5], history_value(&h, h.spans[2].first_block, 0, 0, 5));
}

Test(image, what_was_there_before_is_ignored)
{
	history_init(&h, 1, GP_KIND_TRAIN, GP_ATOM_STEP, 1, 1);
	base(4, 10);
	cr_assert_eq(blocks(0, h.l.blocks_count, 4), 0);
	cr_assert_eq(blocks(0, 3, 4), 0);
	cr_assert_eq(gp_image_base_end(image, 1, &err), 0);
	cr_assert_eq(gp_image_base_end(image, 1, &err), 0);
	cr_assert_eq(blocks(0, h.l.blocks_count, 5), 0);
	cr_assert_eq(blocks(2, 4, 5), 0, "staged twice");
	cr_assert_eq(decide(11, 0, 5), 0, "%s", err.text);
	uint64_t digest = view().digest;
	cr_assert_eq(decide(11, 0, 5), 0);
	cr_assert_eq(decide(3, 0, 2), 0);
	cr_assert_eq(blocks(0, h.l.blocks_count, 5), 0);
	cr_assert_eq(blocks(0, h.l.blocks_count, 4), 0);
	cr_assert_eq(view().generation, 5);
	cr_assert_eq(view().digest, digest);
	cr_assert_eq(digest, history_digest(&h, 5));
	cr_assert_eq(gp_image_digest(image, 1, 5, &digest), 0);
	cr_assert_eq(digest, history_digest(&h, 5));
	cr_assert_eq(gp_image_digest(image, 1, 6, &digest), -ENOENT);
}

Test(image, gaps_are_refused_by_name)
{
	history_init(&h, 1, GP_KIND_TRAIN, GP_ATOM_TENSOR, 0, 1);
	cr_assert_eq(blocks(0, 1, 4), -EPROTO);
	cr_assert(strstr(err.text, "job 1 has no base"));
	base(4, 10);
	cr_assert_eq(decide(11, 0, 5), -EPROTO);
	cr_assert(strstr(err.text, "before its base is complete"), "%s", err.text);
	cr_assert_eq(blocks(0, 1, 5), -EPROTO);
	cr_assert_eq(blocks(0, h.l.blocks_count, 4), 0);
	cr_assert_eq(gp_image_base_end(image, 1, &err), 0);

	cr_assert_eq(blocks(0, 1, 6), -EPROTO, "a step too far");
	cr_assert(strstr(err.text, "block 0 of step 6"), "%s", err.text);
	const struct gp_image_blocks beyond = {
		.id = 1, .step = 5, .first = h.l.blocks_count - 1, .run = 2};
	cr_assert_eq(gp_image_blocks(image, &beyond, &err), -EPROTO);
	unit_blocks(0, 5);
	cr_assert_eq(decide(12, 0, 5), -EPROTO);
	cr_assert(strstr(err.text, "decision 12 after 10"), "%s", err.text);
	cr_assert_eq(decide(11, 1, 5), -EPROTO);
	cr_assert(strstr(err.text, "0 of its"), "%s", err.text);
	cr_assert_eq(decide(11, 0, 6), -EPROTO);
	cr_assert_eq(decide(11, HISTORY_TENSORS, 5), -EPROTO);
	cr_assert_eq(decide(11, 0, 5), 0, "%s", err.text);
	cr_assert_eq(blocks(0, 1, 6), -EPROTO, "its unit is ahead");
	cr_assert_eq(view().point.decision, 11);
}

Test(image, a_base_drops_what_was_staged)
{
	history_init(&h, 1, GP_KIND_TRAIN, GP_ATOM_STEP, 0, 1);
	base(4, 10);
	cr_assert_eq(blocks(0, h.l.blocks_count, 4), 0);
	cr_assert_eq(gp_image_base_end(image, 1, &err), 0);
	cr_assert_eq(blocks(0, h.l.blocks_count, 5), 0);
	base(4, 10);
	cr_assert_eq(blocks(0, h.l.blocks_count, 4), 0);
	cr_assert_eq(gp_image_base_end(image, 1, &err), 0);
	cr_assert_eq(decide(11, 0, 5), -EPROTO);
	cr_assert_eq(gp_image_digest(image, 1, 5, &(uint64_t){0}), -ENOENT, "not what is staged");
}

Test(image, what_is_staged_is_not_read)
{
	uint32_t elems;
	float weight;
	history_init(&h, 1, GP_KIND_TRAIN, GP_ATOM_STEP, 0, 1);
	base(4, 10);
	cr_assert_eq(blocks(0, h.l.blocks_count, 4), 0);
	cr_assert_eq(gp_image_base_end(image, 1, &err), 0);
	cr_assert_eq(blocks(0, h.l.blocks_count, 5), 0);
	cr_assert_null(gp_image_block(image, 1, 0, 5, 0, &elems, &weight));
	cr_assert_not_null(gp_image_block(image, 1, 0, 4, 0, &elems, &weight));
	cr_assert_null(gp_image_block(image, 1, 0, 4, 1, &elems, &weight), "no state");
	cr_assert_eq(decide(11, 0, 5), 0);
	cr_assert_not_null(gp_image_block(image, 1, 0, 5, 0, &elems, &weight));
}

Test(image, memory_is_bounded_and_used_again)
{
	history_init(&h, 1, GP_KIND_TRAIN, GP_ATOM_STEP, 2, 1);
	base(4, 10);
	uint64_t one = gp_image_memory(image);
	base(5, 11);
	cr_assert_eq(gp_image_memory(image), one);
	gp_image_destroy(image);

	const struct gp_image_opts opts = {.memory_max = 2 * one + one / 2};
	const struct gp_image_point point = {.base = 1};
	cr_assert_eq(gp_image_create(&image, &opts, &err), 0);
	for (uint16_t id = 1; id <= 3; id++) {
		history_init(&h, id, GP_KIND_TRAIN, GP_ATOM_STEP, 2, 1);
		int rc = gp_image_base(image, &h.layout, &point, 4, &err);
		cr_assert_eq(rc, id < 3 ? 0 : -ENOMEM);
	}
	cr_assert(strstr(err.text, "job job3: its image needs"), "%s", err.text);
	cr_assert_eq(gp_image_memory(image), 2 * one);
	gp_image_drop(image, 1);
	cr_assert_eq(gp_image_base(image, &h.layout, &point, 4, &err), 0);
	cr_assert_eq(gp_image_memory(image), 2 * one);
}

static bool is_resident(const void *at)
{
	unsigned char there = 0;
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	const uint8_t *from = (const uint8_t *)at - (uintptr_t)at % page;
	cr_assert_eq(mincore((void *)(uintptr_t)from, page, &there), 0);
	return there & 1;
}

// A large job's memory goes back a part at a time, and at once where a base has no room otherwise.
Test(image, memory_goes_back_in_portions)
{
	const uint64_t portion = 1 << 20;
	const struct gp_image_point point = {.base = 1};
	struct gp_image_tensor tensor = {
		.name = "w", .dims_count = 2, .dims = {2, UINT64_C(1) << 20}};
	history_init(&h, 1, GP_KIND_REDUCE, GP_ATOM_STEP, 0, 1);
	struct gp_image_layout large = h.layout;
	large.tensors = &tensor;
	large.tensors_count = 1;
	const struct gp_image_opts opts = {.memory_max = 20 << 20};
	gp_image_destroy(image);
	cr_assert_eq(gp_image_create(&image, &opts, &err), 0);
	cr_assert_eq(gp_image_base(image, &large, &point, GP_IMAGE_NONE, &err), 0);
	uint64_t size = gp_image_memory(image);
	cr_assert_gt(size, 16 * portion);
	cr_assert_eq(gp_image_give_back(image, portion), 0, "it is in use");
	uint8_t *mem = image_find(image, 1)->mem;
	memset(mem, 1, size);

	gp_image_drop(image, 1);
	cr_assert_eq(gp_image_memory(image), 0);
	for (uint64_t left = size; left > 0;) {
		uint64_t now = gp_image_give_back(image, portion);
		cr_assert_eq(now, left > portion ? left - portion : 0);
		left = now;
		if (left > 0)
			cr_assert_not(is_resident(mem + size - left - portion / 2));
	}

	cr_assert_eq(gp_image_base(image, &large, &point, GP_IMAGE_NONE, &err), 0);
	gp_image_drop(image, 1);
	cr_assert_lt(gp_image_give_back(image, portion), size);
	cr_assert_eq(gp_image_base(image, &large, &point, GP_IMAGE_NONE, &err), 0);
	cr_assert_eq(gp_image_give_back(image, portion), 0, "two have no room");
}

static void *no_take(void *arg, size_t size)
{
	(void)arg;
	(void)size;
	return NULL;
}

static void no_give(void *arg, void *mem)
{
	(void)arg;
	(void)mem;
}

Test(image, memory_that_is_not_there_is_an_error)
{
	const struct gp_image_opts opts = {
		.memory_max = UINT64_MAX, .take = no_take, .give = no_give};
	const struct gp_image_point point = {.base = 1};
	struct gp_image *m;
	history_init(&h, 1, GP_KIND_TRAIN, GP_ATOM_STEP, 2, 1);
	cr_assert_eq(gp_image_create(&m, &opts, &err), 0);
	cr_assert_eq(gp_image_base(m, &h.layout, &point, 4, &err), -ENOMEM);
	cr_assert(strstr(err.text, "no memory for the"), "%s", err.text);
	cr_assert_eq(gp_image_memory(m), 0);
	gp_image_destroy(m);
}

Test(image, layouts_out_of_range_are_refused)
{
	const struct gp_image_point point = {.base = 1};
	struct gp_image_layout bad[8];
	struct gp_image_tensor tensor;
	history_init(&h, 1, GP_KIND_TRAIN, GP_ATOM_STEP, 2, 1);
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(bad); i++)
		bad[i] = h.layout;
	bad[0].id = 65;
	bad[1].kind = 3;
	bad[2].atomicity = 0;
	bad[3].arrays_count = GP_IMAGE_ARRAYS_MAX + 1;
	bad[4].block_elems = 0;
	bad[5].tensors_count = 0;
	bad[6].name[0] = 0;
	tensor = h.tensors[0];
	tensor.dims[0] = UINT64_MAX;
	bad[7].tensors = &tensor;
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(bad); i++) {
		cr_assert_eq(gp_image_base(image, &bad[i], &point, 4, &err), -EINVAL, "%u", i);
		cr_assert(strstr(err.text, "out of range"));
	}
}
