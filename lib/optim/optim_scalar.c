// SPDX-License-Identifier: BSD-3-Clause
//
// The updates in plain C: what the SIMD kernels are compared with.
#include "optim_priv.h"

static void sgd(const struct gp_optim_params *p, const struct gp_optim_block *b)
{
	optim_rest(p, b, GP_OPTIM_SGD, 0);
}

static void momentum(const struct gp_optim_params *p, const struct gp_optim_block *b)
{
	optim_rest(p, b, GP_OPTIM_MOMENTUM, 0);
}

static void nesterov(const struct gp_optim_params *p, const struct gp_optim_block *b)
{
	optim_rest(p, b, GP_OPTIM_NESTEROV, 0);
}

const struct optim_kernels optim_kernels_scalar = {.apply = {
							   [GP_OPTIM_SGD] = sgd,
							   [GP_OPTIM_MOMENTUM] = momentum,
							   [GP_OPTIM_NESTEROV] = nesterov,
						   }};
