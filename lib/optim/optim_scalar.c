// SPDX-License-Identifier: BSD-3-Clause
//
// The updates in plain C: what the SIMD kernels are compared with.
#include "optim_priv.h"

static inline __attribute__((always_inline)) void update(const struct gp_optim_plan *n,
	const struct gp_optim_block *b, const enum gp_optim_kind kind)
{
	const struct optim_rates r = optim_rates_of(n, b);
	optim_rest(n, b, &r, kind, 0);
}

static void rowwise(const struct gp_optim_plan *n, const struct gp_optim_block *b)
{
	float lane[OPTIM_ROW_LANES] = {0};
	optim_row_lanes(n, b, lane, 0);
	optim_row_rest(n, b, optim_row_rate(n, b, optim_rates_of(n, b).lr, lane), 0);
}

OPTIM_KERNELS(optim_kernels_scalar)
