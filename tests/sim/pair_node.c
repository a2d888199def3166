// SPDX-License-Identifier: BSD-3-Clause
//
// A node as the daemon wires it: gates, feeder and releases while it leads, follower and image
// while it does not, the rules of leadership between both.
#include "pair.h"
#include "pair_mem.h"

#include <errno.h>
#include <stdlib.h>

#define JOB_ID	     1
#define BASE_PORT    9700
#define SILENT_NS    (5 * MS)
#define PING_NS	     (1 * MS)
#define POLL_NS	     (10 * MS)
#define PIPE_SIZE    (1u << 18)
#define FED_AGAIN    397 // turns
#define IMAGE_MAX    (UINT64_C(64) << 20)
#define RESTART_NS   (2 * MS)
#define DIGEST_EVERY 2
#define TURNS_MAX    8

static bool has_backup(const struct pair_node *n)
{
	return n->rules.mine.record.backup != GP_LEAD_NODE_NONE;
}

static struct pair_node *peer_of(struct pair_node *n)
{
	return &n->s->node[1 - n->idx];
}

// ---- what the primary tells its backup

static void layout_fill(const struct pair_node *n, struct gp_image_layout *l,
	struct gp_image_tensor tensors[MODEL_TENSORS_MAX])
{
	struct gp_job_view v;
	struct gp_tensor_view t;
	gp_engine_job_view(n->engine, 0, &v);
	*l = (struct gp_image_layout){.name = "sim",
		.id = JOB_ID,
		.kind = v.kind,
		.atomicity = v.atomicity,
		.arrays_count = v.kind == GP_KIND_TRAIN
					? 1 + (uint8_t)gp_optim_states(n->s->job.optim.kind)
					: 1,
		.ranks = pair_is_async(n->s) ? (uint16_t)v.workers : 0,
		.block_elems = v.block_elems,
		.tensors_count = v.tensors_count,
		.tensors = tensors};
	for (uint32_t i = 0; gp_engine_tensor_view(n->engine, 0, i, &t); i++) {
		tensors[i] = (struct gp_image_tensor){.dims_count = t.dims_count};
		memcpy(tensors[i].dims, t.dims, sizeof(t.dims[0]) * t.dims_count);
		strncpy(tensors[i].name, t.name, sizeof(tensors[i].name) - 1);
		pair_rows_layout(n, i, &tensors[i]);
	}
}

static void on_base(void *arg, const struct gp_backup_base *b)
{
	struct pair_node *n = arg;
	struct gp_image_tensor tensors[MODEL_TENSORS_MAX];
	struct gp_image_layout l;
	struct gp_stream_error err;
	layout_fill(n, &l, tensors);
	if (gp_feeder_base(n->feeder, 0, &l, b, &err) != 0)
		pair_broken(n->s, "node %u: base: %s", n->idx, err.text);
	n->based = true;
	n->s->stats.bases++;
}

static void on_decided(void *arg, uint32_t idx, const struct gp_decision *d)
{
	struct pair_node *n = arg;
	struct gp_stream_error err;
	pair_check_told(n, d);
	if (n->based && gp_feeder_decide(n->feeder, idx, d, &err) != 0)
		pair_broken(n->s, "node %u: decision %u: %s", n->idx, d->number, err.text);
}

static bool on_block(
	void *arg, uint32_t idx, uint32_t block, uint32_t step, struct gp_backup_block *out)
{
	return gp_backup_block(((struct pair_node *)arg)->engine, idx, block, step, out);
}

static bool on_ranks(void *arg, uint32_t idx, uint32_t generation, struct gp_backup_ranks *out)
{
	return gp_backup_ranks(((struct pair_node *)arg)->engine, idx, generation, out);
}

static uint64_t on_applied(
	void *arg, uint32_t idx, uint32_t generation, uint32_t rank, uint32_t first)
{
	return gp_backup_applied(((struct pair_node *)arg)->engine, idx, generation, rank, first);
}

static void release(struct pair_node *n)
{
	struct gp_feeder_view v;
	if (!gp_feeder_view(n->feeder, 0, &v) || !v.based)
		return;
	bool alone = gp_lead_may_release(&n->rules, 0);
	uint32_t target = alone ? v.shipped : v.acked;
	bool may = alone ? v.shipped_valid : gp_lead_may_release(&n->rules, v.acked_epoch);
	if (!may || !gp_before(v.released, target))
		return;
	if (gp_backup_release(n->engine, 0, target) &&
		gp_feeder_released(n->feeder, 0, target) != 0)
		pair_broken(n->s, "node %u releases %u, which was never sent", n->idx, target);
}

