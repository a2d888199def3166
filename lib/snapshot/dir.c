// SPDX-License-Identifier: BSD-3-Clause
#include "snapshot_priv.h"

#include <gp_log.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define STEP_DIGITS 10

bool gp_snapshot_name_parse(const char *name, struct gp_snapshot_entry *out)
{
	size_t len = strnlen(name, sizeof(out->name));
	if (len >= sizeof(out->name) || len < STEP_DIGITS + 2)
		return false;
	size_t job_len = len - STEP_DIGITS - 1;
	uint64_t step = 0;
	if (name[job_len] != '-' || job_len >= sizeof(out->job))
		return false;
	for (size_t i = job_len + 1; i < len; i++) {
		if (name[i] < '0' || name[i] > '9')
			return false;
		step = step * 10 + (uint64_t)(name[i] - '0');
	}
	if (step > UINT32_MAX)
		return false;
	memcpy(out->name, name, len + 1);
	memcpy(out->job, name, job_len);
	out->job[job_len] = 0;
	out->step = (uint32_t)step;
	return gp_snapshot_job_valid(out->job);
}

// Steps wrap, and serial order alone is no total order: distances from one of them are.
static int entry_cmp(const void *a, const void *b, void *reference)
{
	const struct gp_snapshot_entry *x = a, *y = b;
	int32_t dx = (int32_t)(x->step - *(uint32_t *)reference);
	int32_t dy = (int32_t)(y->step - *(uint32_t *)reference);
	if (dx != dy)
		return dx > dy ? -1 : 1;
	return strcmp(x->job, y->job);
}

static int list_add(struct gp_snapshot_list *list, const struct gp_snapshot_entry *entry,
	const char *dir, struct gp_snapshot_error *err)
{
	uint32_t n = list->count;
	if (n == GP_SNAPSHOT_ENTRIES_MAX)
		return snapshot_fail(err, -E2BIG, "%s: more than %d snapshots; remove some", dir,
			GP_SNAPSHOT_ENTRIES_MAX);
	// Room doubles whenever the count is a power of two.
	if ((n & (n - 1)) == 0) {
		void *grown = realloc(list->entries, GP_MAX(2 * n, 1u) * sizeof(*entry));
		if (!grown)
			return snapshot_fail(err, -ENOMEM, "out of memory for %u snapshots", n);
		list->entries = grown;
	}
	list->entries[list->count++] = *entry;
	return 0;
}

int gp_snapshot_list(const char *dir, const char *job, struct gp_snapshot_list *out,
	struct gp_snapshot_error *err)
{
	struct gp_snapshot_list list = {0};
	struct gp_snapshot_entry entry;
	int rc = 0;
	DIR *d = opendir(dir);
	if (!d)
		return snapshot_fail_sys(err, errno, dir, NULL, "cannot be listed");
	for (struct dirent *e; rc == 0 && (e = readdir(d));)
		if (gp_snapshot_name_parse(e->d_name, &entry) &&
			(!job || strcmp(job, entry.job) == 0))
			rc = list_add(&list, &entry, dir, err);
	closedir(d);
	if (rc != 0) {
		gp_snapshot_list_free(&list);
		return rc;
	}
	if (list.count > 0) {
		uint32_t reference = list.entries[0].step;
		qsort_r(list.entries, list.count, sizeof(entry), entry_cmp, &reference);
	}
	*out = list;
	return 0;
}

void gp_snapshot_list_free(struct gp_snapshot_list *list)
{
	free(list->entries);
	*list = (struct gp_snapshot_list){0};
}

// Opens dir/name and proves that it is of the job and step of its name.
static int entry_open(const char *dir, const struct gp_snapshot_entry *entry,
	struct gp_snapshot **out, struct gp_snapshot_error *err)
{
	char path[PATH_MAX];
	struct gp_snapshot *s;
	int rc = snapshot_path_join(path, dir, entry->name, err);
	if (rc == 0)
		rc = gp_snapshot_open(path, &s, err);
	if (rc != 0)
		return rc;
	const struct gp_snapshot_meta *meta = gp_snapshot_meta(s);
	if (strcmp(meta->job, entry->job) != 0 || meta->step != entry->step) {
		rc = snapshot_fail(err, -EBADMSG,
			"%s: is of job %s step %u, not what its name says", path, meta->job,
			meta->step);
		gp_snapshot_close(s);
		return rc;
	}
	*out = s;
	return 0;
}

int gp_snapshot_latest(const char *dir, const char *job, gp_snapshot_refused_fn refused, void *arg,
	struct gp_snapshot **out, struct gp_snapshot_error *err)
{
	struct gp_snapshot_list list;
	int rc = gp_snapshot_list(dir, job, &list, err);
	if (rc != 0)
		return rc;
	uint32_t refused_count = 0;
	rc = -ENOENT;
	for (uint32_t i = 0; rc != 0 && i < list.count; i++) {
		rc = entry_open(dir, &list.entries[i], out, err);
		if (rc == 0 || snapshot_is_system(rc))
			break;
		refused_count++;
		if (refused)
			refused(arg, list.entries[i].name, err->text);
		else
			gp_warn("snapshot refused: %s", err->text);
	}
	gp_snapshot_list_free(&list);
	if (rc != 0 && !snapshot_is_system(rc))
		rc = snapshot_fail(err, -ENOENT, "%s: no snapshot of job %s%s", dir, job,
			refused_count ? " that verifies" : "");
	return rc;
}

