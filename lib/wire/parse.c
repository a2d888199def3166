// SPDX-License-Identifier: BSD-3-Clause
//
// The validator: docs/protocol.md as a table of rules and one check a body. Nothing is read before
// its bound is proved; every loop is over sections, entries or names whose number is bounded. The
// payloads of PUSH and RESULT are not touched: their codec checks them.
#include "wire_priv.h"

_Static_assert((GP_WIRE_PAD_MAX & (GP_WIRE_PAD_MAX + 1)) == 0, "as a mask");
#define WEIGHT_MAX_BITS UINT32_C(0x7f7fffff) // largest finite f32
#define WEIGHT_MIN_BITS UINT32_C(0x00000001) // smallest above 0
#define CODEC_LAST	8
// Sets of ids: what a worker may want results in (f32, bf16, f16, int8), and what can leave
// elements out (none, topk, topk_bf16, topk_f16).
#define RESULT_CODECS (UINT64_C(1) << 0 | 1u << 1 | 1u << 2 | 1u << 4 | 1u << 5)
#define KEEP_CODECS   (UINT64_C(1) << 0 | 1u << 3 | 1u << 7 | 1u << 8)
#define CODEC_F32     1
#define CODEC_BF16    2
#define ELEMENTS_MAX  (UINT64_C(1) << 48)
#define DTYPE_F32     1
#define WELCOME_FLAGS                                                                              \
	(GP_WELCOME_MEAN | GP_WELCOME_DETERMINISTIC | GP_WELCOME_STANDBY |                         \
		GP_WELCOME_STALE_REFUSED | GP_WELCOME_WHOLE)

struct rule {
	uint8_t flags_allowed;
	uint8_t section_flag; // that a section may have; 0: none
	uint8_t flags_needed;
	uint8_t sections_min;
	uint8_t sections_max;
	uint16_t body_min; // without the payloads of sections
	uint16_t body_max;
	uint8_t codec_max; // 0: sections carry no payload
	uint32_t weight_min_bits;
	uint32_t weight_max_bits;
	enum gp_verdict (*body_check)(const uint8_t *b, uint32_t len);
};

static bool text_printable(const uint8_t *p, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++) {
		if (p[i] < 0x20 || p[i] > 0x7e)
			return false;
	}
	return true;
}

static bool text_no_controls(const uint8_t *p, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++) {
		if (p[i] < 0x20 || p[i] == 0x7f)
			return false;
	}
	return true;
}

static enum gp_verdict hello_common(const uint8_t *b)
{
	if (gp_load32(b) != GP_WIRE_MAGIC)
		return GP_VERDICT_BAD_BODY;
	uint32_t n = b[4];
	if (n < 1 || n > GP_WIRE_VERSIONS_MAX)
		return GP_VERDICT_BAD_COUNT;
	if (!gp_wire_is_zero(b + 5 + n, GP_WIRE_VERSIONS_MAX - n) || !gp_wire_is_zero(b + 49, 7))
		return GP_VERDICT_BAD_PAD;
	return GP_VERDICT_OK;
}

static enum gp_verdict hello_check(const uint8_t *b, uint32_t len)
{
	(void)len;
	enum gp_verdict v = hello_common(b);
	if (v == GP_VERDICT_OK && (b[48] || !gp_wire_is_zero(b + 24, GP_WIRE_COOKIE_SIZE)))
		return GP_VERDICT_BAD_PAD;
	return v;
}

static enum gp_verdict hello_reply_check(const uint8_t *b, uint32_t len)
{
	(void)len;
	return hello_common(b);
}

static enum gp_verdict join_check(const uint8_t *b, uint32_t len)
{
	(void)len;
	uint32_t flags = gp_load32(b + 48);
	if (flags & ~(uint32_t)(GP_JOIN_READER | GP_JOIN_REPLACE | GP_JOIN_ATTACH |
				GP_JOIN_CHANGED | GP_JOIN_GOES_ON | GP_JOIN_RESULTS))
		return GP_VERDICT_BAD_FLAGS;
	uint32_t results = flags >> GP_JOIN_RESULTS_SHIFT;
	if (results >= 64 || !(RESULT_CODECS >> results & 1))
		return GP_VERDICT_BAD_FLAGS;
	if (gp_load64(b + 32) == 0)
		return GP_VERDICT_BAD_BODY;
	const uint8_t *name = b + 64;
	uint32_t name_len = (uint32_t)strnlen((const char *)name, GP_WIRE_JOB_NAME_SIZE);
	if (name_len == 0 || name_len == GP_WIRE_JOB_NAME_SIZE || !text_printable(name, name_len))
		return GP_VERDICT_BAD_NAME;
	if (!gp_wire_is_zero(name + name_len, GP_WIRE_JOB_NAME_SIZE - name_len))
		return GP_VERDICT_BAD_PAD;
	return GP_VERDICT_OK;
}