// What the backup says it holds is what the primary has.
static void on_held(void *arg, uint32_t idx, uint32_t decision, uint32_t epoch)
{
	struct pair_node *n = arg;
	struct gp_image_view v;
	uint64_t here, there;
	(void)idx;
	const struct gp_image *m = peer_of(n)->image;
	bool current = epoch != 0 && m && gp_image_find(m, JOB_ID, &v) && v.based &&
		       v.point.decision == decision && v.generation != GP_IMAGE_NONE;
	if (current && gp_engine_digest(n->engine, 0, v.generation, &here) == 0 &&
		gp_image_digest(m, JOB_ID, v.generation, &there) == 0) {
		n->s->stats.digests++;
		if (here != there)
			pair_broken(n->s, "generation %u differs at the backup", v.generation);
	}
	if (epoch != 0)
		release(n);
}

static void on_diverged(void *arg, uint32_t idx, uint32_t step, uint64_t ours, uint64_t theirs)
{
	struct pair_node *n = arg;
	(void)idx, (void)ours, (void)theirs;
	pair_broken(n->s, "node %u: generation %u differs at its peer", n->idx, step);
}

static void gates_set(struct pair_node *n, bool closed)
{
	if (n->fed)
		gp_stream_set_feeder(n->stream, NULL);
	n->fed = n->turned = n->based = false;
	n->closed = closed;
	gp_feeder_drop(n->feeder, 0);
}

// As after an error of the feeder: the job begins anew at a backup that has promised to hold it.
static void feed_again(struct pair_node *n)
{
	gp_feeder_drop(n->feeder, 0);
	n->turned = n->based = false;
}

static void gates_turn(struct pair_node *n)
{
	if (n->fed && has_backup(n) && n->s->seed % 5 == 2 && n->s->turn % FED_AGAIN == 7)
		feed_again(n);
	bool wanted = has_backup(n) || n->rules.holding || (n->peer_known && n->stream_open);
	if (wanted != n->closed)
		gates_set(n, wanted);
	if (!n->turned && gp_backup_gate(n->engine, 0, n->closed)) {
		n->turned = true;
		n->turned_at = n->s->turn;
	}
}

// Every core has seen the gate turn, and a job that has decided anything has its base.
static bool base_is_there(const struct pair_node *n)
{
	struct gp_job_view v;
	gp_engine_job_view(n->engine, 0, &v);
	return n->turned && n->s->turn > n->turned_at + 2 && (n->based || !v.ready);
}

static void input_take(struct pair_node *n)
{
	struct gp_stream_error err;
	size_t used;
	if (gp_stream_input(n->stream, n->in, n->in_len, &used, &err) != 0) {
		n->stream_broken = true;
		return;
	}
	memmove(n->in, n->in + used, n->in_len - used);
	n->in_len -= used;
}

static void stream_turn(struct pair_node *n)
{
	struct gp_stream_error err;
	if (!n->stream_open || n->stream_broken)
		return;
	bool paused = gp_stream_pauses(n->stream);
	if (gp_stream_turn(n->stream, &err) != 0)
		n->stream_broken = true;
	else if (paused && !gp_stream_pauses(n->stream))
		input_take(n);
}

static void primary_turn(struct pair_node *n)
{
	const struct gp_backup_sink sink = {.arg = n, .base = on_base, .decided = on_decided};
	gates_turn(n);
	uint32_t room = n->closed ? gp_feeder_room(n->feeder) : 64;
	(void)gp_backup_poll(n->engine, &sink, GP_MIN(room, 64));
	if (n->closed && !n->fed && n->stream_open && n->peer_known && base_is_there(n)) {
		gp_stream_set_feeder(n->stream, n->feeder);
		n->fed = true;
	}
	stream_turn(n);
	release(n);
}

// ---- roles

static void follower_end(struct pair_node *n)
{
	gp_stream_set_follower(n->stream, NULL);
	gp_follower_destroy(n->follower);
	gp_image_destroy(n->image);
	n->follower = NULL;
	n->image = NULL;
}

