// SPDX-License-Identifier: BSD-3-Clause
#include "gradplaned.h"

#include <gp_log.h>

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>

#define OPEN_MS_MAX 10000 // until the register has said who leads
#define OPEN_MS	    50	  // between questions meanwhile
#define TEXT_SIZE   64

static const char *backup_text(const struct gp_lead_record *r, char text[16])
{
	if (r->backup == GP_LEAD_NODE_NONE)
		return "none";
	snprintf(text, 16, "node %u", r->backup);
	return text;
}

static void record_say(const struct gp_lead_record *r, const char *what)
{
	char backup[16];
	gp_info("leadership: %s: epoch %u, primary node %u, backup %s", what, r->epoch, r->primary,
		backup_text(r, backup));
}

static int client_create(struct node *n, struct event_base *base)
{
	const struct gp_config_leadership *c = &n->cfg.leadership;
	char texts[GP_CONFIG_LEAD_ENDPOINTS_MAX][TEXT_SIZE];
	struct gp_lead_error err;
	const struct gp_lead_tls tls = {.cert = c->tls.cert,
		.key = c->tls.key,
		.ca = c->tls.ca,
		.peer_name = c->tls.peer_name[0] ? c->tls.peer_name : NULL};
	struct gp_lead_opts opts = {
		.kind = gp_leadership_name(c->kind),
		.key = c->key,
		.endpoints_count = c->endpoints_count,
		.tls = c->tls.cert[0] ? &tls : NULL,
		.directory = c->directory,
		.timeout_ms = c->timeout_us / 1000,
	};
	for (uint32_t i = 0; i < c->endpoints_count; i++) {
		bool v6 = strchr(c->endpoints[i].host, ':') != NULL;
		snprintf(texts[i], TEXT_SIZE, v6 ? "[%s]:%u" : "%s:%u", c->endpoints[i].host,
			c->endpoints[i].port);
		opts.endpoints[i] = texts[i];
	}
	int rc = gp_lead_create(base, &opts, &n->leader.lead, &err);
	if (rc != 0)
		gp_error("leadership: %s", err.text);
	return rc;
}

// ---- what the rules want

static void leader_next(struct node *n);

static void leader_ends(struct node *n)
{
	n->leader.deposed = true;
	if (n->control.base)
		event_base_loopbreak(n->control.base);
}

// A primary that is no longer one must not finish anything: another may have begun.
static void leader_deposed(struct node *n)
{
	const struct leader *l = &n->leader;
	gp_error(
		"leadership: node %u leads epoch %u: this primary ends at once, without a snapshot",
		l->rules.seen.record.primary, l->rules.seen.record.epoch);
	leader_ends(n);
}

// A replica goes on from what reached it last. It receives nothing any more, whoever sends.
static void leader_begins(struct node *n)
{
	uint32_t epoch = n->leader.rules.mine.record.epoch;
	replica_load_all(n); // what was verified and waits to be served counts too
	int rc = pair_restore(n);
	replica_leads(n);
	if (rc != 0 || replica_set_aside(n) != 0) {
		gp_error("leadership: this node cannot lead and ends: start the other one and say "
			 "there gradctl leader promote --peer-is-fenced. Started again, this one "
			 "goes on from its newest snapshot (gradctl snapshot list)");
		n->leader.unfit = true;
		leader_ends(n);
		return;
	}
	rc = gp_registrar_promote(n->registrar, epoch);
	if (rc != 0) {
		gp_error("leadership: epoch %u is not above that of this node (%u): it does not "
			 "lead",
			epoch, n->epoch);
		return;
	}
	n->epoch = epoch;
	n->cfg.node.role = GP_ROLE_PRIMARY;
	gp_dpdk_port_serve(n->port, true);
	atomic_fetch_add_explicit(&n->announces, 1, memory_order_relaxed);
	for (uint32_t i = 0; i < n->cfg.jobs_count; i++) {
		struct gp_job_view v;
		gp_engine_job_view(n->engine, i, &v);
		if (v.ready)
			gp_info("job %s: this node leads it from step %u on, workers may join",
				v.name, v.generation + 1);
		else
			gp_warn("job %s: nothing of it had reached this node: it begins anew",
				v.name);
		if (n->cfg.jobs[i].views_log[0])
			gp_warn("job %s: no views_log is written: this node did not start as "
				"leader",
				v.name);
	}
}

