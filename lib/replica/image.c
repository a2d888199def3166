// SPDX-License-Identifier: BSD-3-Clause
//
// The image's memory, and a look at what it holds.
#include "image_priv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int image_fail(struct gp_image_error *err, int code, const char *fmt, ...)
{
	va_list args;
	GP_ASSERT(code < 0);
	va_start(args, fmt);
	err->code = code;
	vsnprintf(err->text, sizeof(err->text), fmt, args);
	va_end(args);
	return code;
}

int gp_image_create(
	struct gp_image **out, const struct gp_image_opts *opts, struct gp_image_error *err)
{
	struct gp_image *m = calloc(1, sizeof(*m));
	if (!m)
		return image_fail(err, -ENOMEM, "out of memory for an image");
	m->opts = *opts;
	image_memory_init(m);
	*out = m;
	return 0;
}

static void next_drop(struct gp_image *m, struct image_job *j)
{
	if (j->next)
		image_memory_give(m, j->next);
	j->next = NULL;
}

static void job_free(struct gp_image *m, struct image_job *j)
{
	next_drop(m, j);
	image_memory_give(m, j);
}

void gp_image_clear(struct gp_image *m)
{
	while (m->jobs_count > 0)
		job_free(m, m->jobs[--m->jobs_count]);
	GP_ASSERT(m->used == 0);
}

void gp_image_destroy(struct gp_image *m)
{
	if (!m)
		return;
	gp_image_clear(m);
	(void)gp_image_give_back(m, UINT64_MAX);
	free(m);
}

void gp_image_drop(struct gp_image *m, uint16_t id)
{
	for (uint32_t i = 0; i < m->jobs_count; i++) {
		if (m->jobs[i]->layout.id != id)
			continue;
		job_free(m, m->jobs[i]);
		for (m->jobs_count--; i < m->jobs_count; i++)
			m->jobs[i] = m->jobs[i + 1];
		return;
	}
}

struct image_job *image_find(const struct gp_image *m, uint16_t id)
{
	for (uint32_t i = 0; i < m->jobs_count; i++)
		if (m->jobs[i]->layout.id == id)
			return m->jobs[i];
	return NULL;
}

struct image_job *image_known(const struct gp_image *m, uint16_t id, struct gp_image_error *err)
{
	struct image_job *j = image_find(m, id);
	if (j && j->next)
		j = j->next;
	if (j && j->lacking != LACKING_ALL) {
		(void)image_rows_settle(j, UINT32_MAX); // what is told now comes after that
		return j;
	}
	image_fail(err, -EPROTO, "job %u has no base", id);
	return NULL;
}

// ---- memory of a job

void *image_carve(struct carver *c, uint64_t size)
{
	uint64_t at = gp_align_up(c->used, GP_CACHE_LINE);
	c->used = at + size;
	return c->mem ? c->mem + at : NULL;
}

static void *carve(struct carver *c, uint64_t size)
{
	return image_carve(c, size);
}

// Sizes cannot overflow: at most 2^28 blocks of 8192 elements, or 2^32 rows of as many.
static uint64_t job_carve(struct image_job *j, uint8_t *mem)
{
	struct carver c = {.mem = mem};
	struct layout *l = &j->layout;
	l->spans = carve(&c, sizeof(l->spans[0]) * l->tensors_count);
	j->tensors = carve(&c, sizeof(j->tensors[0]) * l->tensors_count);
	j->restore = carve(&c, sizeof(j->restore[0]) * l->tensors_count);
	j->committed = carve(&c, sizeof(uint32_t) * (uint64_t)l->units_count);
	j->staged = carve(&c, sizeof(uint32_t) * (uint64_t)l->units_count);
	j->ahead = carve(&c, l->blocks_count);
	for (uint32_t p = 0; p < 2 && l->ranks > 0; p++) {
		j->updates[p] = carve(&c, sizeof(uint32_t) * (uint64_t)l->blocks_count);
		j->ranks[p].clock = carve(&c, sizeof(uint32_t) * l->ranks);
		j->ranks[p].applied =
			carve(&c, sizeof(uint64_t) * layout_words(l) * (uint64_t)l->ranks);
	}
	if (l->ranks > 0)
		j->digests = carve(&c, sizeof(uint64_t) * (uint64_t)l->blocks_count);
	for (uint32_t p = 0; p < 2; p++) {
		j->held[p] = carve(&c, sizeof(uint32_t) * (uint64_t)l->blocks_count);
		j->weights[p] = carve(&c, sizeof(float) * (uint64_t)l->blocks_count);
		for (uint32_t a = 0; a < l->arrays_count; a++)
			j->planes[p][a] = carve(&c, sizeof(float) * l->floats);
	}
	(void)image_rows_carve(j, &c);
	return gp_align_up(c.used, GP_CACHE_LINE);
}

