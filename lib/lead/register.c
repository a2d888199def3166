// SPDX-License-Identifier: BSD-3-Clause
//
// The register on an event loop: each endpoint has its time, course.c says what follows.
#include "lead_priv.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

struct gp_lead {
	struct event_base *base;
	const struct lead_kind *kind;
	void *state; // of the kind
	char key[GP_LEAD_KEY_SIZE];
	struct lead_address endpoints[GP_LEAD_ENDPOINTS_MAX];
	struct gp_tls *tls;
	uint32_t timeout_ms;
	struct lead_course course;
	bool open; // the kind has the question
	struct event *timer;
	struct event *turn; // an answer is there
	enum lead_outcome outcome;
	struct gp_lead_held held;
	gp_lead_fn fn;
	void *arg;
	struct gp_lead_status status;
};

struct event_base *lead_base(const struct gp_lead *l)
{
	return l->base;
}

const char *lead_key(const struct gp_lead *l)
{
	return l->key;
}

const struct lead_address *lead_endpoint(const struct gp_lead *l, uint32_t i)
{
	GP_ASSERT(i < l->course.endpoints_count);
	return &l->endpoints[i];
}

struct gp_tls *lead_tls(const struct gp_lead *l)
{
	return l->tls;
}

void *lead_state(const struct gp_lead *l)
{
	return l->state;
}

void lead_state_set(struct gp_lead *l, void *state)
{
	l->state = state;
}

void lead_answer(struct gp_lead *l, enum lead_outcome outcome, const struct gp_lead_held *held,
	const char *why)
{
	if (!l->open) // late
		return;
	l->open = false;
	l->outcome = outcome;
	if (held)
		l->held = *held;
	if (why)
		snprintf(l->status.last_error, sizeof(l->status.last_error), "%s%s%.400s",
			l->course.endpoints_count ? l->endpoints[l->course.question.endpoint].text
						  : "",
			l->course.endpoints_count ? ": " : "", why);
	else if (outcome != LEAD_FAILED)
		l->status.last_error[0] = '\0'; // it answers again
	// Not from inside the kind: it may have to end its connection first.
	event_active(l->turn, EV_TIMEOUT, 0);
}

static void question_ask(struct gp_lead *l)
{
	const struct timeval tv = {
		.tv_sec = l->timeout_ms / 1000, .tv_usec = (l->timeout_ms % 1000) * 1000};
	l->open = true;
	l->status.questions++;
	evtimer_add(l->timer, &tv);
	l->kind->ask(l, &l->course.question);
}

static void finish(struct gp_lead *l, enum gp_lead_answer answer, const struct gp_lead_held *held)
{
	gp_lead_fn fn = l->fn;
	struct gp_lead_held copy = held ? *held : (struct gp_lead_held){0};
	l->fn = NULL;
	l->status.reachable = held != NULL;
	l->status.swaps += answer == GP_LEAD_COMMITTED;
	fn(l->arg, answer, held ? &copy : NULL);
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct gp_lead *l = arg;
	enum gp_lead_answer answer;
	(void)fd, (void)what;
	evtimer_del(l->timer);
	l->kind->drop(l);
	bool known = l->outcome != LEAD_FAILED;
	if (lead_course_turn(&l->course, l->outcome, known ? &l->held : NULL, &answer))
		question_ask(l);
	else
		finish(l, answer, known ? &l->held : NULL);
}

static void on_timeout(evutil_socket_t fd, short what, void *arg)
{
	struct gp_lead *l = arg;
	char why[64];
	(void)fd, (void)what;
	snprintf(why, sizeof(why), "no answer within %u ms", l->timeout_ms);
	lead_answer(l, LEAD_FAILED, NULL, why);
}

static void question_begin(struct gp_lead *l, gp_lead_fn fn, void *arg)
{
	l->fn = fn;
	l->arg = arg;
	question_ask(l);
}

