// SPDX-License-Identifier: BSD-3-Clause
#include "driver.h"

static void hello_of(const struct worker *w, struct gp_hello *hello)
{
	const struct seen *s = seen_last(w, GP_WIRE_HELLO_REPLY, 0);
	cr_assert(s, "hello is answered");
	gp_wire_get_hello(&s->m, hello);
}

Test(hello, is_echoed_in_its_own_size_with_a_cookie)
{
	struct rig *r = rig_new();
	struct gp_hello hello;
	const uint8_t none[GP_WIRE_COOKIE_SIZE] = {0};
	rig_start(r);
	worker_hello(&r->w[0], 0, 1300, 1);
	rig_run(r);
	hello_of(&r->w[0], &hello);
	cr_assert_eq(hello.size, 1300);
	cr_assert_eq(hello.nonce, 77);
	cr_assert_eq(hello.chosen, 1);
	cr_assert(memcmp(hello.cookie, none, sizeof(none)) != 0);
	cr_assert_eq(seen_last(&r->w[0], GP_WIRE_HELLO_REPLY, 0)->m.body_len, 1300 - 40);
	rig_free(r);
}

Test(hello, below_1200_bytes_or_of_another_size_is_dropped)
{
	struct rig *r = rig_new();
	rig_start(r);
	worker_hello(&r->w[0], 0, 1199, 1);
	uint8_t body[1300] = {0};
	const struct gp_hello lie = {.versions_count = 1, .versions = {1}, .size = 1400};
	(void)gp_wire_put_hello(body, &lie);
	struct gp_header h = {.version = 1, .type = GP_WIRE_HELLO};
	worker_send(&r->w[0], 0, &h, NULL, body, sizeof(body));
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_HELLO_SHORT), 2);
	cr_assert_eq(r->w[0].seen_count, 0);
	rig_free(r);
}

Test(hello, without_a_common_version_names_those_of_the_server)
{
	struct rig *r = rig_new();
	struct gp_hello hello;
	rig_start(r);
	worker_hello(&r->w[0], 0, 1200, 9);
	rig_run(r);
	hello_of(&r->w[0], &hello);
	cr_assert_eq(hello.chosen, 0);
	cr_assert_eq(hello.versions_count, 1);
	cr_assert_eq(hello.versions[0], 1);
	rig_free(r);
}

Test(hello, rate_is_limited_and_comes_back)
{
	struct rig *r = rig_new();
	r->cfg.hello_rate = 10;
	rig_start(r);
	for (int i = 0; i < 30; i++)
		worker_hello(&r->w[0], 0, 1200, 1);
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_HELLO), 10);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_HELLO_LIMIT), 20);
	r->now += 500 * RIG_MS;
	for (int i = 0; i < 30; i++)
		worker_hello(&r->w[0], 0, 1200, 1);
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_HELLO), 15);
	rig_free(r);
}

Test(hello, rate_limit_survives_a_long_idle_time)
{
	struct rig *r = rig_new();
	r->now = UINT64_C(40) * 86400 * 1000 * RIG_MS;
	r->cfg.hello_rate = 1000000;
	rig_start(r);
	for (int i = 0; i < 30; i++)
		worker_hello(&r->w[0], 0, 1200, 1);
	rig_run(r);
	r->now += UINT64_C(40) * 86400 * 1000 * RIG_MS;
	for (int i = 0; i < 30; i++)
		worker_hello(&r->w[0], 0, 1200, 1);
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_HELLO), 60);
	rig_free(r);
}

Test(join, welcome_says_what_the_job_is)
{
	struct rig *r = rig_new();
	r->cfg.cores_count = 2;
	r->jobs[0].kind = GP_KIND_TRAIN;
	r->jobs[0].mean = true;
	r->jobs[0].deterministic = true;
	rig_start(r);
	struct worker *w = &r->w[0];
	cr_assert_eq(worker_enter(w, 1), 0);
	const struct gp_welcome *x = &w->welcome;
	cr_assert_eq(x->nonce, 4242);
	cr_assert_eq(x->incarnation, w->incarnation);
	cr_assert_eq(x->cores, 2);
	cr_assert_eq(x->base_port, RIG_BASE_PORT);
	cr_assert_eq(x->home, 0);
	cr_assert_eq(x->kind, GP_KIND_TRAIN);
	cr_assert_eq(x->atomicity, GP_ATOM_STEP);
	cr_assert_eq(x->flags, GP_WELCOME_MEAN | GP_WELCOME_DETERMINISTIC);
	cr_assert_eq(x->next_step, 0, "a train job begins with its initial values");
	cr_assert_eq(x->timeout_us, 1000000);
	cr_assert_lt(x->heartbeat_us, x->timeout_us);
	cr_assert_eq(x->slots, 16);
	cr_assert_eq(x->window, 64);
	cr_assert_eq(x->payload_max, RIG_PAYLOAD);
	cr_assert_eq(x->world, 2);
	cr_assert_eq(x->rank, 1);
	cr_assert_neq(x->session, 0);
	cr_assert_eq(w->epoch, 7);
	rig_free(r);
}