static void feeder_begin(struct pair_node *n)
{
	const struct gp_feeder_opts o = {.jobs_count = 1,
		.window = 16u << rng_below(&n->s->rng, 6),
		.digest_every = DIGEST_EVERY,
		.seed = rng_next(&n->s->rng),
		.arg = n,
		.block = on_block,
		.ranks = on_ranks,
		.applied = on_applied,
		.engine = n->engine,
		.held = on_held,
		.diverged = on_diverged};
	follower_end(n);
	if (gp_feeder_create(&n->feeder, &o) != 0)
		pair_broken(n->s, "no memory");
	n->leading = true;
	pair_leads(n->s);
	n->closed = n->turned = n->based = n->fed = false;
}

// The other end learns by its next hello, or by this, what record this node acts by.
static void record_tell(struct pair_node *n)
{
	struct gp_stream_error err;
	const struct gp_lead_rules *r = &n->rules;
	const struct gp_lead_held *h = r->role != GP_LEAD_OUT ? &r->mine : &r->seen;
	if (n->stream_open && n->peer_known && h->exists)
		(void)!gp_stream_record(n->stream, &h->record, &err);
}

static void role_follow(struct pair_node *n)
{
	const struct gp_lead_rules *r = &n->rules;
	if (n->leading)
		gp_feeder_epoch(n->feeder, r->mine.record.epoch);
	else
		gp_follower_epoch(
			n->follower, r->role == GP_LEAD_BACKUP ? r->mine.record.epoch : 0);
	record_tell(n);
}

// It goes on from its image, which holds whatever was released.
static void lead_begin(struct pair_node *n)
{
	struct gp_image_view v;
	struct gp_restore x;
	struct gp_registrar *r = gp_engine_registrar(n->engine);
	gp_stream_set_follower(n->stream, NULL);
	if (pair_both_leads(n)) {
		feeder_begin(n);
		return;
	}
	bool any = gp_image_restore(n->image, JOB_ID, &x) == 0;
	pair_check_promoted(n, any && gp_image_find(n->image, JOB_ID, &v) ? &v : NULL);
	int rc = any ? -EBUSY : 0;
	for (uint32_t i = 0; rc == -EBUSY && i < 1000; i++) {
		rc = gp_registrar_restore(r, JOB_ID, &x);
		(void)gp_registrar_poll(r, pair_now(n->s, n->idx));
		gp_rcu_quiescent();
		gp_rcu_grace_turn(gp_engine_grace(n->engine));
	}
	if (rc != 0)
		pair_broken(n->s, "node %u: restore: %d", n->idx, rc);
	n->epoch = n->rules.mine.record.epoch;
	if (gp_registrar_promote(r, n->epoch) != 0)
		pair_broken(n->s, "node %u: it cannot lead epoch %u", n->idx, n->epoch);
	feeder_begin(n);
}

// What was verified and waits is loaded first.
static bool snaps_promote(struct pair_node *n)
{
	struct gp_registrar *r = gp_engine_registrar(n->engine);
	for (uint32_t i = 0; n->snaps.pending[0] && i < 1000; i++) {
		pair_snaps_load(n);
		(void)gp_registrar_poll(r, pair_now(n->s, n->idx));
		gp_rcu_quiescent();
		gp_rcu_grace_turn(gp_engine_grace(n->engine));
	}
	if (!pair_snaps_set_aside(n)) {
		n->stop_due = n->alive;
		return false;
	}
	pair_operator_leads(n);
	if (gp_registrar_promote(r, n->epoch) != 0)
		pair_broken(n->s, "node %u: it cannot lead epoch %u", n->idx, n->epoch);
	return true;
}

// It goes on from the newest snapshot that it has: as what its file says, or promoted.
static void snaps_lead_begin(struct pair_node *n)
{
	n->epoch = n->rules.mine.record.epoch;
	if (n->s->op.primary != n->idx) {
		if (!snaps_promote(n))
			return;
	} else {
		gp_engine_destroy(n->engine);
		pair_engine_start(n, false, n->epoch);
		pair_operator_leads(n);
		pair_snaps_restore(n);
	}
	n->leading = true;
	pair_leads(n->s);
}

