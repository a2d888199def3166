// SPDX-License-Identifier: BSD-3-Clause
//
// What a replay begins with: layouts, sessions, and the state that marks carry.
#include "replay_priv.h"

#include <errno.h>
#include <stdio.h>

struct gp_addr replay_addr(const struct flight_peer *p)
{
	struct gp_addr a = {.port = p->port, .vlan = p->vlan};
	memcpy(a.ip, p->ip, sizeof(a.ip));
	return a;
}

// ---- layouts

static bool tensor_legal(const struct flight_tensor *t)
{
	uint64_t n = 1;
	if (memchr(t->name, 0, sizeof(t->name)) == NULL || t->dims_count > GP_WIRE_DIMS_MAX)
		return false;
	for (uint32_t d = 0; d < t->dims_count; d++)
		if (t->dims[d] == 0 || __builtin_mul_overflow(n, t->dims[d], &n))
			return false;
	return n < UINT64_C(1) << 40;
}

static int job_read(struct gp_replay *r, const struct gp_flight_part *p, char *err)
{
	const struct flight_job *l = (const void *)p->bytes; // sections are aligned to 8
	const struct flight_tensor *t = (const void *)(p->bytes + sizeof(*l));
	bool fits = p->size >= sizeof(*l) && p->id >= 1 && p->id <= GP_ENGINE_JOBS_MAX &&
		    l->id == p->id && r->e->job_idx[p->id] != NONE_U16;
	if (!fits) {
		snprintf(err, GP_REPLAY_TEXT_SIZE, "a job that the configuration does not have");
		return -EINVAL;
	}
	const struct gp_job_config *cfg = &r->e->jobs_cfg[r->e->job_idx[p->id]];
	uint32_t fresh = cfg->kind == GP_KIND_TRAIN ? UINT32_MAX : 0;
	if (cfg_is_async(cfg) && cfg->kind != GP_KIND_REDUCE && l->first_generation != fresh) {
		snprintf(err, GP_REPLAY_TEXT_SIZE,
			"job %s is asynchronous and began with a snapshot: how far each rank was "
			"then is not in the dump",
			cfg->name);
		return -EINVAL;
	}
	fits = l->tensors_count <= cfg->tensors_max &&
	       p->size == sizeof(*l) + sizeof(*t) * (uint64_t)l->tensors_count &&
	       l->block_elems > 0 && l->block_elems % 16 == 0 &&
	       l->block_elems <= GP_CODEC_ELEMS_MAX;
	for (uint32_t i = 0; fits && i < l->tensors_count; i++)
		fits = tensor_legal(&t[i]);
	if (!fits) {
		snprintf(err, GP_REPLAY_TEXT_SIZE, "job %s: its layout is not legal", cfg->name);
		return -EINVAL;
	}
	r->jobs[p->id] = (struct replay_job){.layout = l, .tensors = t};
	return 0;
}

int replay_jobs_read(struct gp_replay *r, const struct gp_flight_file *f, char *err)
{
	struct gp_flight_part p;
	for (uint64_t pos = 0; gp_flight_next(f, &pos, &p);) {
		int rc = p.type == GP_FLIGHT_JOB ? job_read(r, &p, err) : 0;
		if (rc != 0)
			return rc;
	}
	return 0;
}

static void tensor_fill(struct job_tensor *to, const struct flight_tensor *t)
{
	*to = (struct job_tensor){.dims_count = t->dims_count, .priority = t->priority, .elems = 1};
	memcpy(to->name, t->name, sizeof(to->name));
	memcpy(to->dims, t->dims, sizeof(to->dims));
	for (uint32_t d = 0; d < t->dims_count; d++)
		to->elems *= t->dims[d];
}

// Where a restored job began: nothing of its values is in a dump.
static int job_zeros(struct gp_replay *r, struct replay_job *rj, struct gp_job *j,
	struct gp_restore_tensor *rt, uint32_t generation)
{
	uint64_t most = 0;
	for (uint32_t t = 0; t < j->tensors_count; t++)
		most = GP_MAX(most, j->tensors[t].elems);
	rj->zeros = r->cfg.take(r->cfg.mem_arg, sizeof(float) * most);
	if (!rj->zeros)
		return -ENOMEM;
	for (uint32_t t = 0; t < j->tensors_count; t++)
		rt[t] = (struct gp_restore_tensor){.name = j->tensors[t].name,
			.dims_count = j->tensors[t].dims_count,
			.dims = j->tensors[t].dims,
			.values = rj->zeros};
	const struct gp_restore x = {.step = generation,
		.decision = rj->layout->first_decision,
		.tensors_count = j->tensors_count,
		.tensors = rt};
	for (uint32_t t = 0; t < j->tensors_count; t++)
		j->tensors[t].restored = t;
	return job_load(j, &x);
}

