// SPDX-License-Identifier: BSD-3-Clause
#include "gradplaned.h"

#include <unistd.h>

static json_t *u64(uint64_t v)
{
	return json_integer((json_int_t)v);
}

static json_t *port_json(const struct node *n)
{
	struct gp_dpdk_port_stats s = {0};
	(void)!gp_dpdk_port_stats(n->port, &s);
	return json_pack("{s:s,s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "name", n->cfg.port.device,
		"driver", n->port_info.driver, "rx_packets", u64(s.rx_packets), "tx_packets",
		u64(s.tx_packets), "rx_bytes", u64(s.rx_bytes), "tx_bytes", u64(s.tx_bytes),
		"rx_dropped", u64(s.rx_missed + s.rx_errors), "rx_nombuf", u64(s.rx_no_mbuf),
		"tx_errors", u64(s.tx_errors));
}

static json_t *core_json(const struct node *n, uint32_t i)
{
	const struct lcore *l = &n->lcores[i];
	const struct gp_core_stats *s = gp_core_stats(l->core);
	struct gp_xport_dpdk_stats x;
	json_t *verdicts = json_object();
	json_t *frames = json_object();
	gp_xport_dpdk_stats(l->xport, &x);
	for (int v = 0; v < GP_VERDICT_COUNT; v++)
		json_object_set_new(
			verdicts, gp_verdict_name(v), u64(gp_counter_read(&s->verdicts[v])));
	for (int v = 0; v < GP_INET_VERDICTS_COUNT; v++)
		json_object_set_new(frames, gp_inet_verdict_name(v), u64(x.verdicts[v]));
	return json_pack("{s:i,s:i,s:f,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "index", (int)i, "udp_port",
		(int)(n->cfg.cores.udp_port + i), "busy_pct", 100 * n->control.busy_ratio[i],
		"polls", u64(gp_counter_read(&s->polls)), "rx",
		u64(gp_counter_read(&s->rx_datagrams)), "tx",
		u64(gp_counter_read(&s->tx_datagrams)), "rx_frames", u64(x.rx_frames), "tx_frames",
		u64(x.tx_frames), "verdicts", verdicts, "frame_verdicts", frames);
}

const char *job_state_name(const struct gp_job_view *v)
{
	static const char *const names[] = {[GP_STATE_WAITING] = "waiting",
		[GP_STATE_RUNNING] = "running",
		[GP_STATE_STANDBY] = "standby",
		[GP_STATE_STOPPING] = "stopping"};
	return v->state < GP_ARRAY_SIZE(names) ? names[v->state] : "unknown";
}

// Where the workers are: of an asynchronous job, whose generations are cuts, the step that all have
// done; in a quorum the one that was closed last.
json_t *job_step_json(const struct gp_job_view *v)
{
	if (!v->initialised)
		return json_null();
	if (v->consistency == GP_CONSIST_BSP)
		return u64(v->generation);
	return u64(v->consistency == GP_CONSIST_QUORUM ? v->clock_max : v->clock_min);
}

json_t *job_generation_json(const struct gp_job_view *v)
{
	return v->initialised ? u64(v->generation) : json_null();
}

static json_t *job_json(const struct node *n, uint32_t i)
{
	struct gp_job_view v;
	gp_engine_job_view(n->engine, i, &v);
	return json_pack("{s:s,s:i,s:s,s:s,s:i,s:i,s:i,s:o,s:o,s:I,s:i}", "name", v.name, "id",
		v.id, "kind", gp_job_kind_name(n->cfg.jobs[i].kind), "state", job_state_name(&v),
		"joined", (int)v.joined, "workers", (int)v.workers, "readers", (int)v.readers,
		"step", job_step_json(&v), "generation", job_generation_json(&v), "view",
		(json_int_t)v.view, "members", (int)v.members);
}

static json_t *snapshot_json(const struct node *n)
{
	const struct snapshots *s = &n->snapshots;
	const struct snapshot_job *j = &s->jobs[s->last_idx];
	return json_pack("{s:s,s:o,s:o,s:o}", "directory", n->cfg.snapshot.directory, "last_step",
		s->last_valid ? u64(j->last_step) : json_null(), "last_path",
		s->last_valid ? json_string(j->last_path) : json_null(), "last_error",
		s->last_error[0] ? json_string(s->last_error) : json_null());
}

int ctl_status(
	struct gp_ctl_request *req, const json_t *args, json_t **result, struct gp_ctl_error *err)
{
	const struct node *n = gp_ctl_request_arg(req);
	(void)args, (void)err;
	json_t *cores = json_array();
	json_t *jobs = json_array();
	for (uint32_t i = 0; i < n->cfg.cores.count; i++)
		json_array_append_new(cores, core_json(n, i));
	for (uint32_t i = 0; i < n->cfg.jobs_count; i++)
		json_array_append_new(jobs, job_json(n, i));
	*result = json_pack("{s:s,s:s,s:s,s:i,s:f,s:I,s:b,s:o,s:o,s:o,s:o,s:o,s:o}", "name",
		n->cfg.node.name, "role", gp_role_name(n->cfg.node.role), "version",
		GRADPLANED_VERSION, "pid", (int)getpid(), "uptime_s",
		(double)(clock_now() - n->started) / 1e9, "epoch", (json_int_t)n->epoch, "insecure",
		n->cfg.node.insecure, "port", port_json(n), "cores", cores, "jobs", jobs,
		"snapshot", snapshot_json(n), "replica", replica_json(n), "leadership",
		leader_json(n));
	return 0;
}
