// SPDX-License-Identifier: BSD-3-Clause
//
// What every datagram passes through, inline: header, sections, ack block and pad of a datagram
// that is made, the sections of one that was parsed, and some checks. Included by gp_wire.h.
//
// Each writes every byte of its part, reserved ones as zero, so that nothing of the buffer's past
// leaves the machine.
#ifndef GP_WIRE_HOT_H
#define GP_WIRE_HOT_H

#include <gp_wire.h>

// Section i of a parsed message (i < h.sections).
static inline void gp_wire_get_section(const struct gp_msg *m, uint32_t i, struct gp_section *s)
{
	GP_ASSERT(i < m->h.sections);
	const uint8_t *p = m->sections + i * GP_WIRE_SECTION_SIZE;
	*s = (struct gp_section){
		.block = gp_load32(p),
		.len = gp_load16(p + 4),
		.run = gp_load16(p + 6),
		.codec = p[8],
		.flags = p[9],
		.weight = gp_loadf(p + 12),
	};
}

// Bytes before the pad.
static inline uint32_t gp_wire_parts_size(uint32_t flags, uint32_t sections)
{
	GP_ASSERT(sections <= GP_WIRE_SECTIONS_MAX);
	return GP_WIRE_HEADER_SIZE + sections * GP_WIRE_SECTION_SIZE +
	       (flags & GP_WIRE_F_ACK ? GP_WIRE_ACK_SIZE : 0) +
	       (flags & GP_WIRE_F_TAG ? GP_WIRE_TAG_SIZE : 0);
}

// Word by word; the compiler shall not make more of it, a pad has few.
static inline bool gp_wire_is_zero(const uint8_t *p, uint32_t len)
{
	uint64_t any = 0;
	if (len < 8) {
		for (uint32_t i = 0; i < len; i++)
			any |= p[i];
		return any == 0;
	}
	const uint8_t *last = p + len - 8;
	for (; p < last; p += 8) {
		any |= gp_load64(p);
		__asm__("" : "+r"(any));
	}
	return (any | gp_load64(last)) == 0; // some of it again
}

// The weight that a payload may have: finite, above 0. As bits: NaN, infinities, negative values
// and -0 fail at once.
static inline bool gp_wire_weighs(const uint8_t *p)
{
	return gp_load32(p) - 1 < UINT32_C(0x7f7fffff);
}

// By words, where there is room for the last one.
static inline void gp_wire_put_zeros(uint8_t *p, uint32_t len, uint32_t room)
{
	if (((len + 7) & ~7u) > room) {
		memset(p, 0, len);
		return;
	}
	for (uint32_t i = 0; i < len; i += 8)
		gp_store64(p + i, 0);
}

// Writes the header of `h` at `data`, reserves sections and, with flag ACK, the ack block, adds
// h->pad zero bytes, and returns the offset of the body, which is to be written after this: up to 7
// bytes of it may be zeros now. The caller's buffer has room for all of it (asserted against
// `room`).
static inline uint32_t gp_wire_begin(uint8_t *data, uint32_t room, const struct gp_header *h)
{
	GP_ASSERT(h->pad <= GP_WIRE_PAD_MAX && !(h->flags & GP_WIRE_F_TAG));
	uint32_t parts = gp_wire_parts_size(h->flags, h->sections);
	GP_ASSERT(parts + h->pad <= room);
	gp_store32(data, (uint32_t)h->pad << 24 | (uint32_t)h->flags << 16 |
				 (uint32_t)h->type << 8 | h->version);
	gp_store16(data + 4, h->job);
	gp_store16(data + 6, h->rank);
	gp_store32(data + 8, h->session);
	gp_store32(data + 12, h->epoch);
	gp_store32(data + 16, h->view);
	gp_store32(data + 20, h->step);
	gp_store64(data + 24, h->packet);
	gp_store32(data + 32, h->decision);
	gp_store32(data + 36,
		(uint32_t)h->key << 24 | (uint32_t)h->sections << 16 | (uint32_t)h->credit);
	gp_wire_put_zeros(data + parts, h->pad, room - parts);
	return parts + h->pad;
}

