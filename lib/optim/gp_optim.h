// SPDX-License-Identifier: BSD-3-Clause
//
// Optimizers on one block or row: from gradient g, parameters w and state to the next version of
// both. They read the old version and write the new one into other memory, so a reader of the old
// version never sees half an update and an abort only drops the new one.
//
// First, for every kind, with a read version w_read (delay compensation after Zheng et al. 2017,
// "Asynchronous Stochastic Gradient Descent with Delay Compensation", eq. 10) and lambda > 0; then
// with a weight_decay wd that is not 0 (coupled decay; adamw, lamb and ftrl do not do this line):
//   g = g + ((lambda * g) * g) * (w - w_read)
//   g = g + wd * w
// Then, with the learning rate lr = schedule(step) * lr_scale (initial states in brackets):
//   sgd       w_out = w - lr * g
//   momentum  v_out = momentum * v + g [v = 0]   w_out = w - lr * v_out
//   nesterov  v_out = momentum * v + g [v = 0]   w_out = w - lr * (g + momentum * v_out)
//   adagrad   s_out = s + g * g [s = initial_accumulator]
//             w_out = w - (lr * g) / (sqrt(s_out) + epsilon)
//   rowwise_adagrad  one s for the whole row: s_out = s + sum(g * g) / elems;
//             w_out = w - (lr / (sqrt(s_out) + epsilon)) * g
//   adam      m_out = beta1 * m + (1 - beta1) * g [m = 0]
//             v_out = beta2 * v + ((1 - beta2) * g) * g [v = 0]
//             w_out = w - (a * m_out) / (sqrt(v_out) * r + epsilon)
//             a = (schedule(step) / (1 - beta1^step)) * lr_scale     r = 1 / sqrt(1 - beta2^step)
//   adamw     as adam with w replaced by w * (1 - lr * wd) in the last line (decoupled decay)
//   lamb      m_out and v_out as adam
//             u = (a * m_out) / (sqrt(v_out) * r + epsilon) + wd * w    a = 1 / (1 - beta1^step)
//             w_out = w - (lr * ratio) * u, in two halves: see gp_optim_lamb_end
//   ftrl      h = lr_scale * g    n_out = n + h * h [n = initial_accumulator]
//             z_out = (z + h) - ((sqrt(n_out) - sqrt(n)) * q) * w [z = 0]   q = 1 / schedule(step)
//             w_out = 0 where |z_out| <= l1, else
//             (copysign(l1, z_out) - z_out) / ((ftrl_beta + sqrt(n_out)) * q + l2)
// Sources: torch.optim of PyTorch 1.13 for sgd to nesterov (SGD, dampening 0; Polyak 1964,
// Sutskever et al. 2013), adagrad (Duchi et al. 2011), adam (Kingma and Ba 2015) and adamw
// (Loshchilov and Hutter 2019); FBGEMM's exact row-wise Adagrad; McMahan et al. 2013, "Ad Click
// Prediction", algorithm 1 (its alpha is lr); lamb: You et al. 2019, "Large Batch Optimization for
// Deep Learning: Training BERT in 76 minutes" (arXiv 1904.00962), algorithm 2 with phi(z) = z and a
// tensor as its layer. ftrl makes parameters from z alone: initial ones
// other than 0 last one step. Defaults are those of the configuration: momentum 0.9, beta1 0.9,
// beta2 0.999, epsilon 1e-8 (adagrad 1e-10, lamb 1e-6), weight_decay 0 (adamw and lamb 0.01),
// initial_accumulator 0, ftrl_beta 1, l1 = l2 = 0.
//
// Arithmetic: every operation above is rounded to binary32 on its own, left operand as written,
// with no fused multiply-add; sqrt and division are those of IEEE 754. The sum of a row: sixteen
// lanes begin at +0, lane j adds g[j] * g[j], g[j + 16] * g[j + 16], ... in that order; then lane j
// adds lane j + 8 for j < 8, j + 4 for j < 4, j + 2 for j < 2, and lane 1 for j = 0. Numbers of a
// step (schedule, 1 - beta1, a before lr_scale, r, q) are computed in binary64 and rounded once:
// beta^n by squaring from n's lowest bit up (p = 1; for each bit: p = p * x if set; x = x * x), the
// cosine as in schedule.c. A plain loop gives the same bytes. (PyTorch's own kernels may fuse and
// so differ in last bits.)
//
// Threads: no state but the table of kernels, chosen once from the CPU; safe from any thread.
// Memory: the caller's; nothing is allocated. All kernels give the same bytes, NaN payloads
// included.
#ifndef GP_OPTIM_H
#define GP_OPTIM_H

#include <gp_base.h>
#include <gp_simd.h>

enum gp_optim_kind {
	GP_OPTIM_SGD,
	GP_OPTIM_MOMENTUM,
	GP_OPTIM_NESTEROV,
	GP_OPTIM_ADAGRAD,
	GP_OPTIM_ROWWISE_ADAGRAD,
	GP_OPTIM_ADAM,
	GP_OPTIM_ADAMW,
	GP_OPTIM_FTRL,
	GP_OPTIM_LAMB,
	GP_OPTIM_COUNT,
};

// No kind keeps more state than this many arrays of a block's size.
#define GP_OPTIM_STATES_MAX 2

// The learning rate of update number `step`, from 1 on. With k = step - 1:
//   warm-up   lr * (k + 1) / warmup_steps while k < warmup_steps (Goyal et al. 2017, 2.2); then,
//             with k counted from there:
//   constant  lr
//   step      lr * gamma^(k / steps), the quotient without its fraction (torch StepLR)
//   cosine    lr_min + (lr - lr_min) * (1 + cos(pi * k / steps)) / 2 while k < steps, then lr_min
//             (Loshchilov and Hutter 2017, SGDR, eq. 5 without restarts)
enum gp_optim_schedule_kind { GP_OPTIM_CONSTANT, GP_OPTIM_STEP, GP_OPTIM_COSINE };

