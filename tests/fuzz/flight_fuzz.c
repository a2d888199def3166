// SPDX-License-Identifier: BSD-3-Clause
//
// Any bytes as a flight record. The checksum is put right first, so that what it would refuse is
// seen by the code behind it; every record of what is accepted is read to its end.
#include <gp_flight.h>

#include <stdlib.h>
#include <xxhash.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t ring_read(const struct gp_flight_part *p)
{
	static struct gp_flight_record r;
	struct gp_flight_cursor c;
	uint64_t sum = 0, last = 0;
	gp_flight_cursor_init(&c, p);
	while (gp_flight_record_next(&c, &r)) {
		GP_ASSERT(r.kept <= GP_FLIGHT_RECORD_MAX && r.head.kind != 0);
		GP_ASSERT(r.number >= c.first && (sum == 0 || r.number > last));
		last = r.number;
		for (uint32_t i = 0; i < r.kept; i++)
			sum += r.bytes[i];
		sum++;
	}
	return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char err[GP_FLIGHT_ERROR_SIZE] = "";
	struct gp_flight_file f;
	struct gp_flight_part p;
	uint64_t sum = 0;
	uint8_t *copy = aligned_alloc(GP_CACHE_LINE, gp_align_up(size + 1, GP_CACHE_LINE));
	if (!copy)
		return 0;
	memcpy(copy, data, size);
	if (size >= 8)
		gp_store64(copy + (size - 8), XXH3_64bits(copy, size - 8));
	if (gp_flight_open(&f, copy, size, err) != 0) {
		GP_ASSERT(err[0] != '\0');
		goto out;
	}
	for (uint64_t pos = 0; gp_flight_next(&f, &pos, &p);) {
		GP_ASSERT(p.bytes >= copy && p.bytes + p.size <= copy + size);
		if (p.type == GP_FLIGHT_RING)
			sum += ring_read(&p);
	}
	__asm__ volatile("" ::"r"(sum));
out:
	free(copy);
	return 0;
}
