// SPDX-License-Identifier: BSD-3-Clause
//
// The ring of copies and its hash. A copy's number counts from 1 and never comes again; a bucket
// holds the number of its newest copy, each copy that of the one before it in its bucket. Numbers
// below the ring's tail are not there any more, so letting go of a copy is one addition.
#include "rows_priv.h"

#include <gp_kept.h>

// `back`: from its number to that of an older one of the same bucket; 0: none, or too far to be
// there still.
struct copy {
	uint64_t id;
	uint32_t back;
	uint32_t label;
	uint32_t step;
	uint32_t there : 1;
	uint32_t since : 31; // steps from `step` to the last use
};
_Static_assert(sizeof(struct copy) == 24, "a row of 16 values with its copy's head is 1.2 rows");

struct gp_kept {
	struct gp_kept_config cfg;
	uint32_t buckets_mask;
	uint32_t floor; // generations below cannot be read
	bool pinned;
	uint32_t pin;	       // generation
	uint64_t pin_first;    // number of the first copy since
	uint64_t hold;	       // copies from this number on stay; 0: none
	_Atomic uint64_t head; // number of the next copy: what is below is whole
	uint64_t tail;	       // of the oldest
	_Atomic uint64_t *buckets;
	struct copy *copies;
	float *rows;
};

struct layout {
	size_t buckets, copies, rows, end;
	uint32_t buckets_count;
};

static struct layout layout_of(const struct gp_kept_config *cfg)
{
	GP_ASSERT(cfg->copies_max > 0 && cfg->copies_max <= UINT32_C(1) << 31 && cfg->floats > 0);
	struct layout l = {.buckets_count = 1};
	while (l.buckets_count < cfg->copies_max)
		l.buckets_count *= 2;
	l.buckets = gp_align_up(sizeof(struct gp_kept), GP_CACHE_LINE);
	l.copies =
		gp_align_up(l.buckets + sizeof(uint64_t) * (size_t)l.buckets_count, GP_CACHE_LINE);
	l.rows = gp_align_up(
		l.copies + sizeof(struct copy) * (size_t)cfg->copies_max, GP_CACHE_LINE);
	l.end = gp_align_up(
		l.rows + sizeof(float) * (size_t)cfg->copies_max * cfg->floats, GP_CACHE_LINE);
	return l;
}

size_t gp_kept_size(const struct gp_kept_config *cfg)
{
	return layout_of(cfg).end;
}

struct gp_kept *gp_kept_init(void *mem, const struct gp_kept_config *cfg, uint32_t first)
{
	const struct layout l = layout_of(cfg);
	uint8_t *base = mem;
	struct gp_kept *k = mem;
	GP_ASSERT((uintptr_t)mem % GP_CACHE_LINE == 0);
	*k = (struct gp_kept){
		.cfg = *cfg,
		.buckets_mask = l.buckets_count - 1,
		.floor = first,
		.head = 1,
		.tail = 1,
		.buckets = (void *)(base + l.buckets),
		.copies = (void *)(base + l.copies),
		.rows = (void *)(base + l.rows),
	};
	memset((void *)k->buckets, 0, sizeof(uint64_t) * (size_t)l.buckets_count);
	return k;
}

void gp_kept_begin(struct gp_kept *k, uint32_t first)
{
	GP_ASSERT(k->head == 1);
	k->floor = first;
}

static uint64_t head_of(const struct gp_kept *k)
{
	return atomic_load_explicit(&k->head, memory_order_relaxed);
}

static _Atomic uint64_t *bucket_of(const struct gp_kept *k, uint64_t id)
{
	return &k->buckets[rows_mix(id ^ k->cfg.hash_key) & k->buckets_mask];
}

static struct copy *copy_of(const struct gp_kept *k, uint64_t number)
{
	return &k->copies[number % k->cfg.copies_max];
}

// The owner's look at the newest copy of a row's bucket.
static uint64_t newest_of(const struct gp_kept *k, uint64_t id)
{
	return atomic_load_explicit(bucket_of(k, id), memory_order_relaxed);
}

// The one before it in its bucket; 0: none. Numbers below the tail are not there.
static uint64_t before_of(const struct copy *c, uint64_t number)
{
	return c->back > 0 ? number - c->back : 0;
}

// The newest copy of the row, or NULL.
static const struct copy *copy_newest(const struct gp_kept *k, uint64_t id)
{
	uint64_t number = newest_of(k, id);
	while (number >= k->tail) {
		const struct copy *c = copy_of(k, number);
		if (c->id == id)
			return c;
		number = before_of(c, number);
	}
	return NULL;
}

bool gp_kept_has(const struct gp_kept *k, uint64_t id, uint32_t label)
{
	if (gp_before(label, k->floor))
		return true;
	const struct copy *c = copy_newest(k, id);
	return c && !gp_before(c->label, label);
}