static enum gp_verdict welcome_check(const uint8_t *b, uint32_t len)
{
	(void)len;
	uint32_t cores = gp_load16(b + 14);
	uint32_t base_port = gp_load16(b + 16);
	if (b[23] & ~WELCOME_FLAGS)
		return GP_VERDICT_BAD_FLAGS;
	if (gp_load32(b + 92) != 0)
		return GP_VERDICT_BAD_PAD;
	if (cores == 0 || base_port + cores > UINT16_MAX + 1u)
		return GP_VERDICT_BAD_COUNT;
	bool kind_ok = b[20] >= GP_KIND_REDUCE && b[20] <= GP_KIND_EMBED;
	bool atomicity_ok = b[21] >= GP_ATOM_BLOCK && b[21] <= GP_ATOM_STEP;
	bool consistency_ok = b[22] >= GP_CONSIST_BSP && b[22] <= GP_CONSIST_ADAPTIVE;
	if (!kind_ok || !atomicity_ok || !consistency_ok || gp_load16(b + 18) >= cores)
		return GP_VERDICT_BAD_BODY;
	return GP_VERDICT_OK;
}

// One descriptor at `p` with `left` bytes to the end of the body; its size comes back in *size.
static enum gp_verdict desc_check(const uint8_t *p, uint32_t left, uint32_t *size)
{
	if (left < WIRE_DESC_FIXED)
		return GP_VERDICT_BAD_BODY;
	uint32_t dims_count = p[5];
	uint32_t name_len = gp_load16(p + 6);
	if (p[4] != DTYPE_F32)
		return GP_VERDICT_BAD_BODY;
	if (dims_count < 1 || dims_count > GP_WIRE_DIMS_MAX)
		return GP_VERDICT_BAD_COUNT;
	if (name_len < 1 || name_len > GP_WIRE_TENSOR_NAME_MAX)
		return GP_VERDICT_BAD_NAME;
	uint32_t used = wire_desc_used(dims_count, name_len);
	*size = wire_desc_padded(used);
	if (*size > left)
		return GP_VERDICT_BAD_BODY;
	uint64_t elements = 1;
	for (uint32_t i = 0; i < dims_count; i++) {
		uint64_t dim = gp_load64(p + WIRE_DESC_FIXED + i * 8);
		if (dim == 0 || dim > ELEMENTS_MAX / elements)
			return GP_VERDICT_BAD_COUNT;
		elements *= dim;
	}
	if (!text_printable(p + used - name_len, name_len))
		return GP_VERDICT_BAD_NAME;
	return gp_wire_is_zero(p + used, *size - used) ? GP_VERDICT_OK : GP_VERDICT_BAD_PAD;
}

static enum gp_verdict register_check(const uint8_t *b, uint32_t len)
{
	uint32_t tensors_count = gp_load32(b);
	uint32_t first = gp_load32(b + 4);
	uint32_t n = gp_load16(b + 8);
	if (first > tensors_count || n > tensors_count - first)
		return GP_VERDICT_BAD_COUNT;
	if (!gp_wire_is_zero(b + 10, 6))
		return GP_VERDICT_BAD_PAD;
	uint32_t pos = WIRE_REGISTER_BODY;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t size = 0;
		enum gp_verdict v = desc_check(b + pos, len - pos, &size);
		if (v != GP_VERDICT_OK)
			return v;
		pos += size;
	}
	return pos == len ? GP_VERDICT_OK : GP_VERDICT_BAD_BODY;
}

