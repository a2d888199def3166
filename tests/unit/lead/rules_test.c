// SPDX-License-Identifier: BSD-3-Clause
//
// The rules one by one; rules_sim_test.c has them in all orders.
#include <gp_lead_rules.h>

#include <criterion/criterion.h>

static struct gp_lead_rules r;
static struct gp_lead_held held;

static struct gp_lead_held record(uint32_t epoch, uint32_t primary, uint32_t backup)
{
	held = (struct gp_lead_held){.exists = true,
		.version = epoch,
		.record = {.epoch = epoch,
			.primary = primary,
			.backup = backup,
			.nonce = 7000 + epoch}};
	return held;
}

static struct gp_lead_todo event(enum gp_lead_event_kind kind)
{
	const struct gp_lead_event ev = {.kind = kind, .held = held};
	return gp_lead_rules_event(&r, &ev);
}

// The register takes our swap.
static struct gp_lead_todo commit(void)
{
	held = (struct gp_lead_held){.exists = true, .version = r.from.version + 1, .record = r.to};
	return event(GP_LEAD_EV_COMMITTED);
}

static void begin(uint32_t self, bool alone, bool resume)
{
	const struct gp_lead_rules_opts opts = {.self = self,
		.automatic = true,
		.alone = alone,
		.resume = resume,
		.founder = self == 0,
		.seed = 99};
	gp_lead_rules_init(&r, &opts);
	held = (struct gp_lead_held){0};
}

static void lead(bool alone)
{
	begin(0, alone, true);
	cr_assert(event(GP_LEAD_EV_RECORD).swap);
	cr_assert_eq(commit().turn, GP_LEAD_TURN_RESUMED);
}

static void pair(bool alone)
{
	lead(alone);
	cr_assert(event(GP_LEAD_EV_PEER_READY).offer);
	held.record = r.to;
	cr_assert(event(GP_LEAD_EV_PEER_WHOLE).swap);
	cr_assert_eq(commit().turn, GP_LEAD_TURN_PAIRED);
}

static void follow(void)
{
	begin(1, true, false);
	record(1, 0, GP_LEAD_NODE_NONE);
	event(GP_LEAD_EV_RECORD);
	record(2, 0, 1);
	cr_assert(event(GP_LEAD_EV_OFFERED).accept);
	cr_assert_eq(event(GP_LEAD_EV_RECORD).turn, GP_LEAD_TURN_FOLLOWS);
}

Test(rules, the_first_record_is_the_founders)
{
	begin(0, false, true);
	cr_assert(event(GP_LEAD_EV_PEER_HEARD).read, "nothing before a read");
	cr_assert(event(GP_LEAD_EV_RECORD).swap);
	cr_assert_not(r.from.exists);
	cr_assert_eq(r.to.epoch, 1u);
	cr_assert_eq(commit().turn, GP_LEAD_TURN_RESUMED);
	cr_assert(gp_lead_may_release(&r, 0));
	cr_assert_eq(gp_lead_rules_why(&r), GP_LEAD_WHY_NOTHING);
	begin(1, false, true);
	cr_assert_not(event(GP_LEAD_EV_RECORD).swap, "not the other's");
	cr_assert_eq(gp_lead_rules_why(&r), GP_LEAD_WHY_PRIMARY);
}

Test(rules, a_paired_primary_releases_only_what_its_backup_holds)
{
	pair(false);
	cr_assert_eq(r.mine.record.epoch, 2u);
	cr_assert_not(gp_lead_may_release(&r, 0));
	cr_assert_not(gp_lead_may_release(&r, 1), "of the epoch before");
	cr_assert(gp_lead_may_release(&r, 2));
	cr_assert_not(gp_lead_may_acknowledge(&r, 2));
}

Test(rules, nothing_is_released_while_a_backup_may_be_named)
{
	lead(false);
	event(GP_LEAD_EV_PEER_READY);
	cr_assert_not(gp_lead_may_release(&r, 0));
	cr_assert_eq(gp_lead_rules_why(&r), GP_LEAD_WHY_CHANGE);
	cr_assert_not(event(GP_LEAD_EV_PEER_WHOLE).swap, "of another offer");
	event(GP_LEAD_EV_PEER_SILENT);
	cr_assert(gp_lead_may_release(&r, 0), "taken back");
	event(GP_LEAD_EV_PEER_READY);
	held.record = r.to;
	cr_assert(event(GP_LEAD_EV_PEER_WHOLE).swap);
	event(GP_LEAD_EV_PEER_SILENT);
	cr_assert_not(gp_lead_may_release(&r, 0), "cannot be taken back any more");
	event(GP_LEAD_EV_UNKNOWN);
	cr_assert_not(gp_lead_may_release(&r, 0));
	held = r.from;
	cr_assert(event(GP_LEAD_EV_RECORD).swap, "the same swap again");
	cr_assert_eq(commit().turn, GP_LEAD_TURN_PAIRED);
}

