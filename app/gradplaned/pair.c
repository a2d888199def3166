// SPDX-License-Identifier: BSD-3-Clause
#include "gradplaned.h"

#include <gp_backup.h>
#include <gp_backup_rows.h>
#include <gp_log.h>

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define EVENTS_PER_TURN 256
#define TURNS_MAX	64
#define RESTORE_MS_MAX	5000
#define DIGEST_EVERY	64		    // generations
#define GIVE_BACK_MAX	(UINT64_C(8) << 20) // of an image, in a turn of control: about 1 ms

static const struct gp_lead_rules *rules_of(const struct node *n)
{
	return &n->leader.rules;
}

static bool has_backup(const struct node *n)
{
	return rules_of(n)->mine.record.backup != GP_LEAD_NODE_NONE;
}

// ---- primary: gates

// Closed while somebody is there who could hold what is decided, or has to.
static bool gates_wanted(const struct node *n)
{
	const struct pair *p = &n->pair;
	return has_backup(n) || rules_of(n)->holding || (p->connected && !p->diverged);
}

static void gates_set(struct node *n, bool closed)
{
	struct pair *p = &n->pair;
	if (p->fed)
		gp_link_set_feeder(p->link, NULL);
	p->fed = false;
	p->closed = closed;
	for (uint32_t i = 0; i < n->cfg.jobs_count; i++) {
		gp_feeder_drop(p->feeder, i);
		p->turned[i] = p->based[i] = false;
	}
}

static void gates_turn(struct node *n)
{
	struct pair *p = &n->pair;
	if (gates_wanted(n) != p->closed)
		gates_set(n, !p->closed);
	for (uint32_t i = 0; i < n->cfg.jobs_count; i++)
		if (!p->turned[i])
			p->turned[i] = gp_backup_gate(n->engine, i, p->closed);
}

// Every job that ever decided anything has its base with the feeder.
static bool bases_are_there(const struct node *n)
{
	const struct pair *p = &n->pair;
	for (uint32_t i = 0; i < n->cfg.jobs_count; i++)
		if (!p->turned[i])
			return false;
	if (!gp_backup_settled(n->engine))
		return false;
	for (uint32_t i = 0; i < n->cfg.jobs_count; i++) {
		struct gp_job_view v;
		gp_engine_job_view(n->engine, i, &v);
		if (v.ready && !p->based[i])
			return false;
	}
	return true;
}

// ---- primary: what goes to the peer

static uint8_t arrays_count(const struct gp_config_job *j)
{
	if (j->kind != GP_JOB_TRAIN)
		return 1;
	const struct gp_optim_params o = gp_config_optim(&j->optimizer);
	return (uint8_t)(1 + gp_optim_states(o.kind));
}

// Of an embed job: the tensor is a table.
static void rows_fill(const struct node *n, uint32_t idx, uint32_t t, struct gp_image_tensor *to)
{
	struct gp_backup_room room;
	if (!gp_backup_table_room(n->engine, idx, t, &room))
		return;
	to->state = room.state;
	to->rows = room.rows;
	to->changes = room.changes;
}

static int layout_fill(const struct node *n, uint32_t idx, struct gp_image_layout *l)
{
	struct gp_job_view v;
	gp_engine_job_view(n->engine, idx, &v);
	struct gp_image_tensor *tensors = calloc(v.tensors_count, sizeof(*tensors));
	if (!tensors)
		return -ENOMEM;
	*l = (struct gp_image_layout){.id = v.id,
		.kind = v.kind,
		.atomicity = v.atomicity,
		.arrays_count = arrays_count(&n->cfg.jobs[idx]),
		.ranks = v.consistency == GP_CONSIST_BSP ? 0 : (uint16_t)v.workers,
		.block_elems = v.block_elems,
		.tensors_count = v.tensors_count,
		.tensors = tensors};
	snprintf(l->name, sizeof(l->name), "%s", v.name);
	for (uint32_t t = 0; t < v.tensors_count; t++) {
		struct gp_tensor_view x;
		GP_ASSERT(gp_engine_tensor_view(n->engine, idx, t, &x));
		tensors[t].dims_count = x.dims_count;
		memcpy(tensors[t].dims, x.dims, sizeof(x.dims[0]) * x.dims_count);
		snprintf(tensors[t].name, sizeof(tensors[t].name), "%s", x.name);
		rows_fill(n, idx, t, &tensors[t]);
	}
	return 0;
}