static enum gp_verdict layout_check(const uint8_t *b, uint32_t len)
{
	uint32_t n = gp_load16(b + 32);
	if (len != WIRE_LAYOUT_BODY + n * WIRE_LAYOUT_ENTRY)
		return GP_VERDICT_BAD_BODY;
	if (gp_load32(b + 28) > UINT32_MAX - n)
		return GP_VERDICT_BAD_COUNT;
	if (gp_load32(b + 4) > 1)
		return GP_VERDICT_BAD_BODY;
	if (gp_load32(b + 20) & ~(uint32_t)GP_LAYOUT_INITIALISED)
		return GP_VERDICT_BAD_FLAGS;
	return gp_load16(b + 38) == 0 ? GP_VERDICT_OK : GP_VERDICT_BAD_PAD;
}

static uint32_t commit_flags(uint8_t kind)
{
	switch (kind) {
	case GP_DECISION_COMMIT:
		return GP_COMMIT_YOURS | GP_COMMIT_LATE;
	case GP_DECISION_VIEW:
		return GP_COMMIT_MEMBER;
	default:
		return 0;
	}
}

static enum gp_verdict commit_check(const uint8_t *b, uint32_t len)
{
	uint32_t n = gp_load16(b + 4);
	if (n < 1 || n > GP_WIRE_COMMITS_MAX)
		return GP_VERDICT_BAD_COUNT;
	if (len != WIRE_COMMIT_BODY + n * WIRE_COMMIT_ENTRY)
		return GP_VERDICT_BAD_BODY;
	bool reserved_ok = gp_load16(b + 6) == 0;
	for (uint32_t i = 0; i < n; i++) {
		const uint8_t *e = b + WIRE_COMMIT_BODY + i * WIRE_COMMIT_ENTRY;
		if (e[0] < GP_DECISION_COMMIT || e[0] > GP_DECISION_STOP)
			return GP_VERDICT_BAD_BODY;
		if (e[1] & ~commit_flags(e[0]))
			return GP_VERDICT_BAD_FLAGS;
		reserved_ok &= gp_wire_is_zero(e + 18, 6);
	}
	return reserved_ok ? GP_VERDICT_OK : GP_VERDICT_BAD_PAD;
}

static enum gp_verdict heartbeat_reply_check(const uint8_t *b, uint32_t len)
{
	(void)len;
	if (gp_load16(b + 22) > GP_STATE_STOPPING)
		return GP_VERDICT_BAD_BODY;
	if (b[34] & ~(GP_HEARTBEAT_MEMBER | GP_HEARTBEAT_COUNTED | GP_HEARTBEAT_AHEAD))
		return GP_VERDICT_BAD_FLAGS;
	return b[35] == 0 ? GP_VERDICT_OK : GP_VERDICT_BAD_PAD;
}

static enum gp_verdict read_check(const uint8_t *b, uint32_t len)
{
	(void)len;
	if (gp_load32(b + 8) & ~(uint32_t)GP_READ_RESERVE)
		return GP_VERDICT_BAD_FLAGS;
	return gp_load32(b + 12) == 0 ? GP_VERDICT_OK : GP_VERDICT_BAD_PAD;
}

static enum gp_verdict read_reply_check(const uint8_t *b, uint32_t len)
{
	(void)len;
	if (gp_load16(b + 4) > GP_READ_NOTHING)
		return GP_VERDICT_BAD_BODY;
	return gp_wire_is_zero(b + 20, 12) ? GP_VERDICT_OK : GP_VERDICT_BAD_PAD;
}

static enum gp_verdict rows_common(const uint8_t *b)
{
	if (gp_load16(b + 10) == 0 || gp_load16(b + 14) == 0)
		return GP_VERDICT_BAD_COUNT;
	if (b[12] != CODEC_F32 && b[12] != CODEC_BF16)
		return GP_VERDICT_BAD_BODY;
	return b[13] == 0 ? GP_VERDICT_OK : GP_VERDICT_BAD_PAD;
}

static enum gp_verdict pull_rows_check(const uint8_t *b, uint32_t len)
{
	enum gp_verdict v = rows_common(b);
	if (v == GP_VERDICT_OK && len != WIRE_ROWS_BODY + 8u * gp_load16(b + 10))
		return GP_VERDICT_BAD_BODY;
	return v;
}

static enum gp_verdict rows_check(const uint8_t *b, uint32_t len)
{
	enum gp_verdict v = rows_common(b);
	uint64_t values = (uint64_t)gp_load16(b + 10) * gp_load16(b + 14);
	uint64_t bytes = values * gp_rows_value_size(b[12]);
	if (v == GP_VERDICT_OK && len != WIRE_ROWS_BODY + ((bytes + 3) & ~UINT64_C(3)))
		return GP_VERDICT_BAD_BODY;
	return v;
}

