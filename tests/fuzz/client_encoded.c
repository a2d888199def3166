// SPDX-License-Identifier: BSD-3-Clause
//
// Contributions to dense tensors under the client's fuzzer: whole, in several pieces, with results
// over the gradient, and encoded by the caller, whose payloads the tape may bend. What the client
// sends of the latter must be what was handed over; payloads that are not there yet are poisoned,
// and so is everything that it may not look at between the calls.
#include "client_world.h"

#include <sanitizer/asan_interface.h>

// How a tensor is registered: which of the two its caller encodes; the second has a codec of its
// own.
void encoded_describe(const struct client *k, uint32_t tensor, struct gp_client_tensor *d)
{
	static const enum gp_client_codec codecs[] = {(enum gp_client_codec)0, GP_CLIENT_INT8,
		GP_CLIENT_SIGN, GP_CLIENT_BF16, GP_CLIENT_TOPK, GP_CLIENT_TOPK_BF16, GP_CLIENT_AUTO,
		GP_CLIENT_F32};
	d->compress.by_caller = k->up >> (2 + tensor) & 1;
	if (tensor == 0)
		return;
	d->compress.codec = codecs[k->up >> 4 & 7];
	d->compress.topk_ratio = 0.25f;
	d->compress.topk_sampled = k->up >> 7;
}

static bool is_callers(const struct client *k, uint32_t tensor)
{
	return k->c->laid_out && k->c->tensors[tensor].how.by_caller;
}

// ---- what is handed over

static void handed_free(struct handed *h)
{
	ASAN_UNPOISON_MEMORY_REGION(h->payload, (size_t)h->stride * h->count);
	ASAN_UNPOISON_MEMORY_REGION(h->lens, sizeof(*h->lens) * h->count);
	free(h->payload);
	free(h->lens);
	free(h->taken);
	*h = (struct handed){0};
}

// The first `blocks` may be read.
static void handed_show(const struct handed *h, uint32_t blocks)
{
	size_t all = (size_t)h->stride * h->count, lens = sizeof(*h->lens) * h->count;
	ASAN_POISON_MEMORY_REGION(h->payload, all);
	ASAN_POISON_MEMORY_REGION(h->lens, lens);
	ASAN_UNPOISON_MEMORY_REGION(h->payload, (size_t)h->stride * blocks);
	ASAN_UNPOISON_MEMORY_REGION(h->lens, sizeof(*h->lens) * blocks);
	(void)all, (void)lens;
}

static struct handed handed_new(const struct gp_client_blocks *b)
{
	struct handed h = {.count = b->count, .stride = (uint32_t)gp_align_up(b->payload_max, 8)};
	h.payload = calloc(h.count, h.stride);
	h.taken = calloc(h.count, h.stride);
	h.lens = calloc(h.count, sizeof(*h.lens));
	GP_ASSERT(h.payload && h.taken && h.lens);
	handed_show(&h, 0);
	return h;
}

static void block_encode(
	const struct client *k, uint32_t tensor, const struct gp_client_blocks *b, uint32_t i)
{
	const struct handed *h = &k->handed[tensor];
	bool last = i + 1 == b->count;
	uint64_t at = (uint64_t)i * b->block_elems;
	const struct gp_codec_src src = {.grad = k->grad[tensor] + at,
		.elems = last ? (uint32_t)(b->elems - at) : b->block_elems,
		.k = last ? b->k_last : b->k};
	h->lens[i] = gp_codec_encode((uint8_t)b->codec, &src, h->payload + (size_t)i * h->stride);
	GP_ASSERT(h->lens[i] <= b->payload_max);
}

// Another length, or another byte, of one of the blocks that are not taken yet.
static void block_bend(struct client *k, uint32_t tensor, uint32_t blocks)
{
	const struct handed *h = &k->handed[tensor];
	uint32_t i = h->given + below(&k->in, blocks - h->given), what = input_u8(&k->in);
	if (what & 128)
		h->lens[i] = (uint32_t)input_number(&k->in, h->lens[i]);
	else
		h->payload[(size_t)i * h->stride + what % h->stride] ^= input_u8(&k->in);
}

static void blocks_taken(struct client *k, uint32_t tensor, uint32_t blocks)
{
	const struct cc_tensor *t = &k->c->tensors[tensor];
	struct handed *h = &k->handed[tensor];
	if (!t->encoded.payload) // the step has become void
		return;
	GP_ASSERT(t->blocks_count == h->count && h->count - t->lacking <= GP_MAX(blocks, h->given));
	for (; h->given < h->count - t->lacking; h->given++)
		memcpy(h->taken + (size_t)h->given * h->stride,
			h->payload + (size_t)h->given * h->stride, h->lens[h->given]);
}

