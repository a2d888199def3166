// SPDX-License-Identifier: BSD-3-Clause
//
// The update loops, one table for each instruction set; the scalar helpers here define the result
// and also do what is left behind the last full vector.
#ifndef GP_OPTIM_PRIV_H
#define GP_OPTIM_PRIV_H

#include <gp_optim.h>

#include <math.h>

typedef void optim_kernel(const struct gp_optim_plan *n, const struct gp_optim_block *b);

struct optim_kernels {
	optim_kernel *apply[GP_OPTIM_COUNT];
};

extern const struct optim_kernels optim_kernels_scalar;
extern const struct optim_kernels optim_kernels_avx2;
extern const struct optim_kernels optim_kernels_avx512;

// The table of a source that defines a function `update` for any kind: one copy of it for each.
#define OPTIM_KERNEL(name, kind)                                                                   \
	static void name(const struct gp_optim_plan *n, const struct gp_optim_block *b)            \
	{                                                                                          \
		update(n, b, kind);                                                                \
	}
#define OPTIM_KERNELS(table)                                                                       \
	OPTIM_KERNEL(sgd, GP_OPTIM_SGD)                                                            \
	OPTIM_KERNEL(momentum, GP_OPTIM_MOMENTUM)                                                  \
	OPTIM_KERNEL(nesterov, GP_OPTIM_NESTEROV)                                                  \
	OPTIM_KERNEL(adagrad, GP_OPTIM_ADAGRAD)                                                    \
	OPTIM_KERNEL(adam, GP_OPTIM_ADAM)                                                          \
	OPTIM_KERNEL(adamw, GP_OPTIM_ADAMW)                                                        \
	OPTIM_KERNEL(ftrl, GP_OPTIM_FTRL)                                                          \
	OPTIM_KERNEL(lamb, GP_OPTIM_LAMB)                                                          \
	const struct optim_kernels table = {.apply = {                                             \
						    [GP_OPTIM_SGD] = sgd,                          \
						    [GP_OPTIM_MOMENTUM] = momentum,                \
						    [GP_OPTIM_NESTEROV] = nesterov,                \
						    [GP_OPTIM_ADAGRAD] = adagrad,                  \
						    [GP_OPTIM_ROWWISE_ADAGRAD] = rowwise,          \
						    [GP_OPTIM_ADAM] = adam,                        \
						    [GP_OPTIM_ADAMW] = adamw,                      \
						    [GP_OPTIM_FTRL] = ftrl,                        \
						    [GP_OPTIM_LAMB] = lamb,                        \
					    }};

// Everything of a plan but its kernel.
void optim_plan_numbers(struct gp_optim_plan *n, const struct gp_optim_params *p, uint32_t step);

// Numbers of one block: the plan's with the block's lr_scale.
struct optim_rates {
	float lr;
	float keep; // adamw: 1 - lr * weight_decay
};

static inline struct optim_rates optim_rates_of(
	const struct gp_optim_plan *n, const struct gp_optim_block *b)
{
	float lr_decay = gp_fmul(n->lr_decay, b->lr_scale);
	return (struct optim_rates){
		.lr = gp_fmul(n->lr, b->lr_scale), .keep = 1.0f - gp_fmul(lr_decay, n->decoupled)};
}

// The first two lines of every kind.
static inline float optim_gradient(
	const struct gp_optim_plan *n, const struct gp_optim_block *b, uint32_t i)
{
	float g = b->grad[i];
	if (b->w_read && n->lambda != 0) {
		float square = gp_fmul(gp_fmul(n->lambda, g), g);
		g = gp_fadd(g, gp_fmul(square, b->w[i] - b->w_read[i]));
	}
	if (n->decay != 0)
		g = gp_fadd(g, gp_fmul(n->decay, b->w[i]));
	return g;
}

static inline void optim_ftrl_element(
	const struct gp_optim_plan *n, const struct gp_optim_block *b, float g, uint32_t i)
{
	float h = gp_fmul(b->lr_scale, g), sum = b->state[b->stride + i];
	float sum_out = gp_fadd(sum, gp_fmul(h, h)), root = sqrtf(sum_out);
	float sigma = gp_fmul(root - sqrtf(sum), n->inverse);
	float z = gp_fadd(b->state[i], h) - gp_fmul(sigma, b->w[i]);
	float below = gp_fadd(gp_fmul(gp_fadd(n->ftrl_beta, root), n->inverse), n->l2);
	b->state_out[i] = z;
	b->state_out[b->stride + i] = sum_out;
	b->w_out[i] = fabsf(z) <= n->l1 ? 0.0f : (copysignf(n->l1, z) - z) / below;
}

