// SPDX-License-Identifier: BSD-3-Clause
//
// The register: the records of a witness on a disk of its own, and the way to it. Questions and
// answers are lost, late or come twice; the witness dies, its power goes, its disk fails.
#include "pair.h"

#define KEY	   "pair"
#define ASK_MIN	   (50 * US)
#define ASK_MAX	   (2 * MS)
#define ASK_ENDS   (4 * MS)
#define ASK_LATE   (30 * MS)
#define LOST_PPM   60000
#define LATE_PPM   60000
#define TWICE_PPM  60000
#define RESTART_NS (20 * MS)

// ---- the witness

static void record_look(struct pair_sim *s)
{
	struct pair_register *g = &s->reg;
	const struct lead_question get = {0};
	char line[WITNESS_LINE_MAX], reply[WITNESS_LINE_MAX], why[GP_LEAD_TEXT_SIZE];
	struct gp_lead_held held;
	lead_witness_question(KEY, &get, line);
	lead_records_answer(g->records, line, strlen(line), reply);
	if (lead_witness_reply(reply, strlen(reply), false, &held, why) == LEAD_IS)
		g->held = held;
}

static void register_start(struct pair_sim *s)
{
	struct pair_register *g = &s->reg;
	struct gp_lead_error err;
	pair_disk_use(g->disk);
	int rc = lead_records_open(pair_disk_path(g->disk), &g->records, &err);
	pair_disk_done();
	if (rc == 0) {
		record_look(s);
		return;
	}
	g->records = NULL;
	if (!pair_disk_failed(g->disk))
		pair_broken(s, "the register does not start: %s", err.text);
	pair_disk_mend(g->disk);
	g->back_at = s->now + RESTART_NS;
}

void pair_register_kill(struct pair_sim *s, bool power, uint64_t down_ns)
{
	struct pair_register *g = &s->reg;
	if (!g->records)
		return;
	lead_records_close(g->records);
	g->records = NULL;
	if (power)
		pair_disk_power_loss(g->disk);
	pair_disk_mend(g->disk);
	g->back_at = s->now + down_ns;
	s->stats.registers_killed++;
}

// A record that was told stands.
static void told_check(struct pair_sim *s, const struct pair_letter *l, bool swap)
{
	char why[GP_LEAD_TEXT_SIZE];
	struct gp_lead_held held;
	if (lead_witness_reply(l->line, strlen(l->line), swap, &held, why) == LEAD_FAILED)
		return;
	uint32_t epoch = held.exists ? held.record.epoch : 0;
	if (epoch < s->reg.told)
		pair_broken(s, "the register tells epoch %u, it has told epoch %u before", epoch,
			s->reg.told);
	s->reg.told = epoch;
}

// ---- letters

static void letter_post(struct pair_sim *s, const struct pair_letter *l, uint64_t due)
{
	for (uint32_t i = 0; i < PAIR_LETTERS_MAX; i++) {
		struct pair_letter *free = &s->reg.letters[i];
		if (free->open)
			continue;
		*free = *l;
		free->open = true;
		free->due = due;
		return;
	}
}

static bool is_rough(const struct pair_sim *s)
{
	return !s->calm && !s->plain;
}

static void letter_send(struct pair_sim *s, const struct pair_letter *l)
{
	uint64_t due = s->now + ASK_MIN + rng_below(&s->rng, ASK_MAX);
	if (is_rough(s) && rng_hit(&s->rng, LOST_PPM))
		return;
	if (is_rough(s) && rng_hit(&s->rng, LATE_PPM))
		due = s->now + rng_below(&s->rng, ASK_LATE);
	letter_post(s, l, due);
	if (!is_rough(s) || !rng_hit(&s->rng, TWICE_PPM))
		return;
	s->stats.repeated++;
	letter_post(s, l, s->now + rng_below(&s->rng, ASK_LATE));
}

// What the disk did to it.
static void disk_follow(struct pair_sim *s)
{
	struct pair_register *g = &s->reg;
	if (!pair_disk_failed(g->disk))
		return;
	bool power = pair_disk_gone(g->disk);
	s->stats.disk_faults++;
	pair_register_kill(s, power, power ? RESTART_NS : rng_below(&s->rng, RESTART_NS));
}

static void question_arrives(struct pair_sim *s, struct pair_letter *l)
{
	struct pair_register *g = &s->reg;
	struct pair_letter reply = *l;
	l->open = false;
	if (!g->records || !pair_reaches(s, l->node, PAIR_REGISTER))
		return;
	reply.reply = true;
	pair_disk_use(g->disk);
	lead_records_answer(g->records, l->line, strlen(l->line), reply.line);
	pair_disk_done();
	if (pair_disk_failed(g->disk) && pair_disk_gone(g->disk)) {
		disk_follow(s);
		return; // it died before it could answer
	}
	record_look(s);
	told_check(s, &reply, l->swap);
	letter_send(s, &reply);
	disk_follow(s);
}

// ---- nodes

