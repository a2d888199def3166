// SPDX-License-Identifier: BSD-3-Clause
//
// The link of a pair: a primary ships its snapshots; a replica receives them and serves readers
// from the newest one.
#include "gradplaned.h"

#include <gp_log.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define RETRY_NS    UINT64_C(5000000000) // a snapshot that could not be loaded
#define LOAD_MS_MAX 1000		 // before it leads

void endpoint_format(const struct gp_config_endpoint *e, char text[ENDPOINT_SIZE])
{
	bool v6 = strchr(e->host, ':') != NULL;
	snprintf(text, ENDPOINT_SIZE, v6 ? "[%s]:%u" : "%s:%u", e->host, e->port);
}

const struct gp_replica_tls *replica_tls_fill(const struct node *n, struct gp_replica_tls *out)
{
	const struct gp_config_tls *c = &n->cfg.replica.tls;
	*out = (struct gp_replica_tls){
		.cert = c->cert, .key = c->key, .ca = c->ca, .peer_name = c->peer_name};
	return c->cert[0] ? out : NULL;
}

// ---- primary

void replica_ship(struct node *n, const char *path, uint32_t step)
{
	if (!n->replica.sender)
		return;
	int rc = gp_replica_send(n->replica.sender, path, step);
	if (rc != 0)
		gp_error("snapshot %s is not shipped: %s", path, strerror(-rc));
}

static int sender_start(struct node *n)
{
	char peer[ENDPOINT_SIZE];
	struct gp_snapshot_error err;
	endpoint_format(&n->cfg.replica.peer, peer);
	struct gp_replica_tls tls;
	const struct gp_replica_sender_opts opts = {
		.peer = peer, .product = GRADPLANED_VERSION, .tls = replica_tls_fill(n, &tls)};
	int rc = gp_replica_sender_create(n->control.base, &opts, &n->replica.sender, &err);
	if (rc != 0)
		gp_error("replica.peer: %s", err.text);
	for (uint32_t i = 0; rc == 0 && i < n->cfg.jobs_count; i++)
		if (n->snapshots.jobs[i].written) // restored: the replica may lack it
			replica_ship(
				n, n->snapshots.jobs[i].last_path, n->snapshots.jobs[i].last_step);
	return rc;
}

bool replica_is_connected(const struct node *n)
{
	struct gp_replica_status st;
	if (!n->replica.sender)
		return false;
	gp_replica_sender_status(n->replica.sender, NULL, &st);
	return st.connected;
}

bool replica_has_all(const struct node *n)
{
	for (uint32_t i = 0; n->replica.sender && i < n->cfg.jobs_count; i++) {
		struct gp_replica_status st;
		const struct snapshot_job *j = &n->snapshots.jobs[i];
		if (!j->written)
			continue;
		gp_replica_sender_status(n->replica.sender, n->cfg.jobs[i].name, &st);
		if (!st.verified || st.last_step_verified != j->last_step)
			return false;
	}
	return true;
}

// ---- replica

static int job_find(const struct node *n, const char *name)
{
	for (uint32_t i = 0; i < n->cfg.jobs_count; i++)
		if (strcmp(n->cfg.jobs[i].name, name) == 0)
			return (int)i;
	return -1;
}

static void pending_close(struct replica_pending *p)
{
	gp_snapshot_close(p->snapshot);
	p->snapshot = NULL;
}

// 0, -EBUSY (the generation before is still being read), or another -errno, said. It stays open
// while it is only busy: to open it is to prove all of it.
static int pending_load(struct node *n, uint32_t idx)
{
	const struct gp_config_job *job = &n->cfg.jobs[idx];
	struct replica_pending *p = &n->replica.pending[idx];
	struct gp_restore_tensor *tensors = NULL;
	struct gp_snapshot_error err;
	struct gp_restore x;
	int rc = p->snapshot ? 0 : gp_snapshot_open(p->path, &p->snapshot, &err);
	if (rc != 0) {
		p->snapshot = NULL;
		gp_error("job %s: %s", job->name, err.text);
		return rc;
	}
	rc = restore_fill(p->snapshot, job, &x, &tensors);
	if (rc == 0)
		rc = gp_registrar_restore(n->registrar, (uint16_t)job->id, &x);
	if (rc != 0 && rc != -EBUSY)
		gp_error("job %s: the snapshot of step %u is verified but cannot be served: %s%s",
			job->name, p->step, strerror(-rc), restore_advice(rc));
	free(tensors);
	if (rc != -EBUSY)
		pending_close(p);
	return rc;
}

// What was verified counts for the primary: it is tried until it is loaded or a newer one comes.
static void pending_try(struct node *n, uint32_t idx)
{
	struct replica *r = &n->replica;
	struct replica_pending *p = &r->pending[idx];
	int rc = pending_load(n, idx);
	if (rc == -EBUSY)
		return;
	if (rc != 0) {
		r->refused_count += !p->refused;
		p->refused = true;
		p->retry_at = clock_now() + RETRY_NS;
		return;
	}
	p->used = false;
	r->loaded = true;
	r->loaded_step = r->pending[idx].step;
	r->loaded_count++;
	gp_info("job %s: serving readers from step %u", n->cfg.jobs[idx].name, r->loaded_step);
}

