// SPDX-License-Identifier: BSD-3-Clause
//
// A made-up job: its history of decisions by chance, and its values, which are a function of block
// and step. So what a feeder reads can be compared anywhere, and what may no longer be read is
// refused.
#ifndef HISTORY_H
#define HISTORY_H

#include <gp_feeder.h>
#include <gp_follower.h>
#include <layout.h>

#define HISTORY_TENSORS	   5
#define HISTORY_UNITS_MAX  64
#define HISTORY_WINDOW_MAX 4096

struct history {
	struct gp_image_layout layout;
	struct gp_image_tensor tensors[HISTORY_TENSORS];
	struct layout l; // spans filled
	struct layout_span spans[HISTORY_TENSORS];
	uint64_t random;
	uint32_t decision, generation, units_ahead;
	uint32_t steps[HISTORY_UNITS_MAX];
	uint32_t whole_at; // the decision that made `generation` whole
	// What is out: versions before are gone.
	uint32_t released, released_generation;
	uint32_t released_steps[HISTORY_UNITS_MAX];
	struct gp_decision log[HISTORY_WINDOW_MAX]; // by number
	uint32_t views;
	uint32_t poisoned; // block whose value is wrong once it is read, UINT32_MAX none
	float arrays[GP_IMAGE_ARRAYS_MAX][LAYOUT_BLOCK_ELEMS_MAX];
};

uint32_t history_random(uint64_t *state, uint32_t below);
void history_init(struct history *h, uint16_t id, uint8_t kind, uint8_t atomicity, uint32_t states,
	uint64_t seed);
// The next decision, or false: nothing can be decided before more is released.
bool history_decide(struct history *h, struct gp_decision *out);
void history_release(struct history *h, uint32_t decision);
float history_value(
	const struct history *h, uint32_t block, uint32_t step, uint32_t array, uint32_t i);
float history_weight(uint32_t block, uint32_t step);
// For gp_feeder_opts.block of one job. False for what an engine would no longer have.
bool history_block(struct history *h, uint32_t block, uint32_t step, struct gp_backup_block *out);
// The image holds exactly what was decided through `decision` (not after what is decided now).
void history_expect(const struct history *h, const struct gp_image *m, uint32_t decision);
uint64_t history_digest(const struct history *h, uint32_t step);

#endif
