// SPDX-License-Identifier: BSD-3-Clause
//
// The ring of copies and its hash. A copy's number counts from 1 and never comes again; a bucket
// holds the number of its newest copy, each copy that of the one before it in its bucket. Numbers
// below the ring's tail are not there any more, so letting go of a copy is one addition.
#include "rows_priv.h"

#include <gp_kept.h>

struct copy {
	uint64_t id;
	uint64_t before; // older one of the same bucket, 0 = none
	uint32_t label;
	bool there;
};

struct gp_kept {
	struct gp_kept_config cfg;
	uint32_t buckets_mask;
	uint32_t floor; // generations below cannot be read
	uint64_t head;	// number of the next copy
	uint64_t tail;	// of the oldest
	uint64_t *buckets;
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
	memset(k->buckets, 0, sizeof(uint64_t) * (size_t)l.buckets_count);
	return k;
}

static uint64_t *bucket_of(const struct gp_kept *k, uint64_t id)
{
	return &k->buckets[rows_mix(id ^ k->cfg.hash_key) & k->buckets_mask];
}

static struct copy *copy_of(const struct gp_kept *k, uint64_t number)
{
	return &k->copies[number % k->cfg.copies_max];
}

// The newest copy of the row, or NULL.
static const struct copy *copy_newest(const struct gp_kept *k, uint64_t id)
{
	uint64_t number = *bucket_of(k, id);
	while (number >= k->tail) {
		const struct copy *c = copy_of(k, number);
		if (c->id == id)
			return c;
		number = c->before;
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
	k->floor = label + 1;
	while (k->tail < k->head && copy_of(k, k->tail)->label == label)
		k->tail++;
}

float *gp_kept_put(struct gp_kept *k, uint64_t id, uint32_t label)
{
	if (k->head - k->tail == k->cfg.copies_max)
		oldest_drop(k);
	uint64_t number = k->head++, *bucket = bucket_of(k, id);
	*copy_of(k, number) = (struct copy){.id = id, .before = *bucket, .label = label};
	*bucket = number;
	return k->rows + (size_t)(number % k->cfg.copies_max) * k->cfg.floats;
}

void gp_kept_there(struct gp_kept *k)
{
	GP_ASSERT(k->head > k->tail);
	copy_of(k, k->head - 1)->there = true;
}

const float *gp_kept_find(const struct gp_kept *k, uint64_t id, uint32_t generation, bool *there)
{
	uint64_t number = *bucket_of(k, id), found = 0;
	while (number >= k->tail) {
		const struct copy *c = copy_of(k, number);
		if (gp_before(c->label, generation))
			break; // and so are all before it
		if (c->id == id)
			found = number;
		number = c->before;
	}
	if (found == 0)
		return NULL;
	*there = copy_of(k, found)->there;
	return k->rows + (size_t)(found % k->cfg.copies_max) * k->cfg.floats;
}

void gp_kept_trim(struct gp_kept *k, uint32_t oldest)
{
	while (k->tail < k->head && gp_before(copy_of(k, k->tail)->label, oldest))
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
	return (uint32_t)(k->head - k->tail);
}
