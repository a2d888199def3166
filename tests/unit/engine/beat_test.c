// SPDX-License-Identifier: BSD-3-Clause
//
// Signs of life between the nodes of a pair: a worker of the rig stands for the peer.
#include "driver.h"

#include <gp_beat.h>
#include <gp_rcu.h>

#define COOKIE UINT64_C(0x1122334455667788)
#define EVERY  (40 * RIG_MS)

static void beat_from(struct worker *w, uint32_t core, uint64_t cookie)
{
	uint8_t bytes[64] = {0};
	const struct gp_header h = {
		.version = GP_WIRE_VERSION, .type = GP_WIRE_BEAT, .rank = GP_WIRE_RANK_NONE};
	uint32_t at = gp_wire_begin(bytes, sizeof(bytes), &h);
	worker_send_raw(w, core, bytes, at + gp_wire_put_u64(bytes + at, cookie));
}

static struct rig *started(void)
{
	struct rig *r = rig_new();
	r->cfg.cores_count = 2;
	rig_start(r);
	return r;
}

// Lets `ns` pass; how many BEATs came meanwhile.
static uint32_t beats_in(struct rig *r, uint64_t ns)
{
	uint32_t before = seen_count(&r->w[0], GP_WIRE_BEAT);
	for (uint64_t end = r->now + ns; r->now < end; r->now += RIG_MS)
		rig_round(r);
	rig_run(r);
	return seen_count(&r->w[0], GP_WIRE_BEAT) - before;
}

Test(beat, core_0_sends_them_at_their_interval_with_the_cookie_of_the_peer)
{
	struct rig *r = started();
	const struct gp_addr *peer = gp_sim_addr(r->w[0].x[0]);
	cr_assert_eq(beats_in(r, 10 * EVERY), 0, "nobody was named");
	cr_assert(gp_beat_send(r->e, peer, COOKIE, EVERY));
	uint32_t n = beats_in(r, 10 * EVERY);
	cr_assert(n >= 9 && n <= 11, "%u", n);
	const struct seen *s = seen_last(&r->w[0], GP_WIRE_BEAT, 0);
	cr_assert_eq(gp_wire_get_u64(&s->m), COOKIE);
	cr_assert_eq(s->core, 0);
	// Another life of the peer has another cookie; then it has none.
	cr_assert(gp_beat_send(r->e, peer, COOKIE + 1, EVERY));
	cr_assert_gt(beats_in(r, 3 * EVERY), 0);
	cr_assert_eq(gp_wire_get_u64(&seen_last(&r->w[0], GP_WIRE_BEAT, 0)->m), COOKIE + 1);
	cr_assert(gp_beat_send(r->e, NULL, 0, 0));
	cr_assert_eq(beats_in(r, 10 * EVERY), 0);
	rig_free(r);
}

Test(beat, what_a_core_may_still_read_is_not_replaced)
{
	struct rig *r = started();
	const struct gp_addr *peer = gp_sim_addr(r->w[0].x[0]);
	r->no_grace = true;
	rig_run(r);
	cr_assert(gp_beat_send(r->e, peer, COOKIE, EVERY));
	cr_assert_not(gp_beat_send(r->e, peer, COOKIE + 1, EVERY));
	r->no_grace = false;
	rig_run(r);
	cr_assert(gp_beat_send(r->e, peer, COOKIE + 1, EVERY));
	rig_free(r);
}

Test(beat, without_a_frame_it_is_sent_later)
{
	struct rig *r = started();
	cr_assert(gp_beat_send(r->e, gp_sim_addr(r->w[0].x[0]), COOKIE, EVERY));
	r->starve = r->frames_count;
	cr_assert_eq(beats_in(r, 3 * EVERY), 0);
	cr_assert_gt(RIG_COUNT(r, tx_no_frame), 0);
	r->starve = 0;
	cr_assert_gt(beats_in(r, 3 * EVERY), 0);
	rig_free(r);
}

Test(beat, only_what_bears_our_cookie_at_core_0_is_a_sign_of_life)
{
	struct rig *r = started();
	uint64_t bad = rig_verdicts(r, GP_VERDICT_BAD_COOKIE);
	beat_from(&r->w[0], 0, COOKIE);
	beat_from(&r->w[0], 0, 0);
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_BAD_COOKIE), bad + 2, "none is expected");
	gp_beat_expect(r->e, COOKIE);
	beat_from(&r->w[0], 0, COOKIE ^ 1);
	beat_from(&r->w[0], 1, COOKIE);
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_BAD_COOKIE), bad + 3);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_WRONG_CORE), 1);
	cr_assert_eq(gp_beat_heard(r->e), 0);
	uint64_t before = r->now;
	beat_from(&r->w[0], 0, COOKIE);
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_BEAT), 1);
	cr_assert(gp_beat_heard(r->e) >= before && gp_beat_heard(r->e) <= r->now);
	rig_free(r);
}
