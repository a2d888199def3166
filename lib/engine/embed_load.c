// SPDX-License-Identifier: BSD-3-Clause
//
// Tables that a job starts from: each row goes to the core that owns it now.
#include "embed.h"

#include "engine_priv.h"

#include <errno.h>

#define AHEAD		16 // rows whose place in the index is on its way
#define GRACE_TURNS_MAX 4  // a segment that became two is free after two

int embed_restore_check(const struct gp_job_config *cfg, const struct gp_restore *r)
{
	if (r->tensors_count != cfg->tables_count)
		return -EINVAL;
	for (uint32_t i = 0; i < r->tensors_count; i++) {
		const struct gp_restore_tensor *x = &r->tensors[i];
		const struct gp_job_table *t = embed_table_find(cfg, x->name);
		if (!t || x->dims_count != 1 || x->dims[0] != t->dim || !x->rows)
			return -EINVAL;
		if (!x->rows->next && x->rows->count > t->rows_max)
			return -ENOSPC;
	}
	return 0;
}

// The optimizer's arrays of a row one after the other; those that are not there begin anew.
static void state_gather(const struct gp_optim_params *optim, uint32_t dim,
	const struct gp_restore_tensor *x, uint64_t i, float *state)
{
	bool rowwise = gp_optim_is_rowwise(optim->kind);
	uint32_t arrays = rowwise ? 1 : gp_optim_states(optim->kind), width = rowwise ? 1 : dim;
	gp_optim_state_init(optim, state, dim, dim);
	for (uint32_t k = 0; k < arrays; k++)
		if (x->states[k])
			memcpy(state + (size_t)k * width, x->states[k] + i * width,
				sizeof(float) * width);
}

// The index of a table that grows fast waits for readers to leave its old segments.
static bool row_put(struct gp_job *j, struct gp_rows *rows, uint64_t id, uint32_t step,
	const float *values, const float *state)
{
	for (uint32_t n = 0; gp_rows_put(rows, id, step, values, state) != 0; n++) {
		if (n == GRACE_TURNS_MAX || !gp_rows_waits(rows))
			return false;
		gp_rcu_grace_turn(&j->engine->grace);
	}
	return true;
}

static bool table_load(struct gp_job *j, uint32_t t, const struct gp_restore_tensor *x)
{
	const struct gp_job_table *cfg = j->cores[0].embed->tables[t].cfg;
	const struct gp_optim_params *optim = embed_optim(j->cfg, cfg);
	uint32_t dim = cfg->dim;
	const struct gp_restore_rows *y = x->rows;
	for (uint64_t i = 0; i < y->count; i++) {
		uint64_t id = y->ids[i], later = y->ids[GP_MIN(i + AHEAD, y->count - 1)];
		const struct embed_core *next =
			j->cores[gp_rows_owner(t, later, j->by_cores.d)].embed;
		gp_rows_ahead(next->tables[t].rows, later, false);
		struct embed_core *e = j->cores[gp_rows_owner(t, id, j->by_cores.d)].embed;
		state_gather(optim, dim, x, i, e->state);
		if (!row_put(j, e->tables[t].rows, id, y->steps[i], x->values + i * dim, e->state))
			return false;
	}
	return true;
}

// Rows of an image, some of them ahead: their places in the index are fetched meanwhile.
struct upcoming {
	const float *row;
	uint64_t id;
	uint32_t step;
};

static struct upcoming upcoming_take(
	struct gp_job *j, uint32_t t, const struct gp_restore_rows *y, uint64_t *at)
{
	struct upcoming u;
	u.row = y->next(y->arg, at, &u.id, &u.step);
	if (u.row)
		gp_rows_ahead(j->cores[gp_rows_owner(t, u.id, j->by_cores.d)].embed->tables[t].rows,
			u.id, false);
	return u;
}

// State of another width is that of another optimizer: it begins anew.
static bool table_load_image(struct gp_job *j, uint32_t t, const struct gp_restore_rows *y)
{
	const struct embed_core *e = j->cores[0].embed;
	uint32_t dim = e->tables[t].cfg->dim;
	bool anew = y->state != gp_rows_state(e->tables[t].rows);
	struct upcoming ahead[AHEAD];
	uint64_t at = 0;
	if (anew)
		gp_optim_state_init(embed_optim(j->cfg, e->tables[t].cfg), e->state, dim, dim);
	for (uint32_t i = 0; i < AHEAD; i++)
		ahead[i] = upcoming_take(j, t, y, &at);
	for (uint32_t i = 0; ahead[i].row; i = (i + 1) % AHEAD) {
		const struct upcoming *u = &ahead[i];
		uint32_t core = gp_rows_owner(t, u->id, j->by_cores.d);
		if (!row_put(j, j->cores[core].embed->tables[t].rows, u->id, u->step, u->row,
			    anew ? e->state : u->row + dim))
			return false;
		ahead[i] = upcoming_take(j, t, y, &at);
	}
	return true;
}

int embed_load(struct gp_job *j, const struct gp_restore *r)
{
	for (uint32_t t = 0; t < j->tensors_count; t++) {
		const struct gp_restore_tensor *x = &r->tensors[j->tensors[t].restored];
		if (x->rows->next ? !table_load_image(j, t, x->rows) : !table_load(j, t, x))
			return -ENOSPC;
	}
	for (uint32_t i = 0; i < j->by_cores.d; i++) {
		struct embed_core *e = j->cores[i].embed;
		e->updates = r->tensors[0].rows->updates;
		for (uint32_t t = 0; t < e->tables_count; t++) {
			gp_kept_begin(e->tables[t].kept, r->step);
			if (j->cfg->replicated)
				embed_point_load(&e->tables[t], t, e->state);
		}
	}
	return 0;
}
