// SPDX-License-Identifier: BSD-3-Clause
//
// Two nodes, a register and a network that loses, delays, repeats and reorders, in random
// histories. A node's state is a log; entry i is an update with a number of its own. What is
// released once must be in the log of whoever leads later.
//
// GP_SEED=N runs one history. A message stays deliverable for ever, so a swap may reach the
// register long after its sender was told `unknown`, or has died. Suspicion may be wrong at any
// moment.
#include <gp_lead_rules.h>

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>

#define LOG_MAX	   48
#define BAG_MAX	   64
#define EPOCHS_MAX 400
#define SEEDS	   6000
#define STEPS	   500

enum kind { ASK, ANSWER, REPL, ACK, OFFER, WHOLE, HELLO };

struct message {
	enum kind kind;
	uint32_t node; // it is for; ASK: it is from
	uint32_t life; // ASK, ANSWER: of the asking node
	uint32_t question;
	bool swap, won;
	struct gp_lead_held held;     // ASK: from; ANSWER: what stands
	struct gp_lead_record record; // ASK: to; OFFER, WHOLE
	uint32_t epoch, idx, update, len;
	uint32_t log[LOG_MAX];
};

struct node {
	bool up;
	uint32_t life;
	uint32_t peer_life; // as it knows; 0: not yet
	struct gp_lead_rules rules;
	uint32_t log[LOG_MAX], len;
	uint32_t acked; // entries, in its epoch
	bool asking, asking_swap, swap_due, read_due;
	uint32_t question;
};

struct world {
	uint64_t random;
	struct gp_lead_held reg;
	struct node nodes[2];
	struct message bag[BAG_MAX];
	uint32_t bag_count;
	uint32_t updates, released_count, released[LOG_MAX];
	uint8_t releaser[EPOCHS_MAX]; // node + 1
};

static struct {
	uint64_t takeovers, drops, pairs, doubts, releases, crashes, refused, fenced;
} totals;

static struct world w;
static uint64_t current; // seed, for GP_SEED

static uint32_t chance(uint32_t n)
{
	w.random ^= w.random << 13;
	w.random ^= w.random >> 7;
	w.random ^= w.random << 17;
	return (uint32_t)(w.random >> 33) % n;
}

static void send(const struct message *m)
{
	// A full bag loses the oldest: messages are lost anyway.
	uint32_t i = w.bag_count < BAG_MAX ? w.bag_count++ : chance(BAG_MAX);
	w.bag[i] = *m;
}

static void feed(uint32_t i, enum gp_lead_event_kind kind, const struct gp_lead_held *held);

static void ask(uint32_t i, bool swap)
{
	struct node *n = &w.nodes[i];
	n->asking = true;
	n->asking_swap = swap;
	n->question++;
	const struct message m = {.kind = ASK,
		.node = i,
		.life = n->life,
		.question = n->question,
		.swap = swap,
		.held = n->rules.from,
		.record = n->rules.to};
	send(&m);
}

// One question at a time, as the client of the register has it.
static void ask_due(uint32_t i)
{
	struct node *n = &w.nodes[i];
	if (n->asking)
		return;
	if (n->swap_due && n->rules.intent != GP_LEAD_NO_INTENT && n->rules.in_flight)
		ask(i, true);
	else if (n->read_due)
		ask(i, false);
	n->swap_due = n->read_due = false;
}

static void holds_all_released(const struct node *n, const char *when)
{
	cr_assert_geq(n->len, w.released_count, "seed %lu: %s: an update is lost", current, when);
	for (uint32_t k = 0; k < w.released_count; k++)
		cr_assert_eq(n->log[k], w.released[k], "seed %lu: %s: update %u is another",
			current, when, k);
}

