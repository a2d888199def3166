// SPDX-License-Identifier: BSD-3-Clause
//
// What the owner tells the feeder, and what the peer does.
#include "feeder_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <xxhash.h>

int gp_feeder_create(struct gp_feeder **out, const struct gp_feeder_opts *opts)
{
	uint32_t window = opts->window ? opts->window : GP_FEEDER_WINDOW_DEFAULT;
	GP_ASSERT(opts->jobs_count <= GP_IMAGE_JOBS_MAX && opts->block);
	struct gp_feeder *f = calloc(1, sizeof(*f) + sizeof(struct feeder_job) * opts->jobs_count);
	if (!f)
		return -ENOMEM;
	f->opts = *opts;
	f->opts.looks_max = opts->looks_max ? opts->looks_max : GP_FEEDER_LOOKS_DEFAULT;
	f->window_mask = (uint32_t)gp_pow2_up(window) - 1;
	*out = f;
	return 0;
}

static void job_fini(struct feeder_job *j)
{
	free(j->layout.spans);
	free(j->tensors);
	free(j->committed);
	free(j->window);
	free(j->digests);
	free(j->rows);
}

void gp_feeder_destroy(struct gp_feeder *f)
{
	if (!f)
		return;
	GP_ASSERT(!f->stream);
	for (uint32_t i = 0; i < f->opts.jobs_count; i++)
		job_fini(&f->jobs[i]);
	free(f);
}

void gp_feeder_epoch(struct gp_feeder *f, uint32_t epoch)
{
	f->epoch = epoch;
}

uint32_t gp_feeder_epoch_of(const struct gp_feeder *f)
{
	return f->epoch;
}

uint32_t feeder_epoch(const struct gp_feeder *f)
{
	return f->epoch;
}

// ---- from the owner

bool place_step(struct place *p, const struct feeder_job *j, const struct gp_decision *d)
{
	p->decision = d->number;
	if (d->backup) {
		p->generation = d->step;
		return true;
	}
	if (d->kind != GP_DECIDED_COMMIT || ++p->units_ahead < j->layout.units_count)
		return false;
	p->units_ahead = 0;
	p->generation++;
	return true;
}

static int steps_take(struct feeder_job *j, const uint32_t *steps, struct gp_stream_error *err)
{
	struct place *p = &j->released;
	p->generation = steps[0];
	p->units_ahead = 0;
	for (uint32_t u = 0; u < j->layout.units_count; u++)
		if (steps[u] + 1 == p->generation)
			p->generation = steps[u];
	for (uint32_t u = 0; u < j->layout.units_count; u++) {
		if (steps[u] - p->generation > 1)
			return stream_fail(err, -EINVAL,
				"job %s: unit %u is at step %u, the generation at %u",
				j->layout.name, u, steps[u], p->generation);
		p->units_ahead += steps[u] - p->generation;
		j->committed[u] = steps[u];
	}
	return 0;
}

static int job_memory(struct gp_feeder *f, struct feeder_job *j, const struct layout *l,
	const struct gp_image_layout *from, struct gp_stream_error *err)
{
	struct feeder_job next = {.layout = *l, .bytes = j->bytes, .bases = j->bases};
	next.layout.spans = calloc(l->tensors_count, sizeof(next.layout.spans[0]));
	next.tensors = calloc(l->tensors_count, sizeof(next.tensors[0]));
	next.committed = calloc(l->units_count, sizeof(next.committed[0]));
	next.window = calloc((size_t)f->window_mask + 1, sizeof(next.window[0]));
	if (l->ranks > 0)
		next.digests = calloc(GP_MAX(l->blocks_count, 1u), sizeof(next.digests[0]));
	next.resumed = j->resumed;
	next.held_bytes = j->bytes;
	job_fini(j);
	*j = next;
	if (!j->layout.spans || !j->tensors || !j->committed || !j->window ||
		(l->ranks > 0 && !j->digests))
		return stream_fail(err, -ENOMEM, "job %s: out of memory to replicate it", l->name);
	layout_fill(&j->layout, from);
	memcpy(j->tensors, from->tensors, sizeof(j->tensors[0]) * l->tensors_count);
	return feeder_rows_create(j, err);
}