static void on_snapshot(
	void *arg, const char *path, const char *job, uint32_t step, uint64_t digest)
{
	struct node *n = arg;
	int idx = job_find(n, job);
	gp_info("job %s: snapshot of step %u received and verified, digest %016lx", job, step,
		digest);
	if (idx < 0) {
		n->replica.refused_count++;
		gp_warn("job %s is not in this configuration: the snapshot is kept, readers cannot "
			"have it",
			job);
		return;
	}
	struct replica_pending *p = &n->replica.pending[idx];
	pending_close(p);
	*p = (struct replica_pending){.used = true, .step = step};
	snprintf(p->path, sizeof(p->path), "%s", path);
	pending_try(n, (uint32_t)idx);
}

void replica_tick(struct node *n)
{
	for (uint32_t i = 0; i < n->cfg.jobs_count; i++) {
		struct gp_replica_status st;
		const struct replica_pending *p = &n->replica.pending[i];
		if (p->used && clock_now() >= p->retry_at)
			pending_try(n, i);
		if (!n->replica.sender)
			continue;
		gp_replica_sender_status(n->replica.sender, n->cfg.jobs[i].name, &st);
		if (st.verified)
			gp_registrar_backed(
				n->registrar, (uint16_t)n->cfg.jobs[i].id, st.last_step_verified);
	}
}

void replica_load_all(struct node *n)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	for (uint32_t i = 0; i < n->cfg.jobs_count; i++) {
		struct replica_pending *p = &n->replica.pending[i];
		p->refused = false;
		for (uint32_t ms = 0; p->used && !p->refused && ms < LOAD_MS_MAX; ms++) {
			pending_try(n, i);
			if (!p->used || p->refused)
				break;
			(void)gp_registrar_poll(n->registrar, clock_now());
			gp_rcu_grace_turn(gp_engine_grace(n->engine));
			nanosleep(&pause, NULL);
		}
		if (p->used)
			gp_error("job %s: the snapshot of step %u was verified, and this node goes "
				 "on without it",
				n->cfg.jobs[i].name, p->step);
	}
}

static int receiver_start(struct node *n)
{
	char listen[ENDPOINT_SIZE];
	struct gp_snapshot_error err;
	struct gp_replica_tls tls;
	endpoint_format(&n->cfg.replica.listen, listen);
	const struct gp_replica_receiver_opts opts = {
		.listen = listen,
		.dir = n->cfg.snapshot.directory,
		.product = GRADPLANED_VERSION,
		.keep = n->cfg.snapshot.keep,
		.tls = replica_tls_fill(n, &tls),
		.on_snapshot = on_snapshot,
		.arg = n,
	};
	int rc = gp_replica_receiver_create(n->control.base, &opts, &n->replica.receiver, &err);
	if (rc != 0)
		gp_error("replica.listen: %s", err.text);
	return rc;
}

// ---- both

int replica_start(struct node *n)
{
	if (n->cfg.replica.mode != GP_REPLICA_SNAPSHOTS)
		return 0;
	return n->cfg.node.role == GP_ROLE_PRIMARY ? sender_start(n) : receiver_start(n);
}

// The newest snapshots received are now this node's own.
int replica_set_aside(struct node *n)
{
	struct gp_snapshot_error err;
	int rc = 0;
	for (uint32_t i = 0; rc == 0 && !n->pair.used && i < n->cfg.jobs_count; i++) {
		const char *job = n->cfg.jobs[i].name;
		struct gp_job_view v;
		uint32_t count = 0;
		gp_engine_job_view(n->engine, i, &v);
		uint32_t step = v.ready ? v.generation : UINT32_MAX; // before all others
		rc = gp_snapshot_rewind(n->cfg.snapshot.directory, job, step, &count, &err);
		if (count > 0)
			gp_warn("job %s: %u snapshots that are later than what this node goes on "
				"from are set aside",
				job, count);
		if (rc != 0)
			gp_error("job %s: %s", job, err.text);
	}
	return rc;
}

void replica_leads(struct node *n)
{
	gp_replica_receiver_destroy(n->replica.receiver);
	n->replica.receiver = NULL;
	for (uint32_t i = 0; i < n->cfg.jobs_count; i++) {
		pending_close(&n->replica.pending[i]);
		n->replica.pending[i].used = false;
	}
}

void replica_stop(struct node *n)
{
	gp_replica_sender_destroy(n->replica.sender);
	gp_replica_receiver_destroy(n->replica.receiver);
	for (uint32_t i = 0; i < n->cfg.jobs_count; i++)
		pending_close(&n->replica.pending[i]);
}

static json_t *link_json(bool connected, bool valid, uint32_t step, const char *last_error)
{
	json_t *o = json_pack("{s:b,s:o,s:b}", "connected", connected, "step",
		valid ? json_integer(step) : json_null(), "verified", valid);
	if (o && last_error[0])
		json_object_set_new(o, "last_error", json_string(last_error));
	return o;
}

json_t *replica_json(const struct node *n)
{
	const struct replica *r = &n->replica;
	if (n->pair.used)
		return pair_json(n);
	if (r->sender) {
		struct gp_replica_status st;
		gp_replica_sender_status(r->sender, NULL, &st);
		return link_json(st.connected, st.verified, st.last_step_verified, st.last_error);
	}
	if (r->receiver) {
		struct gp_replica_receiver_status st;
		gp_replica_receiver_status(r->receiver, &st);
		return link_json(st.peers > 0, r->loaded, r->loaded_step, st.last_error);
	}
	return json_null();
}
