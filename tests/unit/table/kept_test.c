// SPDX-License-Identifier: BSD-3-Clause
//
// Copies of rows for generations in use, against a plain list of all that was ever put.
#include <criterion/criterion.h>

#include <gp_kept.h>

#include <stdlib.h>

#define FLOATS 3

static struct gp_kept *kept_new(uint32_t copies_max, uint32_t first)
{
	const struct gp_kept_config cfg = {
		.copies_max = copies_max, .floats = FLOATS, .hash_key = 77};
	size_t size = gp_kept_size(&cfg);
	void *mem = aligned_alloc(GP_CACHE_LINE, gp_align_up(size, GP_CACHE_LINE));
	memset(mem, 0x5a, size);
	return gp_kept_init(mem, &cfg, first);
}

static void put(struct gp_kept *k, uint64_t id, uint32_t label, float value, bool there)
{
	cr_assert_not(gp_kept_has(k, id, label));
	float *to = gp_kept_put(k, id, label);
	for (uint32_t i = 0; i < FLOATS; i++)
		to[i] = value + (float)i;
	gp_kept_publish(k, there, label + 1000, label + 1003);
	cr_assert(gp_kept_has(k, id, label) && gp_kept_has(k, id, label - 1));
	cr_assert_not(gp_kept_has(k, id, label + 1));
}

static void expect(const struct gp_kept *k, uint64_t id, uint32_t generation, float value)
{
	bool there;
	const float *x = gp_kept_find(k, id, generation, &there);
	cr_assert(x, "row %lu of generation %u", id, generation);
	for (uint32_t i = 0; i < FLOATS; i++)
		cr_assert_eq(x[i], value + (float)i);
}

Test(kept, a_generation_reads_the_copy_made_after_it)
{
	bool there;
	struct gp_kept *k = kept_new(100, 5);
	cr_assert_null(gp_kept_find(k, 1, 5, &there));
	put(k, 1, 5, 10, true); // changed while 5 was the newest
	put(k, 2, 6, 20, false);
	put(k, 1, 8, 30, true);
	expect(k, 1, 5, 10);
	expect(k, 1, 6, 30);
	expect(k, 1, 8, 30);
	cr_assert_null(gp_kept_find(k, 1, 9, &there));
	expect(k, 2, 5, 20);
	expect(k, 2, 6, 20);
	cr_assert_null(gp_kept_find(k, 2, 7, &there));
	cr_assert_null(gp_kept_find(k, 3, 5, &there));
	cr_assert(gp_kept_find(k, 1, 6, &there) && there);
	cr_assert(gp_kept_find(k, 2, 6, &there) && !there);
	gp_kept_trim(k, 6); // 5 is not read any more
	cr_assert_not(gp_kept_whole(k, 5));
	cr_assert(gp_kept_whole(k, 6));
	cr_assert_eq(gp_kept_count(k), 2);
	expect(k, 1, 6, 30);
	gp_kept_trim(k, 9);
	cr_assert_eq(gp_kept_count(k), 0);
	cr_assert_null(gp_kept_find(k, 1, 8, &there));
	free(k);
}

Test(kept, full_lets_the_oldest_generations_go)
{
	struct gp_kept *k = kept_new(4, 1);
	put(k, 1, 1, 1, true);
	put(k, 2, 1, 2, true);
	put(k, 3, 2, 3, true);
	put(k, 4, 2, 4, true);
	cr_assert(gp_kept_whole(k, 1));
	put(k, 5, 3, 5, true);
	cr_assert_not(gp_kept_whole(k, 1), "both of its copies went");
	cr_assert(gp_kept_whole(k, 2));
	cr_assert_eq(gp_kept_count(k), 3);
	cr_assert(gp_kept_has(k, 9, 1), "what cannot be read needs no copy");
	expect(k, 3, 2, 3);
	put(k, 6, 3, 6, true);
	put(k, 7, 3, 7, true); // 2 goes
	cr_assert_not(gp_kept_whole(k, 2));
	put(k, 8, 3, 8, true);
	float *last = gp_kept_put(k, 9, 3); // and with the fifth of one label all of it
	last[0] = 0;
	gp_kept_publish(k, true, 0, 0);
	cr_assert_not(gp_kept_whole(k, 3));
	cr_assert(gp_kept_has(k, 10, 3));
	cr_assert(gp_kept_whole(k, 4));
	free(k);
}

