// SPDX-License-Identifier: BSD-3-Clause
//
// The updates for AVX2, eight elements at a time; each operation rounds on its own, as in the
// scalar twin.
#include "optim_priv.h"

#define LANES 8u

// `kind` and `decay` are constant at every call, so their branches fold away.
static inline __attribute__((always_inline)) void update(const struct gp_optim_params *p,
	const struct gp_optim_block *blk, const enum gp_optim_kind kind, const bool decay)
{
	const struct gp_optim_block b = *blk; // the outputs cannot change it
	const __m256 lr = _mm256_set1_ps(p->lr), mu = _mm256_set1_ps(p->momentum);
	const __m256 wd = _mm256_set1_ps(p->weight_decay);
	uint32_t i = 0;
	for (; i + LANES <= b.elems; i += LANES) {
		__m256 g = _mm256_loadu_ps(b.grad + i), w = _mm256_loadu_ps(b.w + i);
		if (decay)
			g = gp_fadd8(g, gp_fmul8(wd, w));
		if (kind != GP_OPTIM_SGD) {
			__m256 v = gp_fadd8(gp_fmul8(mu, _mm256_loadu_ps(b.state + i)), g);
			_mm256_storeu_ps(b.state_out + i, v);
			g = kind == GP_OPTIM_NESTEROV ? gp_fadd8(g, gp_fmul8(mu, v)) : v;
		}
		_mm256_storeu_ps(b.w_out + i, _mm256_sub_ps(w, gp_fmul8(lr, g)));
	}
	optim_rest(p, blk, kind, i);
}

static void sgd(const struct gp_optim_params *p, const struct gp_optim_block *b)
{
	if (p->weight_decay != 0)
		update(p, b, GP_OPTIM_SGD, true);
	else
		update(p, b, GP_OPTIM_SGD, false);
}

static void momentum(const struct gp_optim_params *p, const struct gp_optim_block *b)
{
	if (p->weight_decay != 0)
		update(p, b, GP_OPTIM_MOMENTUM, true);
	else
		update(p, b, GP_OPTIM_MOMENTUM, false);
}

static void nesterov(const struct gp_optim_params *p, const struct gp_optim_block *b)
{
	if (p->weight_decay != 0)
		update(p, b, GP_OPTIM_NESTEROV, true);
	else
		update(p, b, GP_OPTIM_NESTEROV, false);
}

const struct optim_kernels optim_kernels_avx2 = {.apply = {
							 [GP_OPTIM_SGD] = sgd,
							 [GP_OPTIM_MOMENTUM] = momentum,
							 [GP_OPTIM_NESTEROV] = nesterov,
						 }};
