// SPDX-License-Identifier: BSD-3-Clause
//
// What gradbench allreduce and the same in other libraries (allreduce_mpi.c, scripts) have in
// common: SIZES is a list of BYTESxTIMES such as 1024x200,104857600x5. For each size TIMES / 10 + 1
// all-reduces that are not counted, then TIMES; what counts is how long each took on rank 0. The
// value is rank + 1 everywhere; the last result is looked at whole. One line of JSON from rank 0.
#ifndef GRADBENCH_ALLREDUCE_H
#define GRADBENCH_ALLREDUCE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ALLREDUCE_SIZES_MAX 32
#define ALLREDUCE_TIMES_MAX 10000

struct allreduce_size {
	uint64_t bytes; // a multiple of 4
	uint32_t times;
};

// How many there are; 0: the text is no such list.
static inline uint32_t allreduce_sizes(
	const char *text, struct allreduce_size sizes[ALLREDUCE_SIZES_MAX])
{
	uint32_t n = 0;
	for (;; text++) {
		char *end;
		if (n == ALLREDUCE_SIZES_MAX || *text < '0' || *text > '9')
			return 0;
		uint64_t bytes = strtoull(text, &end, 10);
		if (*end != 'x' || end[1] < '0' || end[1] > '9')
			return 0;
		uint64_t times = strtoull(end + 1, &end, 10);
		if (bytes < 4 || bytes % 4 != 0 || bytes > UINT64_C(1) << 32 || times < 1 ||
			times > ALLREDUCE_TIMES_MAX)
			return 0;
		sizes[n++] = (struct allreduce_size){.bytes = bytes, .times = (uint32_t)times};
		if (*end == '\0')
			return n;
		if (*end != ',')
			return 0;
		text = end;
	}
}

static inline uint32_t allreduce_warm(const struct allreduce_size *s)
{
	return s->times / 10 + 1;
}

static inline double allreduce_now_us(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static inline void allreduce_fill(float *v, uint64_t bytes, uint32_t rank)
{
	for (uint64_t i = 0; i < bytes / sizeof(*v); i++)
		v[i] = (float)(rank + 1);
}

static inline bool allreduce_good(const float *v, uint64_t bytes, uint32_t world)
{
	float sum = (float)world * (float)(world + 1) / 2;
	for (uint64_t i = 0; i < bytes / sizeof(*v); i++)
		if (v[i] != sum)
			return false;
	return true;
}

static inline int allreduce_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

// A member of the JSON array of rows; sorts `us`.
static inline void allreduce_row(const struct allreduce_size *s, double *us, bool first)
{
	qsort(us, s->times, sizeof(*us), allreduce_compare);
	printf("%s{\"bytes\":%llu,\"times\":%u,\"us\":%.2f,\"us_min\":%.2f,\"us_max\":%.2f}",
		first ? "" : ",", (unsigned long long)s->bytes, s->times, us[s->times / 2], us[0],
		us[s->times - 1]);
}

#endif
