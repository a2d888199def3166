// SPDX-License-Identifier: BSD-3-Clause
//
// What every library shares: assertions that stay in production builds, loads and stores of
// little-endian fields at any alignment, serial-number arithmetic, small integer helpers.
// Everything here is pure; nothing allocates.
#ifndef GP_BASE_H
#define GP_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define GP_CACHE_LINE	     64
#define GP_MUST_CHECK	     __attribute__((warn_unused_result))
#define GP_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define GP_ALIGNED(n)	     __attribute__((aligned(n)))
#define GP_EXPORT	     __attribute__((visibility("default")))

#define GP_ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

// A bug in this program: says where, runs the hook (flight recorder), aborts. Bad input and missing
// resources are never asserted; they are errors with a name.
#define GP_ASSERT(cond)                                                                            \
	do {                                                                                       \
		if (__builtin_expect(!(cond), 0))                                                  \
			gp_assert_fail(#cond, __FILE__, __LINE__);                                 \
	} while (0)

_Noreturn void gp_assert_fail(const char *cond, const char *file, int line);
// Called once, before abort, from the thread that failed.
void gp_assert_set_hook(void (*hook)(void *arg), void *arg);
// Of this thread: instead of all that, for who drives code with data that may be forged. It does
// not return. `text`: the condition and its place. NULL ends it.
typedef void gp_assert_catch(const char *text);
void gp_assert_set_catch(gp_assert_catch *catch);

#define GP_MIN(a, b) ((a) < (b) ? (a) : (b))
#define GP_MAX(a, b) ((a) > (b) ? (a) : (b))

static inline uint16_t gp_load16(const void *p)
{
	uint16_t v;
	memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint32_t gp_load32(const void *p)
{
	uint32_t v;
	memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint64_t gp_load64(const void *p)
{
	uint64_t v;
	memcpy(&v, p, sizeof(v));
	return v;
}

static inline float gp_loadf(const void *p)
{
	float v;
	memcpy(&v, p, sizeof(v));
	return v;
}

static inline void gp_store16(void *p, uint16_t v)
{
	memcpy(p, &v, sizeof(v));
}

static inline void gp_store32(void *p, uint32_t v)
{
	memcpy(p, &v, sizeof(v));
}

static inline void gp_store64(void *p, uint64_t v)
{
	memcpy(p, &v, sizeof(v));
}

static inline void gp_storef(void *p, float v)
{
	memcpy(p, &v, sizeof(v));
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the wire is little-endian, as we are");

// Serial-number arithmetic (RFC 1982) on 32-bit steps, views and decisions: a is before b when the
// distance from a to b, modulo 2^32, is less than 2^31.
static inline bool gp_before(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

static inline uint64_t gp_align_up(uint64_t n, uint64_t align)
{
	return (n + align - 1) / align * align;
}

static inline uint64_t gp_div_up(uint64_t n, uint64_t d)
{
	return (n + d - 1) / d;
}

static inline uint64_t gp_pow2_up(uint64_t n)
{
	return n <= 1 ? 1 : UINT64_C(1) << (64 - __builtin_clzll(n - 1));
}

// Division by a divisor fixed at start, exact for every 32-bit n and d >= 1 (Lemire, Kaser, Kurz,
// "Faster remainder by direct computation", 2019): no division on the packet path.
struct gp_fastdiv {
	uint64_t magic; // ceil(2^64 / d), 0 for d = 1
	uint32_t d;
};

static inline struct gp_fastdiv gp_fastdiv_init(uint32_t d)
{
	GP_ASSERT(d > 0);
	return (struct gp_fastdiv){.magic = d == 1 ? 0 : UINT64_MAX / d + 1, .d = d};
}

static inline uint32_t gp_fastdiv_quot(struct gp_fastdiv f, uint32_t n)
{
	return f.d == 1 ? n : (uint32_t)(((unsigned __int128)f.magic * n) >> 64);
}

static inline uint32_t gp_fastdiv_rem(struct gp_fastdiv f, uint32_t n)
{
	return n - gp_fastdiv_quot(f, n) * f.d;
}

// A set of ranks: 256 bits, rank r is bit r % 64 of word r / 64.
#define GP_RANKS_MAX 256

struct gp_ranks {
	uint64_t w[GP_RANKS_MAX / 64];
};

static inline bool gp_ranks_has(const struct gp_ranks *s, uint32_t rank)
{
	return rank < GP_RANKS_MAX && (s->w[rank >> 6] >> (rank & 63) & 1);
}

static inline void gp_ranks_add(struct gp_ranks *s, uint32_t rank)
{
	GP_ASSERT(rank < GP_RANKS_MAX);
	s->w[rank >> 6] |= UINT64_C(1) << (rank & 63);
}

static inline void gp_ranks_del(struct gp_ranks *s, uint32_t rank)
{
	GP_ASSERT(rank < GP_RANKS_MAX);
	s->w[rank >> 6] &= ~(UINT64_C(1) << (rank & 63));
}

static inline uint32_t gp_ranks_count(const struct gp_ranks *s)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < GP_RANKS_MAX / 64; i++)
		n += (uint32_t)__builtin_popcountll(s->w[i]);
	return n;
}

// Word by word: a wider load would wait for a store of one of them until that is in the cache.
static inline bool gp_ranks_equal(const struct gp_ranks *a, const struct gp_ranks *b)
{
	for (uint32_t i = 0; i < GP_RANKS_MAX / 64; i++)
		if (a->w[i] != b->w[i])
			return false;
	return true;
}

// The lowest member not below `from`, or GP_RANKS_MAX.
static inline uint32_t gp_ranks_next(const struct gp_ranks *s, uint32_t from)
{
	for (uint32_t i = from >> 6; i < GP_RANKS_MAX / 64; i++) {
		uint64_t w = s->w[i];
		if (i == from >> 6)
			w &= ~UINT64_C(0) << (from & 63);
		if (w)
			return i * 64 + (uint32_t)__builtin_ctzll(w);
	}
	return GP_RANKS_MAX;
}

struct gp_ranks_walk {
	uint64_t left; // of the word in hand
	uint32_t word;
};

static inline bool gp_ranks_step(struct gp_ranks_walk *k, const struct gp_ranks *s, uint32_t *rank)
{
	while (k->left == 0) {
		if (++k->word == GP_RANKS_MAX / 64)
			return false;
		k->left = s->w[k->word];
	}
	*rank = k->word * 64 + (uint32_t)__builtin_ctzll(k->left);
	k->left &= k->left - 1;
	return true;
}

// Ascending. The set is read a word at a time: a rank that the body adds or takes away may or may
// not be met.
#define gp_ranks_foreach(r, s)                                                                     \
	for (uint32_t r = 0, r##_on = 1; r##_on; r##_on = 0)                                       \
		for (struct gp_ranks_walk r##_walk = {.left = (s)->w[0]};                          \
			gp_ranks_step(&r##_walk, (s), &r);)

#endif
