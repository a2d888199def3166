// SPDX-License-Identifier: BSD-3-Clause
//
// A slow disk: every write into a file of a snapshot takes $SLOW_DISK_MS longer. To be preloaded.
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void pause_ms(long ms)
{
	const struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
	nanosleep(&ts, NULL);
}

__attribute__((visibility("default"))) ssize_t write(int fd, const void *data, size_t len)
{
	char name[64], path[512];
	const char *ms = getenv("SLOW_DISK_MS");
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	ssize_t path_len = readlink(name, path, sizeof(path) - 1);
	path[path_len > 0 ? path_len : 0] = 0;
	if (ms && strstr(path, ".safetensors"))
		pause_ms(strtol(ms, NULL, 10));
	ssize_t (*next)(int, const void *, size_t) =
		(ssize_t(*)(int, const void *, size_t))(uintptr_t)dlsym(RTLD_NEXT, "write");
	return next(fd, data, len);
}
