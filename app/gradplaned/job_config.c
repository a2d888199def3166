// SPDX-License-Identifier: BSD-3-Clause
#include <gp_codec.h>
#include "job_config.h"

#include <stdio.h>

#define LOWER_HEADERS 48 // IPv6 and UDP: what a payload is reckoned without
#define US	      UINT64_C(1000)

static void async_fill(struct gp_job_config *out, const struct gp_config_job *j)
{
	static const uint8_t policies[] = {[GP_STALENESS_HOLD] = GP_STALE_HOLD,
		[GP_STALENESS_SCALE] = GP_STALE_SCALE,
		[GP_STALENESS_REFUSE] = GP_STALE_REFUSE};
	bool measured = j->quorum.wait_us == GP_CONFIG_UNSET;
	out->stale = policies[j->staleness.policy];
	out->staleness_lr = j->staleness.lr;
	out->bound = j->staleness.bound;
	out->bound_min = j->staleness.bound_min;
	out->stale_max = j->staleness.max;
	out->quorum_min = j->quorum.min;
	out->quorum_wait_ns = measured ? UINT64_MAX : j->quorum.wait_us * US;
	out->cut_age_ns = j->cuts.age_us * US;
	out->cuts_max = j->cuts.max;
	out->rto_min_ns = j->transport.rto_min_us * US;
	out->rto_max_ns = j->transport.rto_max_us * US;
}

// As an entry of LAYOUT has it: f32 is 0, so that the worker's own default holds.
static uint32_t codec_hint(const struct gp_config_job *j)
{
	static const uint8_t ids[] = {[GP_CONFIG_CODEC_F32] = 0,
		[GP_CONFIG_CODEC_BF16] = GP_CODEC_BF16,
		[GP_CONFIG_CODEC_F16] = GP_CODEC_F16,
		[GP_CONFIG_CODEC_INT8] = GP_CODEC_INT8,
		[GP_CONFIG_CODEC_SIGN] = GP_CODEC_SIGN,
		[GP_CONFIG_CODEC_TOPK] = GP_CODEC_TOPK,
		[GP_CONFIG_CODEC_TOPK_BF16] = GP_CODEC_TOPK_BF16,
		[GP_CONFIG_CODEC_TOPK_F16] = GP_CODEC_TOPK_F16,
		[GP_CONFIG_CODEC_AUTO] = GP_WIRE_CODEC_AUTO};
	double parts = (double)j->topk_ratio * GP_WIRE_RATIO_ONE + 0.5;
	uint32_t ratio = (uint32_t)GP_MIN(GP_MAX(parts, 1.0), GP_WIRE_RATIO_ONE - 1.0);
	return ids[j->codec] | (gp_codec_is_topk(ids[j->codec]) ? ratio << 8 : 0);
}

static void tables_fill(struct gp_job_config *out, const struct gp_config_job *j)
{
	static const enum gp_rows_initial initials[] = {[GP_INITIAL_ZEROS] = GP_ROWS_ZEROS,
		[GP_INITIAL_UNIFORM] = GP_ROWS_UNIFORM,
		[GP_INITIAL_NORMAL] = GP_ROWS_NORMAL};
	static const enum gp_rows_eviction evictions[] = {[GP_EVICTION_NONE] = GP_ROWS_EVICT_NONE,
		[GP_EVICTION_AGE] = GP_ROWS_EVICT_AGE,
		[GP_EVICTION_STEP] = GP_ROWS_EVICT_STEP};
	_Static_assert(GP_CONFIG_TABLES_MAX == GP_ENGINE_TABLES_MAX, "one limit");
	out->push_max = j->push_max;
	out->tables_count = j->tables_count;
	for (uint32_t i = 0; i < j->tables_count; i++) {
		const struct gp_config_table *t = &j->tables[i];
		out->tables[i] = (struct gp_job_table){
			.rows_max = t->rows_max,
			.dim = t->dim,
			.bf16 = t->type == GP_TABLE_BF16,
			.initial = initials[t->initial],
			.initial_scale = t->initial_scale,
			.seed = t->seed,
			.eviction = evictions[t->eviction],
			.evict_after = t->evict_after,
			.evict_reads = t->evict_reads,
			.own_optim = true,
			.optim = gp_config_table_optim(j, t),
			.kept_percent = t->kept,
		};
		snprintf(out->tables[i].name, sizeof(out->tables[i].name), "%s", t->name);
	}
}

void job_config_fill(
	struct gp_job_config *out, const struct gp_config_job *j, const struct gp_config *c)
{
	static const uint8_t kinds[] = {[GP_JOB_REDUCE] = GP_KIND_REDUCE,
		[GP_JOB_TRAIN] = GP_KIND_TRAIN,
		[GP_JOB_EMBED] = GP_KIND_EMBED};
	static const uint8_t atomicities[] = {[GP_ATOMICITY_BLOCK] = GP_ATOM_BLOCK,
		[GP_ATOMICITY_TENSOR] = GP_ATOM_TENSOR,
		[GP_ATOMICITY_STEP] = GP_ATOM_STEP};
	static const uint8_t nonfinite[] = {[GP_NONFINITE_REFUSE] = GP_NONFINITE_IS_REFUSED,
		[GP_NONFINITE_DROP_WORKER] = GP_NONFINITE_DROPS_RANK,
		[GP_NONFINITE_ZERO] = GP_NONFINITE_IS_ZERO};
	static const uint8_t consistencies[] = {[GP_CONSISTENCY_BSP] = GP_CONSIST_BSP,
		[GP_CONSISTENCY_SSP] = GP_CONSIST_SSP,
		[GP_CONSISTENCY_ASP] = GP_CONSIST_ASP,
		[GP_CONSISTENCY_QUORUM] = GP_CONSIST_QUORUM,
		[GP_CONSISTENCY_ADAPTIVE] = GP_CONSIST_ADAPTIVE};
	*out = (struct gp_job_config){
		.id = (uint16_t)j->id,
		.kind = kinds[j->kind],
		.atomicity = atomicities[j->atomicity],
		.consistency = consistencies[j->consistency],
		.mean = j->mean,
		.deterministic = j->deterministic,
		.nonfinite = nonfinite[j->nonfinite],
		.codec = codec_hint(j),
		.sparse_max = (uint8_t)j->sparse_max,
		.norm_max = j->norm_max,
		.clip_norm = j->kind == GP_JOB_TRAIN ? j->optimizer.clip_norm : 0,
		.workers = j->workers,
		.workers_min = j->workers_min,
		.slots = j->slots,
		.window = j->window,
		.tensors_max = j->tensors_max,
		.payload_max = j->path_mtu_min - LOWER_HEADERS,
		.memory_max = j->memory_max,
		.timeout_ns = j->worker_timeout_us * US,
		.recorded = j->views_log[0] != 0,
		.cut_interval = j->kind != GP_JOB_REDUCE ? c->snapshot.interval_steps : 0,
		.lag_max = j->kind == GP_JOB_TRAIN && c->node.role == GP_ROLE_PRIMARY
				   ? c->replica.lag_max
				   : 0,
		.cut_percent = c->snapshot.memory_max,
		.replicated = c->replica.mode == GP_REPLICA_SYNC,
		.optim = gp_config_optim(&j->optimizer),
	};
	snprintf(out->name, sizeof(out->name), "%s", j->name);
	async_fill(out, j);
	tables_fill(out, j);
}