static void release(uint32_t i)
{
	struct node *n = &w.nodes[i];
	uint32_t epoch = n->rules.mine.record.epoch;
	for (uint32_t k = 0; k < n->len; k++) {
		if (!gp_lead_may_release(&n->rules, k < n->acked ? epoch : 0))
			continue;
		cr_assert_lt(epoch, EPOCHS_MAX);
		cr_assert(w.releaser[epoch] == 0 || w.releaser[epoch] == i + 1,
			"seed %lu: two release in epoch %u", current, epoch);
		w.releaser[epoch] = (uint8_t)(i + 1);
		if (k < w.released_count) {
			cr_assert_eq(n->log[k], w.released[k], "seed %lu: two values of update %u",
				current, k);
		} else {
			cr_assert_eq(k, w.released_count);
			w.released[w.released_count++] = n->log[k];
			totals.releases++;
		}
	}
}

static void turn_take(uint32_t i, enum gp_lead_turn turn)
{
	struct node *n = &w.nodes[i];
	if (turn == GP_LEAD_TURN_NONE)
		return;
	n->acked = 0;
	if (turn == GP_LEAD_TURN_PROMOTED || turn == GP_LEAD_TURN_RESUMED)
		holds_all_released(n, turn == GP_LEAD_TURN_RESUMED ? "resumed" : "promoted");
	totals.takeovers += turn == GP_LEAD_TURN_PROMOTED;
	totals.drops += turn == GP_LEAD_TURN_ALONE;
	totals.pairs += turn == GP_LEAD_TURN_PAIRED;
}

static void offer_send(uint32_t i)
{
	struct node *n = &w.nodes[i];
	struct message m = {.kind = OFFER, .node = 1 - i, .record = n->rules.to, .len = n->len};
	memcpy(m.log, n->log, sizeof(m.log));
	send(&m);
}

static void feed(uint32_t i, enum gp_lead_event_kind kind, const struct gp_lead_held *held)
{
	struct node *n = &w.nodes[i];
	const struct gp_lead_event ev = {
		.kind = kind, .held = held ? *held : (struct gp_lead_held){0}};
	struct gp_lead_todo todo = gp_lead_rules_event(&n->rules, &ev);
	turn_take(i, todo.turn);
	n->swap_due |= todo.swap;
	n->read_due |= todo.read;
	if (todo.offer)
		offer_send(i);
	ask_due(i);
	release(i);
}

// ---- messages

static void register_take(const struct message *m)
{
	struct message a = {.kind = ANSWER,
		.node = m->node,
		.life = m->life,
		.question = m->question,
		.swap = m->swap};
	if (m->swap) {
		bool again = w.reg.exists && w.reg.record.nonce == m->record.nonce;
		bool same = w.reg.version == m->held.version;
		if (same && !again) {
			cr_assert(!w.reg.exists || m->record.epoch > w.reg.record.epoch);
			w.reg = (struct gp_lead_held){
				.exists = true, .version = w.reg.version + 1, .record = m->record};
		}
		a.won = same || again;
		totals.refused += !a.won;
	}
	a.held = w.reg;
	send(&a);
}

static void answer_take(const struct message *m)
{
	struct node *n = &w.nodes[m->node];
	if (!n->up || n->life != m->life || !n->asking || n->question != m->question)
		return;
	n->asking = false;
	feed(m->node,
		!m->swap ? GP_LEAD_EV_RECORD
		: m->won ? GP_LEAD_EV_COMMITTED
			 : GP_LEAD_EV_REFUSED,
		&m->held);
}

static void repl_take(const struct message *m)
{
	struct node *n = &w.nodes[m->node];
	if (!gp_lead_may_acknowledge(&n->rules, m->epoch) || m->idx > n->len)
		return;
	if (m->idx == n->len || n->log[m->idx] != m->update) {
		n->log[m->idx] = m->update;
		n->len = m->idx + 1;
	}
	const struct message a = {
		.kind = ACK, .node = 1 - m->node, .epoch = m->epoch, .len = m->idx + 1};
	send(&a);
}