static inline void gp_wire_put_section(uint8_t *data, uint32_t i, const struct gp_section *s)
{
	GP_ASSERT(i < GP_WIRE_SECTIONS_MAX);
	uint8_t *p = data + GP_WIRE_HEADER_SIZE + i * GP_WIRE_SECTION_SIZE;
	gp_store32(p, s->block);
	gp_store32(p + 4, (uint32_t)s->run << 16 | s->len);
	gp_store32(p + 8, (uint32_t)s->flags << 8 | s->codec);
	gp_storef(p + 12, s->weight);
}

// Header and section of a datagram that says the same to several, but for flags, pad, the
// recipient's rank, session and credit and the packet number. In words as they are written: loads
// wider than the stores before them would wait for these.
struct gp_wire_like {
	uint64_t word[(GP_WIRE_HEADER_SIZE + GP_WIRE_SECTION_SIZE) / 8];
};

static inline void gp_wire_like_init(
	struct gp_wire_like *l, const struct gp_header *h, const struct gp_section *s)
{
	uint32_t weight;
	memcpy(&weight, &s->weight, sizeof(weight));
	l->word[0] = (uint64_t)h->job << 32 | (uint64_t)h->type << 8 | h->version;
	l->word[1] = (uint64_t)h->epoch << 32;
	l->word[2] = (uint64_t)h->step << 32 | h->view;
	l->word[3] = 0;
	l->word[4] = (uint64_t)h->key << 56 | UINT64_C(1) << 48 | h->decision;
	l->word[5] = (uint64_t)s->run << 48 | (uint64_t)s->len << 32 | s->block;
	l->word[6] = (uint64_t)weight << 32 | (uint64_t)s->flags << 8 | s->codec;
}

// As gp_wire_begin for one that begins like `l`, section too; of `h` the rest.
static inline uint32_t gp_wire_begin_like(
	uint8_t *data, uint32_t room, const struct gp_wire_like *l, const struct gp_header *h)
{
	GP_ASSERT(h->pad <= GP_WIRE_PAD_MAX && !(h->flags & GP_WIRE_F_TAG));
	uint32_t parts = gp_wire_parts_size(h->flags, 1);
	GP_ASSERT(parts + h->pad <= room);
	gp_store64(data, l->word[0] | (uint64_t)h->rank << 48 | (uint32_t)h->pad << 24 |
				 (uint32_t)h->flags << 16);
	gp_store64(data + 8, l->word[1] | h->session);
	gp_store64(data + 16, l->word[2]);
	gp_store64(data + 24, h->packet);
	gp_store64(data + 32, l->word[4] | (uint64_t)h->credit << 32);
	gp_store64(data + 40, l->word[5]);
	gp_store64(data + 48, l->word[6]);
	gp_wire_put_zeros(data + parts, h->pad, room - parts);
	return parts + h->pad;
}

static inline void gp_wire_put_ack(uint8_t *data, uint32_t sections, const struct gp_ack *a)
{
	GP_ASSERT(sections <= GP_WIRE_SECTIONS_MAX);
	uint8_t *p = data + GP_WIRE_HEADER_SIZE + sections * GP_WIRE_SECTION_SIZE;
	gp_store64(p, a->largest);
	gp_store64(p + 8, a->bits);
	gp_store32(p + 16, a->delay_us);
	gp_store32(p + 20, a->flags);
}

// The pad that places the body on a 64-byte line when the datagram starts `lower` bytes (Ethernet,
// IP, UDP) after one, limited to `spare` bytes.
static inline uint8_t gp_wire_pad(uint32_t lower, uint32_t flags, uint32_t sections, uint32_t spare)
{
	uint32_t pad = -(lower + gp_wire_parts_size(flags, sections)) & GP_WIRE_PAD_MAX;
	return (uint8_t)(pad <= spare ? pad : 0);
}

#endif
