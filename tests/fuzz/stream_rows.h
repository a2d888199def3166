// SPDX-License-Identifier: BSD-3-Clause
//
// A primary with tables, for the stream's fuzzer: it sends a base and cuts as a feeder does, knows
// what the image must hold then, and lets a tape (input.h) choose rows and change any field. A tape
// of zeros changes none.
#ifndef FUZZ_STREAM_ROWS_H
#define FUZZ_STREAM_ROWS_H

#include "input.h"

#include <stream_priv.h>

#define ROWS_TABLES 2
#define ROWS_IDS    8

struct rows_row {
	bool there;
	uint32_t step;
};

struct rows_primary {
	void *arg;
	void (*give)(void *arg, enum message_type type, const uint8_t *body, size_t len);
	bool bent; // something was changed: what it sends may be refused, and the image be any
	uint32_t generation, decision, records;
	uint64_t base;
	struct rows_row rows[ROWS_TABLES][ROWS_IDS];
};

// A hello, and the answer to what the follower holds.
void rows_meet(struct rows_primary *p);
// The job begins anew.
void rows_base(struct rows_primary *p, struct input *in);
// The next cut.
void rows_cut(struct rows_primary *p, struct input *in);
// The image has what was sent, when nothing was changed.
void rows_check(const struct rows_primary *p, const struct gp_image *m);

#endif