static void leader_turn(struct node *n, enum gp_lead_turn turn)
{
	struct leader *l = &n->leader;
	switch (turn) {
	case GP_LEAD_TURN_NONE:
		return;
	case GP_LEAD_TURN_STOPPED:
		if (n->cfg.node.role == GP_ROLE_PRIMARY)
			leader_deposed(n);
		else
			pair_dropped(n);
		return;
	default:
		record_say(&l->rules.mine.record, gp_lead_role_name(l->rules.role));
	}
	bool stands_by = n->registrar && n->cfg.node.role == GP_ROLE_REPLICA;
	if (l->rules.role == GP_LEAD_PRIMARY && stands_by)
		leader_begins(n);
	pair_role(n);
}

static struct gp_lead_todo rules_feed(struct node *n, const struct gp_lead_event *ev)
{
	struct leader *l = &n->leader;
	bool back = l->rules.went_back;
	struct gp_lead_todo todo = gp_lead_rules_event(&l->rules, ev);
	l->read_due |= todo.read;
	l->swap_due |= todo.swap;
	leader_turn(n, todo.turn);
	if (l->rules.went_back && !back)
		gp_error("leadership: the register holds an older record than it did (epoch %u was "
			 "seen): it is not believed until an operator has looked",
			l->rules.seen.record.epoch);
	return todo;
}

static void feed(struct node *n, enum gp_lead_event_kind kind, const struct gp_lead_held *held)
{
	const struct gp_lead_event ev = {
		.kind = kind, .held = held ? *held : (struct gp_lead_held){0}};
	(void)rules_feed(n, &ev);
}

struct gp_lead_todo leader_event(struct node *n, const struct gp_lead_event *ev)
{
	struct gp_lead_todo todo = rules_feed(n, ev);
	leader_next(n);
	return todo;
}

static void away_say(struct leader *l)
{
	struct gp_lead_status st;
	gp_lead_status(l->lead, &st);
	if (l->rules.away && !l->went_away && !l->rules.went_back)
		gp_warn("leadership: the register does not answer (%s); the leadership stays as it "
			"is",
			st.last_error);
	if (!l->rules.away && l->went_away)
		gp_info("leadership: the register answers again");
	l->went_away = l->rules.away;
}

// ---- promotion by an operator

static void promotion_end(struct node *n, json_t *result, const char *code, const char *text)
{
	struct leader *l = &n->leader;
	struct gp_ctl_error err;
	struct gp_ctl_request *req = l->req;
	l->req = NULL;
	l->promotion = PROMOTION_NONE;
	if (result) {
		gp_ctl_reply_ok(req, result);
		return;
	}
	gp_ctl_error_set(&err, code, "%s", text);
	gp_ctl_reply_error(req, &err);
}

static void promotion_read(struct node *n, enum gp_lead_answer answer)
{
	struct leader *l = &n->leader;
	if (answer != GP_LEAD_CURRENT) {
		promotion_end(n, NULL, "register_away",
			"the register does not answer: nothing was changed");
		return;
	}
	gp_warn("leadership: an operator promotes this node: the other one is said to be off");
	feed(n, GP_LEAD_EV_FENCED, NULL);
	l->promotion = PROMOTION_SWAPS;
	if (!l->swap_due)
		promotion_end(n, NULL, "not_now",
			"a change of leadership is under way, or this node leads alone already");
}

