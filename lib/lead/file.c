// SPDX-License-Identifier: BSD-3-Clause
//
// A record in a file: a line of JSON and a line with its xxh3. It is written beside, synced,
// renamed, and the directory is synced: after a crash the old or the new one is there, whole.
#include "lead_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>

#define FILE_SIZE_MAX 1024
#define NAME_SIZE     (GP_LEAD_KEY_SIZE + 16)

static int fail_sys(struct gp_lead_error *err, int e, const char *name, const char *what)
{
	return lead_fail(err, -e, "%s: %s: %s", name, what, strerror(e));
}

int lead_dir_open(const char *path, int *fd, struct gp_lead_error *err)
{
	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		return fail_sys(err, errno, path, "cannot be made");
	*fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*fd < 0)
		return fail_sys(err, errno, path, "cannot be opened");
	int e = flock(*fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
	bool locked = e == 0;
	// Of a record that a process before this one could not sync nobody knows yet.
	if (locked && fsync(*fd) == 0)
		return 0;
	e = locked ? errno : e;
	close(*fd);
	*fd = -1;
	if (locked)
		return fail_sys(err, e, path, "cannot be synced");
	if (e == EWOULDBLOCK)
		return lead_fail(err, -EBUSY,
			"%s: another process keeps its records here; end it or name another "
			"directory",
			path);
	return fail_sys(err, e, path, "cannot be locked");
}

static void name_of(const char *key, const char *suffix, char name[NAME_SIZE])
{
	GP_ASSERT(gp_lead_key_valid(key));
	snprintf(name, NAME_SIZE, "%s%s", key, suffix);
}

static size_t text_make(const struct gp_lead_held *held, char text[FILE_SIZE_MAX])
{
	char record[GP_LEAD_RECORD_SIZE];
	gp_lead_record_format(&held->record, record);
	int len = snprintf(text, FILE_SIZE_MAX, "{\"version\":%llu,\"record\":%s}\n",
		(unsigned long long)held->version, record);
	unsigned long long hash = XXH3_64bits(text, (size_t)len);
	len += snprintf(text + len, FILE_SIZE_MAX - (size_t)len, "%016llx\n", hash);
	GP_ASSERT(len < FILE_SIZE_MAX);
	return (size_t)len;
}

static bool text_take(const char *text, size_t len, struct gp_lead_held *out)
{
	const char *end = memchr(text, '\n', len);
	char hash[24];
	json_int_t version;
	json_t *record;
	if (!end)
		return false;
	size_t line = (size_t)(end - text) + 1;
	snprintf(hash, sizeof(hash), "%016llx\n", (unsigned long long)XXH3_64bits(text, line));
	if (len != line + strlen(hash) || memcmp(text + line, hash, strlen(hash)) != 0)
		return false;
	json_t *o = json_loadb(text, line, JSON_REJECT_DUPLICATES, NULL);
	bool ok = o &&
		  json_unpack_ex(o, NULL, JSON_STRICT, "{s:I, s:o}", "version", &version, "record",
			  &record) == 0 &&
		  version > 0 && lead_record_take(record, &out->record);
	if (ok) {
		out->exists = true;
		out->version = (uint64_t)version;
	}
	json_decref(o);
	return ok;
}

int lead_file_load(int dir, const char *key, struct gp_lead_held *out, struct gp_lead_error *err)
{
	char name[NAME_SIZE], text[FILE_SIZE_MAX];
	name_of(key, ".json", name);
	*out = (struct gp_lead_held){0};
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		return fail_sys(err, errno, name, "cannot be opened");
	ssize_t len = read(fd, text, sizeof(text));
	int e = errno;
	close(fd);
	if (len < 0)
		return fail_sys(err, e, name, "cannot be read");
	if (!text_take(text, (size_t)len, out))
		return lead_fail(err, -EBADMSG,
			"%s: damaged. A register that forgets lets two nodes lead: restore the "
			"file, "
			"or stop both nodes, remove it, and name the primary with `gradctl leader "
			"promote --peer-is-fenced`",
			name);
	return 0;
}

static int beside_write(
	int dir, const char *name, const char *text, size_t len, struct gp_lead_error *err)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return fail_sys(err, errno, name, "cannot be made");
	ssize_t n = write(fd, text, len);
	int e = n == (ssize_t)len ? 0 : n < 0 ? errno : ENOSPC;
	if (e == 0 && fsync(fd) != 0)
		e = errno;
	if (close(fd) != 0 && e == 0)
		e = errno;
	if (e == 0)
		return 0;
	(void)unlinkat(dir, name, 0);
	return fail_sys(err, e, name, "cannot be written");
}

int lead_file_store(
	int dir, const char *key, const struct gp_lead_held *held, struct gp_lead_error *err)
{
	char name[NAME_SIZE], beside[NAME_SIZE], text[FILE_SIZE_MAX];
	name_of(key, ".json", name);
	name_of(key, ".json.new", beside);
	int rc = beside_write(dir, beside, text, text_make(held, text), err);
	if (rc != 0)
		return rc;
	if (renameat(dir, beside, dir, name) != 0)
		return fail_sys(err, errno, name, "cannot be renamed");
	if (fsync(dir) != 0)
		return lead_fail(err, -ESTALE, "%s: its directory cannot be synced: %s", name,
			strerror(errno));
	return 0;
}
