// SPDX-License-Identifier: BSD-3-Clause
//
// What control, metrics and tests see of tables.
#include "embed.h"

#include "engine_priv.h"

static uint64_t seen(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

bool gp_engine_table_view(
	const struct gp_engine *e, uint32_t job_idx, uint32_t t, struct gp_table_view *v)
{
	GP_ASSERT(job_idx < e->cfg.jobs_count);
	const struct gp_job *j = gp_rcu_dereference(&e->jobs[e->jobs_cfg[job_idx].id]);
	if (!j || !cfg_embeds(j->cfg) || t >= j->tensors_count)
		return false;
	const struct gp_job_table *cfg = j->cores[0].embed->tables[t].cfg;
	*v = (struct gp_table_view){.name = cfg->name, .dim = cfg->dim, .rows_max = cfg->rows_max};
	for (uint32_t i = 0; i < e->cfg.cores_count; i++) {
		const struct embed_table *x = &j->cores[i].embed->tables[t];
		const struct gp_rows_stats *st = gp_rows_stats(x->rows);
		v->rows += seen(&st->rows);
		v->memory_used += seen(&st->memory_used);
		v->evicted += seen(&st->evicted);
		v->refused += atomic_load_explicit(&x->lost, memory_order_relaxed);
		v->kept += atomic_load_explicit(&x->kept_now, memory_order_relaxed);
		v->kept_max += x->kept_max;
	}
	return true;
}