static enum gp_verdict refuse_check(const uint8_t *b, uint32_t len)
{
	uint32_t reason = gp_load16(b);
	uint32_t text_len = gp_load16(b + 58);
	if (text_len > GP_WIRE_TEXT_MAX)
		return GP_VERDICT_BAD_COUNT;
	if (len != WIRE_REFUSE_BODY + text_len)
		return GP_VERDICT_BAD_BODY;
	if (reason == GP_REFUSAL_NONE || reason >= GP_REFUSAL_END)
		return GP_VERDICT_BAD_BODY;
	if (b[2] == 0 || b[2] >= GP_WIRE_TYPE_END)
		return GP_VERDICT_BAD_BODY;
	if (b[3] != 0)
		return GP_VERDICT_BAD_PAD;
	return text_no_controls(b + WIRE_REFUSE_BODY, text_len) ? GP_VERDICT_OK
								: GP_VERDICT_BAD_NAME;
}

#define ANY_SECTIONS   .sections_min = 1, .sections_max = GP_WIRE_SECTIONS_MAX
#define BODY(size)     .body_min = (size), .body_max = (size)
#define BODY_MIN(size) .body_min = (size), .body_max = GP_WIRE_DATAGRAM_MAX

// Worker to server: no ack block. Replies outside a session (HELLO_REPLY, WELCOME): neither.
static const struct rule rules[GP_WIRE_TYPE_END] = {
	[GP_WIRE_HELLO] = {BODY_MIN(WIRE_HELLO_BODY), .body_check = hello_check},
	[GP_WIRE_HELLO_REPLY] = {BODY_MIN(WIRE_HELLO_BODY), .body_check = hello_reply_check},
	[GP_WIRE_JOIN] = {BODY(WIRE_JOIN_BODY), .body_check = join_check},
	[GP_WIRE_WELCOME] = {BODY(WIRE_WELCOME_BODY), .body_check = welcome_check},
	[GP_WIRE_REGISTER] = {BODY_MIN(WIRE_REGISTER_BODY), .body_check = register_check},
	[GP_WIRE_LAYOUT] = {.flags_allowed = GP_WIRE_F_ACK,
		BODY_MIN(WIRE_LAYOUT_BODY),
		.body_check = layout_check},
	[GP_WIRE_PUSH] = {.flags_allowed = GP_WIRE_F_WANT,
		ANY_SECTIONS,
		.codec_max = GP_WIRE_CODEC_ROWS,
		.weight_min_bits = WEIGHT_MIN_BITS,
		.weight_max_bits = WEIGHT_MAX_BITS},
	[GP_WIRE_PULL] = {.flags_allowed = GP_WIRE_F_WANT, ANY_SECTIONS},
	[GP_WIRE_RESULT] = {.flags_allowed = GP_WIRE_F_ACK | GP_WIRE_F_TENTATIVE,
		.section_flag = GP_WIRE_SECTION_KEEP,
		ANY_SECTIONS,
		.codec_max = CODEC_LAST,
		.weight_max_bits = WEIGHT_MAX_BITS},
	[GP_WIRE_COMMIT] = {.flags_allowed = GP_WIRE_F_ACK,
		BODY_MIN(WIRE_COMMIT_BODY),
		.body_check = commit_check},
	[GP_WIRE_ACK] = {.flags_allowed = GP_WIRE_F_ACK, .flags_needed = GP_WIRE_F_ACK},
	[GP_WIRE_HEARTBEAT] = {BODY(WIRE_HEARTBEAT_BODY)},
	[GP_WIRE_HEARTBEAT_REPLY] = {.flags_allowed = GP_WIRE_F_ACK,
		BODY(WIRE_HEARTBEAT_REPLY_BODY),
		.body_check = heartbeat_reply_check},
	[GP_WIRE_BARRIER] = {BODY(WIRE_BARRIER_BODY)},
	[GP_WIRE_BARRIER_REPLY] = {.flags_allowed = GP_WIRE_F_ACK, BODY(WIRE_BARRIER_BODY)},
	[GP_WIRE_LEAVE] = {BODY(WIRE_U64_BODY)},
	[GP_WIRE_LEAVE_REPLY] = {.flags_allowed = GP_WIRE_F_ACK, BODY(WIRE_U64_BODY)},
	[GP_WIRE_REFUSE] = {.flags_allowed = GP_WIRE_F_ACK,
		BODY_MIN(WIRE_REFUSE_BODY),
		.body_check = refuse_check},
	[GP_WIRE_NACK] = {.flags_allowed = GP_WIRE_F_ACK, ANY_SECTIONS},
	[GP_WIRE_BUSY] = {.flags_allowed = GP_WIRE_F_ACK, ANY_SECTIONS, BODY(WIRE_U64_BODY)},
	[GP_WIRE_READ] = {BODY(WIRE_READ_BODY), .body_check = read_check},
	[GP_WIRE_READ_REPLY] = {.flags_allowed = GP_WIRE_F_ACK,
		BODY(WIRE_READ_REPLY_BODY),
		.body_check = read_reply_check},
	[GP_WIRE_PULL_ROWS] = {BODY_MIN(WIRE_ROWS_BODY), .body_check = pull_rows_check},
	[GP_WIRE_ROWS] = {.flags_allowed = GP_WIRE_F_ACK,
		BODY_MIN(WIRE_ROWS_BODY),
		.body_check = rows_check},
	[GP_WIRE_BEAT] = {BODY(WIRE_U64_BODY)},
};

