// SPDX-License-Identifier: BSD-3-Clause
//
// What the registrar tells, as log lines. Whoever reaches the port can cause them, so they are
// limited; what is left out is counted and said.
#include "gradplaned.h"

#include <gp_log.h>

#include <stdio.h>

#define LINES_PER_SECOND 20

static bool line_allowed(struct events *e)
{
	uint64_t second = clock_now() / 1000000000u;
	if (second != e->second) {
		if (e->left_out > 0)
			gp_warn("%lu lines about sessions and refusals were left out", e->left_out);
		*e = (struct events){.second = second};
	}
	if (e->lines < LINES_PER_SECOND) {
		e->lines++;
		return true;
	}
	e->left_out++;
	return false;
}

static const char *job_name(const struct node *n, uint16_t id)
{
	return n->cfg.jobs[node_job_idx(n, id)].name;
}

static const char *rank_format(uint32_t rank, char *text, size_t size)
{
	if (rank == GP_WIRE_RANK_NONE)
		return "a reader";
	snprintf(text, size, "rank %u", rank);
	return text;
}

static void on_cut_ready(void *arg, uint16_t job, uint32_t step, uint32_t decision)
{
	views_flush(arg);
	snapshots_cut_ready(arg, job, step, decision);
}

static void sessions_count(struct node *n, int change)
{
	n->sessions_open += (uint32_t)change;
	atomic_store_explicit(&n->serving, n->sessions_open > 0, memory_order_relaxed);
}

static void on_session_opened(void *arg, uint16_t job, uint32_t rank, const struct gp_addr *from)
{
	struct node *n = arg;
	char who[16], where[GP_ADDR_TEXT_SIZE];
	sessions_count(n, 1);
	if (!line_allowed(&n->events))
		return;
	gp_addr_format(from, where);
	gp_info("job %s: %s joined from %s", job_name(n, job), rank_format(rank, who, sizeof(who)),
		where);
}

static void on_session_closed(void *arg, uint16_t job, uint32_t rank, const char *why)
{
	struct node *n = arg;
	char who[16];
	sessions_count(n, -1);
	if (line_allowed(&n->events))
		gp_info("job %s: %s is gone: %s", job_name(n, job),
			rank_format(rank, who, sizeof(who)), why);
}

static void on_refused(void *arg, const struct gp_refuse *refuse, const struct gp_addr *from)
{
	struct node *n = arg;
	char where[GP_ADDR_TEXT_SIZE];
	if (!line_allowed(&n->events))
		return;
	gp_addr_format(from, where);
	gp_warn("refused %s from %s (%s): %s", gp_wire_type_name(refuse->about), where,
		gp_wire_refusal_name(refuse->reason), refuse->text);
}

static void on_layout_ready(void *arg, uint16_t job)
{
	struct node *n = arg;
	struct gp_job_view v;
	uint32_t idx = node_job_idx(n, job);
	gp_engine_job_view(n->engine, idx, &v);
	restore_close(n, idx); // its values are in the tables now
	views_layout(n, idx, &v);
	if (n->cfg.node.role == GP_ROLE_PRIMARY)
		gp_info("job %s: layout of %u tensors in %u blocks of %u elements, %lu of %lu MiB, "
			"next step %u",
			v.name, v.tensors_count, v.blocks_count, v.block_elems, v.memory_used >> 20,
			v.memory_max >> 20, v.generation + 1);
}

static void on_decided(void *arg, uint16_t job, const struct gp_decision *d)
{
	views_decided(arg, node_job_idx(arg, job), d);
}

// The audit log of an adaptive job: every move with what caused it.
static void on_bound_moved(void *arg, uint16_t job, const struct gp_bound_move *why)
{
	struct node *n = arg;
	if (why->lost > 0)
		gp_warn("job %s: %u moves of the staleness bound are not in this log: control was "
			"busy",
			n->cfg.jobs[node_job_idx(n, job)].name, why->lost);
	gp_info("job %s: staleness bound %u -> %u: reads waited %.1f %% of the time, the slowest "
		"rank takes %.2f times the median's time for a step, staleness %.2f steps",
		n->cfg.jobs[node_job_idx(n, job)].name, why->from, why->to,
		why->waited_permille * 0.1, why->straggling_permille * 1e-3,
		why->staleness_milli * 1e-3);
}

void events_connect(struct node *n)
{
	const struct gp_registrar_events ev = {
		.arg = n,
		.cut_ready = on_cut_ready,
		.session_opened = on_session_opened,
		.session_closed = on_session_closed,
		.refused = on_refused,
		.layout_ready = on_layout_ready,
		.decided = on_decided,
		.bound_moved = on_bound_moved,
	};
	gp_registrar_set_events(n->registrar, &ev);
}