static void snaps_role_turn(struct pair_node *n, enum gp_lead_turn turn)
{
	if (turn == GP_LEAD_TURN_STOPPED && n->leading)
		n->stop_due = true;
	else if (n->rules.role == GP_LEAD_PRIMARY && !n->leading)
		snaps_lead_begin(n);
}

static void role_turn(struct pair_node *n, enum gp_lead_turn turn)
{
	if (turn == GP_LEAD_TURN_NONE)
		return;
	if (n->s->periodic) {
		snaps_role_turn(n, turn);
		return;
	}
	if (turn == GP_LEAD_TURN_STOPPED && n->leading) {
		n->stop_due = true;
		return;
	}
	if (turn == GP_LEAD_TURN_STOPPED) {
		n->offered = false;
		gp_follower_reset(n->follower);
	} else if (n->rules.role == GP_LEAD_PRIMARY && !n->leading) {
		lead_begin(n);
	}
	role_follow(n);
}

static struct gp_lead_todo rules_feed(struct pair_node *n, const struct gp_lead_event *ev)
{
	struct gp_stream_error err;
	struct gp_lead_todo todo = gp_lead_rules_event(&n->rules, ev);
	n->read_due |= todo.read;
	n->swap_due |= todo.swap;
	role_turn(n, todo.turn);
	if (todo.offer && n->stream_open)
		(void)!gp_stream_offer(n->stream, &n->rules.to, &err);
	return todo;
}

void pair_node_event(
	struct pair_node *n, enum gp_lead_event_kind kind, const struct gp_lead_record *record)
{
	struct gp_lead_event ev = {.kind = kind};
	if (record)
		ev.held.record = *record;
	(void)rules_feed(n, &ev);
}

void pair_node_answer(struct pair_node *n, const struct gp_lead_event *ev)
{
	(void)rules_feed(n, ev);
	if (ev->kind == GP_LEAD_EV_RECORD && pair_operator_fences(n))
		pair_node_event(n, GP_LEAD_EV_FENCED, NULL);
}

// ---- the stream

static void on_hello(void *arg, const struct gp_stream_hello *peer)
{
	struct pair_node *n = arg;
	bool known = n->peer.life != 0;
	bool restarted = known ? n->peer.life != peer->life || (!peer->holding && n->peer.holding)
			       : !peer->holding;
	n->peer = *peer;
	n->peer_known = true;
	n->silent_told = false;
	gp_stream_set_feeder(n->stream, n->fed ? n->feeder : NULL);
	gp_stream_set_follower(n->stream, n->follower);
	pair_node_event(n, GP_LEAD_EV_PEER_HEARD, NULL);
	if (restarted)
		pair_node_event(n, GP_LEAD_EV_PEER_RESTARTED, NULL);
	if (peer->has_record)
		pair_node_event(n, GP_LEAD_EV_PEER_RECORD, &peer->record);
}

static void on_record(void *arg, const struct gp_lead_record *record)
{
	pair_node_event(arg, GP_LEAD_EV_PEER_RECORD, record);
}

static void on_offered(void *arg, const struct gp_lead_record *to)
{
	struct pair_node *n = arg;
	n->offered = true;
	n->offer = *to;
}

static void on_whole(void *arg, uint64_t nonce)
{
	const struct gp_lead_record record = {.nonce = nonce};
	pair_node_event(arg, GP_LEAD_EV_PEER_WHOLE, &record);
}

static void on_pong(void *arg, uint64_t stamp)
{
	(void)arg, (void)stamp;
}

static void offer_try(struct pair_node *n)
{
	const struct gp_lead_event ev = {.kind = GP_LEAD_EV_OFFERED, .held = {.record = n->offer}};
	struct gp_stream_error err;
	if (!rules_feed(n, &ev).accept)
		return;
	n->offered = false;
	if (n->stream_open && n->peer_known)
		(void)!gp_stream_whole(n->stream, n->offer.nonce, &err);
}

void pair_stream_open(struct pair_node *n)
{
	const struct gp_lead_rules *r = &n->rules;
	const struct gp_lead_held *h = r->role != GP_LEAD_OUT ? &r->mine : &r->seen;
	const struct gp_stream_hello self = {.product = "sim",
		.node = n->idx,
		.life = n->life,
		.holding = r->role != GP_LEAD_OUT,
		.has_record = h->exists,
		.record = h->record};
	struct gp_stream_error err;
	gp_stream_pipe_clear(&n->out);
	n->in_len = 0;
	n->stream_broken = gp_stream_open(n->stream, &self, &err) != 0;
	n->stream_open = true;
}

