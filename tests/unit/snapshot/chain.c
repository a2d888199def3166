// SPDX-License-Identifier: BSD-3-Clause
#include "chain.h"

#include <criterion/criterion.h>

#include <stdio.h>

static uint32_t last_change(uint64_t e, uint32_t step)
{
	uint64_t block = e < CHAIN_ROWS * 7 ? e / 16 : 27 + (e == CHAIN_ROWS * 7 + 7);
	uint32_t every = 3 + (uint32_t)(block % 7);
	return step - step % every;
}

float chain_value(uint32_t file_idx, uint64_t e, uint32_t step)
{
	return (float)(last_change(e, step) * 1000 + file_idx * 500) + (float)e;
}

static uint64_t values_fill(float *out, const struct sample *s, uint32_t file, uint32_t step)
{
	for (uint64_t e = 0; e < s->elements; e++)
		out[e] = chain_value(file, e, step);
	return s->elements;
}

static int values_append(
	struct gp_snapshot_writer *w, const struct sample *s, struct gp_snapshot_error *err)
{
	float values[CHAIN_ROWS * 7 + 8];
	for (uint32_t file = 0; file < 2; file++) {
		uint64_t count = values_fill(values, s, file, s->meta.step);
		// In two pieces that end inside a block.
		int rc = gp_snapshot_append(w, file, values, 35, err);
		if (rc == 0)
			rc = gp_snapshot_append(w, file, values + 35, count - 35, err);
		if (rc != 0)
			return rc;
	}
	return 0;
}

static bool delta_fill(struct gp_snapshot_delta *d, const struct sample *s)
{
	float values[CHAIN_ROWS * 7 + 8];
	for (uint32_t file = 0; file < 2; file++) {
		uint64_t count = values_fill(values, s, file, s->meta.step);
		if (!gp_snapshot_delta_feed(d, file, values, 100) ||
			!gp_snapshot_delta_feed(d, file, values + 100, count - 100))
			return false;
	}
	return true;
}

static int chain_finish(const char *dir, const struct sample *s,
	const struct gp_snapshot_opts *opts, struct gp_snapshot_error *err)
{
	const struct gp_snapshot_seal seal = {.digest = s->meta.step};
	struct gp_snapshot_writer *w;
	int rc = gp_snapshot_begin(&s->meta, opts, dir, &w, err);
	if (rc != 0)
		return rc;
	rc = values_append(w, s, err);
	if (rc == 0)
		return gp_snapshot_finish(w, &seal, NULL, err);
	gp_snapshot_abort(w);
	return rc;
}

int chain_try(const char *dir, uint32_t step, uint32_t base_step, uint32_t level, bool *incremental,
	struct gp_snapshot_error *err)
{
	struct sample s;
	struct gp_snapshot_opts opts = {.level = level};
	int rc = 0;
	*incremental = false;
	sample_init(&s, SAMPLE_JOB, step, CHAIN_ROWS);
	if (base_step > 0)
		rc = gp_snapshot_delta_open(&s.meta, dir,
			strrchr(chain_path("", base_step, NULL), '/') + 1, &opts.delta, err);
	if (rc != 0)
		return rc;
	struct gp_snapshot_delta *d = opts.delta;
	*incremental = d && delta_fill(d, &s);
	if (!*incremental)
		opts.delta = NULL;
	rc = chain_finish(dir, &s, &opts, err);
	gp_snapshot_delta_close(d);
	return rc;
}

bool chain_write(const char *dir, uint32_t step, uint32_t base_step, uint32_t level)
{
	bool incremental;
	struct gp_snapshot_error err = {0};
	cr_assert_eq(chain_try(dir, step, base_step, level, &incremental, &err), 0, "%s", err.text);
	return incremental;
}

bool chain_same(const struct gp_snapshot *snap, uint32_t step)
{
	const struct gp_snapshot_meta *m = gp_snapshot_meta(snap);
	if (m->step != step || gp_snapshot_seal(snap)->digest != step)
		return false;
	for (uint32_t file = 0; file < 2; file++) {
		uint64_t e = 0;
		for (uint32_t t = 0; t < m->tensors_count; t++) {
			const float *data = gp_snapshot_data(snap, file, t);
			for (uint64_t i = 0; i < m->tensors[t].elements; i++, e++)
				if (data[i] != chain_value(file, e, step))
					return false;
		}
	}
	return true;
}

const char *chain_path(const char *dir, uint32_t step, const char *file)
{
	static char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s/%s-%010u%s%s", dir, SAMPLE_JOB, step, file ? "/" : "",
		file ? file : "");
	return path;
}