// Whether section `p` obeys the rule; the comparison of weights as bits refuses NaN, infinities,
// negative values and -0 at once. Weight +0 without a payload passes a block.
static bool section_legal(const uint8_t *p, const struct rule *r)
{
	uint32_t last = UINT32_MAX - gp_load32(p);
	uint32_t len = gp_load16(p + 4);
	uint32_t run = gp_load16(p + 6);
	uint32_t codec = p[8];
	uint32_t weight_bits = gp_load32(p + 12);
	bool run_ok = run - 1 <= last && (run == 1 || (run > 1 && len == 0));
	bool codec_ok = (codec == 0) == (len == 0) && codec <= r->codec_max;
	uint32_t min_bits = len > 0 ? r->weight_min_bits : 0;
	bool weight_ok = weight_bits - min_bits <= r->weight_max_bits - min_bits;
	bool flags_ok = p[9] == 0 || (p[9] == r->section_flag && (KEEP_CODECS >> (codec & 63) & 1));
	return run_ok & codec_ok & weight_ok & flags_ok;
}

// Sums the payloads of all sections into *payload.
static enum gp_verdict sections_check(
	const uint8_t *p, uint32_t count, const struct rule *r, uint32_t *payload)
{
	uint32_t sum = 0;
	for (const uint8_t *end = p + count * GP_WIRE_SECTION_SIZE; p < end;
		p += GP_WIRE_SECTION_SIZE) {
		if (!section_legal(p, r))
			return GP_VERDICT_BAD_SECTION;
		if (gp_load16(p + 10) != 0)
			return GP_VERDICT_BAD_PAD;
		sum += gp_load16(p + 4);
	}
	*payload = sum;
	return GP_VERDICT_OK;
}

static void header_load(const uint8_t *p, struct gp_header *h)
{
	*h = (struct gp_header){
		.version = p[0],
		.type = p[1],
		.flags = p[2],
		.pad = p[3],
		.job = gp_load16(p + 4),
		.rank = gp_load16(p + 6),
		.session = gp_load32(p + 8),
		.epoch = gp_load32(p + 12),
		.view = gp_load32(p + 16),
		.step = gp_load32(p + 20),
		.packet = gp_load64(p + 24),
		.decision = gp_load32(p + 32),
		.credit = gp_load16(p + 36),
		.sections = p[38],
		.key = p[39],
	};
}

static enum gp_verdict header_check(const uint8_t *p, uint32_t len)
{
	if (len < GP_WIRE_HEADER_SIZE || len > GP_WIRE_DATAGRAM_MAX)
		return GP_VERDICT_BAD_LENGTH;
	if (p[0] != GP_WIRE_VERSION)
		return GP_VERDICT_BAD_VERSION;
	if (p[1] == 0 || p[1] >= GP_WIRE_TYPE_END)
		return GP_VERDICT_BAD_TYPE;
	const struct rule *r = &rules[p[1]];
	// A key goes with a tag, and there are no tags yet.
	if ((p[2] & ~r->flags_allowed) || (p[2] & r->flags_needed) != r->flags_needed || p[39])
		return GP_VERDICT_BAD_FLAGS;
	if (p[3] > GP_WIRE_PAD_MAX)
		return GP_VERDICT_BAD_PAD;
	if (p[38] < r->sections_min || p[38] > r->sections_max)
		return GP_VERDICT_BAD_SECTIONS;
	return GP_VERDICT_OK;
}

