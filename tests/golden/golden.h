// SPDX-License-Identifier: BSD-3-Clause
//
// A golden vector in hand: parsed, compared field by field, and encoded again beside it.
#ifndef GOLDEN_H
#define GOLDEN_H

#include <criterion/criterion.h>

#include <gp_wire.h>

#include "vectors.h"

#define OUT_SIZE 2048

struct golden {
	struct vector v;
	struct gp_msg m;
	uint8_t out[OUT_SIZE];
	uint32_t body_at;
};

// `got` and `want` are in scope.
#define SAME(field)	  cr_assert_eq(got.field, want->field, #field)
#define SAME_BYTES(field) cr_assert_arr_eq(got.field, want->field, sizeof(want->field), #field)

// Loads and parses a vector, compares its header and begins to encode the same.
void golden_open(struct golden *g, const char *name, const struct gp_header *want);
// Section i and the ack block: compared, and encoded.
void golden_section(struct golden *g, uint32_t i, const struct gp_section *want);
void golden_ack(struct golden *g);
// Everything encoded: the same bytes, no more and no fewer.
void golden_close(struct golden *g, uint32_t body_len);

struct gp_header of_worker(uint8_t type);
struct gp_header of_server(uint8_t type, uint8_t flags);
struct gp_header outside_session(uint8_t type);

#endif
