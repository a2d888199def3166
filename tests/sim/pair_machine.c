// SPDX-License-Identifier: BSD-3-Clause
#include "pair_machine.h"

#include "rng.h"

#include <gp_base.h>

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#define ENTRIES_MAX  160
#define LISTINGS_MAX 4
#define DAY_ZERO     1767225600 // 2026-01-01
#define SECOND_NS    UINT64_C(1000000000)

// A directory that is being read.
struct listing {
	DIR *dir; // NULL: none
	uint32_t count, next;
	struct dirent entries[ENTRIES_MAX];
};

static struct {
	uint64_t disk; // 0: none is in use
	uint64_t now;
	char trouble[96];
	struct listing listings[LISTINGS_MAX];
} machine;

void pair_machine_begin(void)
{
	machine.trouble[0] = 0;
}

void pair_machine_set_now(uint64_t ns)
{
	machine.now = ns;
}

void pair_machine_use(uint64_t disk)
{
	machine.disk = disk;
}

ssize_t pair_machine_did(ssize_t rc, const char *call)
{
	static const int its[] = {ENOSPC, EDQUOT, ENOMEM, EMFILE, ENFILE, EIO, EROFS};
	int e = errno;
	for (uint32_t i = 0; rc < 0 && machine.disk && i < GP_ARRAY_SIZE(its); i++)
		if (e == its[i] && !machine.trouble[0])
			(void)snprintf(machine.trouble, sizeof(machine.trouble), "%s: %s", call,
				strerrordesc_np(e));
	errno = e;
	return rc;
}

const char *pair_machine_trouble(void)
{
	return machine.trouble[0] ? machine.trouble : NULL;
}

char *pair_machine_mkdtemp(char *path, uint64_t n)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
	size_t len = strlen(path);
	uint64_t how = rng_mix(machine.disk ^ rng_mix(n));
	GP_ASSERT(machine.disk && len > 6);
	for (size_t i = len - 6; i < len; i++, how /= sizeof(letters) - 1)
		path[i] = letters[how % (sizeof(letters) - 1)];
	return pair_machine_did(mkdir(path, 0700), "mkdir") == 0 ? path : NULL;
}

// ---- before the C library

time_t time(time_t *out)
{
	time_t now =
		machine.disk ? (time_t)(DAY_ZERO + machine.now / SECOND_NS) : PAIR_NEXT(time)(NULL);
	if (out)
		*out = now;
	return now;
}

int open(const char *path, int flags, ...)
{
	va_list args;
	va_start(args, flags);
	mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
	va_end(args);
	return (int)pair_machine_did(PAIR_NEXT(open)(path, flags, mode), "open");
}

static uint64_t place_of(const struct dirent *e)
{
	uint64_t h = machine.disk;
	for (const char *c = e->d_name; *c; c++)
		h = rng_mix(h ^ (uint8_t)*c);
	return h;
}

static int place_compare(const void *a, const void *b)
{
	uint64_t x = place_of(a), y = place_of(b);
	return (x > y) - (x < y);
}

static struct listing *listing_find(const DIR *dir)
{
	for (uint32_t i = 0; i < LISTINGS_MAX; i++)
		if (machine.listings[i].dir == dir)
			return &machine.listings[i];
	return NULL;
}

static struct listing *listing_make(DIR *dir)
{
	struct listing *l = listing_find(NULL);
	const struct dirent *e;
	GP_ASSERT(l);
	l->dir = dir;
	l->count = l->next = 0;
	while ((e = PAIR_NEXT(readdir)(dir)) != NULL) {
		GP_ASSERT(l->count < ENTRIES_MAX);
		memcpy(&l->entries[l->count++], e, e->d_reclen);
	}
	qsort(l->entries, l->count, sizeof(l->entries[0]), place_compare);
	return l;
}

struct dirent *readdir(DIR *dir)
{
	struct listing *l = listing_find(dir);
	if (!l && !machine.disk)
		return PAIR_NEXT(readdir)(dir);
	if (!l)
		l = listing_make(dir);
	return l->next < l->count ? &l->entries[l->next++] : NULL;
}

int closedir(DIR *dir)
{
	struct listing *l = listing_find(dir);
	if (l)
		l->dir = NULL;
	return PAIR_NEXT(closedir)(dir);
}
