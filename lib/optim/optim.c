// SPDX-License-Identifier: BSD-3-Clause
#include "optim_priv.h"

#include <errno.h>
#include <float.h>
#include <stdatomic.h>

static const struct kind {
	const char *name;
	uint32_t states;
	const char *state_names[GP_OPTIM_STATES_MAX];
} kinds[GP_OPTIM_COUNT] = {
	[GP_OPTIM_SGD] = {"sgd", 0, {NULL}},
	[GP_OPTIM_MOMENTUM] = {"momentum", 1, {"momentum"}},
	[GP_OPTIM_NESTEROV] = {"nesterov", 1, {"momentum"}},
	[GP_OPTIM_ADAGRAD] = {"adagrad", 1, {"sum"}},
	[GP_OPTIM_ROWWISE_ADAGRAD] = {"rowwise_adagrad", 0, {NULL}},
	[GP_OPTIM_ADAM] = {"adam", 2, {"exp_avg", "exp_avg_sq"}},
	[GP_OPTIM_ADAMW] = {"adamw", 2, {"exp_avg", "exp_avg_sq"}},
	[GP_OPTIM_FTRL] = {"ftrl", 2, {"z", "n"}},
	[GP_OPTIM_LAMB] = {"lamb", 2, {"exp_avg", "exp_avg_sq"}},
};