static void offer_take(const struct message *m)
{
	struct node *n = &w.nodes[m->node];
	struct gp_lead_event ev = {.kind = GP_LEAD_EV_OFFERED, .held.record = m->record};
	struct gp_lead_todo todo = gp_lead_rules_event(&n->rules, &ev);
	n->read_due |= todo.read;
	if (todo.accept) {
		memcpy(n->log, m->log, sizeof(n->log));
		n->len = m->len;
		const struct message a = {.kind = WHOLE, .node = 1 - m->node, .record = m->record};
		send(&a);
	}
	turn_take(m->node, todo.turn);
	ask_due(m->node);
}

static void hello_take(const struct message *m)
{
	struct node *n = &w.nodes[m->node];
	bool restarted = n->peer_life != 0 && m->life > n->peer_life;
	if (m->life < n->peer_life)
		return;
	n->peer_life = m->life;
	feed(m->node, restarted ? GP_LEAD_EV_PEER_RESTARTED : GP_LEAD_EV_PEER_HEARD, NULL);
}

static void deliver(const struct message *m)
{
	struct node *n = &w.nodes[m->node];
	const struct gp_lead_held held = {.record = m->record};
	if (m->kind == ASK) {
		register_take(m);
		return;
	}
	if (!n->up)
		return;
	switch (m->kind) {
	case ANSWER:
		answer_take(m);
		return;
	case REPL:
		repl_take(m);
		return;
	case ACK:
		if (n->rules.role == GP_LEAD_PRIMARY && n->rules.mine.record.epoch == m->epoch)
			n->acked = GP_MAX(n->acked, m->len);
		release(m->node);
		return;
	case OFFER:
		offer_take(m);
		return;
	case WHOLE:
		feed(m->node, GP_LEAD_EV_PEER_WHOLE, &held);
		return;
	default:
		hello_take(m);
	}
}

// ---- what happens by itself

// `keep`: its log is still there; `resume`: and is all that it promised.
static void start(uint32_t i, bool keep, bool resume)
{
	struct node *n = &w.nodes[i];
	const struct gp_lead_rules_opts opts = {.self = i,
		.automatic = true,
		.alone = (w.random & 64) != 0,
		.founder = i == 0,
		.resume = resume,
		.seed = w.random + 2 * n->life + i};
	const struct node old = *n;
	*n = (struct node){.up = true, .life = old.life + 1, .len = keep ? old.len : 0};
	memcpy(n->log, old.log, sizeof(n->log));
	gp_lead_rules_init(&n->rules, &opts);
	n->read_due = true;
	ask_due(i);
}

// A log that nobody else has is on its disk; else the node loses it.
static void crash(uint32_t i)
{
	struct node *n = &w.nodes[i], *other = &w.nodes[1 - i];
	bool safe = other->up && other->len >= w.released_count &&
		    memcmp(other->log, w.released, w.released_count * sizeof(uint32_t)) == 0 &&
		    w.reg.exists && (other->rules.role != GP_LEAD_OUT) &&
		    gp_lead_record_equal(&other->rules.mine.record, &w.reg.record);
	bool keep = !safe || chance(4) == 0;
	// What it promised as primary is on its disk, unless others go on promising meanwhile.
	bool resume = keep && w.reg.exists && w.reg.record.primary == i &&
		      w.reg.record.backup == GP_LEAD_NODE_NONE &&
		      n->rules.role == GP_LEAD_PRIMARY &&
		      gp_lead_record_equal(&n->rules.mine.record, &w.reg.record);
	totals.crashes++;
	start(i, keep, resume); // without resume: it is there for an operator to find
}