// The job begins anew with a base.
static void job_feed_again(struct node *n, uint32_t idx, const char *why)
{
	gp_error("job %s: %s: its replica is brought up to date anew", n->cfg.jobs[idx].name, why);
	gp_feeder_drop(n->pair.feeder, idx);
	n->pair.turned[idx] = n->pair.based[idx] = false;
}

static void on_base(void *arg, const struct gp_backup_base *b)
{
	struct node *n = arg;
	struct gp_image_layout l = {0};
	struct gp_stream_error err = {.text = "no memory"};
	int rc = layout_fill(n, b->job_idx, &l);
	if (rc == 0)
		rc = gp_feeder_base(n->pair.feeder, b->job_idx, &l, b, &err);
	if (rc != 0)
		job_feed_again(n, b->job_idx, err.text);
	else
		n->pair.based[b->job_idx] = true;
	free((void *)(uintptr_t)l.tensors);
}

static void on_decided(void *arg, uint32_t idx, const struct gp_decision *d)
{
	struct node *n = arg;
	struct gp_stream_error err;
	if (!n->pair.based[idx])
		return;
	if (gp_feeder_decide(n->pair.feeder, idx, d, &err) != 0)
		job_feed_again(n, idx, err.text);
}

static bool on_block(
	void *arg, uint32_t idx, uint32_t block, uint32_t step, struct gp_backup_block *out)
{
	const struct node *n = arg;
	return gp_backup_block(n->engine, idx, block, step, out);
}

static bool on_ranks(void *arg, uint32_t idx, uint32_t generation, struct gp_backup_ranks *out)
{
	const struct node *n = arg;
	return gp_backup_ranks(n->engine, idx, generation, out);
}

static uint64_t on_applied(
	void *arg, uint32_t idx, uint32_t generation, uint32_t rank, uint32_t first)
{
	const struct node *n = arg;
	return gp_backup_applied(n->engine, idx, generation, rank, first);
}

// Rule 1. False: this much is not held by who has to.
static bool release_target(const struct node *n, const struct gp_feeder_view *v, uint32_t *target)
{
	const struct gp_lead_rules *r = rules_of(n);
	bool alone = gp_lead_may_release(r, 0);
	*target = alone ? v->shipped : v->acked;
	return alone ? v->shipped_valid : gp_lead_may_release(r, v->acked_epoch);
}

static void job_release(struct node *n, uint32_t idx)
{
	struct gp_feeder_view v;
	uint32_t target;
	if (!gp_feeder_view(n->pair.feeder, idx, &v) || !v.based)
		return;
	if (!release_target(n, &v, &target) || !gp_before(v.released, target))
		return;
	if (gp_backup_release(n->engine, idx, target))
		GP_ASSERT(gp_feeder_released(n->pair.feeder, idx, target) == 0);
}

static void on_held(void *arg, uint32_t idx, uint32_t decision, uint32_t epoch)
{
	(void)decision;
	if (epoch != 0)
		job_release(arg, idx);
}

static void on_primary_diverged(
	void *arg, uint32_t idx, uint32_t step, uint64_t ours, uint64_t theirs)
{
	struct node *n = arg;
	n->pair.diverged = true;
	gp_error("job %s: the replica's copy of generation %u differs (digest %016lx, its own "
		 "%016lx): it has stopped, and nothing is released until it holds a good copy: "
		 "restart the replica",
		n->cfg.jobs[idx].name, step, ours, theirs);
}

static struct gp_backup_sink sink_of(struct node *n)
{
	return (struct gp_backup_sink){.arg = n, .base = on_base, .decided = on_decided};
}

static bool primary_turn(struct node *n)
{
	struct pair *p = &n->pair;
	const struct gp_backup_sink sink = sink_of(n);
	gates_turn(n);
	uint32_t room = p->closed ? gp_feeder_room(p->feeder) : EVENTS_PER_TURN;
	uint32_t taken = gp_backup_poll(n->engine, &sink, GP_MIN(room, EVENTS_PER_TURN));
	if (p->closed && !p->fed && p->connected && bases_are_there(n)) {
		gp_link_set_feeder(p->link, p->feeder);
		p->fed = true;
	}
	gp_link_turn(p->link);
	for (uint32_t i = 0; i < n->cfg.jobs_count; i++)
		job_release(n, i);
	return taken > 0;
}