static void oldest_drop(struct gp_kept *k)
{
	uint32_t label = copy_of(k, k->tail)->label;
	GP_ASSERT(!k->pinned || gp_before(label, k->pin)); // who keeps more has looked for room
	k->floor = label + 1;
	while (k->tail < head_of(k) && copy_of(k, k->tail)->label == label)
		k->tail++;
	GP_ASSERT(k->hold == 0 || k->tail <= k->hold);
}

static float *row_of(const struct gp_kept *k, uint64_t number)
{
	return k->rows + (size_t)(number % k->cfg.copies_max) * k->cfg.floats;
}

float *gp_kept_put(struct gp_kept *k, uint64_t id, uint32_t label)
{
	uint64_t number = head_of(k);
	if (number - k->tail == k->cfg.copies_max)
		oldest_drop(k);
	uint64_t back = number - newest_of(k, id);
	*copy_of(k, number) = (struct copy){
		.id = id, .back = back > UINT32_MAX ? 0 : (uint32_t)back, .label = label};
	return row_of(k, number);
}

void gp_kept_publish(struct gp_kept *k, bool there, uint32_t step, uint32_t used)
{
	uint64_t number = head_of(k);
	struct copy *c = copy_of(k, number);
	c->there = there;
	c->step = step;
	c->since = (used - step) & INT32_MAX;
	// pair with the acquires of gp_kept_get and gp_kept_seen: they find it whole
	atomic_store_explicit(bucket_of(k, c->id), number, memory_order_release);
	atomic_store_explicit(&k->head, number + 1, memory_order_release);
}

const float *gp_kept_find(const struct gp_kept *k, uint64_t id, uint32_t generation, bool *there)
{
	uint64_t number = newest_of(k, id), found = 0;
	while (number >= k->tail) {
		const struct copy *c = copy_of(k, number);
		if (gp_before(c->label, generation))
			break; // and so are all before it
		if (c->id == id)
			found = number;
		number = before_of(c, number);
	}
	if (found == 0)
		return NULL;
	*there = copy_of(k, found)->there;
	return row_of(k, found);
}

void gp_kept_trim(struct gp_kept *k, uint32_t oldest)
{
	while (k->tail < head_of(k) && gp_before(copy_of(k, k->tail)->label, oldest))
		k->tail++;
	if (gp_before(k->floor, oldest))
		k->floor = oldest;
}

bool gp_kept_whole(const struct gp_kept *k, uint32_t generation)
{
	return !gp_before(generation, k->floor);
}

uint32_t gp_kept_count(const struct gp_kept *k)
{
	return (uint32_t)(head_of(k) - k->tail);
}

uint32_t gp_kept_room(const struct gp_kept *k)
{
	uint64_t stays = k->tail;
	if (k->hold != 0)
		stays = k->pinned ? GP_MIN(k->pin_first, k->hold) : k->hold;
	return k->cfg.copies_max - (uint32_t)(head_of(k) - GP_MAX(stays, k->tail));
}

uint64_t gp_kept_next(const struct gp_kept *k)
{
	return head_of(k);
}

void gp_kept_hold(struct gp_kept *k, uint64_t from)
{
	GP_ASSERT(from == 0 || (from >= k->tail && from <= head_of(k)));
	k->hold = from;
}

bool gp_kept_stays(const struct gp_kept *k)
{
	return k->pinned || k->hold != 0;
}

// ---- the pinned generation

void gp_kept_pin(struct gp_kept *k, uint32_t generation)
{
	GP_ASSERT(!k->pinned);
	k->pinned = true;
	k->pin = generation;
	k->pin_first = head_of(k);
}

void gp_kept_unpin(struct gp_kept *k)
{
	k->pinned = false;
}

bool gp_kept_pinned(const struct gp_kept *k)
{
	return k->pinned;
}

static void copy_tell(const struct gp_kept *k, uint64_t number, struct gp_kept_copy *out)
{
	const struct copy *c = copy_of(k, number);
	*out = (struct gp_kept_copy){.id = c->id,
		.there = c->there,
		.step = c->step,
		.used = c->step + c->since,
		.row = row_of(k, number)};
}

bool gp_kept_at(const struct gp_kept *k, uint64_t number, struct gp_kept_copy *out)
{
	if (number >= atomic_load_explicit(&k->head, memory_order_acquire))
		return false;
	copy_tell(k, number, out);
	return true;
}

bool gp_kept_seen(const struct gp_kept *k, uint64_t n, struct gp_kept_copy *out)
{
	return gp_kept_at(k, k->pin_first + n, out);
}

bool gp_kept_since(const struct gp_kept *k, uint64_t first, uint64_t id, struct gp_kept_copy *out)
{
	uint64_t number = atomic_load_explicit(bucket_of(k, id), memory_order_acquire), found = 0;
	while (number >= first) {
		const struct copy *c = copy_of(k, number);
		if (c->id == id)
			found = number;
		number = before_of(c, number);
	}
	if (found == 0)
		return false;
	copy_tell(k, found, out);
	return true;
}

bool gp_kept_get(const struct gp_kept *k, uint64_t id, struct gp_kept_copy *out)
{
	return gp_kept_since(k, k->pin_first, id, out);
}
