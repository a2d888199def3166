// SPDX-License-Identifier: BSD-3-Clause
#include "sample.h"

#include <criterion/criterion.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const struct gp_snapshot_rank ranks[] = {{0, 42}, {1, 42}, {255, UINT32_MAX}};

static const struct gp_snapshot_seal seal = {
	.digest = UINT64_C(0xfedcba9876543210), .ranks_count = 3, .ranks = ranks};

void sample_init(struct sample *s, const char *job, uint32_t step, uint64_t rows)
{
	*s = (struct sample){
		.tensors = {{"fc1.weight", 2, {rows, 7}, rows * 7},
			{"fc1.\"bias\" \xc3\xa9", 1, {7}, 7}, {"scale", 0, {0}, 1}},
		.states = {"momentum"},
		.elements = rows * 7 + 8,
	};
	s->meta = (struct gp_snapshot_meta){.product = "0.1.0",
		.job = job,
		.job_id = 7,
		.kind = "train",
		.optimizer = "momentum",
		.generation = 1001,
		.step = step,
		.decision = INT64_MAX,
		.epoch = 3,
		.tensors_count = SAMPLE_TENSORS,
		.tensors = s->tensors,
		.states_count = 1,
		.states = s->states,
		.block_elems = rows > 1000 ? 0 : 16};
}

float sample_value(uint32_t file_idx, uint64_t element, uint32_t step)
{
	return (float)step + 1000.0f * (float)file_idx + (float)element / 4;
}

int sample_append(struct gp_snapshot_writer *w, const struct sample *s, uint64_t piece,
	struct gp_snapshot_error *err)
{
	float *buffer = malloc(piece * sizeof(float));
	int rc = 0;
	for (uint64_t at = 0; rc == 0 && at < s->elements; at += piece) {
		uint64_t count = GP_MIN(piece, s->elements - at);
		for (uint32_t file = 0; rc == 0 && file <= s->meta.states_count; file++) {
			for (uint64_t i = 0; i < count; i++)
				buffer[i] = sample_value(file, at + i, s->meta.step);
			rc = gp_snapshot_append(w, file, buffer, count, err);
		}
	}
	free(buffer);
	return rc;
}

int sample_write(const char *dir, const struct sample *s, char *path, struct gp_snapshot_error *err)
{
	struct gp_snapshot_writer *w;
	int rc = gp_snapshot_begin(&s->meta, NULL, dir, &w, err);
	if (rc != 0)
		return rc;
	rc = sample_append(w, s, 5, err);
	if (rc != 0) {
		gp_snapshot_abort(w);
		return rc;
	}
	return gp_snapshot_finish(w, &seal, path, err);
}

static bool meta_same(const struct gp_snapshot_meta *a, const struct gp_snapshot_meta *b)
{
	if (strcmp(a->product, b->product) != 0 || strcmp(a->job, b->job) != 0 ||
		strcmp(a->kind, b->kind) != 0 || strcmp(a->optimizer, b->optimizer) != 0)
		return false;
	if (a->job_id != b->job_id || a->generation != b->generation || a->step != b->step ||
		a->decision != b->decision || a->epoch != b->epoch ||
		a->tensors_count != b->tensors_count || a->states_count != b->states_count)
		return false;
	for (uint32_t i = 0; i < a->tensors_count; i++) {
		const struct gp_snapshot_tensor *x = &a->tensors[i], *y = &b->tensors[i];
		if (strcmp(x->name, y->name) != 0 || x->dims_count != y->dims_count ||
			x->elements != y->elements ||
			memcmp(x->dims, y->dims, x->dims_count * sizeof(x->dims[0])) != 0)
			return false;
	}
	for (uint32_t i = 0; i < a->states_count; i++)
		if (strcmp(a->states[i], b->states[i]) != 0)
			return false;
	return true;
}

static bool seal_same(const struct gp_snapshot_seal *a)
{
	return a->digest == seal.digest && a->ranks_count == seal.ranks_count &&
	       memcmp(a->ranks, ranks, sizeof(ranks)) == 0;
}

bool sample_same(const struct gp_snapshot *snap, const struct sample *s)
{
	if (!meta_same(gp_snapshot_meta(snap), &s->meta) || !seal_same(gp_snapshot_seal(snap)) ||
		gp_snapshot_files_count(snap) != 3 + s->meta.states_count)
		return false;
	for (uint32_t file = 0; file <= s->meta.states_count; file++) {
		uint64_t at = 0;
		for (uint32_t t = 0; t < SAMPLE_TENSORS; t++) {
			const float *data = gp_snapshot_data(snap, file, t);
			for (uint64_t i = 0; i < s->tensors[t].elements; i++, at++)
				if (data[i] != sample_value(file, at, s->meta.step))
					return false;
		}
	}
	return true;
}

void sample_dir(char *out)
{
	strcpy(out, "/tmp/gp-snapshot-test-XXXXXX");
	cr_assert_not_null(mkdtemp(out));
}

bool sample_memory_dir(char *out)
{
	const char *parent = access("/dev/shm", W_OK | X_OK) == 0 ? "/dev/shm" : "/tmp";
	snprintf(out, PATH_MAX, "%s/gp-snapshot-test-XXXXXX", parent);
	return mkdtemp(out) != NULL;
}

static void dir_remove(const char *dir, int depth)
{
	char path[PATH_MAX + 256];
	DIR *d = opendir(dir);
	for (struct dirent *e; d && (e = readdir(d));) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (snprintf(path, sizeof(path), "%s/%s", dir, e->d_name) >= (int)sizeof(path))
			continue;
		if (unlink(path) != 0 && depth > 0)
			dir_remove(path, depth - 1);
	}
	if (d)
		closedir(d);
	rmdir(dir);
}

void sample_dir_remove(const char *dir)
{
	dir_remove(dir, 1);
}

uint32_t sample_stages(const char *dir)
{
	uint32_t count = 0;
	DIR *d = opendir(dir);
	cr_assert_not_null(d);
	for (struct dirent *e; (e = readdir(d));)
		count += strncmp(e->d_name, ".tmp-", 5) == 0;
	closedir(d);
	return count;
}
