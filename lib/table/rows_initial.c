// SPDX-License-Identifier: BSD-3-Clause
//
// What a row is made as: a function of seed, id and place in the row, and of nothing else.
#include "rows_priv.h"

#include <gp_codec.h>

#define FIELD	    ((UINT64_C(1) << 21) - 1)
#define UNIFORM_ONE 8388608 // 2^23
#define NORMAL_ONE  2097152 // 2^21

static float uniform(uint64_t x, double scale)
{
	return (float)(scale * (double)((int32_t)(x >> 40) - UNIFORM_ONE) / UNIFORM_ONE);
}

static float normal(uint64_t x, double scale)
{
	int64_t sum = -6 * (int64_t)FIELD;
	for (uint64_t i = 1; i <= 4; i++) {
		uint64_t y = rows_mix(x + i);
		sum += (int64_t)((y & FIELD) + (y >> 21 & FIELD) + (y >> 42 & FIELD));
	}
	return (float)(scale * (double)sum / NORMAL_ONE);
}

void rows_initial(const struct gp_rows *t, uint64_t id, float *values)
{
	uint64_t from = t->cfg.seed ^ rows_mix(id);
	double scale = (double)t->cfg.initial_scale;
	for (uint32_t k = 0; k < t->cfg.dim; k++) {
		uint64_t x = rows_mix(from + k + 1);
		if (t->cfg.initial == GP_ROWS_ZEROS)
			values[k] = 0;
		else
			values[k] = t->cfg.initial == GP_ROWS_NORMAL ? normal(x, scale)
								     : uniform(x, scale);
	}
}

// ---- rows as they are stored

void rows_pack(const struct gp_rows *t, const float *values, float *row)
{
	const struct gp_codec_src src = {.grad = values, .elems = t->cfg.dim};
	if (t->cfg.bf16)
		(void)!gp_codec_encode(GP_CODEC_BF16, &src, (uint8_t *)row);
	else
		memcpy(row, values, sizeof(float) * t->cfg.dim);
}

void rows_unpack(const struct gp_rows *t, const float *row, float *values)
{
	uint32_t dim = t->cfg.dim;
	if (t->cfg.bf16)
		gp_codec_decode(GP_CODEC_BF16, values, (const uint8_t *)row, 2 * dim, dim);
	else
		memcpy(values, row, sizeof(float) * dim);
}

void rows_build(const struct gp_rows *t, const float *values, const float *state, float *row)
{
	memset(row, 0, sizeof(float) * t->row_units * (ROW_UNIT / 4));
	rows_pack(t, values, row);
	if (!state)
		gp_optim_state_init(&t->cfg.optim, row + t->state_at, t->cfg.dim, t->cfg.dim);
	else if (t->state > 0)
		memcpy(row + t->state_at, state, sizeof(float) * t->state);
}