static void pair_turn(struct node *n)
{
	struct pair *p = &n->pair;
	if (p->turning) {
		p->again = true;
		return;
	}
	p->turning = true;
	bool work = true;
	for (uint32_t i = 0; i < TURNS_MAX && work; i++) {
		p->again = false;
		if (p->leading)
			work = primary_turn(n);
		else
			gp_link_turn(p->link);
		work = (p->leading && work) || p->again;
	}
	p->turning = false;
	if (p->leading && !gp_backup_sleep(n->engine) && gp_feeder_room(p->feeder) > 0)
		event_active(p->wake, EV_READ, 0);
}

// ---- what the link tells

static void rules_tell(struct node *n, const struct gp_lead_event *ev)
{
	if (leader_event(n, ev).offer && gp_link_offer(n->pair.link, &rules_of(n)->to) != 0)
		gp_info("replica link: it was lost before the offer");
}

static void on_link_event(void *arg, const struct gp_lead_event *ev)
{
	struct node *n = arg;
	if (ev->kind == GP_LEAD_EV_PEER_SILENT)
		gp_warn("replica link: nothing came from the peer for %u ms",
			n->cfg.replica.timeout_us / 1000);
	rules_tell(n, ev);
	pair_turn(n);
}

static void offer_try(struct node *n)
{
	struct pair *p = &n->pair;
	struct gp_lead_event ev = {.kind = GP_LEAD_EV_OFFERED, .held = {.record = p->offer}};
	struct gp_lead_todo todo = leader_event(n, &ev);
	if (!todo.accept)
		return;
	p->offered = false;
	if (gp_link_whole(p->link, p->offer.nonce) != 0)
		gp_info("replica link: it was lost while the primary waited for an answer");
}

static void on_offered(void *arg, const struct gp_lead_record *to)
{
	struct node *n = arg;
	n->pair.offered = true;
	n->pair.offer = *to;
	offer_try(n);
}

static void on_moved(void *arg)
{
	pair_turn(arg);
}

static void on_follower_diverged(
	void *arg, uint16_t id, uint32_t step, uint64_t ours, uint64_t theirs)
{
	const struct node *n = arg;
	gp_error("job %s: this copy of generation %u differs from the primary's (digest %016lx, "
		 "there %016lx): this replica has stopped; restart it to get a good copy",
		n->cfg.jobs[node_job_idx(n, id)].name, step, ours, theirs);
}

// ---- roles

static int feeder_make(struct node *n)
{
	struct gp_feeder_opts o = {.jobs_count = n->cfg.jobs_count,
		.digest_every = DIGEST_EVERY,
		.arg = n,
		.block = on_block,
		.ranks = on_ranks,
		.applied = on_applied,
		.engine = n->engine,
		.held = on_held,
		.diverged = on_primary_diverged};
	gp_secure_random(&o.seed, sizeof(o.seed));
	return gp_feeder_create(&n->pair.feeder, &o);
}

static int follower_make(struct node *n)
{
	struct pair *p = &n->pair;
	struct gp_image_opts image = {0};
	struct gp_image_error err;
	uint64_t largest = 0; // for a new base beside it
	for (uint32_t i = 0; i < n->cfg.jobs_count; i++) {
		const struct gp_config_job *j = &n->cfg.jobs[i];
		// Rows are kept as f32, also those that are bf16 in the engine.
		uint64_t most = j->memory_max * (j->kind == GP_JOB_EMBED ? 2 : 1);
		image.memory_max += most;
		largest = GP_MAX(largest, most);
	}
	image.memory_max += largest;
	int rc = gp_image_create(&p->image, &image, &err);
	const struct gp_follower_opts how = {
		.image = p->image, .arg = n, .diverged = on_follower_diverged};
	if (rc == 0)
		rc = gp_follower_create(&p->follower, &how);
	if (rc == 0)
		gp_link_set_follower(p->link, p->follower);
	return rc;
}

static void follower_end(struct pair *p)
{
	if (p->link)
		gp_link_set_follower(p->link, NULL);
	gp_follower_destroy(p->follower);
	p->follower = NULL;
	if (!p->image)
		return;
	GP_ASSERT(!p->image_before); // a process makes one image
	gp_image_clear(p->image);
	p->image_before = p->image;
	p->image = NULL;
}

// What an image has let go of, or what is left of one.
static void memory_turn(struct pair *p)
{
	if (p->image)
		(void)gp_image_give_back(p->image, GIVE_BACK_MAX);
	if (!p->image_before || gp_image_give_back(p->image_before, GIVE_BACK_MAX) > 0)
		return;
	gp_image_destroy(p->image_before);
	p->image_before = NULL;
}