// Stuck: the operator finds the node that holds all, ends the other, and says so.
static void operator(void)
{
	for (uint32_t i = 0; i < 2; i++) {
		struct node *n = &w.nodes[i];
		if (n->len < w.released_count || n->rules.away ||
			memcmp(n->log, w.released, w.released_count * sizeof(uint32_t)) != 0 ||
			n->rules.role != GP_LEAD_OUT || w.nodes[1 - i].rules.role != GP_LEAD_OUT)
			continue;
		start(1 - i, false, false);
		totals.fenced++;
		feed(i, GP_LEAD_EV_FENCED, NULL);
		return;
	}
}

static void stimulate(uint32_t i)
{
	struct node *n = &w.nodes[i];
	const struct message hello = {.kind = HELLO, .node = 1 - i, .life = n->life};
	switch (chance(12)) {
	case 0:
	case 1:
		n->read_due = true;
		ask_due(i);
		return;
	case 2:
	case 3:
	case 4:
		if (n->rules.role == GP_LEAD_PRIMARY && n->len < LOG_MAX) {
			n->log[n->len++] = ++w.updates;
			release(i);
		}
		return;
	case 5:
	case 6: {
		struct message m = {
			.kind = REPL, .node = 1 - i, .epoch = n->rules.mine.record.epoch};
		if (n->rules.role != GP_LEAD_PRIMARY || n->len == 0)
			return;
		m.idx = chance(3) && n->acked < n->len ? n->acked : chance(n->len);
		m.update = n->log[m.idx];
		send(&m);
		return;
	}
	case 7:
	case 8:
		send(&hello);
		return;
	case 9:
		feed(i, GP_LEAD_EV_PEER_READY, NULL);
		return;
	case 10:
		if (n->asking && chance(2)) { // out of patience; the request may still arrive
			n->asking = false;
			totals.doubts += n->asking_swap;
			feed(i, n->asking_swap ? GP_LEAD_EV_UNKNOWN : GP_LEAD_EV_AWAY, NULL);
		} else if (chance(3) == 0) {
			feed(i, GP_LEAD_EV_STALLED, NULL);
		}
		return;
	default:
		if (chance(3) == 0)
			feed(i, GP_LEAD_EV_PEER_SILENT, NULL);
		else if (chance(8) == 0)
			crash(i);
		else if (chance(40) == 0)
			operator();
	}
}

static void step(void)
{
	if (w.bag_count > 0 && chance(5) < 3) {
		uint32_t i = chance(w.bag_count);
		struct message m = w.bag[i];
		uint32_t fate = chance(10);
		if (fate > 0) // 0: it stays and comes again
			w.bag[i] = w.bag[--w.bag_count];
		if (fate != 9) // 9: lost
			deliver(&m);
		return;
	}
	stimulate(chance(2));
}

static void history(uint64_t seed)
{
	memset(&w, 0, sizeof(w));
	w.random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	start(0, true, true);
	start(1, false, false);
	for (uint32_t s = 0; s < STEPS; s++)
		step();
}

Test(rules_sim, what_was_released_is_never_lost_and_one_releases_in_an_epoch, .timeout = 100)
{
	const char *one = getenv("GP_SEED");
	for (uint64_t seed = one ? strtoull(one, NULL, 10) : 1; seed <= SEEDS; seed++) {
		current = seed;
		history(seed);
		if (one)
			break;
	}
	printf("rules_sim: %lu takeovers, %lu drops, %lu pairings, %lu doubtful and %lu refused "
	       "swaps, "
	       "%lu crashes, %lu operators, %lu releases\n",
		totals.takeovers, totals.drops, totals.pairs, totals.doubts, totals.refused,
		totals.crashes, totals.fenced, totals.releases);
	// The histories are worth something.
	cr_assert_gt(totals.takeovers, SEEDS / 2);
	cr_assert_gt(totals.drops, SEEDS / 20);
	cr_assert_gt(totals.pairs, SEEDS);
	cr_assert_gt(totals.doubts, SEEDS / 2);
	cr_assert_gt(totals.refused, SEEDS / 20);
	cr_assert_gt(totals.releases, SEEDS * 5);
}