// A whole PUSH of one section that carries a payload, which most of what a server gets is: all that
// gp_wire_parse asks of it, word by word. What is not so in any way goes the long way.
static bool push_is_plain(const uint8_t *p, uint32_t len, uint32_t *body_at)
{
	const struct rule *r = &rules[GP_WIRE_PUSH];
	const uint32_t fixed = GP_WIRE_HEADER_SIZE + GP_WIRE_SECTION_SIZE;
	if (len < fixed || len > GP_WIRE_DATAGRAM_MAX)
		return false;
	uint32_t flags_free = (uint32_t)r->flags_allowed << 16;
	uint32_t pad_free = (uint32_t)GP_WIRE_PAD_MAX << 24; // 63: any of its bits
	if ((gp_load32(p) & ~(flags_free | pad_free)) !=
		(GP_WIRE_VERSION | (uint32_t)GP_WIRE_PUSH << 8))
		return false;
	const uint8_t *s = p + GP_WIRE_HEADER_SIZE;
	uint32_t size = gp_load16(s + 4);
	uint32_t codec = gp_load32(s + 8); // with flags and what is reserved: 0 each
	bool one = gp_load16(p + 38) == 1 && gp_load16(s + 6) == 1; // section; no key; block
	bool weighs = gp_load32(s + 12) - WEIGHT_MIN_BITS <= WEIGHT_MAX_BITS - WEIGHT_MIN_BITS;
	*body_at = fixed + p[3];
	return one & weighs & (size > 0) & (codec - 1 < r->codec_max) & (len == *body_at + size) &&
	       gp_wire_is_zero(p + fixed, p[3]);
}

static void msg_fill(const uint8_t *data, uint32_t len, uint32_t body_at, struct gp_msg *m)
{
	header_load(data, &m->h);
	m->sections = data + GP_WIRE_HEADER_SIZE;
	m->ack = NULL;
	m->body = data + body_at;
	m->body_len = len - body_at;
}

enum gp_verdict gp_wire_parse(const uint8_t *data, uint32_t len, struct gp_msg *m)
{
	uint32_t plain_at;
	if (push_is_plain(data, len, &plain_at)) {
		msg_fill(data, len, plain_at, m);
		return GP_VERDICT_OK;
	}
	enum gp_verdict v = header_check(data, len);
	if (v != GP_VERDICT_OK)
		return v;
	const struct rule *r = &rules[data[1]];
	uint32_t sections = data[38];
	uint32_t ack_at = GP_WIRE_HEADER_SIZE + sections * GP_WIRE_SECTION_SIZE;
	uint32_t pad_at = ack_at + (data[2] & GP_WIRE_F_ACK ? GP_WIRE_ACK_SIZE : 0);
	uint32_t body_at = pad_at + data[3];
	if (body_at > len)
		return GP_VERDICT_BAD_LENGTH;
	if (!gp_wire_is_zero(data + pad_at, data[3]))
		return GP_VERDICT_BAD_PAD;
	if (pad_at != ack_at && (gp_load32(data + ack_at + 20) & ~UINT32_C(1)))
		return GP_VERDICT_BAD_FLAGS;
	uint32_t payload = 0;
	v = sections_check(data + GP_WIRE_HEADER_SIZE, sections, r, &payload);
	if (v != GP_VERDICT_OK)
		return v;
	uint32_t body_len = len - body_at;
	if (r->codec_max > 0) {
		if (body_len != payload)
			return GP_VERDICT_BAD_LENGTH;
	} else if (body_len < r->body_min || body_len > r->body_max) {
		return GP_VERDICT_BAD_BODY;
	}
	if (r->body_check) {
		v = r->body_check(data + body_at, body_len);
		if (v != GP_VERDICT_OK)
			return v;
	}
	msg_fill(data, len, body_at, m);
	m->ack = pad_at != ack_at ? data + ack_at : NULL;
	return GP_VERDICT_OK;
}