Test(join, repeated_gets_the_same_welcome)
{
	struct rig *r = rig_new();
	rig_start(r);
	cr_assert_eq(worker_enter(&r->w[0], 0), 0);
	uint32_t session = r->w[0].session;
	cr_assert_eq(worker_enter(&r->w[0], 0), 0);
	cr_assert_eq(r->w[0].session, session);
	cr_assert_eq(rig_job(r).joined, 1);
	rig_free(r);
}

Test(join, a_reader_that_repeats_has_one_session)
{
	struct rig *r = rig_new();
	rig_start(r);
	struct gp_join j = worker_join_of(&r->w[0], 5);
	j.flags = GP_JOIN_READER;
	cr_assert_eq(worker_enter_as(&r->w[0], &j), 0);
	cr_assert_eq(r->w[0].rank, GP_WIRE_RANK_NONE);
	cr_assert_eq(worker_enter_as(&r->w[0], &j), 0);
	cr_assert_eq(rig_job(r).readers, 1);
	rig_free(r);
}

struct refusal {
	uint16_t rank;
	uint16_t world;
	uint32_t payload_max;
	const char *job;
	uint32_t reason;
	uint64_t expected;
	uint64_t seen;
};

Test(join, that_cannot_be_is_refused_by_name)
{
	static const struct refusal refusals[] = {
		{0, 2, RIG_PAYLOAD, "nothing", GP_REFUSAL_UNKNOWN_JOB, 0, 0},
		{0, 3, RIG_PAYLOAD, "job", GP_REFUSAL_WORLD_SIZE, 2, 3},
		{2, 2, RIG_PAYLOAD, "job", GP_REFUSAL_RANK_RANGE, 2, 2},
		{0, 2, 1151, "job", GP_REFUSAL_MTU, 1200, 1199},
	};
	struct rig *r = rig_new();
	rig_start(r);
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(refusals); i++) {
		const struct refusal *x = &refusals[i];
		struct worker *w = &r->w[i];
		struct gp_join j = worker_join_of(w, x->rank);
		memset(j.job, 0, sizeof(j.job));
		strcpy(j.job, x->job);
		j.world = x->world;
		j.payload_max = x->payload_max;
		cr_assert_eq(worker_enter_as(w, &j), x->reason, "case %u", i);
		cr_assert_eq(w->refuse.expected, x->expected, "case %u", i);
		cr_assert_eq(w->refuse.seen, x->seen, "case %u", i);
		cr_assert_eq(w->refuse.nonce, 4242);
		cr_assert_gt(w->refuse.text_len, 0);
	}
	cr_assert_eq(rig_job(r).joined, 0);
	rig_free(r);
}

Test(join, a_taken_rank_names_its_holder_and_age)
{
	struct rig *r = rig_new();
	rig_start(r);
	cr_assert_eq(worker_enter(&r->w[0], 0), 0);
	r->now += 300 * RIG_MS;
	cr_assert_eq(worker_enter(&r->w[1], 0), GP_REFUSAL_RANK_TAKEN);
	const struct gp_refuse *x = &r->w[1].refuse;
	const struct gp_addr *holder = gp_sim_addr(r->w[0].x[0]);
	cr_assert_eq(memcmp(x->where_ip, holder->ip, 16), 0);
	cr_assert_eq(x->where_port, holder->port);
	cr_assert(x->age_ms >= 300 && x->age_ms < 350);
	rig_free(r);
}

Test(join, replace_and_previous_take_a_rank_over)
{
	struct rig *r = rig_new();
	rig_start(r);
	cr_assert_eq(worker_enter(&r->w[0], 0), 0);
	struct gp_join j = worker_join_of(&r->w[1], 0);
	j.flags = GP_JOIN_REPLACE;
	cr_assert_eq(worker_enter_as(&r->w[1], &j), 0);
	j = worker_join_of(&r->w[2], 0);
	j.previous = r->w[1].incarnation;
	cr_assert_eq(worker_enter_as(&r->w[2], &j), 0);
	cr_assert_eq(rig_job(r).joined, 1);
	worker_heartbeat(&r->w[0], 0, 0);
	rig_run(r);
	struct gp_refuse x;
	gp_wire_get_refuse(&seen_last(&r->w[0], GP_WIRE_REFUSE, 0)->m, &x);
	cr_assert_eq(x.reason, GP_REFUSAL_FENCED, "the old one ends at once");
	rig_free(r);
}

