// SPDX-License-Identifier: BSD-3-Clause
//
// What rows of a table were, for the generations that are being read (gp_rows.h keeps only what
// they are). Before a row changes for the first time since generation `label` was made, its owner
// copies it here; who reads generation g of a row finds the copy with the lowest label that is not
// below g, or else the row itself, which has not changed since.
//
// The copies are a ring in the order of their labels, with a hash of ids. The owner lets go of
// those that no live generation needs (gp_kept_trim). Where the ring is full the oldest labels go:
// generations up to those can no longer be read (gp_kept_whole), and nothing waits.
//
// One generation may be pinned, so that another thread can read it whole (a snapshot): its copies
// never go then, whoever would make more has to look for room first (gp_kept_room).
//
// Copies are numbered in the order in which they were made, so that those between two numbers tell
// which rows changed between two moments (replication). They may be held from a number on: as those
// of a pinned generation they stay, and copies before them go when others need their room.
//
// Threads: the owner's alone, but for gp_kept_seen, gp_kept_get, gp_kept_at and gp_kept_since. They
// read what was published since the pin, or is held, which does not change before that ends; the
// two threads order pin, hold and their end with each other by other means. Memory: one region of
// gp_kept_size bytes; nothing is allocated later. Labels and generations are compared as serial
// numbers.
#ifndef GP_KEPT_H
#define GP_KEPT_H

#include <gp_base.h>

struct gp_kept_config {
	uint32_t copies_max; // 1 .. 2^31
	uint32_t floats;     // of a row
	uint64_t hash_key;
};

struct gp_kept;

size_t gp_kept_size(const struct gp_kept_config *cfg) GP_MUST_CHECK;
// `mem` is gp_kept_size bytes, 64-byte aligned, whatever is in it, and stays the caller's. Reads
// begin with generation `first`.
struct gp_kept *gp_kept_init(void *mem, const struct gp_kept_config *cfg, uint32_t first);

// Reads begin with another generation; nothing was put yet.
void gp_kept_begin(struct gp_kept *k, uint32_t first);

// Whether the row needs no copy: there is one of `label`, or that generation can no longer be read.
bool gp_kept_has(const struct gp_kept *k, uint64_t id, uint32_t label) GP_MUST_CHECK;
// Room for a copy of the row, `floats` of them, the caller fills it; of a row that was not there,
// with what it reads as. Nobody finds it before gp_kept_publish.
float *gp_kept_put(struct gp_kept *k, uint64_t id, uint32_t label);
// The copy that was put last is whole. `there`: the row was there, last written in `step`, and last
// used in `used`, not before that.
void gp_kept_publish(struct gp_kept *k, bool there, uint32_t step, uint32_t used);
// The row as it was in `generation`; NULL: it has not changed since.
const float *gp_kept_find(const struct gp_kept *k, uint64_t id, uint32_t generation, bool *there);
// Generations before `oldest` are not read any more.
void gp_kept_trim(struct gp_kept *k, uint32_t oldest);
// Whether all copies that this generation needs are still there.
bool gp_kept_whole(const struct gp_kept *k, uint32_t generation) GP_MUST_CHECK;
// Copies in the ring, and how many more go into it before one must go.
uint32_t gp_kept_count(const struct gp_kept *k) GP_MUST_CHECK;
uint32_t gp_kept_room(const struct gp_kept *k) GP_MUST_CHECK;
// From now on the newest label is `generation`, and its copies stay.
void gp_kept_pin(struct gp_kept *k, uint32_t generation);
void gp_kept_unpin(struct gp_kept *k);
bool gp_kept_pinned(const struct gp_kept *k) GP_MUST_CHECK;
// The number of the next copy.
uint64_t gp_kept_next(const struct gp_kept *k) GP_MUST_CHECK;
// Copies from number `from` on are held, instead of what was; 0: none is. It has to be the first
// one of its label.
void gp_kept_hold(struct gp_kept *k, uint64_t from);
// Whether copies stay, for a pin or held.
bool gp_kept_stays(const struct gp_kept *k) GP_MUST_CHECK;

// ---- any thread, of the generation that is pinned

struct gp_kept_copy {
	uint64_t id;
	bool there;
	uint32_t step;
	uint32_t used;
	const float *row;
};

// Copy number `n` (0, 1, ...) of those made since the pin; false: there are no more yet. A row that
// changed in several generations occurs more than once; the first one counts.
bool gp_kept_seen(const struct gp_kept *k, uint64_t n, struct gp_kept_copy *out) GP_MUST_CHECK;
// The row as it was in that generation; false: it has not changed since. A change that the caller
// has seen is found.
bool gp_kept_get(const struct gp_kept *k, uint64_t id, struct gp_kept_copy *out) GP_MUST_CHECK;

// ---- any thread, of copies that are held

// Copy `number`; false: it is yet to be made.
bool gp_kept_at(const struct gp_kept *k, uint64_t number, struct gp_kept_copy *out) GP_MUST_CHECK;
// The row as it was when copy `first` was yet to be made; false: it has not changed since. A change
// that the caller has seen is found.
bool gp_kept_since(const struct gp_kept *k, uint64_t first, uint64_t id,
	struct gp_kept_copy *out) GP_MUST_CHECK;

#endif
