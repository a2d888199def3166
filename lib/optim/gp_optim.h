// SPDX-License-Identifier: BSD-3-Clause
//
// Optimizers on one block: from gradient g, parameters w and state to the next version of both.
// They read the old version and write the new one into other memory, so a reader of the old version
// never sees half an update and an abort only drops the new one.
//
// Formulas, those of torch.optim.SGD (PyTorch documentation, "SGD", dampening 0, maximize false;
// momentum after Polyak 1964, nesterov after Sutskever et al., ICML 2013):
//   g' = g + weight_decay * w          g' = g when weight_decay is 0
//   sgd       w_out = w - lr * g'
//   momentum  v_out = momentum * v + g'    w_out = w - lr * v_out
//   nesterov  v_out = momentum * v + g'    w_out = w - lr * (g' + momentum * v_out)
// State v starts as zeros; so the first step has v_out = g', as there. Every product, sum and
// difference is rounded to binary32 on its own, left operand as written, with no fused
// multiply-add: a plain loop gives the same bytes. (PyTorch's own kernels may fuse and so differ in
// last bits.)
//
// Threads: no state but the table of kernels, chosen once from the CPU; safe from any thread.
// Memory: the caller's; nothing is allocated. All kernels give the same bytes, NaN payloads
// included.
#ifndef GP_OPTIM_H
#define GP_OPTIM_H

#include <gp_base.h>
#include <gp_simd.h>

enum gp_optim_kind { GP_OPTIM_SGD, GP_OPTIM_MOMENTUM, GP_OPTIM_NESTEROV, GP_OPTIM_COUNT };

// No kind keeps more state than this many arrays of a block's size.
#define GP_OPTIM_STATES_MAX 1

struct gp_optim_params {
	enum gp_optim_kind kind;
	float lr;
	float momentum; // not used by sgd
	float weight_decay;
};

// One block. Arrays of elems floats, any alignment of 4; state and state_out are the kind's arrays
// one after another (NULL when it has none). The outputs overlap nothing.
struct gp_optim_block {
	const float *grad;
	const float *w;
	const float *state;
	float *w_out;
	float *state_out;
	uint32_t elems;
};

// The name in configuration files and its kind; NULL and -EINVAL for unknown ones.
const char *gp_optim_name(enum gp_optim_kind kind);
int gp_optim_parse(const char *name) GP_MUST_CHECK;
// State arrays that a kind keeps for each parameter.
uint32_t gp_optim_states(enum gp_optim_kind kind) GP_MUST_CHECK;
// 0, or -EINVAL with *why naming what is wrong: an unknown kind, lr or weight_decay negative or not
// finite, momentum outside [0, 1) or 0 for nesterov.
int gp_optim_check(const struct gp_optim_params *p, const char **why) GP_MUST_CHECK;

// One step of one block. `p` has passed gp_optim_check.
void gp_optim_apply(const struct gp_optim_params *p, const struct gp_optim_block *b);

// Uses the kernels of that level from now on: for tests and measurements. -ENOTSUP when this
// machine or this library has none of that level. Without it the best ones are chosen at the first
// call.
int gp_optim_select(enum gp_simd_level level) GP_MUST_CHECK;

#endif
