// SPDX-License-Identifier: BSD-3-Clause
#include "optim_priv.h"

#include <errno.h>
#include <math.h>
#include <stdatomic.h>

static const struct {
	const char *name;
	uint32_t states;
} kinds[GP_OPTIM_COUNT] = {
	[GP_OPTIM_SGD] = {"sgd", 0},
	[GP_OPTIM_MOMENTUM] = {"momentum", 1},
	[GP_OPTIM_NESTEROV] = {"nesterov", 1},
};

static const struct optim_kernels *const kernels_by_level[GP_SIMD_LEVELS] = {
	[GP_SIMD_SCALAR] = &optim_kernels_scalar,
#ifdef __x86_64__
	[GP_SIMD_AVX2] = &optim_kernels_avx2,
#endif
};

// Points into constant tables: any thread may set it, all set the same, so relaxed order is enough.
static _Atomic(const struct optim_kernels *) kernels_active;

int gp_optim_select(enum gp_simd_level level)
{
	if ((unsigned)level >= GP_SIMD_LEVELS || !kernels_by_level[level] || !gp_simd_has(level))
		return -ENOTSUP;
	atomic_store_explicit(&kernels_active, kernels_by_level[level], memory_order_relaxed);
	return 0;
}

static const struct optim_kernels *kernels_get(void)
{
	const struct optim_kernels *kn =
		atomic_load_explicit(&kernels_active, memory_order_relaxed);
	if (__builtin_expect(kn != NULL, 1))
		return kn;
	int level = GP_SIMD_LEVELS - 1;
	while (gp_optim_select((enum gp_simd_level)level) != 0)
		level--;
	return kernels_by_level[level];
}

const char *gp_optim_name(enum gp_optim_kind kind)
{
	return (unsigned)kind < GP_OPTIM_COUNT ? kinds[kind].name : NULL;
}

int gp_optim_parse(const char *name)
{
	for (int kind = 0; kind < GP_OPTIM_COUNT; kind++) {
		if (strcmp(name, kinds[kind].name) == 0)
			return kind;
	}
	return -EINVAL;
}

uint32_t gp_optim_states(enum gp_optim_kind kind)
{
	GP_ASSERT((unsigned)kind < GP_OPTIM_COUNT);
	return kinds[kind].states;
}

static const char *params_fault(const struct gp_optim_params *p)
{
	if ((unsigned)p->kind >= GP_OPTIM_COUNT)
		return "optimizer is none of sgd, momentum, nesterov";
	if (!isfinite(p->lr) || p->lr < 0)
		return "lr is negative or not finite";
	if (!isfinite(p->weight_decay) || p->weight_decay < 0)
		return "weight_decay is negative or not finite";
	if (p->kind == GP_OPTIM_SGD)
		return NULL;
	if (!(p->momentum >= 0 && p->momentum < 1))
		return "momentum is outside [0, 1)";
	if (p->kind == GP_OPTIM_NESTEROV && p->momentum == 0)
		return "nesterov needs a momentum above 0";
	return NULL;
}

int gp_optim_check(const struct gp_optim_params *p, const char **why)
{
	*why = params_fault(p);
	return *why ? -EINVAL : 0;
}

void gp_optim_apply(const struct gp_optim_params *p, const struct gp_optim_block *b)
{
	GP_ASSERT((unsigned)p->kind < GP_OPTIM_COUNT);
	GP_ASSERT(b->w_out != b->w);
	GP_ASSERT(kinds[p->kind].states == 0 ||
		  (b->state && b->state_out && b->state != b->state_out));
	kernels_get()->apply[p->kind](p, b);
}
