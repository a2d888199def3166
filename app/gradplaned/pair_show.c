// SPDX-License-Identifier: BSD-3-Clause
//
// What operators see of synchronous replication.
#include "gradplaned.h"

#include <gp_beat.h>

#include <math.h>

bool pair_waits(const struct node *n, const char **what, uint64_t *since)
{
	const struct pair *p = &n->pair;
	if (!p->used || p->waits_since == 0)
		return false;
	enum gp_lead_why why = gp_lead_rules_why(&n->leader.rules);
	*what = gp_lead_why_text(why == GP_LEAD_WHY_NOTHING ? GP_LEAD_WHY_REPLICA : why);
	*since = p->waits_since;
	return true;
}

// Generation of the job that is held on both sides, or here; null: none.
static json_t *held_json(const struct node *n, uint32_t idx)
{
	const struct pair *p = &n->pair;
	struct gp_feeder_view f;
	struct gp_image_view v;
	uint32_t step = GP_IMAGE_NONE;
	if (p->feeder && gp_feeder_view(p->feeder, idx, &f) && f.based)
		step = f.generation_out;
	if (p->image && gp_image_find(p->image, (uint16_t)n->cfg.jobs[idx].id, &v) && v.based)
		step = v.generation;
	return step == GP_IMAGE_NONE ? json_null() : json_integer(step);
}

bool pair_lacks(const struct node *n, uint32_t job_idx)
{
	const struct pair *p = &n->pair;
	struct gp_feeder_view f;
	if (!p->used || !p->leading || !n->snapshots.jobs[job_idx].written)
		return false;
	return !p->feeder || !gp_feeder_view(p->feeder, job_idx, &f) || !f.base_held;
}

bool pair_is_headless(const struct node *n)
{
	const struct gp_lead_rules *r = &n->leader.rules;
	const struct gp_lead_record *seen = &r->seen.record;
	struct gp_link_status st = {0};
	bool waits = r->role == GP_LEAD_OUT && r->intent == GP_LEAD_NO_INTENT && !r->away;
	if (!n->pair.link || !waits || !r->seen.exists)
		return false;
	gp_link_status(n->pair.link, &st);
	if (!st.connected || st.peer.holding)
		return false;
	// The record names the peer: it has greeted without being what that says.
	return seen->primary == r->opts.self ||
	       (st.peer.has_record && gp_lead_record_equal(&st.peer.record, seen));
}

static json_t *lacks_json(const struct node *n)
{
	json_t *names = json_array();
	for (uint32_t i = 0; i < n->cfg.jobs_count; i++)
		if (pair_lacks(n, i))
			json_array_append_new(names, json_string(n->cfg.jobs[i].name));
	return names;
}

// Since when nothing came over the data port; null: nothing ever did.
static json_t *beat_json(const struct node *n)
{
	uint64_t at = gp_beat_heard(n->engine);
	return at ? json_integer((json_int_t)((clock_now() - at) / 1000000)) : json_null();
}

// Since when nothing came over the link; null: nothing ever did.
static json_t *link_json(const struct gp_link_status *st)
{
	return st->heard_ns < UINT64_MAX ? json_integer((json_int_t)(st->heard_ns / 1000000))
					 : json_null();
}

json_t *pair_json(const struct node *n)
{
	const struct gp_lead_rules *r = &n->leader.rules;
	bool paired = r->role != GP_LEAD_OUT && r->mine.record.backup != GP_LEAD_NODE_NONE;
	struct gp_link_status st = {.heard_ns = UINT64_MAX};
	if (n->pair.link)
		gp_link_status(n->pair.link, &st);
	json_t *lacks = lacks_json(n), *held = json_object();
	for (uint32_t i = 0; i < n->cfg.jobs_count; i++)
		json_object_set_new(held, n->cfg.jobs[i].name, held_json(n, i));
	paired &= json_array_size(lacks) == 0;
	json_t *o = json_pack("{s:s,s:b,s:b,s:o,s:o,s:o,s:o}", "mode", "sync", "connected",
		st.connected, "paired", paired, "held", held, "lacks", lacks, "link_ms",
		link_json(&st), "beat_ms", beat_json(n));
	if (o && st.last_error[0])
		json_object_set_new(o, "last_error", json_string(st.last_error));
	return o;
}

static void link_write(struct gp_metrics_writer *w, const struct node *n)
{
	const struct gp_metrics_family families[] = {
		{"gradplane_replica_connected", GP_METRICS_GAUGE, NULL, "1: the peer answers."},
		{"gradplane_replica_waiting_seconds", GP_METRICS_GAUGE, "seconds",
			"How long something decided has waited for its release."},
		{"gradplane_replica_sent_bytes", GP_METRICS_COUNTER, "bytes",
			"Bytes sent to the peer."},
		{"gradplane_replica_failures", GP_METRICS_COUNTER, NULL,
			"Connections lost or refused."},
		{"gradplane_replica_futile", GP_METRICS_GAUGE, NULL,
			"Connections in a row that ended before the replica held all jobs."},
		{"gradplane_replica_takeovers", GP_METRICS_COUNTER, NULL,
			"Promotions of this node since its start."},
		{"gradplane_replica_stalls", GP_METRICS_COUNTER, NULL,
			"Pauses of this node after which it looked who leads."},
		{"gradplane_replica_beat_age_seconds", GP_METRICS_GAUGE, "seconds",
			"Since the last sign of life of the peer over the data port; +Inf: none."},
	};
	const struct pair *p = &n->pair;
	struct gp_link_status st;
	gp_link_status(p->link, &st);
	double waiting = p->waits_since ? (double)(clock_now() - p->waits_since) / 1e9 : 0;
	uint64_t beat = gp_beat_heard(n->engine);
	const double values[] = {st.connected, waiting, (double)st.bytes_out, (double)st.failures,
		st.futile, (double)p->takeovers, (double)p->stalls,
		beat ? (double)(clock_now() - beat) / 1e9 : (double)INFINITY};
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(families); i++) {
		gp_metrics_family(w, &families[i]);
		gp_metrics_f64(w, NULL, values[i]);
	}
}

static void lag_write(struct gp_metrics_writer *w, const struct node *n)
{
	static const struct gp_metrics_family families[] = {
		{"gradplane_replica_lag_decisions", GP_METRICS_GAUGE, NULL,
			"Decisions that the replica has not acknowledged; of who leads alone: that "
			"are not released."},
		{"gradplane_replica_lag_bytes", GP_METRICS_GAUGE, "bytes",
			"Bytes sent to the replica that it does not hold yet."},
	};
	bool paired = n->leader.rules.mine.record.backup != GP_LEAD_NODE_NONE;
	for (uint32_t k = 0; k < GP_ARRAY_SIZE(families); k++) {
		gp_metrics_family(w, &families[k]);
		for (uint32_t i = 0; i < n->cfg.jobs_count; i++) {
			struct gp_feeder_view v;
			if (!gp_feeder_view(n->pair.feeder, i, &v) || !v.based)
				continue;
			gp_metrics_u64(w, GP_METRICS_LABELS({"job", n->cfg.jobs[i].name}),
				k == 0 ? v.taken - (paired ? v.acked : v.released)
				       : v.unheld_bytes);
		}
	}
}

void pair_metrics_write(struct gp_metrics_writer *w, const struct node *n)
{
	if (!n->pair.link)
		return;
	link_write(w, n);
	if (n->pair.feeder)
		lag_write(w, n);
}
