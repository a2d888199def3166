// SPDX-License-Identifier: BSD-3-Clause
#include "relay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PERCENT_UNITS 100000 // 100 % in units of 1/1000 %

// splitmix64 (Steele, Lea, Flood 2014).
static uint64_t random_next(struct lane *l)
{
	uint64_t z = (l->random_state += 0x9e3779b97f4a7c15u);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static bool random_hit(struct lane *l, uint32_t share)
{
	return random_next(l) % PERCENT_UNITS < share;
}

int lane_init(struct lane *l, const struct relay_opts *opts, uint32_t number)
{
	memset(l, 0, sizeof(*l));
	l->opts = opts;
	l->random_state = opts->seed * 2 + number;
	for (uint32_t i = 0; i < FRAMES_COUNT; i++) {
		struct frame *f = malloc(sizeof(*f));
		if (!f) {
			lane_fini(l);
			return -ENOMEM;
		}
		l->spare[l->spare_count++] = f;
	}
	return 0;
}

void lane_fini(struct lane *l)
{
	while (l->spare_count > 0)
		free(l->spare[--l->spare_count]);
	while (l->held_count > 0)
		free(l->held[--l->held_count].frame);
	for (; l->fifo_tail != l->fifo_head; l->fifo_tail++)
		free(l->fifo[l->fifo_tail % FRAMES_COUNT]);
}

struct frame *lane_take(struct lane *l)
{
	return l->spare_count > 0 ? l->spare[--l->spare_count] : NULL;
}

void lane_give(struct lane *l, struct frame *f)
{
	l->spare[l->spare_count++] = f;
}

// Never full: there are as many places as frames.
static void fifo_push(struct lane *l, struct frame *f, uint64_t now_ns)
{
	f->due_ns = now_ns + (f->disturbed ? l->opts->delay_us * UINT64_C(1000) : 0);
	l->fifo[l->fifo_head++ % FRAMES_COUNT] = f;
}

static void held_release(struct lane *l, uint32_t i, uint64_t now_ns)
{
	struct held h = l->held[i];
	memmove(&l->held[i], &l->held[i + 1], (l->held_count - i - 1) * sizeof(h));
	l->held_count--;
	l->counts.reordered += h.overtaken;
	fifo_push(l, h.frame, now_ns);
}

static void held_add(struct lane *l, struct frame *f, uint64_t now_ns)
{
	if (l->held_count == HELD_MAX)
		held_release(l, 0, now_ns);
	l->held[l->held_count++] = (struct held){
		.frame = f,
		.deadline_ns = now_ns + l->opts->reorder_us * UINT64_C(1000),
		.overtake_left = 1 + (uint32_t)(random_next(l) % OVERTAKE_MAX),
	};
}

// A datagram went on: those held have been overtaken once more.
static void held_overtaken(struct lane *l, uint64_t now_ns)
{
	for (uint32_t i = 0; i < l->held_count;) {
		l->held[i].overtaken = true;
		if (--l->held[i].overtake_left == 0)
			held_release(l, i, now_ns);
		else
			i++;
	}
}

static void duplicate(struct lane *l, const struct frame *f, uint64_t now_ns)
{
	struct frame *copy = lane_take(l);
	if (!copy) {
		l->counts.overflow++;
		return;
	}
	copy->len = f->len;
	copy->disturbed = true;
	memcpy(copy->data, f->data, f->len);
	l->counts.duplicated++;
	// A repeat comes at once or late, as on a real path.
	if (random_hit(l, PERCENT_UNITS / 2))
		held_add(l, copy, now_ns);
	else
		fifo_push(l, copy, now_ns);
}

void lane_arrive(struct lane *l, struct frame *f, uint64_t now_ns)
{
	const struct relay_opts *o = l->opts;
	f->disturbed = frame_is_udp_of(f->data, f->len, o->port_min, o->port_max);
	if (!f->disturbed) {
		fifo_push(l, f, now_ns);
		return;
	}
	// Three draws for every datagram, so that one setting does not shift the others' choices.
	const bool drop = random_hit(l, o->loss), dup = random_hit(l, o->dup),
		   late = random_hit(l, o->reorder);
	if (drop) {
		l->counts.dropped++;
		lane_give(l, f);
		return;
	}
	if (late) {
		held_add(l, f, now_ns);
	} else {
		fifo_push(l, f, now_ns);
		held_overtaken(l, now_ns);
	}
	if (dup)
		duplicate(l, f, now_ns);
}

void lane_expire(struct lane *l, uint64_t now_ns)
{
	for (uint32_t i = 0; i < l->held_count;) {
		if (l->held[i].deadline_ns <= now_ns)
			held_release(l, i, now_ns);
		else
			i++;
	}
}

uint32_t lane_due(struct lane *l, uint64_t now_ns, struct frame **out, uint32_t max)
{
	uint32_t n = 0;
	while (n < max && l->fifo_tail != l->fifo_head &&
		l->fifo[l->fifo_tail % FRAMES_COUNT]->due_ns <= now_ns)
		out[n++] = l->fifo[l->fifo_tail++ % FRAMES_COUNT];
	return n;
}

uint64_t lane_next_ns(const struct lane *l)
{
	uint64_t next = UINT64_MAX;
	if (l->fifo_tail != l->fifo_head)
		next = l->fifo[l->fifo_tail % FRAMES_COUNT]->due_ns;
	for (uint32_t i = 0; i < l->held_count; i++)
		if (l->held[i].deadline_ns < next)
			next = l->held[i].deadline_ns;
	return next;
}