Test(rules, a_doubtful_swap_is_settled_by_its_nonce)
{
	follow();
	cr_assert(event(GP_LEAD_EV_PEER_SILENT).swap);
	uint64_t nonce = r.to.nonce;
	event(GP_LEAD_EV_UNKNOWN);
	cr_assert_eq(r.role, GP_LEAD_BACKUP);
	cr_assert_not(event(GP_LEAD_EV_PEER_SILENT).swap, "not while nobody answers");
	held = r.from;
	cr_assert(event(GP_LEAD_EV_RECORD).swap);
	cr_assert_eq(r.to.nonce, nonce);
	event(GP_LEAD_EV_UNKNOWN);
	held = (struct gp_lead_held){.exists = true, .version = 9, .record = r.to};
	cr_assert_eq(event(GP_LEAD_EV_RECORD).turn, GP_LEAD_TURN_PROMOTED);
}

Test(rules, the_loser_of_a_swap_stops)
{
	follow();
	event(GP_LEAD_EV_PEER_SILENT);
	record(3, 0, GP_LEAD_NODE_NONE); // the primary was first
	cr_assert_eq(event(GP_LEAD_EV_REFUSED).turn, GP_LEAD_TURN_STOPPED);
	cr_assert_eq(r.role, GP_LEAD_OUT);
	cr_assert_not(gp_lead_may_acknowledge(&r, 2));
	pair(true);
	event(GP_LEAD_EV_PEER_SILENT);
	record(3, 1, GP_LEAD_NODE_NONE);
	cr_assert_eq(event(GP_LEAD_EV_REFUSED).turn, GP_LEAD_TURN_STOPPED);
	cr_assert_not(gp_lead_may_release(&r, 2));
}

Test(rules, on_loss)
{
	pair(false);
	cr_assert_not(event(GP_LEAD_EV_PEER_SILENT).swap);
	cr_assert_eq(gp_lead_rules_why(&r), GP_LEAD_WHY_REPLICA);
	event(GP_LEAD_EV_PEER_HEARD);
	cr_assert_eq(gp_lead_rules_why(&r), GP_LEAD_WHY_NOTHING);
	pair(true);
	cr_assert(event(GP_LEAD_EV_PEER_SILENT).swap);
	cr_assert_eq(r.to.backup, GP_LEAD_NODE_NONE);
	cr_assert_eq(commit().turn, GP_LEAD_TURN_ALONE);
	cr_assert(gp_lead_may_release(&r, 0));
}

Test(rules, without_a_register_the_leadership_stays)
{
	lead(true);
	event(GP_LEAD_EV_AWAY);
	cr_assert(gp_lead_may_release(&r, 0));
	pair(true);
	event(GP_LEAD_EV_AWAY);
	cr_assert(gp_lead_may_release(&r, 2));
	event(GP_LEAD_EV_PEER_SILENT);
	event(GP_LEAD_EV_UNKNOWN);
	cr_assert_eq(gp_lead_rules_why(&r), GP_LEAD_WHY_REGISTER, "both gone");
	cr_assert_not(gp_lead_may_release(&r, 0));
}

Test(rules, a_restarted_primary_goes_on_only_with_all_that_it_promised)
{
	begin(0, true, true);
	record(5, 0, 1);
	cr_assert(event(GP_LEAD_EV_RECORD).swap);
	cr_assert_eq(commit().turn, GP_LEAD_TURN_RESUMED);
	cr_assert_eq(r.mine.record.epoch, 6u);
	begin(0, true, false);
	record(5, 0, 1);
	cr_assert_not(event(GP_LEAD_EV_RECORD).swap);
	cr_assert_eq(gp_lead_rules_why(&r), GP_LEAD_WHY_TAKEOVER);
	record(6, 0, GP_LEAD_NODE_NONE);
	cr_assert_not(event(GP_LEAD_EV_RECORD).swap);
	cr_assert_eq(gp_lead_rules_why(&r), GP_LEAD_WHY_LOST);
	cr_assert(event(GP_LEAD_EV_FENCED).swap, "an operator may");
}

