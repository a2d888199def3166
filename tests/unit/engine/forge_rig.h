// SPDX-License-Identifier: BSD-3-Clause
//
// Records of a dump, found and changed, and what a replay says of the whole then.
#ifndef FORGE_RIG_H
#define FORGE_RIG_H

#include "replay_rig.h"

#include <flight.h>
#include <gp_replay.h>

#include <errno.h>
#include <xxhash.h>

#define FORGE_ROUNDS_MAX 100000

struct forge {
	struct rig *r;
	struct buffer b;
	uint8_t *kept; // as it was written
};

// What came out; text is that of the refusal where rc is not 0.
struct forged {
	int rc;
	struct gp_replay_result x;
	char text[GP_REPLAY_TEXT_SIZE];
};

static inline struct forge forge_new(struct rig *r)
{
	struct forge f = {.r = r, .b = dump(r)};
	f.kept = malloc(f.b.len);
	memcpy(f.kept, f.b.bytes, f.b.len);
	return f;
}

static inline void forge_free(struct forge *f)
{
	free(f->kept);
	free(f->b.bytes);
}

static inline void forge_undo(struct forge *f)
{
	memcpy(f->b.bytes, f->kept, f->b.len);
}

// So that only what the bytes say can be refused.
static inline void forge_sum(const struct forge *f)
{
	gp_store64(f->b.bytes + f->b.len - 8, XXH3_64bits(f->b.bytes, f->b.len - 8));
}

// One at a time. NULL, with the error in *rc.
static inline struct gp_replay *forge_begin(
	struct forge *f, void *(*take_from)(void *arg, size_t size), int *rc, char *text)
{
	static struct gp_flight_file file;
	struct gp_engine_config cfg = f->r->cfg;
	struct gp_replay *replay = NULL;
	cfg.take = take_from;
	cfg.give = give;
	cfg.mem_arg = NULL;
	forge_sum(f);
	cr_assert_eq(gp_flight_open(&file, f->b.bytes, f->b.len, text), 0, "%s", text);
	*rc = gp_replay_create(&replay, &file, &cfg, text);
	return *rc == 0 ? replay : NULL;
}

static inline void forge_run(struct gp_replay *replay)
{
	for (uint32_t i = 0; i < FORGE_ROUNDS_MAX && gp_replay_round(replay); i++)
		;
}

static inline struct forged forge_replay(struct forge *f)
{
	struct forged out = {0};
	struct gp_replay *replay = forge_begin(f, take, &out.rc, out.text);
	if (!replay)
		return out;
	forge_run(replay);
	out.x = *gp_replay_result(replay);
	memcpy(out.text, out.x.text, sizeof(out.text));
	gp_replay_destroy(replay);
	return out;
}

// The n-th section (from 0) of the type with this id.
static inline struct gp_flight_part forge_part(const struct forge *f, uint32_t type, uint32_t id)
{
	struct gp_flight_file file;
	struct gp_flight_part p;
	char why[GP_FLIGHT_ERROR_SIZE] = "";
	forge_sum(f);
	cr_assert_eq(gp_flight_open(&file, f->b.bytes, f->b.len, why), 0, "%s", why);
	for (uint64_t pos = 0; gp_flight_next(&file, &pos, &p);)
		if (p.type == type && p.id == id)
			return p;
	cr_assert_fail("section %u %u", type, id);
	return p;
}

struct record {
	uint8_t *cell;
	struct gp_flight_record rec;
};

typedef bool (*record_test)(const struct gp_flight_record *rec, uint32_t arg);

// The n-th record (from 0) of the kind in the ring for which the test holds.
static inline struct record *record_find(const struct forge *f, uint32_t ring, uint8_t kind,
	record_test fits, uint32_t arg, uint32_t n)
{
	static struct record found;
	const struct gp_flight_part p = forge_part(f, GP_FLIGHT_RING, ring);
	struct gp_flight_cursor c;
	gp_flight_cursor_init(&c, &p);
	while (gp_flight_record_next(&c, &found.rec)) {
		uint64_t idx = found.rec.number - c.first;
		found.cell = f->b.bytes + (c.cells - f->b.bytes) + idx * GP_FLIGHT_CELL;
		if (found.rec.head.kind == kind && (!fits || fits(&found.rec, arg)) && n-- == 0)
			return &found;
	}
	cr_assert_fail("a record of kind %u in ring %u", kind, ring);
	return NULL;
}

// Writes it back as its `rec` is now; the number of its cells stays.
static inline void record_put(const struct record *x)
{
	const struct gp_flight_record *rec = &x->rec;
	uint64_t cells = gp_load64(x->cell + 8) >> 16 & 0xffff;
	uint32_t n = GP_MIN(rec->kept, (uint32_t)GP_FLIGHT_FIRST_BYTES);
	gp_store64(x->cell + 8, rec->head.kind | (uint64_t)rec->head.verdict << 8 | cells << 16 |
					(uint64_t)rec->kept << 32 | (uint64_t)rec->head.len << 48);
	memcpy(x->cell + 24, rec->bytes, n);
	for (uint32_t i = 1, at = n; i < cells; i++, at += n) {
		n = GP_MIN(rec->kept - at, (uint32_t)GP_FLIGHT_MORE_BYTES);
		memcpy(x->cell + (size_t)i * GP_FLIGHT_CELL + 16, rec->bytes + at, n);
	}
}

static inline void expect_text(struct forge *f, const char *why, const char *about)
{
	struct forged out = forge_replay(f);
	if (!why) {
		cr_assert(out.rc == 0 && !out.x.differs, "%s: %s", about, out.text);
	} else {
		cr_assert(out.rc != 0 || out.x.differs, "%s: nothing differs", about);
		cr_assert(strstr(out.text, why), "%s: '%s' is not in '%s'", about, why, out.text);
	}
	forge_undo(f);
}

// The record with one member of what it holds changed; `why` NULL: nothing differs.
#define FORGE(f, found, type, member, value, why)                                                  \
	do {                                                                                       \
		struct record *x_ = (found);                                                       \
		type what_;                                                                        \
		memcpy(&what_, x_->rec.bytes, sizeof(what_));                                      \
		what_.member = (value);                                                            \
		memcpy(x_->rec.bytes, &what_, sizeof(what_));                                      \
		record_put(x_);                                                                    \
		expect_text(f, why, #member " = " #value);                                         \
	} while (0)

// The same of the record's own head.
#define FORGE_HEAD(f, found, member, value, why)                                                   \
	do {                                                                                       \
		struct record *x_ = (found);                                                       \
		x_->rec.member = (value);                                                          \
		record_put(x_);                                                                    \
		expect_text(f, why, #member " = " #value);                                         \
	} while (0)

#endif