static struct gp_job *job_make(
	struct gp_replay *r, struct replay_job *rj, const struct gp_job_config *cfg)
{
	const struct flight_job *l = rj->layout;
	uint32_t n = l->tensors_count;
	size_t lists = (sizeof(struct job_tensor) + sizeof(struct gp_restore_tensor)) * n + 256;
	struct job_tensor *tensors = r->cfg.take(r->cfg.mem_arg, lists);
	if (!tensors)
		return NULL;
	for (uint32_t i = 0; i < n; i++)
		tensor_fill(&tensors[i], &rj->tensors[i]);
	struct gp_arena arena;
	void *mem = r->e->registrar->jobs[r->e->job_idx[cfg->id]].mem[0];
	gp_arena_init(&arena, mem, cfg->memory_max);
	struct gp_job *j = job_create(r->e, cfg, &arena, l->block_elems, tensors, n);
	int rc = 0;
	if (j && job_trains(j) && l->first_generation != UINT32_MAX)
		rc = job_zeros(r, rj, j, (void *)(tensors + n), l->first_generation);
	const struct job_begin at = {
		l->first_generation, l->first_decision, l->first_generation, NULL};
	if (j && !(job_trains(j) && l->first_generation != UINT32_MAX))
		job_start(j, &at);
	r->cfg.give(r->cfg.mem_arg, tensors);
	return rc == 0 ? j : NULL;
}

bool replay_job_need(struct gp_replay *r, uint32_t id)
{
	if (id < 1 || id > GP_ENGINE_JOBS_MAX || !r->jobs[id].layout)
		return false;
	if (gp_rcu_dereference(&r->e->jobs[id]))
		return true;
	struct gp_job *j = job_make(r, &r->jobs[id], &r->e->jobs_cfg[r->e->job_idx[id]]);
	if (!j)
		return false;
	r->e->registrar->jobs[j->idx].job = j;
	gp_rcu_publish(&r->e->jobs[id], j);
	return true;
}

// ---- marks

// A version of zeros at `generation` in every block, as a step committed there leaves it.
static void blocks_at(struct job_core *jc, uint32_t generation)
{
	for (uint32_t i = 0; i < jc->table.blocks_count; i++) {
		struct gp_block *b = &jc->table.blocks[i];
		struct gp_version *v = atomic_load_explicit(&b->shadow, memory_order_relaxed);
		if (!v) {
			v = gp_table_take(&jc->table);
			GP_ASSERT(v); // every block has room for three
			memset(gp_version_values(v), 0,
				sizeof(float) * jc->table.elems_max *
					(1 + (size_t)jc->table.states_count));
			v->elems = b->elems;
			gp_rcu_publish(&b->shadow, v);
		}
		v->step = generation;
		b->done_step = generation;
	}
}

void replay_mark(struct gp_replay *r, uint32_t core, const struct flight_mark *m)
{
	if (!replay_job_need(r, m->job))
		return;
	struct gp_job *j = gp_rcu_dereference(&r->e->jobs[m->job]);
	struct job_core *jc = &j->cores[core];
	jc->decision = m->decision;
	jc->generation = m->generation;
	jc->view = m->view;
	jc->view_first_step = m->view_first_step;
	jc->members = m->members;
	jc->members_count = m->members_count;
	jc->lowest = m->lowest;
	jc->admitted = m->admitted;
	jc->stop_step = m->stop_step;
	jc->stopping = m->flags & FLIGHT_MARK_STOPPING;
	jc->low_step = m->generation + 1;
	jc->low_local = 0;
	for (uint32_t u = 0; u < j->units_count; u++)
		jc->committed[u] = m->generation;
	blocks_at(jc, m->generation);
}

