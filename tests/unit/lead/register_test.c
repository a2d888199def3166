// SPDX-License-Identifier: BSD-3-Clause
//
// The same behaviour of both registers: the distribution's etcd and our witness, each a process.
#include "rig.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct rig rig;

static void teardown(void)
{
	rig_fini(&rig);
}

TestSuite(etcd, .fini = teardown, .timeout = 110);
TestSuite(witness, .fini = teardown, .timeout = 110);

// A server takes its time to start.
static void until_reachable(void)
{
	uint64_t end = rig_now_ms() + RIG_WAIT_MS;
	while (rig_get(&rig) == GP_LEAD_AWAY) {
		struct gp_lead_status st;
		gp_lead_status(rig.lead, &st);
		cr_assert_lt(rig_now_ms(), end, "%s", st.last_error);
		rig_turn(&rig);
	}
}

static void begin(enum rig_kind kind, const char *tls)
{
	rig_init(&rig, kind, tls != NULL);
	rig_client(&rig, rig.port, 0, 2000, tls);
	until_reachable();
	cr_assert_not(rig.held.exists);
}

static void swaps(enum rig_kind kind)
{
	begin(kind, NULL);
	struct gp_lead_held none = {0}, first, second;
	struct gp_lead_record to = rig_next(&none, 11), other = rig_next(&none, 12);
	cr_assert_eq(rig_swap(&rig, &none, &to), GP_LEAD_COMMITTED);
	first = rig.held;
	cr_assert(gp_lead_record_equal(&first.record, &to));
	cr_assert_eq(rig_swap(&rig, &none, &other), GP_LEAD_REFUSED);
	cr_assert(gp_lead_record_equal(&rig.held.record, &to), "the refusal tells what stands");
	cr_assert_eq(rig.held.version, first.version);
	cr_assert_eq(rig_swap(&rig, &none, &to), GP_LEAD_COMMITTED, "asked again, it has happened");
	other = rig_next(&first, 13);
	cr_assert_eq(rig_swap(&rig, &first, &other), GP_LEAD_COMMITTED);
	second = rig.held;
	cr_assert_neq(second.version, first.version);
	cr_assert_eq(rig_get(&rig), GP_LEAD_CURRENT);
	cr_assert_eq(rig.held.version, second.version);
	cr_assert(gp_lead_record_equal(&rig.held.record, &other));
	cr_assert_eq(rig_swap(&rig, &first,
			     &(struct gp_lead_record){
				     .epoch = 9, .primary = 1, .backup = 0, .nonce = 14}),
		GP_LEAD_REFUSED);
	rig_server_kill(&rig);
	cr_assert_eq(rig_get(&rig), GP_LEAD_AWAY);
	rig_server_start(&rig);
	until_reachable();
	cr_assert_eq(rig.held.version, second.version, "kill -9 changes nothing");
	cr_assert(gp_lead_record_equal(&rig.held.record, &other));
}

static void lost_answers(enum rig_kind kind)
{
	uint16_t port;
	struct gp_lead_status st;
	begin(kind, NULL);
	struct relay *relay = relay_start(&rig, &port);
	rig_client(&rig, port, 0, 500, NULL);
	cr_assert_eq(rig_get(&rig), GP_LEAD_CURRENT);
	struct gp_lead_held from = rig.held;
	struct gp_lead_record to = rig_next(&from, 21);
	relay_lose(relay, 1, 0);
	cr_assert_eq(rig_swap(&rig, &from, &to), GP_LEAD_COMMITTED, "found by its nonce");
	gp_lead_status(rig.lead, &st);
	cr_assert_eq(st.doubts, 1u);
	from = rig.held;
	to = rig_next(&from, 22);
	relay_lose(relay, 0, 1);
	cr_assert_eq(rig_swap(&rig, &from, &to), GP_LEAD_COMMITTED, "never arrived, sent again");
	from = rig.held;
	to = rig_next(&from, 23);
	relay_lose(relay, 99, 0);
	cr_assert_eq(rig_swap(&rig, &from, &to), GP_LEAD_UNKNOWN);
	relay_lose(relay, 0, 0);
	cr_assert_eq(rig_get(&rig), GP_LEAD_CURRENT);
	cr_assert_eq(rig.held.record.nonce, 23u, "it has happened");
	rig_client(&rig, port, rig.port, 500, NULL);
	relay_lose(relay, 0, 99);
	cr_assert_eq(rig_get(&rig), GP_LEAD_CURRENT, "the second endpoint answers");
	from = rig.held;
	to = rig_next(&from, 24);
	cr_assert_eq(rig_swap(&rig, &from, &to), GP_LEAD_COMMITTED);
	relay_stop(relay);
}