// What the link still tells meanwhile finds nothing to feed.
static void feeder_end(struct pair *p)
{
	p->leading = false;
	if (p->link)
		gp_link_set_feeder(p->link, NULL);
	gp_feeder_destroy(p->feeder);
	p->feeder = NULL;
}

void pair_role(struct node *n)
{
	struct pair *p = &n->pair;
	const struct gp_lead_rules *r = rules_of(n);
	if (!p->link)
		return;
	uint32_t epoch = r->mine.record.epoch;
	bool leads = r->role == GP_LEAD_PRIMARY && n->cfg.node.role == GP_ROLE_PRIMARY;
	if (leads && !p->leading) {
		follower_end(p);
		GP_ASSERT(feeder_make(n) == 0);
		p->leading = true;
		p->closed = false;
		memset(p->turned, 0, sizeof(p->turned));
	}
	if (leads)
		gp_feeder_epoch(p->feeder, epoch);
	else if (p->follower)
		gp_follower_epoch(p->follower, r->role == GP_LEAD_BACKUP ? epoch : 0);
	if (r->role != GP_LEAD_OUT)
		gp_link_self(p->link, &r->mine.record, true);
	else
		gp_link_self(p->link, r->seen.exists ? &r->seen.record : NULL, false);
	pair_turn(n);
}

void pair_dropped(struct node *n)
{
	gp_warn("leadership: node %u leads epoch %u without this replica: what it held is void",
		rules_of(n)->seen.record.primary, rules_of(n)->seen.record.epoch);
	n->pair.offered = false;
	if (n->pair.follower)
		gp_follower_reset(n->pair.follower);
	pair_role(n);
}

// ---- promotion

static int job_restore(struct node *n, uint32_t idx, const struct gp_restore *x)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	int rc = -EBUSY;
	for (uint32_t ms = 0; rc == -EBUSY && ms < RESTORE_MS_MAX; ms++) {
		rc = gp_registrar_restore(n->registrar, (uint16_t)n->cfg.jobs[idx].id, x);
		if (rc != -EBUSY)
			break;
		(void)gp_registrar_poll(n->registrar, clock_now());
		gp_rcu_grace_turn(gp_engine_grace(n->engine));
		nanosleep(&pause, NULL);
	}
	if (rc != 0)
		gp_error("job %s: what this node holds of it cannot be loaded: %s%s",
			n->cfg.jobs[idx].name, strerror(-rc),
			rc == -ENOMEM ? " (raise jobs[].memory_max)" : "");
	return rc;
}

static int job_restore_disk(struct node *n, uint32_t idx)
{
	struct restored *r = &n->restored[idx];
	struct snapshot_job *j = &n->snapshots.jobs[idx];
	struct gp_restore x;
	if (!r->snapshot)
		return 0;
	snprintf(j->last_path, sizeof(j->last_path), "%s", gp_snapshot_path(r->snapshot));
	int rc = restore_fill(r->snapshot, &n->cfg.jobs[idx], &x, &r->tensors);
	if (rc == 0)
		rc = job_restore(n, idx, &x);
	if (rc != 0)
		return rc;
	j->written = true;
	j->last_step = x.step;
	j->last_decision = x.decision;
	gp_warn("job %s: goes back to the snapshot of step %u on this disk", n->cfg.jobs[idx].name,
		x.step);
	return 0;
}

int pair_restore(struct node *n)
{
	struct pair *p = &n->pair;
	int rc = 0;
	if (!p->used || !p->image)
		return 0;
	gp_link_set_follower(p->link, NULL);
	p->takeovers++;
	for (uint32_t i = 0; i < n->cfg.jobs_count && rc == 0; i++) {
		struct gp_restore x;
		struct gp_image_view v;
		uint16_t id = (uint16_t)n->cfg.jobs[i].id;
		if (gp_image_restore(p->image, id, &x) == 0)
			rc = job_restore(n, i, &x);
		else if (!gp_image_find(p->image, id, &v) || !v.based)
			rc = job_restore_disk(n, i);
	}
	return rc;
}

// ---- start, turns, end

void pair_init(struct node *n)
{
	n->pair.used = n->cfg.replica.mode == GP_REPLICA_SYNC;
	n->pair.wake_fd = -1;
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	uint64_t count;
	(void)what;
	(void)!read(fd, &count, sizeof(count));
	pair_turn(arg);
}

void pair_wake(const struct node *n)
{
	const uint64_t one = 1;
	(void)!write(n->pair.wake_fd, &one, sizeof(one));
}

