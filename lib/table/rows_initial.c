// SPDX-License-Identifier: BSD-3-Clause
//
// What a row is made as: a function of seed, id and place in the row, and of nothing else.
#include "rows_priv.h"

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

void rows_initial(const struct gp_rows *t, uint64_t id, float *row)
{
	uint64_t from = t->cfg.seed ^ rows_mix(id);
	double scale = (double)t->cfg.initial_scale;
	memset(row, 0, sizeof(float) * t->row_units * (ROW_UNIT / 4));
	gp_optim_state_init(&t->cfg.optim, row + t->cfg.dim, t->cfg.dim, t->cfg.dim);
	if (t->cfg.initial == GP_ROWS_ZEROS)
		return;
	for (uint32_t k = 0; k < t->cfg.dim; k++) {
		uint64_t x = rows_mix(from + k + 1);
		row[k] = t->cfg.initial == GP_ROWS_NORMAL ? normal(x, scale) : uniform(x, scale);
	}
}