static void answer_give(
	struct pair_node *n, enum gp_lead_answer answer, const struct gp_lead_held *held)
{
	static const enum gp_lead_event_kind kinds[] = {
		[GP_LEAD_CURRENT] = GP_LEAD_EV_RECORD,
		[GP_LEAD_COMMITTED] = GP_LEAD_EV_COMMITTED,
		[GP_LEAD_REFUSED] = GP_LEAD_EV_REFUSED,
		[GP_LEAD_UNKNOWN] = GP_LEAD_EV_UNKNOWN,
		[GP_LEAD_AWAY] = GP_LEAD_EV_AWAY,
	};
	struct gp_lead_event ev = {.kind = kinds[answer]};
	if (answer <= GP_LEAD_REFUSED)
		ev.held = *held;
	n->ask.open = false;
	pair_node_answer(n, &ev);
}

static void attempt_send(struct pair_node *n)
{
	struct pair_sim *s = n->s;
	struct pair_ask *a = &n->ask;
	struct pair_letter l = {.node = n->idx,
		.life = n->life,
		.serial = ++n->asks,
		.swap = a->course.question.swap};
	lead_witness_question(KEY, &a->course.question, l.line);
	a->ends = pair_now(s, n->idx) + ASK_ENDS;
	letter_send(s, &l);
}

// The node's own file answers at once.
static void file_ask(struct pair_node *n)
{
	struct lead_course *c = &n->ask.course;
	struct gp_lead_error err;
	struct gp_lead_held held;
	struct pair_disk *d = n->s->disk[n->idx];
	enum gp_lead_answer answer;
	bool goes_on = true;
	while (goes_on) {
		pair_disk_use(d);
		enum lead_outcome outcome =
			lead_manual_answer(&n->manual, KEY, &c->question, &held, &err);
		pair_disk_done();
		if (pair_disk_failed(d) && pair_disk_gone(d)) {
			(void)pair_snaps_survives(n);
			return;
		}
		goes_on = lead_course_turn(
			c, outcome, outcome == LEAD_FAILED ? NULL : &held, &answer);
	}
	n->stop_due |= n->manual.broken;
	if (pair_snaps_survives(n))
		answer_give(n, answer, &held);
}

void pair_register_ask(struct pair_node *n, bool swap)
{
	struct lead_course *c = &n->ask.course;
	n->ask.open = true;
	c->endpoints_count = n->s->endpoints;
	if (swap)
		lead_course_swap(c, &n->rules.from, &n->rules.to);
	else
		lead_course_get(c);
	if (n->s->manual)
		file_ask(n);
	else
		attempt_send(n);
}

static void attempt_ends(
	struct pair_node *n, enum lead_outcome outcome, const struct gp_lead_held *held)
{
	struct lead_course *c = &n->ask.course;
	uint64_t doubts = c->doubts;
	enum gp_lead_answer answer;
	bool goes_on = lead_course_turn(c, outcome, held, &answer);
	n->s->stats.doubts += c->doubts - doubts;
	if (goes_on)
		attempt_send(n);
	else
		answer_give(n, answer, held);
}

// False: the node stands still, it has to wait.
static bool reply_arrives(struct pair_sim *s, struct pair_letter *l)
{
	struct pair_node *n = &s->node[l->node];
	char why[GP_LEAD_TEXT_SIZE];
	struct gp_lead_held held;
	if (n->alive && s->now < n->awake_at)
		return false;
	bool ours = n->alive && n->life == l->life && n->ask.open && n->asks == l->serial;
	if (!ours || !pair_reaches(s, PAIR_REGISTER, l->node))
		return true;
	enum lead_outcome outcome =
		lead_witness_reply(l->line, strlen(l->line), l->swap, &held, why);
	attempt_ends(n, outcome, outcome == LEAD_FAILED ? NULL : &held);
	return true;
}

static void node_waits(struct pair_sim *s, struct pair_node *n)
{
	if (n->alive && s->now >= n->awake_at && n->ask.open && pair_now(s, n->idx) >= n->ask.ends)
		attempt_ends(n, LEAD_FAILED, NULL);
}

bool pair_register_rests(const struct pair_sim *s)
{
	bool rests = s->reg.records != NULL;
	for (uint32_t i = 0; i < PAIR_LETTERS_MAX; i++)
		rests &= !(s->reg.letters[i].open && s->reg.letters[i].swap);
	return rests;
}

void pair_register_turn(struct pair_sim *s)
{
	if (!s->reg.records && s->now >= s->reg.back_at)
		register_start(s);
	for (uint32_t i = 0; i < PAIR_LETTERS_MAX; i++) {
		struct pair_letter *l = &s->reg.letters[i];
		if (!l->open || s->now < l->due)
			continue;
		if (!l->reply)
			question_arrives(s, l);
		else if (reply_arrives(s, l))
			l->open = false;
	}
	node_waits(s, &s->node[0]);
	node_waits(s, &s->node[1]);
}

// ---- life

void pair_register_open(struct pair_sim *s, const char *root)
{
	s->reg.disk = pair_disk_create(root, "witness", rng_next(&s->rng));
	register_start(s);
}

void pair_register_close(struct pair_sim *s)
{
	lead_records_close(s->reg.records);
	pair_disk_destroy(s->reg.disk);
}