int gp_feeder_base(struct gp_feeder *f, uint32_t job_idx, const struct gp_image_layout *layout,
	const struct gp_backup_base *base, struct gp_stream_error *err)
{
	struct layout l;
	GP_ASSERT(job_idx < f->opts.jobs_count);
	struct feeder_job *j = &f->jobs[job_idx];
	const char *why = layout_measure(layout, &l);
	if (why)
		return stream_fail(
			err, -EINVAL, "the layout of job %u: %s is out of range", layout->id, why);
	int rc = job_memory(f, j, &l, layout, err);
	if (rc == 0)
		rc = steps_take(j, base->steps, err);
	if (rc != 0)
		return rc;
	f->bases++;
	j->base = XXH3_64bits_withSeed(&f->bases, sizeof(f->bases), f->opts.seed);
	j->chain = j->taken_chain = j->base;
	j->view = base->view;
	j->history = base->history;
	memcpy(j->counted, base->counted, sizeof(j->counted));
	j->released.decision = base->decision;
	j->taken = j->released;
	j->shipped_max = base->decision;
	j->told = base->decision - 1;
	j->based = true;
	j->base_held = false;
	if (f->fed)
		feeder_job_start(j);
	return 0;
}

uint32_t gp_feeder_room(const struct gp_feeder *f)
{
	uint32_t room = f->window_mask + 1;
	for (uint32_t i = 0; i < f->opts.jobs_count; i++) {
		const struct feeder_job *j = &f->jobs[i];
		uint32_t used = j->based ? j->taken.decision - j->released.decision : 0;
		if (j->based && j->cut_waits)
			used = 1;
		room = GP_MIN(room, f->window_mask + 1 - used);
	}
	return room;
}

// A cut has all that was decided before it, so that nothing else may wait.
static int cut_take(struct gp_feeder *f, struct feeder_job *j, const struct gp_decision *d,
	struct gp_stream_error *err)
{
	if (j->released.decision != j->taken.decision || !gp_before(j->taken.decision, d->number) ||
		!layout_is_cut(&j->layout, d->step) || !gp_before(j->taken.generation, d->step))
		return stream_fail(err, -EPROTO,
			"job %s: cut %u is decision %u, after %u of generation %u, %u is released",
			j->layout.name, d->step, d->number, j->taken.decision, j->taken.generation,
			j->released.decision);
	j->taken_chain = gp_image_chain(j->taken_chain, d);
	*feeder_entry(f, j, d->number) = (struct entry){.d = *d, .chain = j->taken_chain};
	place_step(&j->taken, j, d);
	j->cut_waits = true;
	return 0;
}

int gp_feeder_decide(struct gp_feeder *f, uint32_t job_idx, const struct gp_decision *d,
	struct gp_stream_error *err)
{
	GP_ASSERT(job_idx < f->opts.jobs_count);
	struct feeder_job *j = &f->jobs[job_idx];
	if (!j->based)
		return stream_fail(
			err, -EPROTO, "a decision of job %u, which has no base", job_idx);
	if (d->backup)
		return cut_take(f, j, d, err);
	GP_ASSERT(j->taken.decision - j->released.decision <= f->window_mask);
	if (d->number != j->taken.decision + 1 ||
		(d->kind == GP_DECIDED_COMMIT &&
			(d->unit >= j->layout.units_count || d->step != j->taken.generation + 1)))
		return stream_fail(err, -EPROTO,
			"job %s: decision %u (unit %u, step %u) after %u of generation %u",
			j->layout.name, d->number, d->unit, d->step, j->taken.decision,
			j->taken.generation);
	j->taken_chain = gp_image_chain(j->taken_chain, d);
	*feeder_entry(f, j, d->number) = (struct entry){.d = *d, .chain = j->taken_chain};
	place_step(&j->taken, j, d);
	return 0;
}

int gp_feeder_released(struct gp_feeder *f, uint32_t job_idx, uint32_t decision)
{
	GP_ASSERT(job_idx < f->opts.jobs_count);
	struct feeder_job *j = &f->jobs[job_idx];
	if (!j->based)
		return -EINVAL;
	if (gp_before(j->shipped_max, decision))
		return -EINVAL;
	if (gp_before(j->told, decision))
		j->told = decision;
	if (!gp_before(j->released.decision, decision))
		return 0;
	bool behind = !feeder_job_ships(j) || gp_before(j->shipped, decision);
	if (j->cut_waits && decision != j->taken.decision)
		return -EINVAL;
	if (j->cut_waits) {
		j->cut_waits = false;
		j->committed[0] = j->taken.generation;
		j->chain = j->taken_chain;
		j->released = j->taken;
	}
	while (j->released.decision != decision) {
		const struct entry *e = feeder_entry(f, j, j->released.decision + 1);
		if (e->d.kind == GP_DECIDED_COMMIT)
			j->committed[e->d.unit] = e->d.step;
		if (e->d.kind == GP_DECIDED_VIEW)
			j->view = e->d;
		j->chain = e->chain;
		uint32_t generation = j->released.generation;
		place_step(&j->released, j, &e->d);
		if (e->d.kind == GP_DECIDED_COMMIT)
			layout_count(
				j->counted, &j->view.members, j->released.generation != generation);
	}
	// What this connection still had to ship can no longer be read.
	if (behind && j->phase != PHASE_IDLE)
		feeder_job_start(j);
	return 0;
}