Test(join, silence_frees_a_rank)
{
	struct rig *r = rig_new();
	rig_start(r);
	cr_assert_eq(worker_enter(&r->w[0], 0), 0);
	r->now += RIG_TIMEOUT_NS + 100 * RIG_MS;
	cr_assert_eq(worker_enter(&r->w[1], 0), 0);
	rig_free(r);
}

Test(join, before_the_layout_a_silent_session_ends)
{
	struct rig *r = rig_new();
	rig_start(r);
	cr_assert_eq(worker_enter(&r->w[0], 0), 0);
	rig_wait(r, 3 * RIG_TIMEOUT_NS, 0);
	cr_assert_eq(rig_job(r).joined, 1);
	rig_wait(r, 2 * RIG_TIMEOUT_NS, 0);
	cr_assert_eq(rig_job(r).joined, 0);
	cr_assert_str_eq(r->closed_why, "silent");
	rig_free(r);
}

Test(join, a_wrong_old_or_stolen_cookie_gets_nothing)
{
	struct rig *r = rig_new();
	rig_start(r);
	struct gp_join j = worker_join_of(&r->w[0], 0);
	worker_join(&r->w[0], 0, &j);
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_BAD_COOKIE), 1, "a cookie of zeros");
	cr_assert_eq(worker_enter(&r->w[0], 0), 0);
	memcpy(r->w[1].cookie, r->w[0].cookie, sizeof(r->w[0].cookie));
	j = worker_join_of(&r->w[1], 1);
	worker_join(&r->w[1], 0, &j);
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_BAD_COOKIE), 2, "the cookie of another address");
	r->now += (GP_COOKIE_VALID_MS + 10) * RIG_MS;
	j = worker_join_of(&r->w[0], 0);
	worker_join(&r->w[0], 0, &j);
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_BAD_COOKIE), 3, "a cookie too old");
	cr_assert_eq(r->w[1].seen_count, 0);
	rig_free(r);
}

Test(join, a_standby_takes_readers_only)
{
	struct rig *r = rig_new();
	r->cfg.standby = true;
	rig_start(r);
	cr_assert_eq(worker_enter(&r->w[0], 0), GP_REFUSAL_NOT_LEADER);
	struct gp_join j = worker_join_of(&r->w[0], GP_WIRE_RANK_NONE);
	j.flags = GP_JOIN_READER;
	cr_assert_eq(worker_enter_as(&r->w[0], &j), 0);
	cr_assert_eq(r->w[0].welcome.flags & GP_WELCOME_STANDBY, GP_WELCOME_STANDBY);
	rig_free(r);
}

Test(join, sessions_beyond_the_limit_are_refused)
{
	struct rig *r = rig_new();
	r->cfg.sessions_max = 2;
	rig_start(r);
	for (uint32_t i = 0; i < 3; i++) {
		struct gp_join j = worker_join_of(&r->w[i], GP_WIRE_RANK_NONE);
		j.flags = GP_JOIN_READER;
		cr_assert_eq(worker_enter_as(&r->w[i], &j), i < 2 ? 0 : GP_REFUSAL_OVER_QUOTA);
	}
	cr_assert_eq(r->w[2].refuse.expected, 2);
	rig_free(r);
}

Test(join, a_replacement_waits_for_the_place_it_frees)
{
	struct rig *r = rig_new();
	r->cfg.sessions_max = 2;
	rig_start(r);
	cr_assert_eq(worker_enter(&r->w[0], 0), 0);
	cr_assert_eq(worker_enter(&r->w[1], 1), 0);
	worker_hello(&r->w[2], 0, 1200, 1);
	rig_run(r);
	struct gp_hello hello;
	hello_of(&r->w[2], &hello);
	memcpy(r->w[2].cookie[0], hello.cookie, sizeof(hello.cookie));
	r->no_grace = true;
	struct gp_join j = worker_join_of(&r->w[2], 0);
	j.flags = GP_JOIN_REPLACE;
	worker_join(&r->w[2], 0, &j);
	rig_run(r);
	cr_assert_eq(seen_count(&r->w[2], GP_WIRE_REFUSE), 0, "not a final answer");
	r->no_grace = false;
	rig_run(r);
	cr_assert_eq(worker_enter_as(&r->w[2], &j), 0);
	rig_free(r);
}

Test(join, is_for_core_0)
{
	struct rig *r = rig_new();
	r->cfg.cores_count = 2;
	rig_start(r);
	struct worker *w = &r->w[0];
	worker_hello(w, 1, 1200, 1);
	rig_run(r);
	struct gp_hello hello;
	hello_of(w, &hello);
	memcpy(w->cookie[1], hello.cookie, sizeof(hello.cookie));
	struct gp_join j = worker_join_of(w, 0);
	worker_join(w, 1, &j);
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_WRONG_CORE), 1);
	rig_free(r);
}

