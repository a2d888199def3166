// SPDX-License-Identifier: BSD-3-Clause
//
// Rows of embed jobs in the client's core. A push of rows fills places, a pull of rows asks for
// parts; both are what cc_block is for dense jobs: place k of lane i is block k * lanes + i.
#ifndef CCORE_ROWS_H
#define CCORE_ROWS_H

#include "ccore_priv.h"

// A row of the push in hand.
struct cc_row {
	uint64_t id;
	uint32_t table;
	uint32_t at; // of its values in `values`
};

// A part of the pull in hand: rows of one table of one lane.
struct cc_part {
	uint32_t first; // in `wanted`
	uint16_t n;
	uint16_t table;
};

struct cc_wanted {
	uint64_t id;
	float *to;
	uint32_t table;
};

struct cc_rows {
	uint8_t push_codec;
	uint8_t pull_codec;
	bool begun; // rows of this step were given
	uint32_t rows_max;
	uint32_t floats_max;
	uint32_t rows_count;
	uint32_t floats_count;
	uint32_t *tables;    // [tables]: a table's index as registered, by its number
	uint32_t *lane_rows; // [lanes][tables]: of the push in hand
	struct cc_row *rows; // [rows_max]
	float *values;	     // [floats_max]
	uint32_t *buckets;   // [buckets_mask + 1]: index + 1 of a row, 0 = free
	uint32_t buckets_mask;
	uint32_t *order; // [rows_max]
	// pull
	uint32_t request;
	uint32_t wanted_count;
	struct cc_wanted *wanted; // [rows_max]
	struct cc_part *parts;	  // [blocks_count]; n 0: nothing is asked for
	float *scratch;		  // one part
};

static inline bool cc_embeds(const struct gp_ccore *c)
{
	return c->w.kind == GP_KIND_EMBED;
}

// Tables have numbers here, as on the wire.
static inline uint32_t cc_table_dim(const struct gp_ccore *c, uint32_t table)
{
	return (uint32_t)c->tensors[c->rows->tables[table]].elems;
}

// Memory, once the layout is known. False: cc_fail was called.
bool cc_rows_take(struct gp_ccore *c);
void cc_rows_give(struct gp_ccore *c);
// The rows collected for the step in hand are dropped.
void cc_rows_void(struct gp_ccore *c);
// The generation granted: asks for the parts.
void cc_rows_fetch(struct gp_ccore *c, uint32_t generation);
// Asks for up to `most` parts of the lane that are awaited. Returns how many, -1 without a frame.
int cc_rows_ask(struct gp_ccore *c, struct cc_lane *l, uint32_t most);
void cc_rows_answer(struct gp_ccore *c, struct cc_lane *l, const struct gp_msg *m);

#endif