void replay_home(struct gp_replay *r, const struct flight_home *m)
{
	struct gp_job *j = gp_rcu_dereference(&r->e->jobs[m->job]);
	const struct job_core *jc = &j->cores[j->home_core];
	struct home *h = j->home;
	h->consist.view = jc->view;
	h->consist.view_first_step = jc->view_first_step;
	h->consist.members = jc->members;
	h->consist.members_count = jc->members_count;
	h->consist.lowest = jc->lowest;
	h->consist.generation = jc->generation;
	h->consist.decision = jc->decision;
	h->consist.live = m->live;
	h->consist.lost = m->lost;
	h->consist.admitted = m->admitted;
	h->announced = jc->decision;
	h->cut_last = m->cut_last;
	h->stop_wanted = m->stop_wanted;
	h->stopped = m->stopped;
	for (uint32_t i = 0; i <= r->cfg.cores_count; i++)
		h->delivered[i] = jc->decision;
	for (uint32_t u = 0; u < j->units_count; u++)
		h->consist.committed[u] = jc->generation;
	memcpy(h->rank_session, m->rank_session, sizeof(h->rank_session));
}

void replay_slot(struct gp_replay *r, uint32_t core, const struct flight_slot *m)
{
	struct gp_job *j = gp_rcu_dereference(&r->e->jobs[m->job]);
	struct job_core *jc = &j->cores[core];
	uint32_t blocks = jc->table.blocks_count;
	if (m->local >= blocks)
		return;
	uint32_t at = (uint32_t)((uint64_t)m->step * blocks + m->local) & jc->slot_mask;
	struct slot *s = &jc->slots[at];
	if (s->open)
		return;
	slot_begin(jc, s, m->local, m->step);
	gp_ranks_foreach(k, &m->ranks)
	{
		if (k >= j->cfg->workers)
			break;
		s->parts[k] = (struct part){.weight = 1};
		gp_ranks_add(&s->ranks, k);
		s->count++;
	}
	if (s->count != (m->step == 0 && job_trains(j) ? 1 : jc->members_count))
		return;
	s->deferred = true;
	jc->deferred[jc->deferred_count++] = at;
}

// ---- sessions

static bool session_legal(const struct gp_replay *r, const struct flight_session *s)
{
	return s->id != 0 && session_idx(s->id) < r->cfg.sessions_max && s->job >= 1 &&
	       s->job <= GP_ENGINE_JOBS_MAX && r->e->job_idx[s->job] != NONE_U16 &&
	       (s->rank == GP_WIRE_RANK_NONE ||
		       s->rank < r->e->jobs_cfg[r->e->job_idx[s->job]].workers);
}

static void session_publish(struct gp_replay *r, const struct flight_session *s)
{
	uint32_t idx = session_idx(s->id);
	struct replay_session *to = &r->sessions[idx];
	*to = (struct replay_session){.s = {.id = s->id,
					      .job = s->job,
					      .rank = s->rank,
					      .flags = s->flags,
					      .payload_max = s->payload_max,
					      .incarnation = s->incarnation,
					      .serial = s->serial,
					      .addr = replay_addr(&s->addr)}};
	gp_rcu_publish(&r->e->sessions[idx], &to->s);
}

void replay_session(struct gp_replay *r, const struct flight_session *s, bool opened)
{
	if (!session_legal(r, s))
		return;
	if (opened)
		session_publish(r, s);
	else
		r->sessions[session_idx(s->id)].ending = true;
}

// The table as it was before the first record of control: what is there now, but for places whose
// first record says otherwise.
void replay_sessions_read(struct gp_replay *r, const struct gp_flight_part *present,
	const struct gp_flight_part *control)
{
	static const uint64_t one = sizeof(struct flight_session);
	for (uint64_t at = 0; present->bytes && at + one <= present->size; at += one) {
		struct flight_session s;
		memcpy(&s, present->bytes + at, sizeof(s));
		if (session_legal(r, &s))
			session_publish(r, &s);
	}
	uint64_t seen[GP_ENGINE_SESSIONS_MAX / 64] = {0};
	struct replay_ring *ring = &r->control;
	gp_flight_cursor_init(&ring->cursor, control);
	while (gp_flight_record_next(&ring->cursor, &ring->next)) {
		struct flight_session s;
		if (ring->next.head.kind != FLIGHT_SESSION || ring->next.kept != sizeof(s))
			continue;
		memcpy(&s, ring->next.bytes, sizeof(s));
		uint32_t idx = session_idx(s.id);
		if (!session_legal(r, &s) || seen[idx / 64] >> idx % 64 & 1)
			continue;
		seen[idx / 64] |= UINT64_C(1) << idx % 64;
		if (ring->next.head.verdict)
			gp_rcu_publish(&r->e->sessions[idx], NULL);
		else
			session_publish(r, &s);
	}
}
