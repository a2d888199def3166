// SPDX-License-Identifier: BSD-3-Clause
//
// The updates for the widest vectors of the instruction set that the including source is built for.
// Each operation rounds on its own, left operand first, as in the scalar twin.
#ifndef GP_OPTIM_VEC_H
#define GP_OPTIM_VEC_H

#include "optim_priv.h"

#if defined(__AVX512F__)

#define LANES 16u
typedef __m512 vec;

static inline vec vec_load(const float *p)
{
	return _mm512_loadu_ps(p);
}

static inline void vec_store(float *p, vec a)
{
	_mm512_storeu_ps(p, a);
}

static inline vec vec_set(float a)
{
	return _mm512_set1_ps(a);
}

static inline vec vec_add(vec a, vec b)
{
	return gp_fadd16(a, b);
}

static inline vec vec_sub(vec a, vec b)
{
	return _mm512_sub_ps(a, b);
}

static inline vec vec_mul(vec a, vec b)
{
	return gp_fmul16(a, b);
}

static inline vec vec_div(vec a, vec b)
{
	return _mm512_div_ps(a, b);
}

static inline vec vec_sqrt(vec a)
{
	return _mm512_sqrt_ps(a);
}

static inline vec vec_sign_of(vec a, vec sign)
{
	const __m512i bit = _mm512_set1_epi32(INT32_MIN);
	__m512i size = _mm512_andnot_si512(bit, _mm512_castps_si512(a));
	__m512i top = _mm512_and_si512(bit, _mm512_castps_si512(sign));
	return _mm512_castsi512_ps(_mm512_or_si512(size, top));
}

static inline vec vec_zero_within(vec a, vec limit, vec otherwise)
{
	__mmask16 within = _mm512_cmp_ps_mask(_mm512_abs_ps(a), limit, _CMP_LE_OQ);
	return _mm512_maskz_mov_ps((__mmask16)~within, otherwise);
}

#elif defined(__AVX2__)

#define LANES 8u
typedef __m256 vec;

static inline vec vec_load(const float *p)
{
	return _mm256_loadu_ps(p);
}

static inline void vec_store(float *p, vec a)
{
	_mm256_storeu_ps(p, a);
}

static inline vec vec_set(float a)
{
	return _mm256_set1_ps(a);
}

static inline vec vec_add(vec a, vec b)
{
	return gp_fadd8(a, b);
}

static inline vec vec_sub(vec a, vec b)
{
	return _mm256_sub_ps(a, b);
}

static inline vec vec_mul(vec a, vec b)
{
	return gp_fmul8(a, b);
}

static inline vec vec_div(vec a, vec b)
{
	return _mm256_div_ps(a, b);
}

static inline vec vec_sqrt(vec a)
{
	return _mm256_sqrt_ps(a);
}

static inline vec vec_sign_of(vec a, vec sign)
{
	const vec bit = _mm256_set1_ps(-0.0f);
	return _mm256_or_ps(_mm256_andnot_ps(bit, a), _mm256_and_ps(bit, sign));
}

static inline vec vec_zero_within(vec a, vec limit, vec otherwise)
{
	vec size = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
	return _mm256_andnot_ps(_mm256_cmp_ps(size, limit, _CMP_LE_OQ), otherwise);
}

#endif

#ifdef LANES

// vec_sign_of: the absolute value of a with the sign of another. vec_zero_within: 0 where the
// absolute value of a is at most limit.

static inline vec vec_gradient(
	const struct gp_optim_plan *n, const struct gp_optim_block *b, uint32_t i)
{
	vec g = vec_load(b->grad + i);
	if (b->w_read && n->lambda != 0) {
		vec square = vec_mul(vec_mul(vec_set(n->lambda), g), g);
		vec late = vec_sub(vec_load(b->w + i), vec_load(b->w_read + i));
		g = vec_add(g, vec_mul(square, late));
	}
	if (n->decay != 0)
		g = vec_add(g, vec_mul(vec_set(n->decay), vec_load(b->w + i)));
	return g;
}

static inline void vec_ftrl(
	const struct gp_optim_plan *n, const struct gp_optim_block *b, vec g, uint32_t i)
{
	const vec inverse = vec_set(n->inverse), l1 = vec_set(n->l1);
	vec h = vec_mul(vec_set(b->lr_scale), g), sum = vec_load(b->state + b->stride + i);
	vec sum_out = vec_add(sum, vec_mul(h, h)), root = vec_sqrt(sum_out);
	vec sigma = vec_mul(vec_sub(root, vec_sqrt(sum)), inverse);
	vec z = vec_sub(vec_add(vec_load(b->state + i), h), vec_mul(sigma, vec_load(b->w + i)));
	vec below = vec_mul(vec_add(vec_set(n->ftrl_beta), root), inverse);
	vec w = vec_div(vec_sub(vec_sign_of(l1, z), z), vec_add(below, vec_set(n->l2)));
	vec_store(b->state_out + i, z);
	vec_store(b->state_out + b->stride + i, sum_out);
	vec_store(b->w_out + i, vec_zero_within(z, l1, w));
}

