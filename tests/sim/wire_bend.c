// SPDX-License-Identifier: BSD-3-Clause
//
// What happens to the bytes of a datagram.
#include "wire.h"

#include <gp_codec.h>

#include <stdlib.h>

#define BITS_MAX 64

static void bits_flip(struct wire *w, struct gp_frame *f)
{
	for (uint64_t n = 1 + rng_below(&w->rng, BITS_MAX); n > 0; n--) {
		uint64_t bit = rng_below(&w->rng, (uint64_t)f->len * 8);
		f->data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
	}
}

// The header of one datagram, the rest of another.
static void header_splice(struct wire *w, struct gp_frame *f)
{
	uint8_t mine[GP_WIRE_HEADER_SIZE];
	if (f->len < GP_WIRE_HEADER_SIZE)
		return;
	memcpy(mine, f->data, sizeof(mine));
	uint32_t from = (uint32_t)rng_below(&w->rng, GP_WIRE_HEADER_SIZE);
	memcpy(f->data + from, w->spliced + from, GP_WIRE_HEADER_SIZE - from);
	memcpy(w->spliced, mine, sizeof(mine));
}

void wire_corrupt(struct wire *w, struct gp_frame *f)
{
	switch (rng_below(&w->rng, 4)) {
	case 0:
		f->len = (uint32_t)rng_below(&w->rng, f->len) + 1;
		return;
	case 1: {
		uint32_t more = (uint32_t)rng_below(&w->rng, 64);
		more = GP_MIN(more, f->room - f->len);
		memset(f->data + f->len, 0, more);
		f->len += more;
		return;
	}
	case 2:
		header_splice(w, f);
		return;
	default:
		bits_flip(w, f);
	}
}

static void sections_read(const struct gp_msg *m)
{
	const uint8_t *payload = m->body;
	for (uint32_t i = 0; i < m->h.sections; i++) {
		struct gp_section s;
		gp_wire_get_section(m, i, &s);
		if (s.codec != GP_CODEC_NONE)
			(void)!gp_codec_check(s.codec, payload, s.len, 96);
		payload += s.len;
	}
}

void wire_validate(const uint8_t *data, uint32_t len)
{
	struct gp_msg m;
	uint8_t *exact = malloc(len);
	GP_ASSERT(exact);
	memcpy(exact, data, len);
	if (gp_wire_parse(exact, len, &m) == GP_VERDICT_OK)
		sections_read(&m);
	free(exact);
}

// ---- malformed payloads

static bool section_malform(uint8_t *payload, const struct gp_section *s, uint32_t elems)
{
	switch (s->codec) {
	case GP_CODEC_TOPK:
	case GP_CODEC_TOPK_BF16:
	case GP_CODEC_TOPK_F16: {
		uint16_t count = gp_load16(payload);
		if (count == 0)
			return false;
		gp_store16(payload + 2 * count, (uint16_t)elems); // the last index
		return true;
	}
	case GP_CODEC_INT8:
	case GP_CODEC_SIGN:
		payload[3] |= 0x80; // a negative scale
		payload[0] |= 1;    // and not -0
		return true;
	default:
		return false;
	}
}

bool wire_malform(struct gp_frame *f, uint32_t elems)
{
	struct gp_msg m;
	if (f->data[1] != GP_WIRE_PUSH || gp_wire_parse(f->data, f->len, &m) != GP_VERDICT_OK)
		return false;
	uint8_t *payload = f->data + (m.body - f->data);
	struct gp_section s = {0}, first;
	gp_wire_get_section(&m, 0, &first);
	for (uint32_t i = 0; i < m.h.sections; i++) {
		gp_wire_get_section(&m, i, &s);
		if (i + 1u < m.h.sections)
			payload += s.len;
	}
	if (s.len >= 4 && section_malform(payload, &s, elems))
		return true;
	if (m.h.sections < 2 || first.len < 8)
		return false;
	// Dense payloads: four bytes of the first move into the last.
	first.len = (uint16_t)(first.len - 4);
	s.len = (uint16_t)(s.len + 4);
	gp_wire_put_section(f->data, 0, &first);
	gp_wire_put_section(f->data, m.h.sections - 1u, &s);
	return true;
}

// ---- for a person

void wire_log(
	const struct wire *w, const char *what, const struct gp_frame *f, uint32_t host, bool up)
{
	struct gp_msg m;
	struct gp_section s = {0};
	if (gp_wire_parse(f->data, f->len, &m) != GP_VERDICT_OK) {
		printf("%12.6f %s host %u %s: invalid, %u bytes\n", (double)w->now * 1e-6, what,
			host, up ? "up" : "down", f->len);
		return;
	}
	if (m.h.sections)
		gp_wire_get_section(&m, 0, &s);
	printf("%12.6f %s host %u lane %u %s: %s rank %u session %x packet %llu view %u step %u "
	       "decision %u sections %u block %u flags %x len %u\n",
		(double)w->now * 1e-6, what, host, (uint32_t)(f->peer.port % SIM_CORES_MAX),
		up ? "up" : "down", gp_wire_type_name(m.h.type), m.h.rank, m.h.session,
		(unsigned long long)m.h.packet, m.h.view, m.h.step, m.h.decision, m.h.sections,
		s.block, m.h.flags, f->len);
}
