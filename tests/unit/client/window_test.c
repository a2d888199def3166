// SPDX-License-Identifier: BSD-3-Clause
#include "fixture.h"

#include <criterion/criterion.h>

#define SEC_NS (1000 * MS)

static uint64_t feed(struct cc_window *w, uint64_t now, uint32_t count, uint64_t rtt)
{
	for (uint32_t i = 0; i < count; i++) {
		now += rtt / 8;
		cc_window_sample(w, rtt, now);
	}
	return now;
}

Test(window, is_the_credit_until_delay_grows)
{
	struct cc_window w;
	cc_window_start(&w, 64);
	cr_assert_eq(cc_window_size(&w), 64);
	(void)feed(&w, MS, 1000, MS);
	cr_assert_eq(cc_window_size(&w), 64, "never more than the credit");
}

Test(window, halves_at_most_once_in_a_round_trip)
{
	struct cc_window w;
	cc_window_start(&w, 64);
	uint64_t now = feed(&w, MS, 10, MS);
	cc_window_sample(&w, 100 * MS, now += 200 * MS);
	cr_assert_eq(cc_window_size(&w), 32);
	cc_window_sample(&w, 100 * MS, now += 50 * MS);
	cr_assert_eq(cc_window_size(&w), 32);
	cc_window_sample(&w, 100 * MS, now += 50 * MS);
	cr_assert_eq(cc_window_size(&w), 16);
	(void)feed(&w, now, 1000, 100 * MS);
	cr_assert_eq(cc_window_size(&w), 4, "some always go");
}

Test(window, shrinks_little_when_delay_is_little_above_its_target)
{
	struct cc_window w;
	cc_window_start(&w, 64);
	uint64_t now = feed(&w, MS, 10, MS);
	cc_window_sample(&w, 4 * MS, now + 100 * MS); // the target: 2 x 1 + 2 ms
	cr_assert_eq(cc_window_size(&w), 64);
	cc_window_sample(&w, 5 * MS, now + 200 * MS);
	cr_assert(cc_window_size(&w) >= 53 && cc_window_size(&w) < 64, "%u", cc_window_size(&w));
}

Test(window, comes_back_by_one_in_a_round_trip)
{
	struct cc_window w;
	cc_window_start(&w, 64);
	uint64_t now = feed(&w, MS, 10, MS);
	now = feed(&w, now + SEC_NS, 100, 100 * MS);
	cr_assert_eq(cc_window_size(&w), 4);
	now = feed(&w, now, 4, MS); // a window's worth of answers
	cr_assert(w.size >= 4 * 256 + 200 && w.size <= 5 * 256, "%u", w.size);
	(void)feed(&w, now, 64 * 64, MS);
	cr_assert_eq(cc_window_size(&w), 64);
}

Test(window, a_longer_path_is_not_taken_for_a_queue_for_ever)
{
	struct cc_window w;
	cc_window_start(&w, 64);
	uint64_t now = feed(&w, MS, 100, MS);
	now = feed(&w, now, 8 * 1000, 10 * MS); // ten seconds on another route
	now = feed(&w, now + 11 * SEC_NS, 8 * 2000, 10 * MS);
	cr_assert_eq(cc_window_size(&w), 64);
}

Test(window, a_small_credit_stays)
{
	struct cc_window w;
	cc_window_start(&w, 1);
	uint64_t now = feed(&w, MS, 10, MS);
	(void)feed(&w, now, 100, 500 * MS);
	cr_assert_eq(cc_window_size(&w), 1);
}

// The core sends no more than its window.
Test(window, bounds_what_is_in_flight)
{
	struct fx f;
	fx_open(&f, 1500);
	fx_member(&f);
	f.core->lanes[0].window.size = 2 * 256;
	fx_push(&f, 1.0f);
	fx_tick(&f, 0);
	cr_assert_leq(f.core->lanes[0].outstanding, 2);
	fx_close(&f);
}
