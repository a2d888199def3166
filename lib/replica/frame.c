// SPDX-License-Identifier: BSD-3-Clause
#include "replica_priv.h"

#include <errno.h>
#include <event2/buffer.h>
#include <stdarg.h>
#include <stdio.h>
#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>

#define FRAME_HASHED_SIZE 16

int replica_fail(struct gp_snapshot_error *err, int code, const char *fmt, ...)
{
	GP_ASSERT(code < 0);
	va_list args;
	va_start(args, fmt);
	err->code = code;
	vsnprintf(err->text, sizeof(err->text), fmt, args);
	va_end(args);
	return code;
}

int replica_fail_sys(struct gp_snapshot_error *err, int errno_code, const char *what)
{
	const char *reason = strerrordesc_np(errno_code);
	return replica_fail(err, errno_code > 0 ? -errno_code : -EIO, "%s: %s", what,
		reason ? reason : "failed");
}

static uint64_t frame_hash(
	const uint8_t *header, const void *head, size_t head_len, const void *body, size_t body_len)
{
	XXH3_state_t hash;
	XXH3_64bits_reset(&hash);
	XXH3_64bits_update(&hash, header, FRAME_HASHED_SIZE);
	if (head_len > 0)
		XXH3_64bits_update(&hash, head, head_len);
	if (body_len > 0)
		XXH3_64bits_update(&hash, body, body_len);
	return XXH3_64bits_digest(&hash);
}

int frame_put(struct evbuffer *out, enum frame_type type, const void *head, size_t head_len,
	const void *body, size_t body_len)
{
	uint8_t header[FRAME_HEADER_SIZE] = {0};
	GP_ASSERT(head_len + body_len <= FRAME_BODY_MAX);
	gp_store32(header, FRAME_MAGIC);
	gp_store16(header + 4, GP_REPLICA_VERSION);
	gp_store16(header + 6, (uint16_t)type);
	gp_store32(header + 8, (uint32_t)(head_len + body_len));
	gp_store64(header + 16, frame_hash(header, head, head_len, body, body_len));
	if (evbuffer_expand(out, sizeof(header) + head_len + body_len) != 0 ||
		evbuffer_add(out, header, sizeof(header)) != 0 ||
		evbuffer_add(out, head, head_len) != 0 || evbuffer_add(out, body, body_len) != 0)
		return -ENOMEM;
	return 0;
}

static int header_check(const uint8_t *header, struct gp_snapshot_error *err)
{
	if (gp_load32(header) != FRAME_MAGIC)
		return replica_fail(err, -EPROTO,
			"wrong magic 0x%08x: the other end is not a gradplane replica link",
			gp_load32(header));
	if (gp_load16(header + 4) != GP_REPLICA_VERSION)
		return replica_fail(err, -EPROTO,
			"replica protocol version %u, this program speaks %d; use the same release "
			"on "
			"both nodes",
			gp_load16(header + 4), GP_REPLICA_VERSION);
	if (gp_load16(header + 6) < FRAME_HELLO || gp_load16(header + 6) > FRAME_RESULT)
		return replica_fail(err, -EPROTO, "unknown frame type %u", gp_load16(header + 6));
	if (gp_load32(header + 8) > FRAME_BODY_MAX)
		return replica_fail(err, -EPROTO, "frame of %u bytes, at most %u",
			gp_load32(header + 8), FRAME_BODY_MAX);
	return 0;
}

// The first bytes of a TLS record, as a handshake or as an alert that refuses our plain text.
static bool is_tls(const uint8_t *bytes, ssize_t len)
{
	return len >= 3 && (bytes[0] == 0x16 || bytes[0] == 0x15) && bytes[1] == 3 && bytes[2] <= 4;
}

int frame_take(struct evbuffer *in, struct frame *f, struct gp_snapshot_error *err)
{
	uint8_t header[FRAME_HEADER_SIZE];
	ssize_t got = evbuffer_copyout(in, header, sizeof(header));
	if (is_tls(header, got))
		return replica_fail(err, -EPROTO,
			"the peer speaks TLS and this end does not: configure it on both ends");
	if (got < (ssize_t)sizeof(header))
		return 0;
	int rc = header_check(header, err);
	if (rc != 0)
		return rc;
	size_t len = gp_load32(header + 8);
	if (evbuffer_get_length(in) < sizeof(header) + len)
		return 0;
	const uint8_t *bytes = evbuffer_pullup(in, (ssize_t)(sizeof(header) + len));
	if (!bytes)
		return replica_fail(err, -ENOMEM, "out of memory for a frame");
	f->type = gp_load16(header + 6);
	f->body = bytes + sizeof(header);
	f->len = len;
	if (frame_hash(header, f->body, len, NULL, 0) != gp_load64(header + 16))
		return replica_fail(err, -EPROTO, "damaged frame: its xxh3 does not agree");
	return 1;
}

void frame_drop(struct evbuffer *in, const struct frame *f)
{
	evbuffer_drain(in, FRAME_HEADER_SIZE + f->len);
}
