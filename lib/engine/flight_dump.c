// SPDX-License-Identifier: BSD-3-Clause
//
// A dump of the flight recorder. Any thread may write one while the cores run, also one whose
// assertion has failed: everything is read with atomics or is immutable, and lies on its stack.
#include "flight.h"

#include <gp_flight_dump.h>

static void node_out(
	struct gp_flight_out *o, const struct gp_engine *e, const struct gp_flight_reason *why)
{
	struct flight_node n = {
		.cores_count = e->cfg.cores_count,
		.jobs_count = e->cfg.jobs_count,
		.epoch = engine_epoch(e),
		.sessions_max = e->cfg.sessions_max,
		.ring_size = e->cfg.ring_size,
		.payload_max = e->cfg.payload_max,
		.base_port = e->cfg.base_port,
		.standby = engine_is_standby(e),
		.payloads = e->cfg.flight_payloads,
		.cause = why->cause,
		.decision_size = sizeof(struct flight_decision),
		.command_size = sizeof(struct flight_command),
	};
	strncpy(n.version, why->version, sizeof(n.version) - 1);
	strncpy(n.text, why->text, sizeof(n.text) - 1);
	gp_flight_section(o, GP_FLIGHT_NODE, 0, sizeof(n));
	gp_flight_bytes(o, &n, sizeof(n));
	gp_flight_section_end(o);
}

static void job_out(struct gp_flight_out *o, const struct gp_engine *e, const struct gp_job *j)
{
	const struct job_status *st = &e->status[j->idx];
	const struct flight_job r = {
		.id = j->cfg->id,
		.block_elems = j->block_elems,
		.blocks_count = j->blocks_count,
		.tensors_count = j->tensors_count,
		.first_generation = j->first_generation,
		.first_decision = j->first_decision,
		.generation = atomic_load_explicit(&st->generation, memory_order_relaxed),
		.decision = atomic_load_explicit(&st->decision, memory_order_relaxed),
		.view = atomic_load_explicit(&st->view, memory_order_relaxed),
		.state = atomic_load_explicit(&st->state, memory_order_relaxed),
	};
	gp_flight_section(o, GP_FLIGHT_JOB, j->cfg->id,
		sizeof(r) + sizeof(struct flight_tensor) * j->tensors_count);
	gp_flight_bytes(o, &r, sizeof(r));
	for (uint32_t t = 0; t < j->tensors_count; t++) {
		const struct job_tensor *x = &j->tensors[t];
		struct flight_tensor ft = {.dims_count = x->dims_count, .priority = x->priority};
		memcpy(ft.name, x->name, sizeof(ft.name));
		memcpy(ft.dims, x->dims, sizeof(ft.dims));
		gp_flight_bytes(o, &ft, sizeof(ft));
	}
	gp_flight_section_end(o);
}

static void session_fill(struct flight_session *r, const struct gp_session *s)
{
	*r = (struct flight_session){.id = s->id,
		.job = s->job,
		.rank = s->rank,
		.flags = s->flags,
		.payload_max = s->payload_max,
		.incarnation = s->incarnation,
		.serial = s->serial,
		.addr = {.port = s->addr.port, .vlan = s->addr.vlan}};
	memcpy(r->addr.ip, s->addr.ip, sizeof(r->addr.ip));
}

// A place for each; those without a session are zeros.
static void sessions_out(struct gp_flight_out *o, const struct gp_engine *e)
{
	gp_flight_section(o, GP_FLIGHT_SESSION, 0,
		(uint64_t)e->cfg.sessions_max * sizeof(struct flight_session));
	for (uint32_t i = 0; i < e->cfg.sessions_max; i++) {
		const struct gp_session *s = gp_rcu_dereference(&e->sessions[i]);
		struct flight_session r = {0};
		if (s)
			session_fill(&r, s);
		gp_flight_bytes(o, &r, sizeof(r));
	}
	gp_flight_section_end(o);
}

int gp_engine_flight_dump(const struct gp_engine *e, const struct gp_flight_sink *sink,
	const struct gp_flight_reason *why)
{
	GP_ALIGNED(GP_CACHE_LINE) uint8_t mem[GP_FLIGHT_OUT_SIZE];
	struct gp_flight_out *o = gp_flight_begin(mem, sink, why->now, why->wall);
	size_t text_len = why->config ? strlen(why->config) : 0;
	gp_flight_section(o, GP_FLIGHT_CONFIG, 0, text_len);
	gp_flight_bytes(o, why->config, text_len);
	gp_flight_section_end(o);
	node_out(o, e, why);
	for (uint32_t id = 1; id <= GP_ENGINE_JOBS_MAX; id++) {
		const struct gp_job *j = gp_rcu_dereference(&e->jobs[id]);
		if (j)
			job_out(o, e, j);
	}
	sessions_out(o, e);
	for (uint32_t i = 0; e->flights && i < e->cfg.cores_count; i++) {
		gp_flight_ring_out(o, i, &e->flights[i].main);
		gp_flight_ring_out(o, FLIGHT_RING_QUIET + i, &e->flights[i].quiet);
	}
	if (e->flights)
		gp_flight_ring_out(o, FLIGHT_RING_CONTROL, &e->flights[e->cfg.cores_count].main);
	return gp_flight_finish(o);
}