static inline __attribute__((always_inline)) void vec_adam(const struct gp_optim_plan *n,
	const struct gp_optim_block *b, const struct optim_rates *r, vec g, uint32_t i,
	const enum gp_optim_kind kind)
{
	vec m = vec_mul(vec_set(n->beta1), vec_load(b->state + i));
	vec m_out = vec_add(m, vec_mul(vec_set(n->rest1), g));
	vec v = vec_mul(vec_set(n->beta2), vec_load(b->state + b->stride + i));
	vec v_out = vec_add(v, vec_mul(vec_mul(vec_set(n->rest2), g), g));
	vec w = vec_load(b->w + i);
	if (kind == GP_OPTIM_ADAMW)
		w = vec_mul(w, vec_set(r->keep));
	vec below = vec_add(vec_mul(vec_sqrt(v_out), vec_set(n->root)), vec_set(n->epsilon));
	vec_store(b->state_out + i, m_out);
	vec_store(b->state_out + b->stride + i, v_out);
	vec along = vec_div(vec_mul(vec_set(r->lr), m_out), below);
	vec_store(b->w_out + i, kind == GP_OPTIM_LAMB
					? vec_add(along, vec_mul(vec_set(n->decoupled), w))
					: vec_sub(w, along));
}

// `kind` is constant at every call, so its branches fold away.
static inline __attribute__((always_inline)) void vec_elements(const struct gp_optim_plan *n,
	const struct gp_optim_block *b, const struct optim_rates *r, const enum gp_optim_kind kind,
	uint32_t i)
{
	const vec lr = vec_set(r->lr), mu = vec_set(n->momentum);
	vec g = vec_gradient(n, b, i), w = vec_load(b->w + i);
	if (kind == GP_OPTIM_SGD) {
		vec_store(b->w_out + i, vec_sub(w, vec_mul(lr, g)));
	} else if (kind == GP_OPTIM_MOMENTUM || kind == GP_OPTIM_NESTEROV) {
		vec v = vec_add(vec_mul(mu, vec_load(b->state + i)), g);
		vec d = kind == GP_OPTIM_NESTEROV ? vec_add(g, vec_mul(mu, v)) : v;
		vec_store(b->state_out + i, v);
		vec_store(b->w_out + i, vec_sub(w, vec_mul(lr, d)));
	} else if (kind == GP_OPTIM_ADAGRAD) {
		vec sum = vec_add(vec_load(b->state + i), vec_mul(g, g));
		vec below = vec_add(vec_sqrt(sum), vec_set(n->epsilon));
		vec_store(b->state_out + i, sum);
		vec_store(b->w_out + i, vec_sub(w, vec_div(vec_mul(lr, g), below)));
	} else if (kind == GP_OPTIM_FTRL) {
		vec_ftrl(n, b, g, i);
	} else {
		vec_adam(n, b, r, g, i, kind);
	}
}

static inline __attribute__((always_inline)) void update(const struct gp_optim_plan *plan,
	const struct gp_optim_block *block, const enum gp_optim_kind kind)
{
	const struct gp_optim_plan n = *plan; // the outputs cannot change them
	const struct gp_optim_block b = *block;
	const struct optim_rates r = optim_rates_of(&n, &b);
	uint32_t i = 0;
	for (; i + LANES <= b.elems; i += LANES)
		vec_elements(&n, &b, &r, kind, i);
	optim_rest(&n, &b, &r, kind, i);
}

static void rowwise(const struct gp_optim_plan *n, const struct gp_optim_block *block)
{
	const struct gp_optim_block b = *block;
	float lane[OPTIM_ROW_LANES];
	vec sum[OPTIM_ROW_LANES / LANES];
	uint32_t i = 0;
	for (uint32_t l = 0; l < OPTIM_ROW_LANES / LANES; l++)
		sum[l] = vec_set(0);
	for (; i + OPTIM_ROW_LANES <= b.elems; i += OPTIM_ROW_LANES) {
		for (uint32_t l = 0; l < OPTIM_ROW_LANES / LANES; l++) {
			vec g = vec_gradient(n, &b, i + l * LANES);
			sum[l] = vec_add(sum[l], vec_mul(g, g));
		}
	}
	for (uint32_t l = 0; l < OPTIM_ROW_LANES / LANES; l++)
		vec_store(lane + l * LANES, sum[l]);
	optim_row_lanes(n, &b, lane, i);
	const float rate = optim_row_rate(n, &b, optim_rates_of(n, &b).lr, lane);
	for (i = 0; i + LANES <= b.elems; i += LANES) {
		vec step = vec_mul(vec_set(rate), vec_gradient(n, &b, i));
		vec_store(b.w_out + i, vec_sub(vec_load(b.w + i), step));
	}
	optim_row_rest(n, &b, rate, i);
}

#endif // LANES

#endif