struct gp_optim_schedule {
	enum gp_optim_schedule_kind kind;
	uint32_t warmup_steps;
	uint32_t steps; // step and cosine: at least 1
	float gamma;	// step
	float lr_min;	// cosine
};

struct gp_optim_params {
	enum gp_optim_kind kind;
	float lr;
	float momentum; // momentum, nesterov
	float weight_decay;
	float beta1; // adam, adamw, lamb
	float beta2;
	float epsilon;		   // adagrad, rowwise_adagrad, adam, adamw, lamb
	float initial_accumulator; // adagrad, rowwise_adagrad, ftrl
	float ftrl_beta;
	float l1; // ftrl
	float l2;
	float delay_compensation; // lambda; 0: w_read is not looked at
	struct gp_optim_schedule schedule;
};

// One block. Arrays of elems floats, any alignment of 4; state and state_out are the kind's arrays,
// each `stride` floats after the one before it (NULL when it has none; one float for
// rowwise_adagrad). The outputs overlap nothing, or are w and state themselves.
struct gp_optim_block {
	const float *grad;
	const float *w;
	const float *w_read; // what the gradient was computed from; NULL: it is not compensated
	const float *state;
	float *w_out;
	float *state_out;
	uint32_t elems;
	uint32_t stride; // at least elems where there are two arrays
	uint32_t step;	 // number of this update, from 1 on: the generation that it makes
	float lr_scale;	 // 1: none; above 0
};

// What a step makes of the parameters: computed once, used for all its blocks.
struct gp_optim_plan {
	void (*kernel)(const struct gp_optim_plan *n, const struct gp_optim_block *b);
	uint32_t kind;
	uint32_t step;
	uint32_t states;
	float lr;    // of the schedule; adam and adamw: over 1 - beta1^step; ftrl: not used
	float decay; // coupled
	float momentum, epsilon, lambda;
	float beta1, beta2, rest1, rest2, root; // adam: 1 - beta1, 1 - beta2, r
	float lr_decay, decoupled;	  // adamw: lr of the schedule; adamw, lamb: weight_decay
	float inverse, ftrl_beta, l1, l2; // ftrl: q
};

// The name in configuration files and its kind; NULL and -EINVAL for unknown ones.
const char *gp_optim_name(enum gp_optim_kind kind);
int gp_optim_parse(const char *name) GP_MUST_CHECK;
// State arrays of a block's size that a kind keeps: what a dense tensor or table needs.
uint32_t gp_optim_states(enum gp_optim_kind kind) GP_MUST_CHECK;
// Their names, as in snapshots: "momentum", "sum", "exp_avg", "exp_avg_sq", "z", "n".
const char *gp_optim_state_name(enum gp_optim_kind kind, uint32_t i);
// Floats of state of one row: that many arrays, or one float for rowwise_adagrad.
uint32_t gp_optim_row_state(enum gp_optim_kind kind, uint32_t elems) GP_MUST_CHECK;
// Whether the kind keeps one number for a whole row: for tables, not for dense tensors.
bool gp_optim_is_rowwise(enum gp_optim_kind kind) GP_MUST_CHECK;
// 0, or -EINVAL with *why naming what is wrong: an unknown kind or schedule, a number negative, not
// finite or outside its range (momentum, beta1 and beta2 [0, 1), gamma (0, 1], lr_min [0, lr]),
// momentum 0 for nesterov, epsilon 0 where it divides, lr 0, weight_decay or a schedule for ftrl.
int gp_optim_check(const struct gp_optim_params *p, const char **why) GP_MUST_CHECK;

// What a new block's or row's state begins as. Arrays as in gp_optim_block.
void gp_optim_state_init(
	const struct gp_optim_params *p, float *state, uint32_t stride, uint32_t elems);

// The learning rate of an update, and the numbers of a step. `p` has passed gp_optim_check.
float gp_optim_lr(const struct gp_optim_params *p, uint32_t step) GP_MUST_CHECK;
void gp_optim_plan_init(struct gp_optim_plan *n, const struct gp_optim_params *p, uint32_t step);
// From now on with vectors of at most 32 bytes, where a short result is read again at once (stores
// of 64 bytes do not forward to shorter loads everywhere). The bytes stay the same.
void gp_optim_plan_narrow(struct gp_optim_plan *n);
// One step of one block, with the plan of its step.
void gp_optim_run(const struct gp_optim_plan *n, const struct gp_optim_block *b);
// lamb's second half. gp_optim_run writes u in place of w_out; when the norms of a whole tensor are
// known, of w before the step and of u, this makes w_out of each of its blocks: `b` with u as grad
// and the ratio of the tensor as lr_scale; its state is not looked at. A norm is the root of the
// sums of squares of the tensor's blocks (gp_aggr.h) added in binary64 in their order.
float gp_optim_lamb_ratio(double squares_w, double squares_u) GP_MUST_CHECK;
void gp_optim_lamb_end(const struct gp_optim_params *p, const struct gp_optim_block *b);
// Both of plan and run: for callers with one block a step.
void gp_optim_apply(const struct gp_optim_params *p, const struct gp_optim_block *b);

// Uses the kernels of that level from now on: for tests and measurements. -ENOTSUP when this
// machine or this library has none of that level. Without it the best ones are chosen at the first
// call. A plan keeps the kernel of its time.
int gp_optim_select(enum gp_simd_level level) GP_MUST_CHECK;

#endif
