// SPDX-License-Identifier: BSD-3-Clause
#include "pair_disk.h"
#include "pair_machine.h"

#include <gp_base.h>

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define NODES_MAX 1024
#define NAMES_MAX 128
#define NAME_SIZE 96

struct name {
	char text[NAME_SIZE];
	ino_t ino;
};

// What is on the disk for sure of one file or directory.
struct inode {
	ino_t ino;
	bool lost; // its last fsync failed: what it was to keep is gone
	uint8_t *bytes;
	size_t len;
	struct name *names; // of a directory
	uint32_t names_count;
};

struct pair_disk {
	char path[PATH_MAX];
	struct rng rng;
	uint64_t number;    // of its own, never 0
	uint64_t temporary; // names made
	uint32_t count;
	struct inode nodes[NODES_MAX];
	enum pair_disk_fault kind;
	uint32_t left; // calls to the fault, 0: none is due
	bool failed;
};

static struct pair_disk *disk; // in use

#define NEXT PAIR_NEXT

// ---- faults

// False, with errno: the call fails. *half: it is a write that writes half.
static bool call_passes(bool writes, bool *half)
{
	*half = false;
	if (!disk || (!disk->failed && (disk->left == 0 || --disk->left > 0)))
		return true;
	bool now = !disk->failed;
	disk->failed = true;
	errno = disk->kind == DISK_ENOSPC ? ENOSPC : EIO;
	if (disk->kind == DISK_SHORT)
		*half = now && writes;
	bool stays = disk->kind == DISK_BROKEN || disk->kind == DISK_POWER;
	return disk->kind == DISK_SHORT || !(now || stays);
}

static struct inode *inode_find(struct pair_disk *d, ino_t ino)
{
	for (uint32_t i = 0; i < d->count; i++)
		if (d->nodes[i].ino == ino)
			return &d->nodes[i];
	return NULL;
}

static struct inode *inode_make(struct pair_disk *d, ino_t ino)
{
	struct inode *n = inode_find(d, ino);
	if (n)
		return n;
	GP_ASSERT(d->count < NODES_MAX);
	n = &d->nodes[d->count++];
	*n = (struct inode){.ino = ino};
	return n;
}

static void inode_free(struct inode *n)
{
	free(n->bytes);
	free(n->names);
	*n = (struct inode){0};
}

// ---- what is there

static void path_join(char out[PATH_MAX], const char *dir, const char *name)
{
	int n = snprintf(out, PATH_MAX, "%s/%s", dir, name);
	GP_ASSERT(n > 0 && n < PATH_MAX);
}

static int name_compare(const void *a, const void *b)
{
	return strcmp(((const struct name *)a)->text, ((const struct name *)b)->text);
}