// Renamed first, so that a name never stands for half a snapshot.
static int entry_remove(
	const char *dir, const struct gp_snapshot_entry *entry, struct gp_snapshot_error *err)
{
	char path[PATH_MAX], doomed[PATH_MAX], name[GP_SNAPSHOT_NAME_SIZE + 16];
	snprintf(name, sizeof(name), "%sold-%s", SNAPSHOT_STAGE_PREFIX, entry->name);
	int rc = snapshot_path_join(path, dir, entry->name, err);
	if (rc == 0)
		rc = snapshot_path_join(doomed, dir, name, err);
	if (rc == 0)
		rc = snapshot_remove(doomed, err);
	if (rc != 0)
		return rc;
	if (rename(path, doomed) != 0)
		return errno == ENOENT
			       ? 0
			       : snapshot_fail_sys(err, errno, path, NULL, "cannot be removed");
	return snapshot_remove(doomed, err);
}

int gp_snapshot_remove(const char *dir, const char *name, struct gp_snapshot_error *err)
{
	struct gp_snapshot_entry entry;
	if (!gp_snapshot_name_parse(name, &entry))
		return snapshot_fail(err, -EINVAL, "%.200s: not the name of a snapshot", name);
	return entry_remove(dir, &entry, err);
}

int gp_snapshot_peek(const char *path, struct gp_snapshot_info *out, struct gp_snapshot_error *err)
{
	struct link *l = snapshot_link_open(path, LINK_MANIFEST, err);
	if (!l)
		return err->code;
	const struct manifest *m = &l->manifest;
	*out = (struct gp_snapshot_info){.form = m->form,
		.step = m->meta.step,
		.decision = m->meta.decision,
		.epoch = m->meta.epoch,
		.digest = m->seal.digest,
		.size = l->manifest_file.size + m->index.size};
	strcpy(out->created, m->created);
	for (uint32_t i = 0; i < m->files_count; i++)
		out->size += m->files[i].size;
	snapshot_link_close(l);
	return 0;
}

// Marks what the snapshot builds on as needed: its base, the base of that, ...
static int bases_mark(const char *dir, const struct gp_snapshot_list *list, uint32_t idx,
	bool *needed, struct gp_snapshot_error *err)
{
	for (uint32_t depth = 0; depth < GP_SNAPSHOT_CHAIN_MAX; depth++) {
		char path[PATH_MAX];
		struct gp_snapshot_info info;
		int rc = snapshot_path_join(path, dir, list->entries[idx].name, err);
		if (rc == 0)
			rc = gp_snapshot_peek(path, &info, err);
		if (rc != 0)
			return rc;
		uint32_t base = 0;
		while (base < list->count && strcmp(list->entries[base].name, info.form.base) != 0)
			base++;
		// What is missing breaks the chain, which restoring tells; what was seen is marked.
		if (info.form.depth == 0 || base == list->count || needed[base])
			return 0;
		needed[base] = true;
		idx = base;
	}
	return 0;
}

static int list_prune(const char *dir, const struct gp_snapshot_list *list, uint32_t newest_step,
	uint32_t keep, bool *needed, struct gp_snapshot_error *err)
{
	uint32_t kept = 0;
	int rc = 0;
	for (uint32_t i = 0; rc == 0 && i < list->count; i++) {
		bool later = gp_before(newest_step, list->entries[i].step);
		if (!later && ++kept > keep)
			continue;
		needed[i] = true;
		rc = bases_mark(dir, list, i, needed, err);
		if (later) // of a history that was given up: not to stand in the way
			rc = 0;
	}
	// Newest first: what is left of a chain when this is cut short is whole.
	for (uint32_t i = 0; rc == 0 && i < list->count; i++)
		if (!needed[i])
			rc = entry_remove(dir, &list->entries[i], err);
	return rc;
}

int gp_snapshot_prune(const char *dir, const char *job, uint32_t newest_step, uint32_t keep,
	struct gp_snapshot_error *err)
{
	struct gp_snapshot_list list;
	GP_ASSERT(keep >= 1);
	int rc = gp_snapshot_list(dir, job, &list, err);
	if (rc != 0)
		return rc;
	bool *needed = calloc(GP_MAX(list.count, 1u), sizeof(*needed));
	rc = needed ? list_prune(dir, &list, newest_step, keep, needed, err)
		    : snapshot_fail(err, -ENOMEM, "out of memory for %u snapshots", list.count);
	free(needed);
	gp_snapshot_list_free(&list);
	return rc;
}