// What another thread sees of a pinned generation: the first copy of each row since, in order.
Test(kept, a_pinned_generation_is_told_whole)
{
	struct gp_kept *k = kept_new(6, 1);
	struct gp_kept_copy x;
	put(k, 1, 1, 1, true);
	put(k, 2, 1, 2, true);
	cr_assert_eq(gp_kept_room(k), 4);
	gp_kept_pin(k, 2);
	cr_assert(gp_kept_pinned(k));
	cr_assert_not(gp_kept_seen(k, 0, &x));
	cr_assert_not(gp_kept_get(k, 1, &x), "what it was before the pin is not asked for");
	put(k, 1, 2, 10, true);
	put(k, 3, 2, 30, false);
	put(k, 1, 3, 11, true);
	put(k, 4, 3, 40, true);
	put(k, 5, 3, 50, true); // the two of label 1 go, those of the pin do not
	cr_assert_eq(gp_kept_room(k), 1);
	cr_assert(gp_kept_get(k, 1, &x) && x.there && x.step == 1002 && x.row[0] == 10.0f);
	cr_assert_eq(x.used, 1005);
	cr_assert(gp_kept_get(k, 3, &x) && !x.there);
	cr_assert(gp_kept_get(k, 5, &x) && x.id == 5 && x.row[2] == 52.0f);
	cr_assert_not(gp_kept_get(k, 2, &x));
	static const uint64_t ids[] = {1, 3, 1, 4, 5};
	for (uint64_t n = 0; n < GP_ARRAY_SIZE(ids); n++)
		cr_assert(gp_kept_seen(k, n, &x) && x.id == ids[n]);
	cr_assert_not(gp_kept_seen(k, GP_ARRAY_SIZE(ids), &x));
	float *last = gp_kept_put(k, 6, 3);
	last[0] = 60;
	cr_assert_not(gp_kept_get(k, 6, &x), "not before it is whole");
	cr_assert_not(gp_kept_seen(k, GP_ARRAY_SIZE(ids), &x));
	gp_kept_publish(k, true, 9, 9);
	cr_assert(gp_kept_get(k, 6, &x) && x.row[0] == 60.0f && x.step == 9);
	cr_assert_eq(gp_kept_room(k), 0);
	gp_kept_unpin(k);
	cr_assert_not(gp_kept_pinned(k));
	put(k, 7, 4, 70, true);
	cr_assert_not(gp_kept_whole(k, 2));
	free(k);
}

struct item {
	uint64_t id;
	uint32_t label;
	float value;
};

// Labels pass 2^32; ids are few, so that a bucket holds copies of several rows and ages.
Test(kept, against_a_list)
{
	enum { PUTS = 6000, IDS = 37 };
	static struct item items[PUTS];
	uint32_t count = 0, label = UINT32_MAX - 200, oldest = label, seed = 1;
	struct gp_kept *k = kept_new(600, label);
	for (uint32_t i = 0; i < PUTS; i++) {
		seed = seed * 1664525 + 1013904223;
		uint64_t id = seed >> 16 & 0xffff;
		id %= IDS;
		label += (seed & 7) == 0;
		if (label - oldest > 12)
			gp_kept_trim(k, oldest = label - (seed >> 8 & 7));
		if (!gp_kept_has(k, id, label)) {
			put(k, id, label, (float)i, true);
			items[count++] = (struct item){.id = id, .label = label, .value = (float)i};
		}
		uint32_t g = oldest + (seed >> 20) % (label - oldest + 1);
		const struct item *want = NULL;
		for (uint32_t n = 0; n < count && !want; n++)
			if (items[n].id == id && !gp_before(items[n].label, g))
				want = &items[n];
		cr_assert(gp_kept_whole(k, g));
		bool there;
		if (want)
			expect(k, id, g, want->value);
		else
			cr_assert_null(gp_kept_find(k, id, g, &there));
	}
	free(k);
}
