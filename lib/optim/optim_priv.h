// SPDX-License-Identifier: BSD-3-Clause
//
// The update loops, one table for each instruction set; the scalar helpers here define the result
// and also do what is left behind the last full vector.
#ifndef GP_OPTIM_PRIV_H
#define GP_OPTIM_PRIV_H

#include <gp_optim.h>

typedef void optim_kernel(const struct gp_optim_params *p, const struct gp_optim_block *b);

struct optim_kernels {
	optim_kernel *apply[GP_OPTIM_COUNT];
};

extern const struct optim_kernels optim_kernels_scalar;
extern const struct optim_kernels optim_kernels_avx2;

// Elements [from, elems). `kind` is constant at every call, so its branches fold away.
static inline __attribute__((always_inline)) void optim_rest(const struct gp_optim_params *p,
	const struct gp_optim_block *b, const enum gp_optim_kind kind, uint32_t from)
{
	for (uint32_t i = from; i < b->elems; i++) {
		float g = b->grad[i], w = b->w[i];
		if (p->weight_decay != 0)
			g = gp_fadd(g, gp_fmul(p->weight_decay, w));
		if (kind != GP_OPTIM_SGD) {
			float v = gp_fadd(gp_fmul(p->momentum, b->state[i]), g);
			b->state_out[i] = v;
			g = kind == GP_OPTIM_NESTEROV ? gp_fadd(g, gp_fmul(p->momentum, v)) : v;
		}
		b->w_out[i] = w - gp_fmul(p->lr, g);
	}
}

#endif
