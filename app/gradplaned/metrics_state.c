// SPDX-License-Identifier: BSD-3-Clause
//
// Metrics of what control knows: the node, its jobs, snapshots, the pair, grace periods.
#include "gradplaned.h"

static void single(struct gp_metrics_writer *w, const struct gp_metrics_family *f, double value)
{
	gp_metrics_family(w, f);
	gp_metrics_f64(w, NULL, value);
}

static void node_write(struct gp_metrics_writer *w, const struct node *n)
{
	const struct gp_metrics_family build = {
		"gradplane_build", GP_METRICS_INFO, NULL, "Version and role of this node."};
	const struct gp_metrics_family insecure = {"gradplane_insecure", GP_METRICS_GAUGE, NULL,
		"1: datagrams are not authenticated."};
	const struct gp_metrics_family uptime = {
		"gradplane_uptime_seconds", GP_METRICS_GAUGE, "seconds", "Time since the start."};
	const struct gp_metrics_family epoch = {
		"gradplane_epoch", GP_METRICS_GAUGE, NULL, "Number of the leadership."};
	const struct gp_metrics_family grace = {"gradplane_rcu_grace_periods", GP_METRICS_COUNTER,
		NULL, "Grace periods that have passed."};
	const struct gp_rcu_grace *g = gp_engine_grace(n->engine);
	gp_metrics_family(w, &build);
	gp_metrics_u64(w,
		GP_METRICS_LABELS({"version", GRADPLANED_VERSION},
			{"role", gp_role_name(n->cfg.node.role)}, {"node", n->cfg.node.name},
			{"driver", n->port_info.driver}),
		1);
	single(w, &insecure, n->cfg.node.insecure);
	single(w, &uptime, (double)(clock_now() - n->started) / 1e9);
	single(w, &epoch, n->epoch);
	single(w, &grace, (double)atomic_load_explicit(&g->passed, memory_order_relaxed));
}

static double job_value(const struct gp_job_view *v, uint32_t which)
{
	const double values[] = {v->initialised ? (double)v->generation : -1, v->decision, v->view,
		v->members, v->joined, v->readers, v->workers, (double)v->memory_used,
		(double)v->memory_max, v->state == GP_STATE_RUNNING};
	GP_ASSERT(which < GP_ARRAY_SIZE(values));
	return values[which];
}

static void jobs_write(struct gp_metrics_writer *w, const struct node *n)
{
	static const struct gp_metrics_family families[] = {
		{"gradplane_job_generation", GP_METRICS_GAUGE, NULL,
			"Highest step committed whole; -1 before there is any."},
		{"gradplane_job_decision", GP_METRICS_GAUGE, NULL, "Number of the last decision."},
		{"gradplane_job_view", GP_METRICS_GAUGE, NULL, "Number of the view."},
		{"gradplane_job_members", GP_METRICS_GAUGE, NULL, "Live ranks of the view."},
		{"gradplane_job_joined", GP_METRICS_GAUGE, NULL, "Workers with a session."},
		{"gradplane_job_readers", GP_METRICS_GAUGE, NULL, "Readers with a session."},
		{"gradplane_job_workers", GP_METRICS_GAUGE, NULL, "Ranks that the job is for."},
		{"gradplane_job_memory_used_bytes", GP_METRICS_GAUGE, "bytes",
			"Memory of the layout."},
		{"gradplane_job_memory_max_bytes", GP_METRICS_GAUGE, "bytes",
			"Memory reserved for the job."},
		{"gradplane_job_running", GP_METRICS_GAUGE, NULL, "1: the job takes steps."},
	};
	for (uint32_t f = 0; f < GP_ARRAY_SIZE(families); f++) {
		gp_metrics_family(w, &families[f]);
		for (uint32_t i = 0; i < n->cfg.jobs_count; i++) {
			struct gp_job_view v;
			gp_engine_job_view(n->engine, i, &v);
			gp_metrics_f64(w, GP_METRICS_LABELS({"job", v.name}), job_value(&v, f));
		}
	}
}

static double table_value(const struct gp_table_view *v, uint32_t which)
{
	const double values[] = {(double)v->rows, (double)v->rows_max, (double)v->memory_used,
		(double)v->evicted, (double)v->refused, v->kept, v->kept_max};
	GP_ASSERT(which < GP_ARRAY_SIZE(values));
	return values[which];
}