int gp_lead_get(struct gp_lead *l, gp_lead_fn fn, void *arg)
{
	if (gp_lead_busy(l))
		return -EBUSY;
	lead_course_get(&l->course);
	question_begin(l, fn, arg);
	return 0;
}

int gp_lead_swap(struct gp_lead *l, const struct gp_lead_held *from,
	const struct gp_lead_record *to, gp_lead_fn fn, void *arg)
{
	if (gp_lead_busy(l))
		return -EBUSY;
	lead_course_swap(&l->course, from, to);
	question_begin(l, fn, arg);
	return 0;
}

bool gp_lead_busy(const struct gp_lead *l)
{
	return l->course.phase != LEAD_PHASE_IDLE;
}

void gp_lead_status(const struct gp_lead *l, struct gp_lead_status *out)
{
	*out = l->status;
	out->failures = l->course.failures;
	out->doubts = l->course.doubts;
}

static const struct lead_kind *kind_find(const char *name)
{
	static const struct lead_kind *const kinds[] = {
		&lead_kind_etcd, &lead_kind_witness, &lead_kind_manual};
	for (size_t i = 0; i < GP_ARRAY_SIZE(kinds); i++)
		if (strcmp(kinds[i]->name, name) == 0)
			return kinds[i];
	return NULL;
}

static int opts_take(struct gp_lead *l, const struct gp_lead_opts *opts, struct gp_lead_error *err)
{
	l->kind = kind_find(opts->kind);
	if (!l->kind)
		return lead_fail(err, -EINVAL, "%.60s: no such register; etcd, witness or manual",
			opts->kind);
	if (!gp_lead_key_valid(opts->key))
		return lead_fail(err, -EINVAL,
			"%.60s: a key is 1..63 letters, digits, '.', '_' and '-'", opts->key);
	if (opts->endpoints_count > GP_LEAD_ENDPOINTS_MAX ||
		l->kind->endpoints != (opts->endpoints_count > 0))
		return lead_fail(err, -EINVAL, "%s: %u endpoints; it takes %s", opts->kind,
			opts->endpoints_count, l->kind->endpoints ? "1..5" : "none");
	strcpy(l->key, opts->key);
	l->timeout_ms = opts->timeout_ms ? opts->timeout_ms : GP_LEAD_TIMEOUT_MS;
	l->course.endpoints_count = opts->endpoints_count;
	for (uint32_t i = 0; i < opts->endpoints_count; i++) {
		int rc = lead_address_parse(opts->endpoints[i], true, &l->endpoints[i], err);
		if (rc != 0)
			return rc;
	}
	return lead_tls_create(opts->tls, GP_TLS_CLIENT, &l->tls, err);
}

int gp_lead_create(struct event_base *base, const struct gp_lead_opts *opts, struct gp_lead **out,
	struct gp_lead_error *err)
{
	struct gp_lead *l = calloc(1, sizeof(*l));
	if (!l)
		return lead_fail(err, -ENOMEM, "out of memory for the register");
	l->base = base;
	int rc = opts_take(l, opts, err);
	if (rc != 0)
		goto lead;
	l->timer = evtimer_new(base, on_timeout, l);
	l->turn = evtimer_new(base, on_turn, l);
	rc = l->timer && l->turn ? l->kind->create(l, opts, err)
				 : lead_fail(err, -ENOMEM, "out of memory for the register");
	if (rc != 0)
		goto events;
	*out = l;
	return 0;
events:
	if (l->timer)
		event_free(l->timer);
	if (l->turn)
		event_free(l->turn);
lead:
	gp_tls_destroy(l->tls);
	free(l);
	return rc;
}

void gp_lead_destroy(struct gp_lead *l)
{
	if (!l)
		return;
	l->open = false;
	l->kind->drop(l);
	l->kind->destroy(l);
	event_free(l->timer);
	event_free(l->turn);
	gp_tls_destroy(l->tls);
	free(l);
}