// Kills the server in the middle of swaps; each ends one way, and what was committed stays.
static void killed_mid_swap(enum rig_kind kind, uint32_t kills)
{
	uint32_t committed = 0, doubts = 0;
	begin(kind, NULL);
	rig_client(&rig, rig.port, 0, 200, NULL);
	struct gp_lead_held now = rig.held;
	unsigned short seed[3] = {7, 8, 9};
	for (uint32_t k = 0; k < kills; k++) {
		uint32_t first = (uint32_t)(nrand48(seed) % 4); // swaps before the one that is hit
		uint64_t end = 0;
		bool alive = true;
		while (alive) {
			struct gp_lead_record to = rig_next(&now, 1000 + now.record.epoch);
			rig_swap_begin(&rig, &now, &to);
			end = first == 0 ? rig_now_ms() + (uint64_t)(nrand48(seed) % 4)
					 : UINT64_MAX;
			while (!rig.answered) {
				if (alive && rig_now_ms() >= end) {
					rig_server_kill(&rig);
					alive = false;
				}
				rig_turn_short(&rig);
			}
			alive = alive && first-- > 0;
			cr_assert_neq(rig.answer, GP_LEAD_REFUSED, "there is nobody else");
			if (rig.answer == GP_LEAD_COMMITTED) {
				cr_assert(gp_lead_record_equal(&rig.held.record, &to));
				now = rig.held;
				committed++;
			}
			doubts += rig.answer == GP_LEAD_UNKNOWN;
		}
		rig_server_kill(&rig);
		rig_server_start(&rig);
		until_reachable();
		uint32_t epoch = now.exists ? now.record.epoch : 0;
		cr_assert(rig.held.exists == now.exists || epoch == 0);
		cr_assert(rig.held.record.epoch == epoch || rig.held.record.epoch == epoch + 1,
			"epoch %u after %u", rig.held.record.epoch, epoch);
		now = rig.held;
	}
	printf("%s: %u kills, %u swaps committed, %u unknown\n",
		kind == RIG_ETCD ? "etcd" : "witness", kills, committed, doubts);
	cr_assert_gt(committed, 0u);
}

static void away_with_reason(const char *tls, const char *words)
{
	struct gp_lead_status st;
	rig_client(&rig, rig.port, 0, 2000, tls);
	cr_assert_eq(rig_get(&rig), GP_LEAD_AWAY);
	gp_lead_status(rig.lead, &st);
	cr_assert(strstr(st.last_error, words), "%s", st.last_error);
}

static void over_tls(enum rig_kind kind)
{
	begin(kind, "tls/node");
	struct gp_lead_record to = rig_next(&rig.held, 31);
	cr_assert_eq(rig_swap(&rig, &rig.held, &to), GP_LEAD_COMMITTED);
	// etcd may reset the connection before its reason has been read.
	away_with_reason("other/node", kind == RIG_WITNESS ? "TLS" : "");
	away_with_reason(NULL, "");
	rig_client(&rig, rig.port, 0, 2000, "tls/node");
	cr_assert_eq(rig_get(&rig), GP_LEAD_CURRENT);
	cr_assert_eq(rig.held.record.nonce, 31u);
}

Test(etcd, swaps)
{
	swaps(RIG_ETCD);
}

Test(witness, swaps)
{
	swaps(RIG_WITNESS);
}

Test(etcd, lost_answers)
{
	lost_answers(RIG_ETCD);
}

Test(witness, lost_answers)
{
	lost_answers(RIG_WITNESS);
}

Test(etcd, killed_mid_swap)
{
	killed_mid_swap(RIG_ETCD, 5);
}

Test(witness, killed_mid_swap)
{
	killed_mid_swap(RIG_WITNESS, 60);
}

Test(etcd, over_tls)
{
	over_tls(RIG_ETCD);
}

Test(witness, over_tls)
{
	over_tls(RIG_WITNESS);
}

Test(etcd, a_foreign_value_is_no_record)
{
	begin(RIG_ETCD, NULL);
	rig_run("curl -sf -o /dev/null http://%s:%u/v3/kv/put -d "
		"'{\"key\":\"'$(printf /gradplane/leadership/pair | base64 "
		"-w0)'\",\"value\":\"e30=\"}'",
		rig.host, rig.port);
	away_with_reason(NULL, "no leadership record");
}
