// SPDX-License-Identifier: BSD-3-Clause
//
// The beginning and the end of a replay: what a dump says of its node, and the engine that is made
// of it.
#include "replay_priv.h"

#include "embed.h"

#include <errno.h>
#include <stdio.h>

#define CELLS_OWN 1024		   // of the recorder that reads the replay's verdicts
#define NEVER_NS  (UINT64_MAX / 4) // the silence of members is taken as recorded

static int refuse(char err[GP_REPLAY_TEXT_SIZE], const char *why)
{
	snprintf(err, GP_REPLAY_TEXT_SIZE, "%s", why);
	return -EINVAL;
}

static bool part_find(
	const struct gp_flight_file *f, uint32_t type, uint32_t id, struct gp_flight_part *p)
{
	for (uint64_t pos = 0; gp_flight_next(f, &pos, p);)
		if (p->type == type && p->id == id)
			return true;
	return false;
}

static int node_read(
	const struct gp_flight_file *f, struct flight_node *n, char err[GP_REPLAY_TEXT_SIZE])
{
	struct gp_flight_part p;
	if (!part_find(f, GP_FLIGHT_NODE, 0, &p) || p.size != sizeof(*n))
		return refuse(err, "no node in it, or one of another release");
	memcpy(n, p.bytes, sizeof(*n));
	n->version[sizeof(n->version) - 1] = '\0';
	n->text[sizeof(n->text) - 1] = '\0';
	if (n->decision_size != sizeof(struct flight_decision) ||
		n->command_size != sizeof(struct flight_command))
		return refuse(
			err, "another release of gradplane wrote it: replay it with that one");
	if (n->cores_count < 1 || n->cores_count > GP_ENGINE_CORES_MAX)
		return refuse(err, "the number of cores is not legal");
	if (n->ring_size > 1u << 20 || n->sessions_max > GP_ENGINE_SESSIONS_MAX ||
		n->payload_max > GP_WIRE_DATAGRAM_MAX)
		return refuse(err, "the limits of the node are not legal");
	return 0;
}

int gp_replay_node_of(
	const struct gp_flight_file *f, struct gp_replay_node *out, char err[GP_REPLAY_TEXT_SIZE])
{
	struct flight_node n;
	struct gp_flight_part config;
	int rc = node_read(f, &n, err);
	if (rc != 0)
		return rc;
	*out = (struct gp_replay_node){.cores_count = n.cores_count,
		.epoch = n.epoch,
		.payload_max = n.payload_max,
		.payloads = n.payloads,
		.cause = n.cause};
	memcpy(out->version, n.version, sizeof(n.version));
	memcpy(out->text, n.text, sizeof(n.text));
	if (part_find(f, GP_FLIGHT_CONFIG, 0, &config)) {
		out->config = (const char *)config.bytes;
		out->config_len = config.size;
	}
	return 0;
}

static void *zeros_take(struct gp_replay *r, size_t size)
{
	return r->cfg.take(r->cfg.mem_arg, size);
}

static int engine_make(struct gp_replay *r)
{
	const struct gp_engine_config *cfg = &r->cfg;
	struct gp_xport *xports[GP_ENGINE_CORES_MAX];
	const struct flight_node *n = &r->node;
	r->sessions = zeros_take(r, sizeof(*r->sessions) * n->sessions_max);
	r->cores = zeros_take(r, sizeof(*r->cores) * n->cores_count);
	r->jobs_cfg = zeros_take(r, sizeof(*r->jobs_cfg) * cfg->jobs_count);
	if (!r->sessions || !r->cores || !r->jobs_cfg)
		return -ENOMEM;
	memcpy(r->jobs_cfg, cfg->jobs, sizeof(*r->jobs_cfg) * cfg->jobs_count);
	for (uint32_t i = 0; i < cfg->jobs_count; i++)
		r->jobs_cfg[i].timeout_ns = NEVER_NS;
	for (uint32_t i = 0; i < n->cores_count; i++) {
		r->cores[i].r = r;
		r->cores[i].xport =
			(struct gp_xport){.ops = &replay_xport_ops, .mtu = GP_WIRE_DATAGRAM_MAX};
		xports[i] = &r->cores[i].xport;
	}
	r->cfg.jobs = r->jobs_cfg;
	r->cfg.cores_count = n->cores_count;
	r->cfg.epoch = n->epoch;
	r->cfg.sessions_max = n->sessions_max;
	// Decisions are recorded one by one, however they came.
	r->cfg.ring_size = GP_MAX(n->ring_size, 2 * CMDS_PER_BURST);
	r->cfg.payload_max = n->payload_max;
	r->cfg.base_port = n->base_port;
	r->cfg.hello_rate = 1;
	r->cfg.seed = 1;
	r->cfg.flight_cells = CELLS_OWN;
	r->cfg.flight_payloads = false;
	int rc = gp_engine_create(&r->e, &r->cfg, xports);
	for (uint32_t i = 0; rc == 0 && i < n->cores_count; i++)
		r->e->cores[i].commands_max = UINT32_MAX;
	return rc;
}

