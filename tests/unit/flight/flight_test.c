// SPDX-License-Identifier: BSD-3-Clause
#include <criterion/criterion.h>

#include <gp_flight.h>

#include <pthread.h>
#include <stdlib.h>

#define CELLS 256

struct buffer {
	uint8_t *bytes;
	size_t len, size;
	bool full;
};

static int buffer_write(void *arg, const void *bytes, size_t len)
{
	struct buffer *b = arg;
	if (b->full)
		return -28;
	if (b->len + len > b->size) {
		b->size = 2 * (b->len + len);
		b->bytes = realloc(b->bytes, b->size);
	}
	memcpy(b->bytes + b->len, bytes, len);
	b->len += len;
	return 0;
}

static struct gp_flight_ring *ring_new(void)
{
	struct gp_flight_ring *r = aligned_alloc(GP_CACHE_LINE, sizeof(*r));
	gp_flight_ring_init(r, aligned_alloc(GP_CACHE_LINE, gp_flight_ring_size(CELLS)), CELLS);
	return r;
}

static void ring_free(struct gp_flight_ring *r)
{
	free((void *)r->words);
	free(r);
}

static struct buffer dump(const struct gp_flight_ring *r)
{
	GP_ALIGNED(GP_CACHE_LINE) uint8_t mem[GP_FLIGHT_OUT_SIZE];
	struct buffer b = {0};
	const struct gp_flight_sink sink = {.write = buffer_write, .arg = &b};
	struct gp_flight_out *o = gp_flight_begin(mem, &sink, 77, 88);
	gp_flight_section(o, GP_FLIGHT_CONFIG, 0, 5);
	gp_flight_bytes(o, "hello", 5);
	gp_flight_section_end(o);
	gp_flight_ring_out(o, 3, r);
	cr_assert_eq(gp_flight_finish(o), 0);
	return b;
}

static void put(struct gp_flight_ring *r, uint64_t n, uint32_t prefix_len, uint32_t len)
{
	uint8_t prefix[64], bytes[GP_FLIGHT_RECORD_MAX];
	for (uint32_t i = 0; i < prefix_len; i++)
		prefix[i] = (uint8_t)(n + i);
	for (uint32_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)(n + prefix_len + i);
	const struct gp_flight_head h = {.now = n,
		.clock = n * 3,
		.kind = (uint8_t)(1 + n % 7),
		.verdict = 9,
		.len = (uint16_t)len};
	gp_flight_put(r, &h, prefix, prefix_len, bytes, len);
}

static void record_check(const struct gp_flight_record *r, uint64_t n, uint32_t kept)
{
	cr_assert_eq(r->head.now, n);
	cr_assert_eq(r->head.clock, n * 3);
	cr_assert_eq(r->head.kind, 1 + n % 7);
	cr_assert_eq(r->kept, kept);
	for (uint32_t i = 0; i < kept; i++)
		cr_assert_eq(r->bytes[i], (uint8_t)(n + i), "record %lu byte %u", n, i);
}

static struct gp_flight_part ring_part(struct gp_flight_file *f, const struct buffer *b)
{
	char err[GP_FLIGHT_ERROR_SIZE] = "";
	cr_assert_eq(gp_flight_open(f, b->bytes, b->len, err), 0, "%s", err);
	cr_assert_eq(f->now, 77);
	cr_assert_eq(f->wall, 88);
	struct gp_flight_part p;
	uint64_t pos = 0;
	cr_assert(gp_flight_next(f, &pos, &p));
	cr_assert_eq(p.type, GP_FLIGHT_CONFIG);
	cr_assert(p.size == 5 && memcmp(p.bytes, "hello", 5) == 0);
	cr_assert(gp_flight_next(f, &pos, &p));
	cr_assert(p.type == GP_FLIGHT_RING && p.id == 3);
	struct gp_flight_part end;
	cr_assert(!gp_flight_next(f, &pos, &end));
	return p;
}

Test(flight, every_length_comes_back)
{
	struct gp_flight_ring *ring = ring_new();
	for (uint32_t len = 0; len < 700; len += 13) {
		for (uint32_t prefix = 0; prefix <= 24; prefix += 24) {
			ring->begun = ring->done = 0;
			put(ring, len + 1, prefix, len);
			put(ring, len + 2, prefix, 700 - len);
			struct buffer b = dump(ring);
			struct gp_flight_file f;
			struct gp_flight_part p = ring_part(&f, &b);
			struct gp_flight_cursor c;
			struct gp_flight_record r;
			gp_flight_cursor_init(&c, &p);
			cr_assert(!c.wrapped);
			cr_assert(gp_flight_record_next(&c, &r));
			record_check(&r, len + 1, prefix + len);
			cr_assert(gp_flight_record_next(&c, &r));
			record_check(&r, len + 2, prefix + 700 - len);
			cr_assert(!gp_flight_record_next(&c, &r));
			free(b.bytes);
		}
	}
	ring_free(ring);
}