// In the order of names: what is drawn for one does not depend on the file system.
static uint32_t names_read(int at, const char *path, struct name names[NAMES_MAX])
{
	int fd = NEXT(openat)(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *e;
	uint32_t n = 0;
	GP_ASSERT(dir);
	while ((e = readdir(dir)) != NULL) {
		if (e->d_name[0] == '.' && (!e->d_name[1] || !strcmp(e->d_name, "..")))
			continue;
		GP_ASSERT(n < NAMES_MAX && strlen(e->d_name) < NAME_SIZE);
		names[n].ino = e->d_ino;
		strcpy(names[n++].text, e->d_name);
	}
	closedir(dir);
	qsort(names, n, sizeof(names[0]), name_compare);
	return n;
}

static uint8_t *bytes_read(int at, const char *path, size_t *len)
{
	struct stat st;
	int fd = NEXT(openat)(at, path, O_RDONLY | O_CLOEXEC, 0);
	GP_ASSERT(fd >= 0 && fstat(fd, &st) == 0);
	*len = (size_t)st.st_size;
	uint8_t *bytes = malloc(*len + 1);
	GP_ASSERT(bytes && pread(fd, bytes, *len, 0) == (ssize_t)*len);
	(void)NEXT(close)(fd);
	return bytes;
}

// What no name leads to any more, neither one that is synced nor one that is there, is forgotten.
static void inodes_trim(struct pair_disk *d)
{
	static struct name names[NAMES_MAX], inner[NAMES_MAX];
	static bool kept[NODES_MAX];
	uint32_t n = names_read(AT_FDCWD, d->path, names), out = 0;
	memset(kept, 0, sizeof(kept));
	struct stat st;
	GP_ASSERT(stat(d->path, &st) == 0);
	for (uint32_t i = 0; i < d->count; i++)
		kept[i] = d->nodes[i].ino == st.st_ino;
	for (uint32_t k = 0; k < n; k++) {
		char path[PATH_MAX];
		struct inode *x = inode_find(d, names[k].ino);
		path_join(path, d->path, names[k].text);
		bool is_dir = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
		uint32_t m = is_dir ? names_read(AT_FDCWD, path, inner) : 0;
		for (uint32_t i = 0; i < d->count; i++) {
			kept[i] |= &d->nodes[i] == x;
			for (uint32_t j = 0; j < m; j++)
				kept[i] |= d->nodes[i].ino == inner[j].ino;
			for (uint32_t j = 0; x && j < x->names_count; j++)
				kept[i] |= d->nodes[i].ino == x->names[j].ino;
		}
	}
	for (uint32_t i = 0; i < d->count; i++)
		if (kept[i])
			d->nodes[out++] = d->nodes[i];
		else
			inode_free(&d->nodes[i]);
	d->count = out;
}

static void dir_synced(struct pair_disk *d, struct inode *n, const char *path)
{
	static struct name names[NAMES_MAX];
	n->names_count = names_read(AT_FDCWD, path, names);
	free(n->names);
	n->names = malloc(sizeof(*names) * (n->names_count + 1));
	GP_ASSERT(n->names);
	memcpy(n->names, names, sizeof(*names) * n->names_count);
	if (d->count > NODES_MAX / 2)
		inodes_trim(d);
}

static void is_synced(struct pair_disk *d, int fd)
{
	struct stat st;
	char path[64];
	if (fstat(fd, &st) != 0)
		return;
	struct inode *n = inode_make(d, st.st_ino);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (S_ISDIR(st.st_mode)) {
		dir_synced(d, n, path);
	} else if (S_ISREG(st.st_mode) && !n->lost) {
		free(n->bytes);
		n->bytes = bytes_read(AT_FDCWD, path, &n->len);
	}
}

static void is_lost(struct pair_disk *d, int fd, bool lost)
{
	struct stat st;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		inode_make(d, st.st_ino)->lost = lost;
}

// ---- before the C library

ssize_t write(int fd, const void *data, size_t len)
{
	bool half;
	if (disk && fd == STDERR_FILENO)
		return (ssize_t)len; // of faults nobody wants to read
	if (!call_passes(true, &half))
		return -1;
	if (disk)
		is_lost(disk, fd, false);
	return pair_machine_did(NEXT(write)(fd, data, half ? len / 2 : len), "write");
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t at)
{
	bool half;
	if (!call_passes(true, &half))
		return -1;
	if (disk)
		is_lost(disk, fd, false);
	return pair_machine_did(
		NEXT(pwrite)(fd, data, half && len > 1 ? len / 2 : len, at), "pwrite");
}

int fsync(int fd)
{
	bool half;
	if (!disk)
		return NEXT(fsync)(fd);
	if (!call_passes(false, &half)) {
		is_lost(disk, fd, true);
		return -1;
	}
	is_synced(disk, fd);
	return 0;
}

int openat(int dir, const char *name, int flags, ...)
{
	bool half;
	va_list args;
	va_start(args, flags);
	bool makes = (flags & (O_CREAT | O_TMPFILE)) != 0;
	mode_t mode = makes ? va_arg(args, mode_t) : 0;
	va_end(args);
	if (call_passes(false, &half))
		return (int)pair_machine_did(NEXT(openat)(dir, name, flags, mode), "openat");
	errno = makes ? errno : EIO; // a full disk can be read
	return -1;
}

int rename(const char *from, const char *to)
{
	bool half;
	if (!call_passes(false, &half))
		return -1;
	return (int)pair_machine_did(NEXT(rename)(from, to), "rename");
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	bool half;
	if (!call_passes(false, &half))
		return -1;
	return (int)pair_machine_did(NEXT(renameat)(from_dir, from, to_dir, to), "renameat");
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned int flags)
{
	bool half;
	if (!call_passes(false, &half))
		return -1;
	return (int)pair_machine_did(
		NEXT(renameat2)(from_dir, from, to_dir, to, flags), "renameat2");
}

int unlinkat(int dir, const char *name, int flags)
{
	bool half;
	return call_passes(false, &half) ? NEXT(unlinkat)(dir, name, flags) : -1;
}

int rmdir(const char *path)
{
	bool half;
	return call_passes(false, &half) ? NEXT(rmdir)(path) : -1;
}

char *mkdtemp(char *path)
{
	bool half;
	if (!disk)
		return NEXT(mkdtemp)(path);
	return call_passes(false, &half) ? pair_machine_mkdtemp(path, ++disk->temporary) : NULL;
}

int fallocate(int fd, int mode, off_t at, off_t len)
{
	bool half;
	if (!call_passes(false, &half))
		return -1;
	return (int)pair_machine_did(NEXT(fallocate)(fd, mode, at, len), "fallocate");
}

// A descriptor is gone whatever close says.
int close(int fd)
{
	bool half, passes = call_passes(false, &half);
	int error = errno, rc = NEXT(close)(fd);
	if (passes)
		return rc;
	errno = error;
	return -1;
}

// ---- a loss of power

// A file's bytes when the power comes back.
static void file_lay(struct pair_disk *d, const char *to, const struct inode *n, const char *from)
{
	size_t len = 0;
	uint8_t *now = from ? bytes_read(AT_FDCWD, from, &len) : NULL;
	bool same = n && n->bytes && now && n->len == len && memcmp(n->bytes, now, len) == 0;
	const uint8_t *bytes = n && n->bytes ? n->bytes : NULL;
	size_t kept = bytes ? n->len : 0;
	if (now && !same && (!bytes || rng_next(&d->rng) & 1)) {
		uint64_t how = rng_below(&d->rng, 4);
		bytes = now;
		kept = how == 0 ? len : rng_below(&d->rng, len + 1);
		if (how == 1) { // the rest was not written yet
			memset(now + kept, 0, len - kept);
			kept = len;
		}
	}
	int fd = NEXT(openat)(AT_FDCWD, to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	GP_ASSERT(fd >= 0 && (kept == 0 || NEXT(write)(fd, bytes, kept) == (ssize_t)kept));
	(void)NEXT(close)(fd);
	free(now);
}

// The names of a directory when the power comes back: those of its last fsync, or of its end.
static uint32_t names_choose(
	struct pair_disk *d, const struct inode *n, const char *path, struct name out[NAMES_MAX])
{
	if (path && rng_next(&d->rng) & 1)
		return names_read(AT_FDCWD, path, out);
	uint32_t count = n ? n->names_count : 0;
	if (count > 0)
		memcpy(out, n->names, sizeof(*out) * count);
	return count;
}

// Where an inode is now, in `path` or one level below; false: it is gone.
static bool inode_path(const char *path, ino_t ino, char out[PATH_MAX], bool *is_dir)
{
	static struct name outer[NAMES_MAX], inner[NAMES_MAX];
	uint32_t n = names_read(AT_FDCWD, path, outer);
	for (uint32_t i = 0; i < n; i++) {
		char below[PATH_MAX];
		struct stat st;
		path_join(below, path, outer[i].text);
		*is_dir = stat(below, &st) == 0 && S_ISDIR(st.st_mode);
		if (outer[i].ino == ino) {
			strcpy(out, below);
			return true;
		}
		uint32_t m = *is_dir ? names_read(AT_FDCWD, below, inner) : 0;
		for (uint32_t k = 0; k < m; k++)
			if (inner[k].ino == ino) {
				path_join(out, below, inner[k].text);
				*is_dir = false;
				return true;
			}
	}
	return false;
}

static void inner_lay(struct pair_disk *d, const char *to, const struct inode *n, const char *from)
{
	static struct name names[NAMES_MAX];
	uint32_t count = names_choose(d, n, from, names);
	GP_ASSERT(mkdir(to, 0755) == 0);
	for (uint32_t i = 0; i < count; i++) {
		char at[PATH_MAX], was[PATH_MAX];
		bool is_dir, there = inode_path(d->path, names[i].ino, was, &is_dir);
		path_join(at, to, names[i].text);
		file_lay(d, at, inode_find(d, names[i].ino), there ? was : NULL);
	}
}

static void outer_lay(struct pair_disk *d, const char *to)
{
	static struct name names[NAMES_MAX];
	struct stat st;
	GP_ASSERT(stat(d->path, &st) == 0 && mkdir(to, 0755) == 0);
	uint32_t count = names_choose(d, inode_find(d, st.st_ino), d->path, names);
	for (uint32_t i = 0; i < count; i++) {
		char at[PATH_MAX], was[PATH_MAX];
		bool is_dir = false, there = inode_path(d->path, names[i].ino, was, &is_dir);
		const struct inode *n = inode_find(d, names[i].ino);
		path_join(at, to, names[i].text);
		if (there ? is_dir : n && n->names)
			inner_lay(d, at, n, there ? was : NULL);
		else
			file_lay(d, at, n, there ? was : NULL);
	}
}

static void dir_remove(const char *path)
{
	static struct name names[NAMES_MAX];
	uint32_t n = names_read(AT_FDCWD, path, names);
	char at[PATH_MAX];
	for (uint32_t i = 0; i < n; i++) {
		path_join(at, path, names[i].text);
		(void)unlink(at);
	}
	(void)NEXT(rmdir)(path);
}

static void tree_remove(const char *path)
{
	static struct name names[NAMES_MAX];
	uint32_t n = names_read(AT_FDCWD, path, names);
	char at[PATH_MAX];
	for (uint32_t i = 0; i < n; i++) {
		path_join(at, path, names[i].text);
		if (unlink(at) != 0)
			dir_remove(at);
	}
	(void)NEXT(rmdir)(path);
}

static void inodes_forget(struct pair_disk *d)
{
	while (d->count > 0)
		inode_free(&d->nodes[--d->count]);
}

// All that is there is on the disk.
static void all_synced(struct pair_disk *d, const char *path)
{
	static struct name names[NAMES_MAX];
	uint32_t n = names_read(AT_FDCWD, path, names);
	int fd = NEXT(openat)(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	for (uint32_t i = 0; i < n; i++) {
		int at = NEXT(openat)(fd, names[i].text, O_RDONLY | O_CLOEXEC, 0);
		is_synced(d, at);
		(void)NEXT(close)(at);
	}
	is_synced(d, fd);
	(void)NEXT(close)(fd);
}

static void tree_synced(struct pair_disk *d)
{
	static struct name names[NAMES_MAX];
	all_synced(d, d->path);
	uint32_t n = names_read(AT_FDCWD, d->path, names);
	for (uint32_t i = 0; i < n; i++) {
		char at[PATH_MAX];
		struct stat st;
		path_join(at, d->path, names[i].text);
		if (stat(at, &st) == 0 && S_ISDIR(st.st_mode))
			all_synced(d, at);
	}
}

void pair_disk_power_loss(struct pair_disk *d)
{
	char after[PATH_MAX];
	GP_ASSERT(!disk && snprintf(after, PATH_MAX, "%s.after", d->path) < PATH_MAX);
	outer_lay(d, after);
	tree_remove(d->path);
	GP_ASSERT(NEXT(rename)(after, d->path) == 0);
	inodes_forget(d);
	tree_synced(d);
	if (d->kind == DISK_POWER)
		pair_disk_mend(d);
}

// ---- life

bool pair_disks_root(char root[PATH_MAX])
{
	strcpy(root, "/dev/shm/gradsim-XXXXXX");
	if (mkdtemp(root))
		return true;
	strcpy(root, "/tmp/gradsim-XXXXXX");
	return mkdtemp(root) != NULL;
}

void pair_disks_remove(const char *root)
{
	struct name names[8];
	DIR *dir = opendir(root);
	const struct dirent *e;
	uint32_t n = 0;
	while (dir && n < GP_ARRAY_SIZE(names) && (e = readdir(dir)) != NULL)
		if (e->d_name[0] != '.' && strlen(e->d_name) < NAME_SIZE)
			strcpy(names[n++].text, e->d_name);
	if (dir)
		closedir(dir);
	for (uint32_t i = 0; i < n; i++) {
		char at[PATH_MAX];
		path_join(at, root, names[i].text);
		tree_remove(at);
	}
	(void)NEXT(rmdir)(root);
}

struct pair_disk *pair_disk_create(const char *root, const char *name, uint64_t seed)
{
	struct pair_disk *d = calloc(1, sizeof(*d));
	GP_ASSERT(d);
	path_join(d->path, root, name);
	rng_start(&d->rng, seed);
	d->number = rng_mix(seed) | 1;
	if (access(d->path, F_OK) == 0)
		tree_remove(d->path);
	GP_ASSERT(mkdir(d->path, 0755) == 0);
	tree_synced(d);
	return d;
}

void pair_disk_destroy(struct pair_disk *d)
{
	if (!d)
		return;
	tree_remove(d->path);
	inodes_forget(d);
	free(d);
}

const char *pair_disk_path(const struct pair_disk *d)
{
	return d->path;
}

void pair_disk_use(struct pair_disk *d)
{
	GP_ASSERT(!disk);
	disk = d;
	pair_machine_use(d->number);
}

void pair_disk_done(void)
{
	disk = NULL;
	pair_machine_use(0);
}

void pair_disk_fault(struct pair_disk *d, enum pair_disk_fault kind, uint32_t n)
{
	d->kind = kind;
	d->left = n;
	d->failed = false;
}

bool pair_disk_failed(const struct pair_disk *d)
{
	return d->failed;
}

bool pair_disk_gone(const struct pair_disk *d)
{
	return d->kind == DISK_POWER;
}

void pair_disk_mend(struct pair_disk *d)
{
	d->left = 0;
	d->failed = false;
}