// Which rows go hangs on the places that a secret gives them, and on how often a core looked at its
// tables while nothing came: neither is recorded.
bool replay_job_evicts(const struct gp_job_config *cfg)
{
	bool evicts = false;
	for (uint32_t i = 0; cfg_embeds(cfg) && i < cfg->tables_count; i++)
		evicts |= cfg->tables[i].eviction != GP_ROWS_EVICT_NONE;
	return evicts;
}

// Of pushed rows only their bytes tell which they are: headers are not enough.
bool replay_job_is_kept(const struct gp_replay *r, uint32_t id)
{
	const struct gp_job_config *cfg = &r->e->jobs_cfg[r->e->job_idx[id]];
	return !cfg_embeds(cfg) || (r->node.payloads && !replay_job_evicts(cfg));
}

static void cores_begin(struct gp_replay *r, const struct gp_flight_file *f)
{
	struct gp_flight_part p;
	r->begin = UINT64_MAX;
	for (uint32_t i = 0; i < r->cfg.cores_count; i++) {
		struct replay_core *rc = &r->cores[i];
		if (part_find(f, GP_FLIGHT_RING, i, &p)) {
			gp_flight_cursor_init(&rc->main.cursor, &p);
			replay_ring_step(&rc->main);
		}
		if (part_find(f, GP_FLIGHT_RING, FLIGHT_RING_QUIET + i, &p)) {
			gp_flight_cursor_init(&rc->quiet.cursor, &p);
			replay_ring_step(&rc->quiet);
		}
		r->result.wrapped |= rc->main.cursor.wrapped;
		for (uint32_t id = 1; id <= GP_ENGINE_JOBS_MAX; id++) {
			rc->started[id] = !rc->main.cursor.wrapped &&
					  (!r->jobs[id].layout || replay_job_is_kept(r, id));
			rc->told[id] = r->jobs[id].layout ? r->jobs[id].layout->first_decision : 0;
		}
		r->begin = GP_MIN(r->begin, replay_core_time(rc));
	}
}

static void sessions_begin(struct gp_replay *r, const struct gp_flight_file *f)
{
	struct gp_flight_part present = {0}, control;
	(void)part_find(f, GP_FLIGHT_SESSION, 0, &present);
	if (!part_find(f, GP_FLIGHT_RING, FLIGHT_RING_CONTROL, &control))
		return;
	replay_sessions_read(r, &present, &control);
	gp_flight_cursor_init(&r->control.cursor, &control);
	replay_ring_step(&r->control);
}

static int replay_make(struct gp_replay *r)
{
	int rc = engine_make(r);
	if (rc != 0)
		snprintf(r->err, sizeof(r->err), "the engine cannot be made: %s", strerror(-rc));
	if (rc == 0)
		rc = replay_jobs_read(r, r->f, r->err);
	if (rc != 0)
		return rc;
	cores_begin(r, r->f);
	sessions_begin(r, r->f);
	return 0;
}

int gp_replay_create(struct gp_replay **out, const struct gp_flight_file *f,
	const struct gp_engine_config *cfg, char err[GP_REPLAY_TEXT_SIZE])
{
	struct flight_node n;
	*out = NULL;
	int rc = node_read(f, &n, err);
	if (rc != 0)
		return rc;
	if (n.standby)
		return refuse(err, "it is of a standby, which decides nothing");
	struct gp_replay *r = cfg->take(cfg->mem_arg, sizeof(*r));
	if (!r)
		return -ENOMEM;
	*r = (struct gp_replay){.cfg = *cfg,
		.f = f,
		.node = n,
		.take = cfg->take,
		.give = cfg->give,
		.mem_arg = cfg->mem_arg};
	r->cfg.take = replay_take;
	r->cfg.give = replay_give;
	r->cfg.mem_arg = r;
	if (!replay_guarded(r, replay_make, &rc, r->err))
		rc = -EINVAL;
	if (rc == 0) {
		*out = r;
		return 0;
	}
	memcpy(err, r->err, GP_REPLAY_TEXT_SIZE);
	gp_replay_destroy(r);
	return rc;
}

void gp_replay_destroy(struct gp_replay *r)
{
	if (!r)
		return;
	if (!r->failed)
		gp_engine_destroy(r->e);
	replay_give_all(r);
	r->give(r->mem_arg, r);
}

const struct gp_replay_result *gp_replay_result(const struct gp_replay *r)
{
	return &r->result;
}

struct gp_engine *gp_replay_engine(struct gp_replay *r)
{
	return r->e;
}