Test(flight, a_full_ring_keeps_the_newest_and_no_half_records)
{
	struct gp_flight_ring *ring = ring_new();
	for (uint64_t n = 1; n <= 1000; n++)
		put(ring, n, 24, (uint32_t)(n * 37 % 400));
	struct buffer b = dump(ring);
	struct gp_flight_file f;
	struct gp_flight_part p = ring_part(&f, &b);
	struct gp_flight_cursor c;
	struct gp_flight_record r;
	gp_flight_cursor_init(&c, &p);
	cr_assert(c.wrapped);
	uint64_t n = 0, seen = 0;
	while (gp_flight_record_next(&c, &r)) {
		cr_assert(n == 0 || r.head.now == n + 1, "%lu after %lu", r.head.now, n);
		n = r.head.now;
		record_check(&r, n, 24 + (uint32_t)(n * 37 % 400));
		seen++;
	}
	cr_assert_eq(n, 1000);
	cr_assert_gt(seen, 60);
	free(b.bytes);
	ring_free(ring);
}

Test(flight, the_verdict_comes_after)
{
	struct gp_flight_ring *ring = ring_new();
	put(ring, 1, 24, 500);
	put(ring, 2, 24, 500);
	gp_flight_verdict(ring, 42);
	struct buffer b = dump(ring);
	struct gp_flight_file f;
	struct gp_flight_part p = ring_part(&f, &b);
	struct gp_flight_cursor c;
	struct gp_flight_record r;
	gp_flight_cursor_init(&c, &p);
	cr_assert(gp_flight_record_next(&c, &r) && r.head.verdict == 9);
	cr_assert(gp_flight_record_next(&c, &r) && r.head.verdict == 42);
	record_check(&r, 2, 524);
	free(b.bytes);
	ring_free(ring);
}

Test(flight, no_damage_passes)
{
	struct gp_flight_ring *ring = ring_new();
	for (uint64_t n = 1; n <= 20; n++)
		put(ring, n, 24, 100);
	struct buffer b = dump(ring);
	struct gp_flight_file f;
	char err[GP_FLIGHT_ERROR_SIZE];
	for (size_t i = 0; i < b.len; i++) {
		b.bytes[i] ^= 0x10;
		err[0] = 0;
		cr_assert_neq(gp_flight_open(&f, b.bytes, b.len, err), 0, "byte %zu", i);
		cr_assert(err[0], "it has a name");
		b.bytes[i] ^= 0x10;
	}
	for (size_t len = 0; len < b.len; len++)
		cr_assert_neq(gp_flight_open(&f, b.bytes, len, err), 0, "cut off at %zu", len);
	cr_assert_eq(gp_flight_open(&f, b.bytes, b.len, err), 0);
	free(b.bytes);
	ring_free(ring);
}

Test(flight, an_error_of_the_sink_is_told)
{
	GP_ALIGNED(GP_CACHE_LINE) uint8_t mem[GP_FLIGHT_OUT_SIZE];
	struct gp_flight_ring *ring = ring_new();
	struct buffer b = {.full = true};
	const struct gp_flight_sink sink = {.write = buffer_write, .arg = &b};
	struct gp_flight_out *o = gp_flight_begin(mem, &sink, 1, 2);
	gp_flight_ring_out(o, 0, ring);
	cr_assert_eq(gp_flight_finish(o), -28);
	ring_free(ring);
}

// ---- a reader beside the writer: what it takes is whole

static struct {
	struct gp_flight_ring *ring;
	_Atomic bool stop;
	_Atomic uint64_t written;
} beside;

static void *writer(void *arg)
{
	(void)arg;
	for (uint64_t n = 1; !atomic_load(&beside.stop); n++) {
		put(beside.ring, n, 24, (uint32_t)(n * 37 % 400));
		atomic_store(&beside.written, n);
	}
	return NULL;
}

Test(flight, a_reader_beside_the_writer_sees_whole_records, .timeout = 60)
{
	pthread_t t;
	beside.ring = ring_new();
	cr_assert_eq(pthread_create(&t, NULL, writer, NULL), 0);
	uint64_t records = 0;
	for (uint32_t i = 0; i < 200000 && (i < 200 || records < 5000); i++) {
		struct buffer b = dump(beside.ring);
		struct gp_flight_file f;
		struct gp_flight_part p = ring_part(&f, &b);
		struct gp_flight_cursor c;
		struct gp_flight_record r;
		gp_flight_cursor_init(&c, &p);
		for (uint64_t last = 0; gp_flight_record_next(&c, &r); records++) {
			cr_assert(last == 0 || r.head.now == last + 1);
			last = r.head.now;
			record_check(&r, last, 24 + (uint32_t)(last * 37 % 400));
		}
		free(b.bytes);
	}
	atomic_store(&beside.stop, true);
	pthread_join(t, NULL);
	cr_assert_gt(records, 4999);
	ring_free(beside.ring);
}