static void promotion_swapped(struct node *n, enum gp_lead_answer answer)
{
	const struct leader *l = &n->leader;
	const struct gp_lead_record *r = &l->rules.mine.record;
	if (answer == GP_LEAD_COMMITTED)
		promotion_end(n,
			json_pack("{s:I,s:i,s:b}", "epoch", (json_int_t)r->epoch, "primary",
				(int)r->primary, "starts_by_record", n->pair.used),
			NULL, NULL);
	else if (answer == GP_LEAD_REFUSED)
		promotion_end(n, NULL, "changed",
			"the leadership was changed meanwhile: look at `gradctl leader show`");
	else
		promotion_end(n, NULL, "unknown",
			"the register did not answer: it may have happened; look at `gradctl "
			"leader "
			"show`");
}

// ---- questions

static void on_answer(void *arg, enum gp_lead_answer answer, const struct gp_lead_held *held)
{
	static const enum gp_lead_event_kind kinds[] = {
		[GP_LEAD_CURRENT] = GP_LEAD_EV_RECORD,
		[GP_LEAD_COMMITTED] = GP_LEAD_EV_COMMITTED,
		[GP_LEAD_REFUSED] = GP_LEAD_EV_REFUSED,
		[GP_LEAD_UNKNOWN] = GP_LEAD_EV_UNKNOWN,
		[GP_LEAD_AWAY] = GP_LEAD_EV_AWAY,
	};
	struct node *n = arg;
	struct leader *l = &n->leader;
	feed(n, kinds[answer], held);
	away_say(l);
	if (l->promotion == PROMOTION_READS)
		promotion_read(n, answer);
	else if (l->promotion == PROMOTION_SWAPS && answer != GP_LEAD_CURRENT)
		promotion_swapped(n, answer);
	leader_next(n);
}

static void leader_next(struct node *n)
{
	struct leader *l = &n->leader;
	const struct gp_lead_rules *r = &l->rules;
	if (!l->lead || gp_lead_busy(l->lead) || l->deposed)
		return;
	bool swap = l->swap_due && r->intent != GP_LEAD_NO_INTENT && r->in_flight;
	l->swap_due = false;
	if (swap) {
		GP_ASSERT(gp_lead_swap(l->lead, &r->from, &r->to, on_answer, n) == 0);
		return;
	}
	if (l->promotion == PROMOTION_ASKED)
		l->promotion = PROMOTION_READS;
	else if (!l->read_due)
		return;
	l->read_due = false;
	GP_ASSERT(gp_lead_get(l->lead, on_answer, n) == 0);
}

// ---- start

// Whether the register has said enough; *rc is what of it.
static bool open_done(struct node *n, int *rc)
{
	const struct gp_lead_rules *r = &n->leader.rules;
	bool primary = n->cfg.node.role == GP_ROLE_PRIMARY;
	*rc = 0;
	if (r->role == GP_LEAD_PRIMARY) {
		n->epoch = r->mine.record.epoch;
		n->cfg.node.role = GP_ROLE_PRIMARY;
		return true;
	}
	if (!r->seen_valid || r->away || r->intent != GP_LEAD_NO_INTENT)
		return false;
	if (n->pair.used) { // who led may have to follow now
		n->cfg.node.role = GP_ROLE_REPLICA;
		return true;
	}
	if (!primary) {
		if (r->seen.exists && r->seen.record.primary == r->opts.self)
			gp_warn("leadership: the record names this node primary of epoch %u, and "
				"it "
				"starts as replica: set node.role: primary",
				r->seen.record.epoch);
		return true;
	}
	gp_error(
		"leadership: the record says that node %u leads epoch %u: this node does not start "
		"as primary. Start it with node.role: replica, or, when the other node is off, "
		"with "
		"`gradctl leader promote --peer-is-fenced` there first",
		r->seen.record.primary, r->seen.record.epoch);
	*rc = -EPERM;
	return true;
}

static void on_pause(evutil_socket_t fd, short what, void *arg)
{
	struct node *n = arg;
	(void)fd, (void)what;
	n->leader.read_due = true;
	leader_next(n);
}