static bool layout_same(
	const struct image_job *j, const struct layout *l, const struct gp_image_layout *from)
{
	const struct layout *x = &j->layout;
	if (x->kind != l->kind || x->atomicity != l->atomicity ||
		x->arrays_count != l->arrays_count || x->ranks != l->ranks ||
		x->block_elems != l->block_elems || x->tensors_count != l->tensors_count ||
		strcmp(x->name, l->name) != 0)
		return false;
	for (uint32_t t = 0; t < l->tensors_count; t++) {
		const struct gp_image_tensor *a = &j->tensors[t], *b = &from->tensors[t];
		if (a->dims_count != b->dims_count || strcmp(a->name, b->name) != 0 ||
			memcmp(a->dims, b->dims, sizeof(a->dims[0]) * a->dims_count) != 0 ||
			a->state != b->state || a->rows != b->rows || a->changes != b->changes)
			return false;
	}
	return true;
}

static struct image_job *job_new(struct gp_image *m, const struct layout *l,
	const struct gp_image_layout *from, struct gp_image_error *err)
{
	struct image_job *j = calloc(1, sizeof(*j));
	if (!j) {
		image_fail(err, -ENOMEM, "job %s: out of memory for its image", l->name);
		return NULL;
	}
	j->layout = *l;
	uint64_t size = job_carve(j, NULL);
	if (size > m->opts.memory_max - m->used) {
		image_fail(err, -ENOMEM,
			"job %s: its image needs %llu bytes, %llu of %llu are left", l->name,
			(unsigned long long)size,
			(unsigned long long)(m->opts.memory_max - m->used),
			(unsigned long long)m->opts.memory_max);
		free(j);
		return NULL;
	}
	j->mem = image_memory_take(m, size);
	if (!j->mem) {
		image_fail(err, -ENOMEM, "job %s: no memory for the %llu bytes of its image",
			l->name, (unsigned long long)size);
		free(j);
		return NULL;
	}
	j->size = size;
	m->used += size;
	job_carve(j, j->mem);
	layout_fill(&j->layout, from);
	memcpy(j->tensors, from->tensors, sizeof(j->tensors[0]) * l->tensors_count);
	return j;
}

static void job_begin(struct image_job *j, const struct gp_image_point *point, uint32_t generation)
{
	const struct layout *l = &j->layout;
	j->point = *point;
	j->generation = generation;
	j->units_ahead = 0;
	j->based = j->filling = j->digested = false;
	j->lacking = layout_has(l, generation) ? l->blocks_count : 0;
	memset(j->sums, 0, sizeof(j->sums));
	memset(j->staged, 0, sizeof(uint32_t) * (size_t)l->units_count);
	for (uint32_t u = 0; u < l->units_count; u++)
		j->committed[u] = generation;
	for (uint32_t p = 0; p < 2; p++)
		for (uint32_t b = 0; b < l->blocks_count; b++)
			j->held[p][b] = GP_IMAGE_NONE;
	if (l->ranks > 0)
		image_cuts_begin(j);
	image_rows_begin(j);
}

void gp_image_void(struct gp_image *m, uint16_t id)
{
	const struct gp_image_point none = {0};
	struct image_job *j = image_find(m, id);
	if (!j)
		return;
	next_drop(m, j);
	job_begin(j, &none, 0);
	j->lacking = LACKING_ALL;
}

int gp_image_base(struct gp_image *m, const struct gp_image_layout *layout,
	const struct gp_image_point *point, uint32_t generation, struct gp_image_error *err)
{
	struct layout l;
	const char *why = layout_measure(layout, &l);
	struct image_job *j = image_find(m, layout->id);
	if (j)
		next_drop(m, j);
	if (j && (why || !layout_same(j, &l, layout))) {
		gp_image_drop(m, layout->id);
		j = NULL;
	}
	if (why)
		return image_fail(
			err, -EINVAL, "the layout of job %u: %s is out of range", layout->id, why);
	if (!j) {
		GP_ASSERT(m->jobs_count < GP_IMAGE_JOBS_MAX); // ids are 1..64, one a job
		j = job_new(m, &l, layout, err);
		if (!j)
			return err->code;
		m->jobs[m->jobs_count++] = j;
	}
	job_begin(j, point, generation);
	return 0;
}

