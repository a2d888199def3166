// SPDX-License-Identifier: BSD-3-Clause
#include <criterion/criterion.h>

#include <gp_arena.h>
#include <gp_base.h>
#include <gp_log.h>
#include <gp_ring.h>

#include <signal.h>
#include <stdlib.h>

Test(base, before_survives_wrap)
{
	cr_assert(gp_before(1, 2));
	cr_assert(!gp_before(2, 2));
	cr_assert(gp_before(UINT32_MAX, 0));
	cr_assert(!gp_before(0, UINT32_MAX));
}

Test(base, fastdiv_is_exact)
{
	const uint32_t divisors[] = {1, 2, 3, 5, 7, 31, 32, 641, 65537, UINT32_MAX};
	const uint32_t values[] = {
		0, 1, 2, 30, 31, 32, 640, 641, 12345678, UINT32_MAX - 1, UINT32_MAX};
	for (size_t i = 0; i < GP_ARRAY_SIZE(divisors); i++) {
		struct gp_fastdiv f = gp_fastdiv_init(divisors[i]);
		for (size_t k = 0; k < GP_ARRAY_SIZE(values); k++) {
			cr_assert_eq(gp_fastdiv_quot(f, values[k]), values[k] / divisors[i]);
			cr_assert_eq(gp_fastdiv_rem(f, values[k]), values[k] % divisors[i]);
		}
	}
}

Test(base, ranks_set_iterates_in_order)
{
	struct gp_ranks s = {0};
	const uint32_t members[] = {0, 5, 63, 64, 200, 255};
	for (size_t i = 0; i < GP_ARRAY_SIZE(members); i++)
		gp_ranks_add(&s, members[i]);
	uint32_t seen = 0;
	gp_ranks_foreach(r, &s) cr_assert_eq(r, members[seen++]);
	cr_assert_eq(seen, GP_ARRAY_SIZE(members));
	cr_assert_eq(gp_ranks_count(&s), seen);
	gp_ranks_del(&s, 64);
	cr_assert(!gp_ranks_has(&s, 64));
	cr_assert_eq(gp_ranks_next(&s, 64), 200);
	cr_assert(!gp_ranks_has(&s, 1000));
}

Test(base, ring_keeps_order_and_says_full)
{
	void *mem = aligned_alloc(GP_CACHE_LINE, gp_ring_size(3, sizeof(uint64_t)));
	struct gp_ring *r = gp_ring_init(mem, 3, sizeof(uint64_t));
	uint64_t in = 0, out = 0, v;
	for (int round = 0; round < 100; round++) {
		while (gp_ring_push(r, &in))
			in++;
		cr_assert_eq(in - out, 4, "a ring of 3 is rounded up to 4");
		cr_assert_eq(gp_ring_room(r), 0);
		for (int i = 0; i < round % 5 && gp_ring_pop(r, &v); i++)
			cr_assert_eq(v, out++);
		cr_assert_eq(gp_ring_used(r), in - out);
	}
	while (gp_ring_pop(r, &v))
		cr_assert_eq(v, out++);
	cr_assert_eq(in, out);
	free(mem);
}

Test(base, arena_aligns_zeroes_and_ends)
{
	_Alignas(64) uint8_t mem[256];
	memset(mem, 0xff, sizeof(mem));
	struct gp_arena a;
	gp_arena_init(&a, mem, sizeof(mem));
	uint8_t *p = gp_arena_take(&a, 10, 1);
	uint8_t *q = gp_arena_take(&a, 64, 64);
	cr_assert_eq(p, mem);
	cr_assert_eq(q, mem + 64);
	for (int i = 0; i < 64; i++)
		cr_assert_eq(q[i], 0);
	cr_assert_null(gp_arena_take(&a, 129, 1));
	cr_assert_not_null(gp_arena_take(&a, 128, 1));
	cr_assert_null(gp_arena_take(&a, SIZE_MAX, 64));
}

Test(base, log_levels_have_names)
{
	cr_assert_eq(gp_log_level_parse("warn"), GP_LOG_WARN);
	cr_assert_eq(gp_log_level_parse("loud"), -1);
}

Test(base, assert_aborts, .signal = SIGABRT)
{
	GP_ASSERT(1 + 1 == 3);
}