static inline __attribute__((always_inline)) void optim_adam_element(const struct gp_optim_plan *n,
	const struct gp_optim_block *b, const struct optim_rates *r, float g, uint32_t i,
	const enum gp_optim_kind kind)
{
	const float *v = b->state + b->stride;
	float m_out = gp_fadd(gp_fmul(n->beta1, b->state[i]), gp_fmul(n->rest1, g));
	float v_out = gp_fadd(gp_fmul(n->beta2, v[i]), gp_fmul(gp_fmul(n->rest2, g), g));
	float w = kind == GP_OPTIM_ADAMW ? gp_fmul(b->w[i], r->keep) : b->w[i];
	float below = gp_fadd(gp_fmul(sqrtf(v_out), n->root), n->epsilon);
	float along = gp_fmul(r->lr, m_out) / below;
	b->state_out[i] = m_out;
	b->state_out[b->stride + i] = v_out;
	b->w_out[i] = kind == GP_OPTIM_LAMB ? gp_fadd(along, gp_fmul(n->decoupled, w)) : w - along;
}

// Element i. `kind` is constant at every call, so its branches fold away.
static inline __attribute__((always_inline)) void optim_element(const struct gp_optim_plan *n,
	const struct gp_optim_block *b, const struct optim_rates *r, const enum gp_optim_kind kind,
	uint32_t i)
{
	float g = optim_gradient(n, b, i), w = b->w[i];
	if (kind == GP_OPTIM_SGD) {
		b->w_out[i] = w - gp_fmul(r->lr, g);
	} else if (kind == GP_OPTIM_MOMENTUM || kind == GP_OPTIM_NESTEROV) {
		float v = gp_fadd(gp_fmul(n->momentum, b->state[i]), g);
		float d = kind == GP_OPTIM_NESTEROV ? gp_fadd(g, gp_fmul(n->momentum, v)) : v;
		b->state_out[i] = v;
		b->w_out[i] = w - gp_fmul(r->lr, d);
	} else if (kind == GP_OPTIM_ADAGRAD) {
		float sum = gp_fadd(b->state[i], gp_fmul(g, g));
		b->state_out[i] = sum;
		b->w_out[i] = w - gp_fmul(r->lr, g) / gp_fadd(sqrtf(sum), n->epsilon);
	} else if (kind == GP_OPTIM_FTRL) {
		optim_ftrl_element(n, b, g, i);
	} else {
		optim_adam_element(n, b, r, g, i, kind);
	}
}

// Elements [from, elems).
static inline __attribute__((always_inline)) void optim_rest(const struct gp_optim_plan *n,
	const struct gp_optim_block *b, const struct optim_rates *r, const enum gp_optim_kind kind,
	uint32_t from)
{
	for (uint32_t i = from; i < b->elems; i++)
		optim_element(n, b, r, kind, i);
}

// ---- rowwise_adagrad

#define OPTIM_ROW_LANES 16

// Adds the squares of elements [from, elems) to their lanes; `from` is a multiple of the lanes.
static inline void optim_row_lanes(const struct gp_optim_plan *n, const struct gp_optim_block *b,
	float lane[OPTIM_ROW_LANES], uint32_t from)
{
	for (uint32_t i = from; i < b->elems; i++) {
		float g = optim_gradient(n, b, i);
		lane[i % OPTIM_ROW_LANES] = gp_fadd(lane[i % OPTIM_ROW_LANES], gp_fmul(g, g));
	}
}

// From the lanes to the rate of this row; keeps the new state.
static inline float optim_row_rate(const struct gp_optim_plan *n, const struct gp_optim_block *b,
	float lr, float lane[OPTIM_ROW_LANES])
{
	for (uint32_t half = OPTIM_ROW_LANES / 2; half > 0; half /= 2)
		for (uint32_t j = 0; j < half; j++)
			lane[j] = gp_fadd(lane[j], lane[j + half]);
	float sum = gp_fadd(b->state[0], lane[0] / (float)b->elems);
	b->state_out[0] = sum;
	return lr / gp_fadd(sqrtf(sum), n->epsilon);
}

static inline void optim_row_rest(
	const struct gp_optim_plan *n, const struct gp_optim_block *b, float rate, uint32_t from)
{
	for (uint32_t i = from; i < b->elems; i++)
		b->w_out[i] = b->w[i] - gp_fmul(rate, optim_gradient(n, b, i));
}

#endif