static int open_wait(struct node *n, struct event_base *base)
{
	const struct timeval pause = {.tv_usec = OPEN_MS * 1000};
	uint64_t end = clock_now() + OPEN_MS_MAX * UINT64_C(1000000);
	int rc = 0;
	while (!open_done(n, &rc)) {
		if (clock_now() > end) {
			struct gp_lead_status st;
			gp_lead_status(n->leader.lead, &st);
			gp_error("leadership: the register did not answer within %d s: %s",
				OPEN_MS_MAX / 1000, st.last_error);
			return -ETIMEDOUT;
		}
		if (event_base_once(base, -1, EV_TIMEOUT, on_pause, n, &pause) != 0 ||
			event_base_loop(base, EVLOOP_ONCE) < 0)
			return -ENOMEM;
	}
	return rc;
}

static void rules_begin(struct node *n)
{
	bool primary = n->cfg.node.role == GP_ROLE_PRIMARY;
	struct gp_lead_rules_opts opts = {
		.self = n->cfg.node.id,
		.automatic = n->cfg.leadership.kind != GP_LEADERSHIP_MANUAL,
		.alone = n->cfg.replica.on_loss == GP_ON_LOSS_ALONE,
		// Snapshots are all that is promised over a restart, and they are on this disk.
		.founder = primary,
		.resume = primary && !n->pair.used,
		.resume_alone = n->pair.used,
		.epoch_min = n->epoch,
	};
	gp_secure_random(&opts.seed, sizeof(opts.seed));
	gp_lead_rules_init(&n->leader.rules, &opts);
}

int leader_open(struct node *n)
{
	struct leader *l = &n->leader;
	if (n->cfg.leadership.kind == GP_LEADERSHIP_NONE)
		return 0;
	struct event_base *base = event_base_new();
	if (!base)
		return -ENOMEM;
	l->used = true;
	signal(SIGPIPE, SIG_IGN);
	if (n->cfg.leadership.kind == GP_LEADERSHIP_MANUAL)
		machine_directory_make(n->cfg.leadership.directory);
	rules_begin(n);
	int rc = client_create(n, base);
	if (rc == 0)
		rc = open_wait(n, base);
	gp_lead_destroy(l->lead);
	l->lead = NULL;
	event_base_free(base);
	return rc;
}

static void on_poll(evutil_socket_t fd, short what, void *arg)
{
	struct node *n = arg;
	(void)fd, (void)what;
	n->leader.read_due = true;
	leader_next(n);
}

int leader_start(struct node *n)
{
	struct leader *l = &n->leader;
	const uint32_t us = n->cfg.leadership.poll_us;
	const struct timeval tv = {.tv_sec = us / 1000000, .tv_usec = us % 1000000};
	if (!l->used)
		return 0;
	int rc = client_create(n, n->control.base);
	if (rc != 0)
		return rc;
	l->poll = event_new(n->control.base, -1, EV_PERSIST, on_poll, n);
	return l->poll && event_add(l->poll, &tv) == 0 ? 0 : -ENOMEM;
}

void leader_stop(struct node *n)
{
	struct leader *l = &n->leader;
	if (l->req)
		promotion_end(n, NULL, "stopping", "the server is ending");
	if (l->poll)
		event_free(l->poll);
	l->poll = NULL;
	gp_lead_destroy(l->lead);
	l->lead = NULL;
}

int ctl_leader_promote(
	struct gp_ctl_request *req, const json_t *args, json_t **result, struct gp_ctl_error *err)
{
	struct node *n = gp_ctl_request_arg(req);
	struct leader *l = &n->leader;
	(void)result;
	if (!l->used) {
		gp_ctl_error_set(err, "no_leadership", "leadership.kind is none");
		return -ENOTSUP;
	}
	if (!json_is_true(json_object_get(args, "peer_is_fenced"))) {
		gp_ctl_error_set(err, "bad_request",
			"two nodes that lead lose updates: make sure that the other node is off "
			"and "
			"stays off, then say --peer-is-fenced");
		return -EINVAL;
	}
	if (l->promotion != PROMOTION_NONE) {
		gp_ctl_error_set(err, "busy", "another promotion is under way");
		return -EBUSY;
	}
	l->promotion = PROMOTION_ASKED;
	l->req = req;
	leader_next(n);
	return GP_CTL_LATER;
}
