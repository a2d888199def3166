// SPDX-License-Identifier: BSD-3-Clause
//
// Rows of tables on the wire (docs/protocol.md 2.10, 3 and 5.2): the payload of a place of a push
// (codec rows), the bodies of PULL_ROWS and ROWS, and which core owns a row.
//
// Included by gp_wire.h. Threads: no state. Memory: the caller's; nothing is copied.
#ifndef GP_WIRE_ROWS_H
#define GP_WIRE_ROWS_H

#include <gp_wire.h>

#define GP_WIRE_CODEC_ROWS     9
#define GP_WIRE_ROWS_HEAD      16 // of the bodies of PULL_ROWS and ROWS
#define GP_WIRE_ROWS_PUSH_HEAD 8  // of a payload
#define GP_WIRE_TABLES_MAX     64 // of a job

struct gp_rows_head {
	uint32_t request;
	uint32_t place;
	uint16_t table;
	uint16_t n;
	uint16_t dim;
	uint8_t codec;
};

void gp_wire_get_rows(const struct gp_msg *m, struct gp_rows_head *x); // PULL_ROWS, ROWS
uint32_t gp_wire_put_rows(uint8_t *body, const struct gp_rows_head *x);

// The payload of a place. Ids and values lie where they came, with any alignment.
struct gp_rows_push {
	uint16_t table;
	uint16_t n;
	uint8_t codec;
	const uint8_t *ids;
	const uint8_t *values;
	uint32_t values_len; // to the end of the payload, padding included
};

static inline uint32_t gp_rows_value_size(uint8_t codec)
{
	return codec == 1 ? 4 : 2; // f32; bf16 and f16
}

// Bytes of a payload with n rows of dim values.
static inline uint32_t gp_rows_push_size(uint32_t n, uint32_t dim, uint8_t codec)
{
	return GP_WIRE_ROWS_PUSH_HEAD + 8 * n + ((n * dim * gp_rows_value_size(codec) + 3) & ~3u);
}

static inline uint64_t gp_rows_push_id(const struct gp_rows_push *p, uint32_t i)
{
	return gp_load64(p->ids + 8 * (size_t)i);
}

// Whether head and ids are whole, reserved bytes zero, the codec known, ids strictly increasing.
// Whether the values have the table's length, gp_rows_push_fits tells.
bool gp_rows_push_parse(const uint8_t *payload, uint32_t len, struct gp_rows_push *p) GP_MUST_CHECK;
// Whether there are n rows of dim values, and zeros up to the next multiple of 4.
bool gp_rows_push_fits(const struct gp_rows_push *p, uint32_t dim) GP_MUST_CHECK;
// Writes the head; ids follow at GP_WIRE_ROWS_PUSH_HEAD, then the values.
void gp_rows_push_begin(uint8_t *payload, uint16_t table, uint16_t n, uint8_t codec);

// splitmix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
static inline uint64_t gp_rows_mix(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

// The core that owns row `id` of table `table`.
static inline uint32_t gp_rows_owner(uint32_t table, uint64_t id, uint32_t cores)
{
	return (uint32_t)((gp_rows_mix(id ^ gp_rows_mix(table)) >> 32) * cores >> 32);
}

#endif