void pair_stream_close(struct pair_node *n)
{
	if (!n->stream_open)
		return;
	gp_stream_set_feeder(n->stream, NULL);
	gp_stream_set_follower(n->stream, NULL);
	gp_stream_close(n->stream);
	n->stream_open = n->peer_known = n->offered = n->ready_told = false;
}

void pair_node_input(struct pair_node *n, const uint8_t *bytes, size_t len)
{
	GP_ASSERT(n->in_len + len <= PAIR_IN_SIZE);
	memcpy(n->in + n->in_len, bytes, len);
	n->in_len += len;
	n->heard_at = pair_now(n->s, n->idx);
	if (n->stream_broken)
		return;
	input_take(n);
}

// ---- turns

static void held_deliver(struct pair_node *n)
{
	for (uint32_t i = 0; i < n->held_count; i++)
		gp_core_rx(gp_engine_core(n->engine, n->held_at[i]), &n->held[i], 1, n->turn_at);
	n->held_count = 0;
}

static void engine_turn(struct pair_node *n)
{
	for (uint32_t k = 0; k < n->s->cores[n->idx]; k++)
		(void)gp_core_tick(gp_engine_core(n->engine, k), n->turn_at);
	(void)gp_registrar_poll(gp_engine_registrar(n->engine), n->turn_at);
	gp_rcu_quiescent();
	gp_rcu_grace_turn(gp_engine_grace(n->engine));
	if (n->leading)
		pair_async_tap(n);
}

static void clocks_turn(struct pair_node *n)
{
	uint64_t now = n->turn_at;
	struct gp_stream_error err;
	if (!n->s->periodic && now > n->heard_at + SILENT_NS && !n->silent_told) {
		n->silent_told = true;
		if (n->stream_open)
			n->stream_broken = true; // it is given up, as a broken one is
		pair_node_event(n, GP_LEAD_EV_PEER_SILENT, NULL);
	}
	if (n->stream_open && n->peer_known && now >= n->ping_at) {
		n->ping_at = now + PING_NS;
		(void)!gp_stream_ping(n->stream, now, &err);
	}
	if (now >= n->poll_at) {
		n->poll_at = now + POLL_NS;
		n->read_due = true;
	}
	if (!n->ask.open && (n->swap_due || n->read_due)) {
		bool swap = n->swap_due;
		n->swap_due = swap ? false : n->swap_due;
		n->read_due = swap ? n->read_due : false;
		pair_register_ask(n, swap);
	}
}

static void offers_turn(struct pair_node *n)
{
	if (n->offered)
		offer_try(n);
	bool ready = n->leading && n->fed && n->stream_open && gp_feeder_ready(n->feeder);
	bool news = ready && !n->ready_told;
	n->ready_told = ready;
	if (news || (ready && !has_backup(n) && !n->rules.holding))
		pair_node_event(n, GP_LEAD_EV_PEER_READY, NULL);
}

void pair_node_turn(struct pair_node *n)
{
	struct pair_sim *s = n->s;
	if (!n->alive) {
		if (s->now >= n->back_at)
			pair_node_start(s, n->idx);
		return;
	}
	if (s->now < n->awake_at)
		return;
	uint64_t last = n->turn_at;
	n->turn_at = pair_now(s, n->idx);
	bool slept = n->awake_at != 0 || n->turn_at > last + SILENT_NS / 2;
	n->awake_at = 0;
	if (slept && rng_next(&s->rng) & 1)
		pair_node_event(n, GP_LEAD_EV_STALLED, NULL);
	if (n->held_count > 0)
		held_deliver(n);
	engine_turn(n);
	if (s->periodic)
		pair_snaps_turn(n);
	else if (n->leading)
		primary_turn(n);
	else
		stream_turn(n);
	if (s->op.saves)
		pair_snaps_write_turn(n);
	if (!n->alive)
		return;
	if (slept)
		pair_node_event(n, GP_LEAD_EV_STALLED, NULL);
	clocks_turn(n);
	if (!s->periodic && n->alive)
		offers_turn(n);
	if (n->stop_due)
		pair_node_kill(n, RESTART_NS);
}

// ---- life