#define ASIDE_MAX 1000

static int entry_set_aside(
	const char *dir, const struct gp_snapshot_entry *entry, struct gp_snapshot_error *err)
{
	char from[PATH_MAX], to[PATH_MAX], name[GP_SNAPSHOT_NAME_SIZE + 16];
	int rc = snapshot_path_join(from, dir, entry->name, err);
	for (uint32_t i = 0; rc == 0 && i < ASIDE_MAX; i++) {
		snprintf(name, sizeof(name), i ? "%s.aside%u" : "%s.aside", entry->name, i);
		rc = snapshot_path_join(to, dir, name, err);
		if (rc != 0 || renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
			return rc;
		if (errno != EEXIST)
			return snapshot_fail_sys(err, errno, from, NULL, "cannot be set aside");
	}
	return rc != 0 ? rc
		       : snapshot_fail(err, -EEXIST,
				 "%s: %d of that name are aside already; remove "
				 "some",
				 from, ASIDE_MAX);
}

int gp_snapshot_rewind(const char *dir, const char *job, uint32_t step, uint32_t *count,
	struct gp_snapshot_error *err)
{
	struct gp_snapshot_list list;
	*count = 0;
	int rc = gp_snapshot_list(dir, job, &list, err);
	if (rc != 0)
		return rc;
	// Newest first: cut short, what is left is still a history without holes.
	for (uint32_t i = 0; rc == 0 && i < list.count; i++) {
		if (!gp_before(step, list.entries[i].step))
			continue;
		rc = entry_set_aside(dir, &list.entries[i], err);
		*count += rc == 0;
	}
	gp_snapshot_list_free(&list);
	return rc == 0 ? snapshot_dir_sync(dir, err) : rc;
}

int gp_snapshot_dir_lock(const char *dir, bool alone, int *fd, struct gp_snapshot_error *err)
{
	*fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*fd < 0)
		return snapshot_fail_sys(err, errno, dir, NULL, "cannot be opened");
	if (flock(*fd, (alone ? LOCK_EX : LOCK_SH) | LOCK_NB) == 0)
		return 0;
	int e = errno;
	close(*fd);
	*fd = -1;
	if (e != EWOULDBLOCK)
		return snapshot_fail_sys(err, e, dir, NULL, "cannot be locked");
	return snapshot_fail(err, -EBUSY, "%s: %s", dir,
		alone ? "a running gradplaned uses it: stop it first (gradctl stop)"
		      : "gradctl snapshot restore is at work in it: try again");
}

// Whether it was removed: not if its owner lives, or if it is no directory.
static bool stage_reap(const char *dir, const char *name)
{
	struct gp_snapshot_error err;
	char path[PATH_MAX];
	if (snapshot_path_join(path, dir, name, &err) != 0)
		return false;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return false;
	bool dead = flock(fd, LOCK_EX | LOCK_NB) == 0;
	bool removed = dead && snapshot_remove(path, &err) == 0;
	if (dead && !removed)
		gp_warn("%s", err.text);
	close(fd);
	return removed;
}

static int stages_reap(const char *dir, uint32_t *removed, struct gp_snapshot_error *err)
{
	DIR *d = opendir(dir);
	if (!d)
		return snapshot_fail_sys(err, errno, dir, NULL, "cannot be listed");
	size_t prefix_len = strlen(SNAPSHOT_STAGE_PREFIX);
	for (struct dirent *e; (e = readdir(d));)
		if (strncmp(e->d_name, SNAPSHOT_STAGE_PREFIX, prefix_len) == 0 &&
			stage_reap(dir, e->d_name))
			++*removed;
	closedir(d);
	return 0;
}

// The name of a directory that was made is in the one above it.
static int above_sync(const char *dir, struct gp_snapshot_error *err)
{
	char above[PATH_MAX];
	int rc = snapshot_path_join(above, dir, "..", err);
	return rc == 0 ? snapshot_dir_sync(above, err) : rc;
}

int gp_snapshot_dir_prepare(const char *dir, uint32_t *removed, struct gp_snapshot_error *err)
{
	struct gp_snapshot_stage *stage;
	uint32_t count = 0;
	bool made = mkdir(dir, 0755) == 0;
	if (!made && errno != EEXIST)
		return snapshot_fail_sys(err, errno, dir, NULL, "cannot be made");
	int rc = made ? above_sync(dir, err) : 0;
	if (rc != 0) {
		(void)rmdir(dir); // the next start makes it, and tells the same
		return rc;
	}
	rc = gp_snapshot_stage_create(dir, &stage, err);
	if (rc != 0)
		return rc;
	gp_snapshot_stage_drop(stage);
	rc = stages_reap(dir, &count, err);
	if (removed)
		*removed = count;
	// A name that a writer before could not sync is there, and shall stand once it was seen.
	return rc == 0 ? snapshot_dir_sync(dir, err) : rc;
}