Test(join, attach_of_a_session_that_is_not_ones_own_is_refused)
{
	struct rig *r = rig_new();
	r->cfg.cores_count = 2;
	rig_start(r);
	cr_assert_eq(worker_enter(&r->w[0], 0), 0);
	worker_hello(&r->w[1], 1, 1200, 1);
	rig_run(r);
	struct gp_hello hello;
	hello_of(&r->w[1], &hello);
	memcpy(r->w[1].cookie[1], hello.cookie, sizeof(hello.cookie));
	struct gp_join j = worker_join_of(&r->w[1], 0);
	j.flags = GP_JOIN_ATTACH;
	static const uint32_t steals[] = {0, 31, 32, 0xffff, UINT32_MAX};
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(steals); i++) {
		j.session = i == 0 ? r->w[0].session : steals[i];
		worker_join(&r->w[1], 1, &j);
	}
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_BAD_SESSION), GP_ARRAY_SIZE(steals));
	cr_assert_eq(seen_count(&r->w[1], GP_WIRE_WELCOME), 0);
	rig_free(r);
}

Test(session, datagrams_of_another_address_have_no_effect)
{
	struct rig *r = rig_new();
	rig_up(r);
	struct worker *thief = &r->w[5];
	struct gp_xport *own = thief->x[0];
	*thief = r->w[0];
	thief->x[0] = own;
	thief->seen_count = 0;
	worker_push_all(thief, 1, true);
	worker_leave(thief);
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_BAD_SESSION), BLOCKS + 1);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_PUSH), 0);
	cr_assert_eq(rig_job(r).joined, 2);
	seen_clear(thief);
	rig_free(r);
}

Test(session, of_another_epoch_or_job_is_refused)
{
	struct rig *r = rig_new();
	rig_up(r);
	struct worker *w = &r->w[0];
	w->epoch++;
	worker_heartbeat(w, 0, 0);
	w->epoch--;
	static const uint16_t jobs[] = {0, 2, 65, UINT16_MAX};
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(jobs); i++) {
		w->job = jobs[i];
		worker_heartbeat(w, 0, 0);
	}
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_BAD_EPOCH), 1);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_BAD_JOB), GP_ARRAY_SIZE(jobs));
	rig_free(r);
}

Test(session, a_payload_limit_beyond_the_ports_is_cut_to_it)
{
	struct rig *r = rig_new();
	rig_start(r);
	for (uint16_t i = 0; i < 2; i++) {
		struct gp_join j = worker_join_of(&r->w[i], i);
		j.payload_max = i == 0 ? UINT32_MAX : 9000;
		cr_assert_eq(worker_enter_as(&r->w[i], &j), 0);
		cr_assert_eq(worker_bring(&r->w[i]), 0);
	}
	rig_run(r);
	worker_push_all(&r->w[0], 1, true);
	worker_push_all(&r->w[1], 1, true);
	rig_run(r);
	for (uint32_t i = 0; i < 2; i++)
		cr_assert_eq(seen_count(&r->w[i], GP_WIRE_RESULT), BLOCKS, "worker %u", i);
	cr_assert_eq(gp_sim_net_stats(r->net)->too_long, 0);
	rig_free(r);
}

Test(engine, creation_survives_every_failed_allocation)
{
	struct rig *r = rig_new();
	r->cfg.standby = true;
	r->cfg.jobs_count = 2;
	rig_start(r);
	struct gp_engine *e = NULL;
	uint32_t n = 0;
	for (; n < 100; n++) {
		r->takes_left = n;
		if (gp_engine_create(&e, &r->cfg, r->core_x) == 0)
			break;
		cr_assert_null(e);
	}
	cr_assert_eq(n, 5, "the engine, and two memories for each job");
	gp_engine_destroy(e);
	rig_free(r);
}

// Grace periods and timers wait for the control thread: who repeats himself must not keep it.
Test(join, a_flood_does_not_keep_control_for_long)
{
	struct rig *r = rig_new();
	rig_start(r);
	struct gp_join j = worker_join_of(&r->w[0], 0);
	cr_assert_eq(worker_enter_as(&r->w[0], &j), 0);
	r->no_control = true;
	for (uint32_t i = 0; i < 200; i++)
		worker_join(&r->w[0], 0, &j);
	rig_run(r);
	r->no_control = false;
	cr_assert_leq(gp_registrar_poll(r->reg, r->now), 64);
	rig_run(r);
	cr_assert_eq(seen_count(&r->w[0], GP_WIRE_WELCOME), 201, "all are answered in the end");
	rig_free(r);
}