int gp_image_base_beside(struct gp_image *m, const struct gp_image_layout *layout,
	const struct gp_image_point *point, uint32_t generation, struct gp_image_error *err)
{
	struct layout l;
	struct image_job *j = image_find(m, layout->id);
	if (!j || !j->based)
		return gp_image_base(m, layout, point, generation, err);
	const char *why = layout_measure(layout, &l);
	if (why)
		return image_fail(
			err, -EINVAL, "the layout of job %u: %s is out of range", layout->id, why);
	next_drop(m, j);
	j->next = job_new(m, &l, layout, err);
	if (!j->next)
		return err->code;
	job_begin(j->next, point, generation);
	return 0;
}

void gp_image_beside_drop(struct gp_image *m)
{
	for (uint32_t i = 0; i < m->jobs_count; i++)
		next_drop(m, m->jobs[i]);
}

void image_next_take(struct gp_image *m, uint16_t id)
{
	for (uint32_t i = 0; i < m->jobs_count; i++) {
		struct image_job *j = m->jobs[i];
		if (j->layout.id != id || !j->next)
			continue;
		m->jobs[i] = j->next;
		j->next = NULL;
		image_memory_give(m, j);
	}
}

// ---- what it holds

static void job_view(const struct image_job *j, struct gp_image_view *v)
{
	const struct layout *l = &j->layout;
	*v = (struct gp_image_view){
		.id = l->id,
		.name = l->name,
		.kind = l->kind,
		.atomicity = l->atomicity,
		.based = j->based,
		.renewed = j->next != NULL,
		.settling = j->settling,
		.point = j->point,
		.generation = j->generation,
		.units_count = l->units_count,
		.units_ahead = j->units_ahead,
		.blocks_count = l->blocks_count,
		.tensors_count = l->tensors_count,
		.memory = j->size,
		.digested = j->digested,
		.digest_step = j->digest_step,
		.digest = j->digest,
	};
}

bool gp_image_at(const struct gp_image *m, uint32_t i, struct gp_image_view *v)
{
	if (i < m->jobs_count)
		job_view(m->jobs[i], v);
	return i < m->jobs_count;
}

bool gp_image_find(const struct gp_image *m, uint16_t id, struct gp_image_view *v)
{
	const struct image_job *j = image_find(m, id);
	if (j)
		job_view(j, v);
	return j != NULL;
}

uint64_t gp_image_memory(const struct gp_image *m)
{
	return m->used;
}

bool gp_image_unit_step(const struct gp_image *m, uint16_t id, uint32_t unit, uint32_t *step)
{
	const struct image_job *j = image_find(m, id);
	if (!j || unit >= j->layout.units_count)
		return false;
	*step = j->committed[unit];
	return true;
}

const float *gp_image_block(const struct gp_image *m, uint16_t id, uint32_t block, uint32_t step,
	uint32_t array, uint32_t *elems, float *weight)
{
	const struct image_job *j = image_find(m, id);
	if (!j || block >= j->layout.blocks_count || array >= j->layout.arrays_count ||
		step == GP_IMAGE_NONE)
		return NULL;
	bool cut = layout_is_cut(&j->layout, step);
	uint32_t plane = cut ? j->ahead[block] : step & 1;
	bool there = cut ? step == j->generation && j->held[plane][block] != GP_IMAGE_NONE
			 : j->held[plane][block] == step;
	struct layout_at at = layout_seek(&j->layout, block);
	uint32_t committed = j->committed[layout_unit(&j->layout, &at)];
	if (!there || committed == GP_IMAGE_NONE || gp_before(committed, step))
		return NULL;
	*elems = at.elems;
	*weight = j->weights[plane][block];
	return j->planes[plane][array] + at.offset;
}

int gp_image_digest(const struct gp_image *m, uint16_t id, uint32_t step, uint64_t *digest)
{
	const struct image_job *j = image_find(m, id);
	*digest = 0;
	if (!j)
		return -ENOENT;
	struct layout_at at = layout_seek(&j->layout, 0);
	for (; at.block < j->layout.blocks_count; layout_next(&j->layout, &at)) {
		uint32_t elems;
		float weight;
		const float *values = gp_image_block(m, id, at.block, step, 0, &elems, &weight);
		if (!values)
			return -ENOENT;
		*digest += layout_digest(&at, step, values);
	}
	return 0;
}