static void on_out(void *arg, uint16_t job, const struct gp_decision *d)
{
	(void)job;
	pair_check_out(arg, d);
}

static void on_cut(void *arg, uint16_t job, uint32_t step, uint32_t decision)
{
	(void)job;
	pair_snaps_cut(arg, step, decision);
}

void pair_engine_start(struct pair_node *n, bool standby, uint32_t epoch)
{
	struct pair_sim *s = n->s;
	const struct gp_engine_config cfg = {.cores_count = s->cores[n->idx],
		.base_port = BASE_PORT,
		.epoch = epoch,
		.sessions_max = 64,
		.ring_size = 256,
		.payload_max = s->o.payload_max,
		.standby = standby,
		.hello_rate = 1000000,
		.seed = rng_next(&s->rng),
		.jobs_count = 1,
		.jobs = &s->job,
		.take = pair_mem_take,
		.give = pair_mem_give};
	if (gp_engine_create(&n->engine, &cfg, n->x) != 0)
		pair_broken(s, "an engine does not start");
	const struct gp_registrar_events ev = {.arg = n, .decided = on_out, .cut_ready = on_cut};
	gp_registrar_set_events(gp_engine_registrar(n->engine), &ev);
}

static void stream_start(struct pair_node *n)
{
	const struct gp_stream_events ev = {.arg = n,
		.hello = on_hello,
		.record = on_record,
		.offered = on_offered,
		.whole = on_whole,
		.pong = on_pong};
	const struct gp_image_opts io = {.memory_max = IMAGE_MAX};
	struct gp_image_error err;
	bool ok = gp_stream_pipe_init(&n->out, PIPE_SIZE) == 0;
	const struct gp_stream_sink sink = gp_stream_pipe_sink(&n->out);
	ok = ok && gp_stream_create(&n->stream, &sink, &ev) == 0;
	ok = ok && gp_image_create(&n->image, &io, &err) == 0;
	// A cut of tables is settled in several turns.
	const struct gp_follower_opts how = {.image = n->image, .arg = n, .rows_max = 3};
	ok = ok && gp_follower_create(&n->follower, &how) == 0;
	if (!ok)
		pair_broken(n->s, "no memory");
}

void pair_node_start(struct pair_sim *s, uint32_t i)
{
	struct pair_node *n = &s->node[i];
	const struct pair_node kept = *n;
	*n = (struct pair_node){.s = s, .idx = i, .alive = true, .told = kept.told, .in = kept.in};
	memcpy(n->x, kept.x, sizeof(n->x));
	n->life = rng_next(&s->rng) | 1;
	n->heard_at = n->turn_at = pair_now(s, i);
	n->read_due = true;
	pair_engine_start(n, true, 1);
	stream_start(n);
	bool snaps = s->periodic, ok = !snaps || pair_snaps_start(n);
	const struct gp_lead_rules_opts o = {.self = i,
		.automatic = !s->manual,
		.alone = !snaps,
		.founder = snaps ? s->op.primary == i : i == 0,
		.resume = snaps && s->op.primary == i,
		.epoch_min = GP_MAX(n->epoch + 1, 2u),
		.seed = rng_next(&s->rng)};
	gp_lead_rules_init(&n->rules, &o);
	if (!ok && n->alive)
		pair_node_kill(n, RESTART_NS);
}

void pair_node_free(struct pair_node *n)
{
	if (!n->alive)
		return;
	for (uint32_t i = 0; i < n->held_count; i++)
		n->x[0]->ops->release(n->x[n->held_at[i]], n->held[i]);
	if (n->s->periodic || n->s->op.saves)
		pair_snaps_end(n);
	pair_stream_close(n);
	gp_stream_destroy(n->stream);
	gp_feeder_destroy(n->feeder);
	gp_follower_destroy(n->follower);
	gp_image_destroy(n->image);
	gp_stream_pipe_fini(&n->out);
	gp_engine_destroy(n->engine);
	n->alive = false;
}

void pair_node_kill(struct pair_node *n, uint64_t down_ns)
{
	pair_link_down(n->s, 0);
	if (n->s->periodic)
		pair_ship_break(&n->s->node[1 - n->idx]);
	pair_node_free(n);
	n->held_count = 0;
	n->image = NULL;
	n->back_at = n->s->now + down_ns;
}