Test(rules, a_restarted_backup_is_none_until_it_holds_all)
{
	begin(1, true, true);
	record(5, 0, 1);
	event(GP_LEAD_EV_RECORD);
	cr_assert_eq(r.role, GP_LEAD_OUT);
	cr_assert_not(event(GP_LEAD_EV_PEER_SILENT).swap, "it must not take over");
	pair(false);
	event(GP_LEAD_EV_PEER_RESTARTED);
	cr_assert(event(GP_LEAD_EV_PEER_READY).offer, "it is brought up to date in its place");
	held.record = r.to;
	event(GP_LEAD_EV_PEER_WHOLE);
	cr_assert_eq(commit().turn, GP_LEAD_TURN_PAIRED);
	cr_assert_eq(r.mine.record.epoch, 3u);
	cr_assert_eq(gp_lead_rules_why(&r), GP_LEAD_WHY_NOTHING);
}

Test(rules, an_old_offer_is_not_taken)
{
	follow();
	record(2, 0, 1);
	cr_assert_not(event(GP_LEAD_EV_OFFERED).accept, "it is a member");
	record(4, 1, GP_LEAD_NODE_NONE);
	cr_assert_eq(event(GP_LEAD_EV_RECORD).turn, GP_LEAD_TURN_STOPPED);
	record(3, 0, 1);
	cr_assert_not(event(GP_LEAD_EV_OFFERED).accept, "below what it knows");
}

Test(rules, after_a_pause_the_record_is_read_first)
{
	lead(true);
	cr_assert(event(GP_LEAD_EV_STALLED).read);
	cr_assert_not(gp_lead_may_release(&r, 0));
	cr_assert_eq(gp_lead_rules_why(&r), GP_LEAD_WHY_VALIDATES);
	held = r.mine;
	event(GP_LEAD_EV_RECORD);
	cr_assert(gp_lead_may_release(&r, 0));
}

Test(rules, a_register_that_went_back_is_not_believed)
{
	pair(true);
	held = (struct gp_lead_held){0};
	event(GP_LEAD_EV_RECORD);
	cr_assert_eq(gp_lead_rules_why(&r), GP_LEAD_WHY_WENT_BACK);
	cr_assert_not(event(GP_LEAD_EV_PEER_SILENT).swap);
	cr_assert(gp_lead_may_release(&r, 2), "the leadership stays");
	cr_assert(event(GP_LEAD_EV_FENCED).swap, "an operator may");
	cr_assert_not(r.from.exists);
	cr_assert_eq(r.to.epoch, 3u, "above all that was seen");
	cr_assert_eq(commit().turn, GP_LEAD_TURN_ALONE);
}

Test(rules, without_a_common_register_only_an_operator_promotes)
{
	const struct gp_lead_rules_opts opts = {
		.self = 1, .resume = true, .epoch_min = 4, .seed = 3};
	gp_lead_rules_init(&r, &opts);
	held = (struct gp_lead_held){0};
	event(GP_LEAD_EV_RECORD);
	record(6, 0, GP_LEAD_NODE_NONE);
	cr_assert(event(GP_LEAD_EV_PEER_RECORD).swap, "what the peer tells is kept here");
	cr_assert_eq(commit().turn, GP_LEAD_TURN_NONE);
	cr_assert_not(event(GP_LEAD_EV_PEER_SILENT).swap);
	cr_assert(event(GP_LEAD_EV_FENCED).swap);
	cr_assert_eq(r.to.epoch, 1007u, "odd for node 1, above the restarts of node 0");
	cr_assert_eq(commit().turn, GP_LEAD_TURN_RESUMED);
	held.record.epoch = 8;
	cr_assert_not(event(GP_LEAD_EV_PEER_RECORD).swap, "a lower one");
}

Test(rules, fenced_is_void_without_a_register)
{
	follow();
	event(GP_LEAD_EV_AWAY);
	cr_assert_not(event(GP_LEAD_EV_FENCED).swap);
	record(2, 0, 1);
	cr_assert_not(event(GP_LEAD_EV_RECORD).swap, "and not remembered");
}