static const struct optim_kernels *const kernels_by_level[GP_SIMD_LEVELS] = {
	[GP_SIMD_SCALAR] = &optim_kernels_scalar,
#ifdef __x86_64__
	[GP_SIMD_AVX2] = &optim_kernels_avx2,
	[GP_SIMD_AVX512] = &optim_kernels_avx512,
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

static const struct kind *kind_of(enum gp_optim_kind kind)
{
	GP_ASSERT((unsigned)kind < GP_OPTIM_COUNT);
	return &kinds[kind];
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
	return kind_of(kind)->states;
}

const char *gp_optim_state_name(enum gp_optim_kind kind, uint32_t i)
{
	GP_ASSERT(i < kind_of(kind)->states);
	return kinds[kind].state_names[i];
}

bool gp_optim_is_rowwise(enum gp_optim_kind kind)
{
	return kind == GP_OPTIM_ROWWISE_ADAGRAD;
}

uint32_t gp_optim_row_state(enum gp_optim_kind kind, uint32_t elems)
{
	return gp_optim_is_rowwise(kind) ? 1 : gp_optim_states(kind) * elems;
}

// ---- parameters

static bool adam_like(enum gp_optim_kind kind)
{
	return kind == GP_OPTIM_ADAM || kind == GP_OPTIM_ADAMW || kind == GP_OPTIM_LAMB;
}

static bool adagrad_like(enum gp_optim_kind kind)
{
	return kind == GP_OPTIM_ADAGRAD || kind == GP_OPTIM_ROWWISE_ADAGRAD;
}

// Finite and not negative; false for NaN.
static bool plain(float v)
{
	return v >= 0 && isfinite(v);
}

// In [0, 1); false for NaN.
static bool share(float v)
{
	return v >= 0 && v < 1;
}

static const char *schedule_fault(const struct gp_optim_params *p)
{
	const struct gp_optim_schedule *s = &p->schedule;
	if ((unsigned)s->kind > GP_OPTIM_COSINE)
		return "schedule is none of constant, step, cosine";
	if (s->kind != GP_OPTIM_CONSTANT && s->steps == 0)
		return "schedule needs steps of at least 1";
	if (s->kind == GP_OPTIM_STEP && !(s->gamma > 0 && s->gamma <= 1))
		return "gamma is outside (0, 1]";
	if (s->kind == GP_OPTIM_COSINE && !(s->lr_min >= 0 && s->lr_min <= p->lr))
		return "lr_min is outside [0, lr]";
	return NULL;
}

static const char *ftrl_fault(const struct gp_optim_params *p)
{
	if (p->lr == 0)
		return "lr of ftrl is 0";
	if (!plain(p->ftrl_beta))
		return "ftrl_beta is negative or not finite";
	if (!plain(p->l1) || !plain(p->l2))
		return "l1 or l2 is negative or not finite";
	if (p->weight_decay != 0)
		return "weight_decay is not for ftrl; it has l2";
	if (p->schedule.kind != GP_OPTIM_CONSTANT || p->schedule.warmup_steps > 0)
		return "schedule of ftrl is not constant";
	return NULL;
}

static const char *kind_fault(const struct gp_optim_params *p)
{
	bool adam = adam_like(p->kind), sums = adagrad_like(p->kind);
	if ((p->kind == GP_OPTIM_MOMENTUM || p->kind == GP_OPTIM_NESTEROV) && !share(p->momentum))
		return "momentum is outside [0, 1)";
	if (p->kind == GP_OPTIM_NESTEROV && p->momentum == 0)
		return "nesterov needs a momentum above 0";
	if (adam && !share(p->beta1))
		return "beta1 is outside [0, 1)";
	if (adam && !share(p->beta2))
		return "beta2 is outside [0, 1)";
	if ((adam || sums) && (!plain(p->epsilon) || p->epsilon == 0))
		return "epsilon is not above 0 and finite";
	if ((sums || p->kind == GP_OPTIM_FTRL) && !plain(p->initial_accumulator))
		return "initial_accumulator is negative or not finite";
	return p->kind == GP_OPTIM_FTRL ? ftrl_fault(p) : NULL;
}

static const char *params_fault(const struct gp_optim_params *p)
{
	if ((unsigned)p->kind >= GP_OPTIM_COUNT)
		return "optimizer is unknown";
	if (!plain(p->lr))
		return "lr is negative or not finite";
	if (!plain(p->weight_decay))
		return "weight_decay is negative or not finite";
	if (!plain(p->delay_compensation))
		return "delay_compensation is negative or not finite";
	const char *why = kind_fault(p);
	return why ? why : schedule_fault(p);
}

int gp_optim_check(const struct gp_optim_params *p, const char **why)
{
	*why = params_fault(p);
	return *why ? -EINVAL : 0;
}

// ---- state and steps

static void fill(float *v, float value, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		v[i] = value;
}

void gp_optim_state_init(
	const struct gp_optim_params *p, float *state, uint32_t stride, uint32_t elems)
{
	uint32_t states = gp_optim_states(p->kind);
	if (gp_optim_is_rowwise(p->kind))
		state[0] = p->initial_accumulator;
	for (uint32_t i = 0; i < states; i++) {
		bool accumulator =
			p->kind == GP_OPTIM_ADAGRAD || (p->kind == GP_OPTIM_FTRL && i == 1);
		fill(state + (size_t)i * stride, accumulator ? p->initial_accumulator : 0, elems);
	}
}

void gp_optim_plan_init(struct gp_optim_plan *n, const struct gp_optim_params *p, uint32_t step)
{
	*n = (struct gp_optim_plan){
		.kernel = kernels_get()->apply[p->kind],
		.kind = p->kind,
		.states = gp_optim_is_rowwise(p->kind) ? 1 : gp_optim_states(p->kind),
	};
	optim_plan_numbers(n, p, step);
}

void gp_optim_plan_narrow(struct gp_optim_plan *n)
{
	const struct optim_kernels *avx512 = kernels_by_level[GP_SIMD_AVX512];
	if (avx512 && n->kernel == avx512->apply[n->kind] && gp_simd_has(GP_SIMD_AVX2))
		n->kernel = kernels_by_level[GP_SIMD_AVX2]->apply[n->kind];
}

void gp_optim_run(const struct gp_optim_plan *n, const struct gp_optim_block *b)
{
	GP_ASSERT(b->step == n->step && b->lr_scale > 0);
	bool in_place = b->w_out == b->w;
	GP_ASSERT(n->states == 0 ||
		  (b->state && b->state_out && (b->state == b->state_out) == in_place));
	GP_ASSERT(n->states < 2 || b->stride >= b->elems);
	n->kernel(n, b);
}

float gp_optim_lamb_ratio(double squares_w, double squares_u)
{
	double w = sqrt(squares_w), u = sqrt(squares_u);
	if (!(w > 0 && u > 0 && isfinite(w) && isfinite(u)))
		return 1.0f;
	double ratio = w / u;
	return (float)GP_MIN(GP_MAX(ratio, 0x1p-149), (double)FLT_MAX);
}

void gp_optim_lamb_end(const struct gp_optim_params *p, const struct gp_optim_block *b)
{
	struct gp_optim_params sgd = {.kind = GP_OPTIM_SGD, .lr = p->lr, .schedule = p->schedule};
	gp_optim_apply(&sgd, b);
}

void gp_optim_apply(const struct gp_optim_params *p, const struct gp_optim_block *b)
{
	struct gp_optim_plan n;
	gp_optim_plan_init(&n, p, b->step);
	gp_optim_run(&n, b);
}