static int link_make(struct node *n)
{
	const struct gp_config_replica *c = &n->cfg.replica;
	char listen[ENDPOINT_SIZE], peer[ENDPOINT_SIZE];
	struct gp_replica_tls tls;
	struct gp_stream_error err;
	endpoint_format(&c->listen, listen);
	endpoint_format(&c->peer, peer);
	struct gp_link_opts o = {.listen = c->listen.port ? listen : NULL,
		.peer = c->peer.port ? peer : NULL,
		.product = GRADPLANED_VERSION,
		.node = n->cfg.node.id,
		.silent_ms = c->timeout_us / 1000,
		.tls = replica_tls_fill(n, &tls),
		.arg = n,
		.event = on_link_event,
		.offered = on_offered,
		.moved = on_moved};
	gp_secure_random(&o.life, sizeof(o.life));
	pair_beat_opts(n, &o);
	int rc = gp_link_create(n->control.base, &o, &n->pair.link, &err);
	if (rc != 0)
		gp_error("replica link: %s", err.text);
	return rc;
}

int pair_start(struct node *n)
{
	struct pair *p = &n->pair;
	if (!p->used)
		return 0;
	p->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->wake_fd < 0)
		return -errno;
	p->wake = event_new(n->control.base, p->wake_fd, EV_READ | EV_PERSIST, on_wake, n);
	if (!p->wake || event_add(p->wake, NULL) != 0)
		return -ENOMEM;
	int rc = link_make(n);
	if (rc == 0 && n->cfg.node.role != GP_ROLE_PRIMARY)
		rc = follower_make(n);
	if (rc == 0)
		pair_role(n);
	return rc;
}

void pair_stop(struct node *n)
{
	struct pair *p = &n->pair;
	if (!p->used)
		return;
	feeder_end(p);
	follower_end(p);
	gp_image_destroy(p->image_before);
	p->image_before = NULL;
	gp_link_destroy(p->link);
	p->link = NULL;
	if (p->wake)
		event_free(p->wake);
	if (p->wake_fd >= 0)
		close(p->wake_fd);
}

// A primary that did not run for a while may have been replaced meanwhile.
static void stall_watch(struct node *n, uint64_t now)
{
	struct pair *p = &n->pair;
	const uint64_t limit = (uint64_t)n->cfg.replica.timeout_us * 1000 / 2;
	const struct gp_lead_event ev = {.kind = GP_LEAD_EV_STALLED};
	if (p->tick_at != 0 && now - p->tick_at > limit && p->leading && has_backup(n)) {
		p->stalls++;
		rules_tell(n, &ev);
	}
	p->tick_at = now;
}

static void connection_watch(struct node *n)
{
	struct pair *p = &n->pair;
	struct gp_link_status st;
	gp_link_status(p->link, &st);
	// Of those that end before they are of use the first one is told, and the link tells why.
	if (st.connected && !p->connected_said && st.futile == 0) {
		gp_info("replica link: connected to %s (node %u, %s)", st.peer_addr, st.peer.node,
			st.peer.product);
		p->connected_said = true;
	}
	if (!st.connected && p->connected_said) {
		gp_warn("replica link: lost: %s", st.last_error);
		p->connected_said = false;
	}
	if (!st.connected)
		p->offered = p->diverged = false;
	p->connected = st.connected;
	pair_beat_watch(n, &st);
}

// Anything decided that is not released?
static void waits_note(struct node *n, uint64_t now)
{
	struct pair *p = &n->pair;
	bool waits = false;
	for (uint32_t i = 0; p->leading && p->closed && i < n->cfg.jobs_count; i++) {
		struct gp_feeder_view v;
		waits |= gp_feeder_view(p->feeder, i, &v) && v.based && v.released != v.taken;
	}
	if (!waits)
		p->waits_since = 0;
	else if (p->waits_since == 0)
		p->waits_since = now;
}

void pair_tick(struct node *n, uint64_t now)
{
	struct pair *p = &n->pair;
	if (!p->used)
		return;
	stall_watch(n, now);
	connection_watch(n);
	memory_turn(p);
	if (p->offered)
		offer_try(n);
	bool ready = p->leading && p->fed && !has_backup(n) && !rules_of(n)->holding &&
		     gp_feeder_ready(p->feeder);
	const struct gp_lead_event ev = {.kind = GP_LEAD_EV_PEER_READY};
	if (ready)
		rules_tell(n, &ev);
	pair_turn(n);
	waits_note(n, now);
}
