// SPDX-License-Identifier: BSD-3-Clause
#include "gradplaned.h"

#include <gp_watch.h>

#include <errno.h>
#include <stdio.h>

#define DIGEST_TRIES 3 // the job may take a step meanwhile

static json_t *tensors_json(const struct node *n, uint32_t idx)
{
	json_t *all = json_array();
	struct gp_tensor_view v;
	for (uint32_t t = 0; gp_engine_tensor_view(n->engine, idx, t, &v); t++) {
		json_t *dims = json_array();
		for (uint32_t d = 0; d < v.dims_count; d++)
			json_array_append_new(dims, json_integer((json_int_t)v.dims[d]));
		json_array_append_new(all,
			json_pack("{s:s,s:o,s:I,s:I}", "name", v.name, "dims", dims, "elements",
				(json_int_t)v.elems, "blocks", (json_int_t)v.blocks_count));
	}
	return all;
}

// Of an embed job: what is in its tables.
static json_t *tables_json(const struct node *n, uint32_t idx)
{
	json_t *all = json_array();
	struct gp_table_view v;
	for (uint32_t t = 0; gp_engine_table_view(n->engine, idx, t, &v); t++)
		json_array_append_new(all,
			json_pack("{s:s,s:i,s:I,s:I,s:I,s:I,s:I,s:i,s:i}", "name", v.name, "dim",
				(int)v.dim, "rows", (json_int_t)v.rows, "rows_max",
				(json_int_t)v.rows_max, "memory_used", (json_int_t)v.memory_used,
				"evicted", (json_int_t)v.evicted, "refused", (json_int_t)v.refused,
				"kept", (int)v.kept, "kept_max", (int)v.kept_max));
	return all;
}

static json_t *rank_json(
	const struct node *n, uint32_t idx, const struct gp_rank_view *v, uint64_t now)
{
	struct gp_worker_view w;
	char where[GP_ADDR_TEXT_SIZE];
	if (!v->joined)
		return json_pack("{s:i,s:s}", "rank", (int)v->rank, "state", "absent");
	gp_addr_format(&v->addr, where);
	json_t *o = json_pack("{s:i,s:s,s:s,s:i}", "rank", (int)v->rank, "address", where, "state",
		"joined", "registered", (int)v->registered);
	if (o && v->last_rx > 0)
		json_object_set_new(o, "last_seen_ms",
			json_real(now > v->last_rx ? (double)(now - v->last_rx) / 1e6 : 0));
	if (o && gp_engine_worker_view(n->engine, idx, v->rank, &w)) {
		json_object_set_new(o, "step", w.pushed ? json_integer(w.step) : json_null());
		json_object_set_new(
			o, "rtt_us", w.rtt_us > 0 ? json_integer(w.rtt_us) : json_null());
	}
	return o;
}

static json_t *ranks_json(const struct node *n, uint32_t idx)
{
	json_t *all = json_array();
	struct gp_rank_view v;
	uint64_t now = clock_now();
	for (uint32_t r = 0; gp_engine_rank_view(n->engine, idx, r, &v); r++)
		json_array_append_new(all, rank_json(n, idx, &v, now));
	return all;
}

static json_t *digest_json(const struct node *n, uint32_t idx)
{
	for (uint32_t i = 0; i < DIGEST_TRIES; i++) {
		struct gp_job_view v;
		uint64_t digest;
		char text[20];
		gp_engine_job_view(n->engine, idx, &v);
		if (!v.ready || !v.initialised || v.kind != GP_KIND_TRAIN)
			return json_null();
		if (gp_engine_digest(n->engine, idx, v.generation, &digest) != 0)
			continue;
		snprintf(text, sizeof(text), "%016lx", digest);
		return json_string(text);
	}
	return json_null();
}

// Asynchronous jobs: how far a rank may go ahead, and where the slowest and the fastest are.
static void clocks_json(json_t *o, const struct gp_job_view *v)
{
	if (v->consistency == GP_CONSIST_BSP)
		return;
	json_object_set_new(o, "bound",
		v->bound == GP_WIRE_BOUND_NONE ? json_null() : json_integer((json_int_t)v->bound));
	json_object_set_new(o, "clock_min", json_integer((json_int_t)v->clock_min));
	json_object_set_new(o, "clock_max", json_integer((json_int_t)v->clock_max));
}

static json_t *job_json(const struct node *n, uint32_t idx)
{
	const struct gp_config_job *job = &n->cfg.jobs[idx];
	struct gp_job_view v;
	gp_engine_job_view(n->engine, idx, &v);
	json_t *o = json_pack(
		"{s:s,s:i,s:s,s:s,s:s,s:s,s:i,s:o,s:o,s:I,s:I,s:o,s:I,s:I,s:I,s:I,s:o,s:o}", "name",
		v.name, "id", v.id, "kind", gp_job_kind_name(job->kind), "state",
		job_state_name(&v), "consistency", gp_consistency_name(job->consistency),
		"atomicity", gp_atomicity_name(job->atomicity), "workers", (int)v.workers, "step",
		job_step_json(&v), "generation", job_generation_json(&v), "decision",
		(json_int_t)v.decision, "view", (json_int_t)v.view, "digest", digest_json(n, idx),
		"memory_used", (json_int_t)v.memory_used, "memory_max", (json_int_t)v.memory_max,
		"block_elems", (json_int_t)v.block_elems, "blocks", (json_int_t)v.blocks_count,
		"tensors", tensors_json(n, idx), "ranks", ranks_json(n, idx));
	if (o)
		clocks_json(o, &v);
	if (o && v.kind == GP_KIND_EMBED)
		json_object_set_new(o, "tables", tables_json(n, idx));
	return o;
}

static int job_unknown(const struct node *n, const char *name, struct gp_ctl_error *err)
{
	gp_ctl_error_set(err, "not_found", "no job %s; this server has:", name);
	for (uint32_t i = 0; i < n->cfg.jobs_count; i++) {
		size_t len = strlen(err->text);
		snprintf(err->text + len, sizeof(err->text) - len, " %s", n->cfg.jobs[i].name);
	}
	return -ENOENT;
}

int ctl_job_show(
	struct gp_ctl_request *req, const json_t *args, json_t **result, struct gp_ctl_error *err)
{
	const struct node *n = gp_ctl_request_arg(req);
	const char *name = json_string_value(json_object_get(args, "name"));
	if (!name) {
		gp_ctl_error_set(err, "bad_request", "args.name is missing: which job?");
		return -EINVAL;
	}
	for (uint32_t i = 0; i < n->cfg.jobs_count; i++) {
		if (strcmp(name, n->cfg.jobs[i].name) != 0)
			continue;
		*result = job_json(n, i);
		return 0;
	}
	return job_unknown(n, name, err);
}