void gp_feeder_drop(struct gp_feeder *f, uint32_t job_idx)
{
	GP_ASSERT(job_idx < f->opts.jobs_count);
	struct feeder_job *j = &f->jobs[job_idx];
	j->based = false;
	j->phase = PHASE_IDLE;
}

bool gp_feeder_ready(const struct gp_feeder *f)
{
	bool ready = f->fed;
	for (uint32_t i = 0; i < f->opts.jobs_count; i++)
		ready &= !f->jobs[i].based || (f->jobs[i].held_valid && !f->jobs[i].diverged);
	return ready;
}

bool gp_feeder_view(const struct gp_feeder *f, uint32_t job_idx, struct gp_feeder_view *v)
{
	GP_ASSERT(job_idx < f->opts.jobs_count);
	const struct feeder_job *j = &f->jobs[job_idx];
	*v = (struct gp_feeder_view){.based = j->based,
		.shipped_valid = feeder_job_ships(j),
		.held_valid = j->held_valid,
		.base_held = j->base_held,
		.diverged = j->diverged,
		.taken = j->taken.decision,
		.shipped = j->shipped,
		.held = j->held,
		.acked = j->acked,
		.released = j->told,
		.acked_epoch = j->acked_epoch,
		.generation = j->taken.generation,
		.generation_out = j->released.generation,
		.unheld_bytes = j->bytes - j->held_bytes,
		.bytes = j->bytes,
		.bases = j->bases,
		.resumed = j->resumed};
	return j->based;
}

// ---- from the stream

static void job_idle(struct feeder_job *j)
{
	j->phase = PHASE_IDLE;
	j->held_valid = j->digest_due = j->at_generation = false;
	j->acked_epoch = 0;
	j->cursor = j->at_block = 0;
	j->cut_part = CUT_BLOCKS;
	j->cut_blocks = 0;
	memset(j->sums, 0, sizeof(j->sums));
	feeder_rows_reset(j);
}

void feeder_job_start(struct feeder_job *j)
{
	job_idle(j);
	j->phase = PHASE_BASE;
	j->base_held = false;
	j->at = j->released;
	j->shipped = j->held = j->released.decision;
	j->bases++;
}

// What the peer holds of a job: go on from there, or from a base. The chain tells whether its
// history is ours.
static void job_resume(struct gp_feeder *f, struct feeder_job *j, const struct hold *h)
{
	struct place at = j->released;
	if (!h || h->base != j->base ||
		h->decision - j->released.decision > j->taken.decision - j->released.decision) {
		feeder_job_start(j);
		return;
	}
	uint64_t chain = j->chain;
	if (j->cut_waits && h->decision == j->taken.decision) {
		at = j->taken;
		chain = j->taken_chain;
	} else if (j->cut_waits && h->decision != j->released.decision) {
		feeder_job_start(j);
		return;
	}
	while (at.decision != h->decision) {
		const struct entry *e = feeder_entry(f, j, at.decision + 1);
		chain = e->chain;
		place_step(&at, j, &e->d);
	}
	if (h->chain != chain) {
		feeder_job_start(j);
		return;
	}
	job_idle(j);
	j->phase = PHASE_DECISIONS;
	j->at = at;
	j->shipped = j->held = at.decision;
	j->held_valid = j->base_held = true;
	j->held_bytes = j->shipped_bytes = j->bytes;
	j->resumed++;
	f->resumed[f->resumed_count++] = j->layout.id;
}

void feeder_attach(struct gp_feeder *f, struct gp_stream *s)
{
	GP_ASSERT(!f->stream);
	f->stream = s;
	f->fed = f->feed_due = false;
}

void feeder_detach(struct gp_feeder *f)
{
	f->stream = NULL;
	f->fed = f->feed_due = false;
	for (uint32_t i = 0; i < f->opts.jobs_count; i++)
		job_idle(&f->jobs[i]);
}

void feeder_holds(struct gp_feeder *f, const struct holds *h)
{
	f->fed = f->feed_due = true;
	f->feed_number = h->number;
	f->resumed_count = 0;
	for (uint32_t i = 0; i < f->opts.jobs_count; i++) {
		struct feeder_job *j = &f->jobs[i];
		const struct hold *hold = NULL;
		j->diverged = false;
		if (!j->based)
			continue;
		for (uint32_t k = 0; k < h->count; k++)
			if (h->holds[k].id == j->layout.id)
				hold = &h->holds[k];
		job_resume(f, j, hold);
	}
}

