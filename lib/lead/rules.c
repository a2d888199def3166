// SPDX-License-Identifier: BSD-3-Clause
#include <gp_lead_rules.h>

static uint32_t peer_of(const struct gp_lead_rules *r)
{
	return 1 - r->opts.self;
}

// splitmix64: distinct for each count, apart for each life.
static uint64_t nonce_next(struct gp_lead_rules *r)
{
	uint64_t z = r->opts.seed + ++r->nonces * UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

// Without a common register the epoch's lowest bit is the node, so that both never name one.
static uint32_t epoch_next(const struct gp_lead_rules *r, uint32_t last, bool by_operator)
{
	uint32_t stride = by_operator && !r->opts.automatic ? GP_LEAD_STRIDE : 1;
	GP_ASSERT(last < UINT32_MAX - 2 * GP_LEAD_STRIDE);
	uint32_t epoch = GP_MAX(last + stride, r->opts.epoch_min);
	if (!r->opts.automatic && epoch % 2 != r->opts.self)
		epoch++;
	return epoch;
}

static bool peer_gone(const struct gp_lead_rules *r)
{
	return r->peer_silent || r->peer_restarted;
}

void gp_lead_rules_init(struct gp_lead_rules *r, const struct gp_lead_rules_opts *opts)
{
	GP_ASSERT(opts->self <= 1 && (opts->automatic || !opts->alone));
	*r = (struct gp_lead_rules){.opts = *opts};
	r->opts.epoch_min = GP_MAX(opts->epoch_min, 1u);
}

// ---- swaps

static void intent_drop(struct gp_lead_rules *r)
{
	r->intent = GP_LEAD_NO_INTENT;
	r->in_flight = false;
	r->holding = false;
}

static void to_fill(struct gp_lead_rules *r, const struct gp_lead_held *from, uint32_t backup)
{
	uint32_t last = GP_MAX(
		from->exists ? from->record.epoch : 0, r->seen.exists ? r->seen.record.epoch : 0);
	r->from = *from;
	r->to = (struct gp_lead_record){
		.epoch = epoch_next(r, last, r->fenced),
		.primary = r->opts.self,
		.backup = backup,
		.nonce = nonce_next(r),
	};
}

static void swap_begin(
	struct gp_lead_rules *r, enum gp_lead_intent intent, struct gp_lead_todo *todo)
{
	r->intent = intent;
	r->in_flight = true;
	todo->swap = true;
}

// A new leadership with this node alone at its head.
static void lead_alone(struct gp_lead_rules *r, enum gp_lead_intent intent,
	const struct gp_lead_held *from, struct gp_lead_todo *todo)
{
	to_fill(r, from, GP_LEAD_NODE_NONE);
	r->fenced = false;
	r->holding = false;
	swap_begin(r, intent, todo);
}

static void role_end(struct gp_lead_rules *r, struct gp_lead_todo *todo)
{
	if (r->role != GP_LEAD_OUT)
		todo->turn = GP_LEAD_TURN_STOPPED;
	r->role = GP_LEAD_OUT;
	r->mine = (struct gp_lead_held){0};
	r->offered.epoch = 0;
	r->holding = false;
	r->stalled = false;
}

static void swap_won(
	struct gp_lead_rules *r, const struct gp_lead_held *held, struct gp_lead_todo *todo)
{
	static const enum gp_lead_turn turns[] = {
		[GP_LEAD_FOUND] = GP_LEAD_TURN_RESUMED,
		[GP_LEAD_RESUME] = GP_LEAD_TURN_RESUMED,
		[GP_LEAD_TAKE_OVER] = GP_LEAD_TURN_PROMOTED,
		[GP_LEAD_DROP] = GP_LEAD_TURN_ALONE,
		[GP_LEAD_PAIR] = GP_LEAD_TURN_PAIRED,
	};
	enum gp_lead_intent intent = r->intent;
	intent_drop(r);
	r->seen = *held;
	if (intent == GP_LEAD_ADOPT) {
		if (r->role != GP_LEAD_OUT)
			role_end(r, todo);
		return;
	}
	GP_ASSERT(intent < GP_ARRAY_SIZE(turns) && intent != GP_LEAD_NO_INTENT);
	todo->turn = turns[intent];
	r->role = GP_LEAD_PRIMARY;
	r->mine = *held;
	r->offered.epoch = 0;
	r->stalled = false;
	if (intent == GP_LEAD_PAIR && r->offer_restarts == r->peer_restarts)
		r->peer_restarted = false;
}

// ---- what the register says

static bool held_same(const struct gp_lead_held *a, const struct gp_lead_held *b)
{
	return a->exists == b->exists && a->version == b->version &&
	       (!a->exists || gp_lead_record_equal(&a->record, &b->record));
}

// A register that lost its memory is worse than none: it would let two nodes lead.
static bool is_older(const struct gp_lead_rules *r, const struct gp_lead_held *held)
{
	if (!r->seen_valid || !r->seen.exists)
		return false;
	if (!held->exists || held->record.epoch < r->seen.record.epoch)
		return true;
	return held->record.epoch == r->seen.record.epoch &&
	       !gp_lead_record_equal(&held->record, &r->seen.record);
}

// A swap of ours that the record does not show: it can no longer happen once the record has moved.
static void intent_settle(
	struct gp_lead_rules *r, const struct gp_lead_held *held, struct gp_lead_todo *todo)
{
	if (r->intent == GP_LEAD_NO_INTENT)
		return;
	if (held->exists && gp_lead_record_equal(&held->record, &r->to))
		swap_won(r, held, todo);
	else if (!held_same(held, &r->from))
		intent_drop(r);
}

static void learn(
	struct gp_lead_rules *r, const struct gp_lead_held *held, struct gp_lead_todo *todo)
{
	r->last = *held;
	if (is_older(r, held)) {
		r->went_back = r->away = true;
		return;
	}
	r->seen = *held;
	r->seen_valid = true;
	r->away = r->went_back = false;
	intent_settle(r, held, todo);
	if (r->role == GP_LEAD_OUT)
		return;
	if (held->exists && gp_lead_record_equal(&held->record, &r->mine.record)) {
		r->stalled = false;
		return;
	}
	role_end(r, todo);
}

// ---- what follows from all of it

static bool offer_stands(const struct gp_lead_rules *r)
{
	return r->seen.exists && r->offered.epoch > 0 && r->seen.record.backup == r->opts.self &&
	       gp_lead_record_equal(&r->offered, &r->seen.record);
}

static void decide_out(struct gp_lead_rules *r, struct gp_lead_todo *todo)
{
	const struct gp_lead_record *seen = &r->seen.record;
	if (!r->seen.exists) {
		if (r->opts.founder || r->fenced)
			lead_alone(r, GP_LEAD_FOUND, &r->seen, todo);
		return;
	}
	if (offer_stands(r)) {
		r->role = GP_LEAD_BACKUP;
		r->mine = r->seen;
		todo->turn = GP_LEAD_TURN_FOLLOWS;
		return;
	}
	// The record names this node, but not this life of it.
	bool resumes =
		r->opts.resume || (r->opts.resume_alone && seen->backup == GP_LEAD_NODE_NONE);
	if (r->fenced || (seen->primary == r->opts.self && resumes))
		lead_alone(r, GP_LEAD_RESUME, &r->seen, todo);
}

static void decide_backup(struct gp_lead_rules *r, struct gp_lead_todo *todo)
{
	if (r->fenced || (r->opts.automatic && peer_gone(r)))
		lead_alone(r, GP_LEAD_TAKE_OVER, &r->mine, todo);
}

static void decide_primary(struct gp_lead_rules *r, struct gp_lead_todo *todo)
{
	bool paired = r->mine.record.backup != GP_LEAD_NODE_NONE;
	if (paired && (r->fenced || (r->opts.alone && peer_gone(r))))
		lead_alone(r, GP_LEAD_DROP, &r->mine, todo);
	r->fenced = false;
}

// The register lost its memory: an operator says who leads, above all that this node has seen.
static void lead_again(struct gp_lead_rules *r, struct gp_lead_todo *todo)
{
	static const enum gp_lead_intent by_role[] = {
		GP_LEAD_RESUME, GP_LEAD_TAKE_OVER, GP_LEAD_DROP};
	lead_alone(r, by_role[r->role], &r->last, todo);
}

static void decide(struct gp_lead_rules *r, struct gp_lead_todo *todo)
{
	static void (*const by_role[])(struct gp_lead_rules *, struct gp_lead_todo *) = {
		decide_out, decide_backup, decide_primary};
	if (r->went_back) {
		if (r->fenced)
			lead_again(r, todo);
		return;
	}
	if (r->intent != GP_LEAD_NO_INTENT) {
		// In doubt: the same swap again, when the register can be read.
		if (!r->in_flight && !r->away) {
			r->in_flight = true;
			todo->swap = true;
		}
		return;
	}
	if (!r->seen_valid) {
		todo->read = true;
		return;
	}
	by_role[r->role](r, todo);
}

// ---- the peer

// An offer that was not taken up yet is taken back; a swap that was sent cannot be.
static void offer_withdraw(struct gp_lead_rules *r)
{
	if (r->intent == GP_LEAD_NO_INTENT)
		r->holding = false;
}

static void peer_ready(struct gp_lead_rules *r, struct gp_lead_todo *todo)
{
	bool has_backup = r->mine.record.backup != GP_LEAD_NODE_NONE;
	if (r->role != GP_LEAD_PRIMARY || r->intent != GP_LEAD_NO_INTENT || r->went_back ||
		(has_backup && !r->peer_restarted))
		return;
	to_fill(r, &r->mine, peer_of(r));
	r->holding = true;
	r->offer_restarts = r->peer_restarts;
	todo->offer = true;
}

static void peer_whole(struct gp_lead_rules *r, uint64_t nonce, struct gp_lead_todo *todo)
{
	if (r->role == GP_LEAD_PRIMARY && r->holding && r->intent == GP_LEAD_NO_INTENT &&
		nonce == r->to.nonce)
		swap_begin(r, GP_LEAD_PAIR, todo);
}

// From the primary of the newest record that this node has read, for one above it. Who has not
// read, or still believes itself a member, looks first: what it holds may be worth more than the
// offer.
static void offered(
	struct gp_lead_rules *r, const struct gp_lead_record *offer, struct gp_lead_todo *todo)
{
	const struct gp_lead_record *seen = &r->seen.record;
	if (r->role != GP_LEAD_OUT || r->intent != GP_LEAD_NO_INTENT || !r->seen.exists) {
		todo->read = true;
		return;
	}
	bool newer = offer->epoch > seen->epoch || gp_lead_record_equal(offer, seen);
	if (!newer || offer->epoch < r->offered.epoch || offer->backup != r->opts.self ||
		offer->primary != seen->primary)
		return;
	r->offered = *offer;
	r->peer_restarted = false; // it is this life of the primary that brought it
	todo->accept = true;
}

static void peer_record(
	struct gp_lead_rules *r, const struct gp_lead_record *record, struct gp_lead_todo *todo)
{
	uint32_t known = r->seen.exists ? r->seen.record.epoch : 0;
	if (record->epoch <= known)
		return;
	if (r->opts.automatic || !r->seen_valid) {
		todo->read = true;
	} else if (r->intent == GP_LEAD_NO_INTENT) {
		r->from = r->seen;
		r->to = *record;
		r->holding = false;
		swap_begin(r, GP_LEAD_ADOPT, todo);
	}
}

static void peer_event(
	struct gp_lead_rules *r, const struct gp_lead_event *ev, struct gp_lead_todo *todo)
{
	switch (ev->kind) {
	case GP_LEAD_EV_PEER_SILENT:
		r->peer_silent = true;
		offer_withdraw(r);
		return;
	case GP_LEAD_EV_PEER_HEARD:
		r->peer_silent = false;
		return;
	case GP_LEAD_EV_PEER_RESTARTED:
		r->peer_silent = false;
		r->peer_restarted = true;
		r->peer_restarts++;
		offer_withdraw(r);
		return;
	case GP_LEAD_EV_PEER_RECORD:
		peer_record(r, &ev->held.record, todo);
		return;
	case GP_LEAD_EV_PEER_READY:
		peer_ready(r, todo);
		return;
	case GP_LEAD_EV_PEER_WHOLE:
		peer_whole(r, ev->held.record.nonce, todo);
		return;
	default:
		offered(r, &ev->held.record, todo);
	}
}

static void register_event(
	struct gp_lead_rules *r, const struct gp_lead_event *ev, struct gp_lead_todo *todo)
{
	switch (ev->kind) {
	case GP_LEAD_EV_RECORD:
		learn(r, &ev->held, todo);
		return;
	case GP_LEAD_EV_COMMITTED:
	case GP_LEAD_EV_REFUSED:
		r->in_flight = false;
		learn(r, &ev->held, todo);
		return;
	case GP_LEAD_EV_UNKNOWN:
		r->in_flight = false;
		r->away = true;
		return;
	default: // away; nobody can have changed the leadership from one that this node belongs to
		r->away = true;
		r->stalled = false;
	}
}

struct gp_lead_todo gp_lead_rules_event(struct gp_lead_rules *r, const struct gp_lead_event *ev)
{
	struct gp_lead_todo todo = {0};
	switch (ev->kind) {
	case GP_LEAD_EV_STALLED:
		r->stalled = r->role == GP_LEAD_PRIMARY;
		todo.read = true;
		break;
	case GP_LEAD_EV_FENCED:
		r->fenced = r->seen_valid && r->intent == GP_LEAD_NO_INTENT &&
			    (!r->away || r->went_back);
		break;
	case GP_LEAD_EV_RECORD:
	case GP_LEAD_EV_AWAY:
	case GP_LEAD_EV_COMMITTED:
	case GP_LEAD_EV_REFUSED:
	case GP_LEAD_EV_UNKNOWN:
		register_event(r, ev, &todo);
		break;
	default:
		peer_event(r, ev, &todo);
	}
	enum gp_lead_turn turn = todo.turn;
	decide(r, &todo);
	// One event may end a role and begin another; the later one tells what to be.
	if (todo.turn == GP_LEAD_TURN_NONE)
		todo.turn = turn;
	return todo;
}

bool gp_lead_may_release(const struct gp_lead_rules *r, uint32_t acked_epoch)
{
	if (r->role != GP_LEAD_PRIMARY || r->stalled)
		return false;
	if (r->mine.record.backup != GP_LEAD_NODE_NONE)
		return acked_epoch == r->mine.record.epoch;
	// While an offer is out the record may name a backup already.
	return !r->holding;
}

bool gp_lead_may_acknowledge(const struct gp_lead_rules *r, uint32_t epoch)
{
	return r->role == GP_LEAD_BACKUP && r->mine.record.epoch == epoch;
}

static enum gp_lead_why why_out(const struct gp_lead_rules *r)
{
	if (r->away || !r->seen_valid)
		return GP_LEAD_WHY_REGISTER;
	if (!r->seen.exists || r->seen.record.primary != r->opts.self)
		return GP_LEAD_WHY_PRIMARY;
	return r->seen.record.backup == GP_LEAD_NODE_NONE ? GP_LEAD_WHY_LOST : GP_LEAD_WHY_TAKEOVER;
}

enum gp_lead_why gp_lead_rules_why(const struct gp_lead_rules *r)
{
	if (r->went_back)
		return GP_LEAD_WHY_WENT_BACK;
	if (r->role == GP_LEAD_OUT)
		return r->intent != GP_LEAD_NO_INTENT && !r->away ? GP_LEAD_WHY_CHANGE : why_out(r);
	if (r->stalled)
		return GP_LEAD_WHY_VALIDATES;
	bool paired = r->mine.record.backup != GP_LEAD_NODE_NONE;
	if (!paired)
		return r->holding ? GP_LEAD_WHY_CHANGE : GP_LEAD_WHY_NOTHING;
	if (!peer_gone(r))
		return GP_LEAD_WHY_NOTHING;
	if (r->away)
		return GP_LEAD_WHY_REGISTER;
	if (r->intent != GP_LEAD_NO_INTENT)
		return GP_LEAD_WHY_CHANGE;
	return r->role == GP_LEAD_PRIMARY ? GP_LEAD_WHY_REPLICA : GP_LEAD_WHY_OPERATOR;
}

const char *gp_lead_why_text(enum gp_lead_why why)
{
	static const char *const texts[] = {
		[GP_LEAD_WHY_NOTHING] = "nothing",
		[GP_LEAD_WHY_REPLICA] = "the replica",
		[GP_LEAD_WHY_REGISTER] = "the register of leadership (and the peer)",
		[GP_LEAD_WHY_CHANGE] = "a change of leadership",
		[GP_LEAD_WHY_VALIDATES] = "the register, after a pause of this node",
		[GP_LEAD_WHY_PRIMARY] = "the primary, which has to bring this node up to date",
		[GP_LEAD_WHY_TAKEOVER] = "the other node, which holds more and has to take over",
		[GP_LEAD_WHY_LOST] = "an operator: the disk holds less than this node promised",
		[GP_LEAD_WHY_OPERATOR] = "an operator: gradctl leader promote --peer-is-fenced",
		[GP_LEAD_WHY_WENT_BACK] = "an operator: the register lost its memory",
	};
	GP_ASSERT(why < GP_ARRAY_SIZE(texts));
	return texts[why];
}

const char *gp_lead_role_name(enum gp_lead_role role)
{
	static const char *const names[] = {"out", "backup", "primary"};
	GP_ASSERT(role < GP_ARRAY_SIZE(names));
	return names[role];
}