static void tables_write(struct gp_metrics_writer *w, const struct node *n)
{
	static const struct gp_metrics_family families[] = {
		{"gradplane_table_rows", GP_METRICS_GAUGE, NULL, "Rows in the table."},
		{"gradplane_table_rows_max", GP_METRICS_GAUGE, NULL, "Rows that it may hold."},
		{"gradplane_table_memory_used_bytes", GP_METRICS_GAUGE, "bytes",
			"Memory of its rows and their index."},
		{"gradplane_table_evicted", GP_METRICS_COUNTER, NULL, "Rows that were dropped."},
		{"gradplane_table_refused", GP_METRICS_COUNTER, NULL,
			"Rows of committed pushes that could not be made."},
		{"gradplane_table_kept", GP_METRICS_GAUGE, NULL,
			"Copies of rows for generations that are read."},
		{"gradplane_table_kept_max", GP_METRICS_GAUGE, NULL, "Most such copies."},
	};
	for (uint32_t f = 0; f < GP_ARRAY_SIZE(families); f++) {
		gp_metrics_family(w, &families[f]);
		for (uint32_t i = 0; i < n->cfg.jobs_count; i++) {
			struct gp_table_view v;
			for (uint32_t t = 0; gp_engine_table_view(n->engine, i, t, &v); t++)
				gp_metrics_f64(w,
					GP_METRICS_LABELS(
						{"job", n->cfg.jobs[i].name}, {"table", v.name}),
					table_value(&v, f));
		}
	}
}

static void snapshots_write(struct gp_metrics_writer *w, const struct node *n)
{
	static const struct gp_metrics_family last = {"gradplane_snapshot_last_step",
		GP_METRICS_GAUGE, NULL, "Step of the newest snapshot of the job."};
	const struct gp_metrics_family families[] = {
		{"gradplane_snapshots_written", GP_METRICS_COUNTER, NULL, "Snapshots completed."},
		{"gradplane_snapshots_failed", GP_METRICS_COUNTER, NULL, "Snapshots that failed."},
		{"gradplane_snapshots_aborted", GP_METRICS_COUNTER, NULL,
			"Snapshots given up because the memory of their cut ran out."},
		{"gradplane_snapshots_written_bytes", GP_METRICS_COUNTER, "bytes",
			"Bytes of completed snapshots."},
		{"gradplane_snapshots_write_seconds", GP_METRICS_COUNTER, "seconds",
			"Time spent writing snapshots."},
	};
	const struct snapshots *s = &n->snapshots;
	const double values[] = {(double)s->written_count, (double)s->failed_count,
		(double)s->aborted_count, (double)s->bytes, (double)s->wall_ns / 1e9};
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(families); i++)
		single(w, &families[i], values[i]);
	gp_metrics_family(w, &last);
	for (uint32_t i = 0; i < n->cfg.jobs_count; i++)
		if (s->jobs[i].written)
			gp_metrics_u64(w, GP_METRICS_LABELS({"job", n->cfg.jobs[i].name}),
				s->jobs[i].last_step);
}

static void sender_write(struct gp_metrics_writer *w, const struct node *n)
{
	struct gp_replica_status st;
	gp_replica_sender_status(n->replica.sender, NULL, &st);
	const struct gp_metrics_family families[] = {
		{"gradplane_replica_connected", GP_METRICS_GAUGE, NULL, "1: the peer answers."},
		{"gradplane_replica_verified_step", GP_METRICS_GAUGE, NULL,
			"Step of the newest snapshot that the replica has verified; -1 before "
			"any."},
		{"gradplane_replica_sent_bytes", GP_METRICS_COUNTER, "bytes",
			"Bytes of snapshots sent, with repeats."},
		{"gradplane_replica_verified", GP_METRICS_COUNTER, NULL,
			"Snapshots verified by the replica."},
		{"gradplane_replica_failures", GP_METRICS_COUNTER, NULL,
			"Connections lost or refused, snapshots refused."},
	};
	const double values[] = {st.connected, st.verified ? (double)st.last_step_verified : -1,
		(double)st.bytes, (double)st.verified_count, (double)st.failures};
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(families); i++)
		single(w, &families[i], values[i]);
}

static void receiver_write(struct gp_metrics_writer *w, const struct node *n)
{
	struct gp_replica_receiver_status st;
	gp_replica_receiver_status(n->replica.receiver, &st);
	const struct gp_metrics_family families[] = {
		{"gradplane_replica_connected", GP_METRICS_GAUGE, NULL, "Primaries connected."},
		{"gradplane_replica_loaded_step", GP_METRICS_GAUGE, NULL,
			"Step that readers get; -1 before any."},
		{"gradplane_replica_received_bytes", GP_METRICS_COUNTER, "bytes",
			"Bytes of snapshots received."},
		{"gradplane_replica_verified", GP_METRICS_COUNTER, NULL,
			"Snapshots received and verified."},
		{"gradplane_replica_refused", GP_METRICS_COUNTER, NULL,
			"Snapshots or connections refused."},
	};
	const double values[] = {st.peers, n->replica.loaded ? (double)n->replica.loaded_step : -1,
		(double)st.bytes, (double)st.verified_count,
		(double)(st.refused_count + n->replica.refused_count)};
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(families); i++)
		single(w, &families[i], values[i]);
}

void metrics_state_write(struct gp_metrics_writer *w, const struct node *n)
{
	node_write(w, n);
	leader_metrics_write(w, n);
	jobs_write(w, n);
	tables_write(w, n);
	snapshots_write(w, n);
	pair_metrics_write(w, n);
	if (n->replica.sender)
		sender_write(w, n);
	if (n->replica.receiver)
		receiver_write(w, n);
}