static struct feeder_job *job_of(struct gp_feeder *f, uint16_t id, uint32_t *idx)
{
	for (*idx = 0; *idx < f->opts.jobs_count; (*idx)++)
		if (f->jobs[*idx].based && f->jobs[*idx].layout.id == id)
			return &f->jobs[*idx];
	return NULL;
}

static int held_take(
	struct gp_feeder *f, const uint8_t *at, uint32_t epoch, struct gp_stream_error *err)
{
	uint32_t idx, decision = gp_load32(at + 4);
	struct feeder_job *j = job_of(f, gp_load16(at), &idx);
	// Of a base before this one.
	if (!j || gp_load64(at + 8) != j->base || j->phase != PHASE_DECISIONS)
		return 0;
	if (gp_before(j->shipped, decision))
		return stream_fail(err, -EPROTO,
			"the replica acknowledges decision %u of job %s, %u was sent last",
			decision, j->layout.name, j->shipped);
	bool counts = epoch != 0 && epoch == f->epoch;
	bool news = !j->held_valid || gp_before(j->held, decision) ||
		    (counts && j->acked_epoch != epoch);
	if (gp_before(decision, j->held) || !news)
		return 0;
	// What is released is no longer in the window.
	if (decision == j->shipped)
		j->held_bytes = j->shipped_bytes;
	else if (gp_before(j->released.decision, decision))
		j->held_bytes = feeder_entry(f, j, decision)->bytes;
	j->held_valid = j->base_held = true;
	j->held = decision;
	if (counts) {
		j->acked = decision;
		j->acked_epoch = epoch;
	}
	if (f->opts.held)
		f->opts.held(f->opts.arg, idx, decision, counts ? epoch : 0);
	return 0;
}

static int diverged_take(struct gp_feeder *f, const struct message *m, struct gp_stream_error *err)
{
	uint32_t idx;
	if (m->len != 24 || gp_load16(m->body + 2) != 0)
		return stream_fail(err, -EPROTO, "a difference that is none");
	struct feeder_job *j = job_of(f, gp_load16(m->body), &idx);
	f->fed = false;
	if (!j)
		return 0;
	j->diverged = true;
	if (f->opts.diverged)
		f->opts.diverged(f->opts.arg, idx, gp_load32(m->body + 4), gp_load64(m->body + 16),
			gp_load64(m->body + 8));
	return 0;
}

int feeder_message(struct gp_feeder *f, const struct message *m, struct gp_stream_error *err)
{
	if (m->type == MSG_DIVERGED)
		return diverged_take(f, m, err);
	GP_ASSERT(m->type == MSG_HELD);
	if (m->len % HELD_SIZE != 0 || m->len > HELD_SIZE * (size_t)GP_IMAGE_JOBS_MAX)
		return stream_fail(err, -EPROTO, "an acknowledgement of %zu bytes", m->len);
	for (size_t at = 0; at < m->len; at += HELD_SIZE) {
		int rc = held_take(f, m->body + at, m->epoch, err);
		if (rc != 0)
			return rc;
	}
	return 0;
}

static int feed_write(struct gp_feeder *f)
{
	uint32_t count = f->resumed_count;
	uint8_t *at = stream_begin(f->stream, MSG_FEED, FEED_HEAD_SIZE + 2 * (size_t)count);
	if (!at)
		return -EAGAIN;
	gp_store32(at, f->feed_number);
	gp_store32(at + 4, count);
	for (uint32_t i = 0; i < count; i++)
		gp_store16(at + FEED_HEAD_SIZE + 2 * (size_t)i, f->resumed[i]);
	stream_end(f->stream);
	f->feed_due = false;
	return 0;
}

bool gp_feeder_goes_on(const struct gp_feeder *f)
{
	return f->goes_on;
}

// A frame of each job in turn.
int feeder_turn(struct gp_feeder *f, struct gp_stream_error *err)
{
	uint32_t idle = 0, jobs = f->opts.jobs_count;
	f->looks = f->opts.looks_max;
	f->goes_on = false;
	if (!f->fed || (f->feed_due && feed_write(f) != 0))
		return 0;
	while (idle < jobs && f->looks > 0) {
		uint32_t idx = f->turn % jobs;
		int rc = feeder_job_write(f, idx, err);
		if (rc == -EAGAIN)
			return 0;
		if (rc < 0)
			return rc;
		// The tensors of a base follow it at once.
		f->turn = f->jobs[idx].phase == PHASE_TENSORS ? idx : idx + 1;
		idle = rc == 0 ? idle + 1 : 0;
	}
	f->goes_on = idle < jobs;
	return 0;
}