static void encoded_more(struct client *k, uint32_t tensor, uint32_t blocks, bool bent)
{
	struct gp_client_blocks b;
	struct handed *h = &k->handed[tensor];
	uint32_t end = (uint32_t)GP_MIN((uint64_t)h->given + blocks, h->count);
	bool there = h->count > 0 && gp_ccore_blocks(k->c, tensor, &b) == 0 && b.count == h->count;
	if (!there) {
		client_call_check(k, gp_ccore_encoded_ready(k->c, tensor, blocks));
		return;
	}
	handed_show(h, end);
	for (uint32_t i = h->given; i < end; i++)
		block_encode(k, tensor, &b, i);
	if (bent && end > h->given)
		block_bend(k, tensor, end);
	int rc = gp_ccore_encoded_ready(k->c, tensor, end);
	client_call_check(k, rc);
	blocks_taken(k, tensor, end);
	GP_ASSERT(rc < 0 || h->given == end);
	handed_show(h, 0);
}

static void encoded_begin(struct client *k, uint32_t tensor, float *out)
{
	struct gp_client_blocks b;
	int rc = gp_ccore_blocks(k->c, tensor, &b);
	GP_ASSERT(rc == 0);
	struct handed h = handed_new(&b);
	const struct gp_client_encoded x = {
		.codec = b.codec, .payload = h.payload, .stride = h.stride, .lens = h.lens};
	rc = gp_ccore_push_encoded(k->c, tensor, &x, 1.0f, out);
	client_call_check(k, rc);
	if (rc == 0) {
		handed_free(&k->handed[tensor]);
		k->handed[tensor] = h;
	} else { // the one before may go on
		handed_free(&h);
	}
}

// ---- in pieces

static void own_begin(struct client *k, uint32_t tensor, const float *grad, float *out)
{
	int rc = gp_ccore_push_begin(k->c, tensor, grad, 1.0f, out);
	client_call_check(k, rc);
	if (rc < 0)
		return;
	k->begun[tensor] = true;
	memcpy(k->before[tensor], k->grad[tensor], sizeof(float) * tensor_elems[tensor]);
}

// What is still to be encoded is as it was, also where results come to the same place.
static void own_more(struct client *k, uint32_t tensor, uint32_t blocks)
{
	if (!k->begun[tensor])
		return;
	const struct cc_tensor *t = &k->c->tensors[tensor];
	uint64_t at = (uint64_t)(t->blocks_count - t->lacking) * k->c->layout.block_elems;
	if (t->values && t->lacking > 0)
		GP_ASSERT(memcmp(k->grad[tensor] + at, k->before[tensor] + at,
				  sizeof(float) * (t->elems - at)) == 0);
	(void)gp_ccore_push_more(k->c, tensor, blocks);
}

void push_call(struct client *k, uint32_t tensor, uint8_t how)
{
	bool want = !(how & 64), callers = is_callers(k, tensor);
	float *out = how & 32 ? k->grad[tensor] : k->out[tensor];
	// What is neither contributed nor asked for is passed.
	const float *grad = want || tensor > 0 ? k->grad[tensor] : NULL;
	uint32_t blocks = how & 128 ? how >> 4 & 1 : UINT32_MAX;
	if (callers && grad)
		encoded_begin(k, tensor, want ? k->out[tensor] : NULL);
	else
		own_begin(k, tensor, grad, want ? out : NULL);
	if (callers && grad)
		encoded_more(k, tensor, blocks, false);
	else
		own_more(k, tensor, blocks);
}

void more_call(struct client *k, uint32_t tensor, uint8_t how)
{
	if (is_callers(k, tensor))
		encoded_more(k, tensor, how >> 6, how & 32);
	else
		own_more(k, tensor, how >> 6);
}

// ---- what leaves

void encoded_sent(const struct client *k, const struct gp_msg *m)
{
	const uint8_t *payload = m->body;
	for (uint32_t i = 0; i < m->h.sections; i++) {
		struct gp_section s;
		gp_wire_get_section(m, i, &s);
		const struct cc_tensor *t = &k->c->tensors[k->c->blocks[s.block].tensor];
		const struct handed *h = &k->handed[t - k->c->tensors];
		GP_ASSERT(!cc_block_lacks(k->c, s.block));
		if (t->encoded.payload && s.len > 0)
			GP_ASSERT(memcmp(h->taken + (size_t)(s.block - t->first_block) * h->stride,
					  payload, s.len) == 0);
		payload += s.len;
	}
}

void encoded_free(struct client *k)
{
	for (uint32_t i = 0; i < TENSORS; i++)
		handed_free(&k->handed[i]);
}
