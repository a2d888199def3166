// SPDX-License-Identifier: BSD-3-Clause
//
// Contributions that the caller has encoded. Its blocks come in order, and may come late: until
// then they are CC_COMING, which is neither sent nor done. A block that is here is like one that
// the client has encoded, so that everything else (credit, repair, views, another server) does not
// know the difference. What is looked at is the client's copy, which nobody else writes.
#include "ccore_rows.h"

#include <stdio.h>

uint32_t cc_blocks_coming(const struct gp_ccore *c)
{
	uint32_t coming = 0;
	for (uint32_t i = 0; c->blocks && i < c->layout.blocks_count; i++)
		coming += c->blocks[i].state == CC_COMING;
	return coming;
}

int gp_ccore_blocks(const struct gp_ccore *c, uint32_t tensor, struct gp_client_blocks *blocks)
{
	if (!c->laid_out || cc_embeds(c) || tensor >= c->tensors_count)
		return -EINVAL;
	const struct cc_tensor *t = &c->tensors[tensor];
	uint32_t last = c->blocks[t->first_block + t->blocks_count - 1].elems;
	*blocks = (struct gp_client_blocks){
		.codec = (enum gp_client_codec)t->codec,
		.block_elems = c->layout.block_elems,
		.count = t->blocks_count,
		.elems = t->elems,
		.payload_max = (uint32_t)cc_codec_block_size(c, t),
	};
	if (!gp_codec_is_topk(t->codec))
		return 0;
	// A contribution under way stays what it is, whatever step it is counted in.
	double ratio = t->encoded.payload ? t->ratio : cc_codec_ratio(t, c->step);
	blocks->k = gp_codec_topk_count(ratio, c->layout.block_elems);
	blocks->k_last = gp_codec_topk_count(ratio, last);
	return 0;
}

// ---- a contribution begins

static const char *codec_name(uint32_t codec)
{
	return codec < GP_CODEC_COUNT ? gp_codec_name((uint8_t)codec) : "unknown";
}

int gp_ccore_push_encoded(struct gp_ccore *c, uint32_t tensor,
	const struct gp_client_encoded *encoded, float weight, float *out)
{
	int rc = cc_push_check(c, tensor, true, weight);
	if (rc)
		return rc;
	struct cc_tensor *t = &c->tensors[tensor];
	if (!t->how.by_caller)
		return cc_refuse_call(c, -EINVAL,
			"tensor '%s' is encoded by the client: it was registered without "
			"compress.by_caller",
			t->d.name);
	if ((uint32_t)encoded->codec != t->codec)
		return cc_refuse_call(c, -EINVAL,
			"tensor '%s' is pushed with codec %s, in step %u it has %s; see "
			"gp_client_blocks",
			t->d.name, codec_name((uint32_t)encoded->codec), c->step,
			gp_codec_name(t->codec));
	if (!encoded->payload || !encoded->lens)
		return cc_refuse_call(
			c, -EINVAL, "tensor '%s' is pushed without payloads or lens", t->d.name);
	t->encoded = *encoded;
	t->lacking = t->blocks_count;
	t->ratio = gp_codec_is_topk(t->codec) ? cc_codec_ratio(t, c->step) : 0;
	cc_push_begin(c, t, weight, out);
	cc_push_go(c, t);
	return 0;
}

// ---- its blocks

// Whether a payload is not what this step encodes of a block, and why.
static bool payload_fault(const struct gp_ccore *c, const struct cc_tensor *t, uint32_t elems,
	const uint8_t *payload, uint32_t len, char why[CC_FAULT_SIZE])
{
	int reason = gp_codec_check(t->codec, payload, len, elems);
	if (reason != GP_CODEC_OK) {
		(void)snprintf(why, CC_FAULT_SIZE, "%s", gp_codec_reason_name(reason));
		return true;
	}
	if (!gp_codec_is_topk(t->codec) || t->how.topk_sampled)
		return false;
	uint32_t kept = gp_load16(payload), k = gp_codec_topk_count(t->ratio, elems);
	if (kept == k)
		return false;
	(void)snprintf(why, CC_FAULT_SIZE,
		"it keeps %u of %u elements, %u are asked for in step %u", kept, elems, k, c->step);
	return true;
}

// The copy is made where the block's contribution is kept, which nobody reads before it is here.
static bool block_copy(
	struct gp_ccore *c, const struct cc_tensor *t, uint32_t i, char why[CC_FAULT_SIZE])
{
	struct cc_block *b = &c->blocks[t->first_block + i];
	uint8_t *kept = c->kept + (size_t)(t->first_block + i) * c->kept_stride;
	uint32_t len = t->encoded.lens[i];
	if (len > c->kept_stride || len > t->encoded.stride) {
		(void)snprintf(why, CC_FAULT_SIZE, "longer than %zu",
			GP_MIN((size_t)c->kept_stride, t->encoded.stride));
		return false;
	}
	memcpy(kept, t->encoded.payload + i * t->encoded.stride, len);
	if (payload_fault(c, t, b->elems, kept, len, why))
		return false;
	b->codec = t->codec;
	b->len = len;
	if (gp_codec_is_topk(b->codec) && gp_load16(kept) == 0)
		cc_codec_empty(b);
	return true;
}

static int block_take(struct gp_ccore *c, struct cc_tensor *t, uint32_t i)
{
	char why[CC_FAULT_SIZE];
	if (!block_copy(c, t, i, why))
		return cc_refuse_call(c, -EINVAL,
			"tensor '%s', block %u of %u: its %s payload of %u bytes is refused: %s",
			t->d.name, i, t->blocks_count, gp_codec_name(t->codec), t->encoded.lens[i],
			why);
	cc_block_here(c, t);
	return 0;
}

int gp_ccore_encoded_ready(struct gp_ccore *c, uint32_t tensor, uint32_t blocks)
{
	if (c->error.code)
		return c->error.code;
	if (tensor >= c->tensors_count)
		return cc_refuse_call(c, -EINVAL, "tensor %u is not one of the %u registered",
			tensor, c->tensors_count);
	struct cc_tensor *t = &c->tensors[tensor];
	if (!t->encoded.payload)
		return cc_refuse_call(c, -EINVAL, "tensor '%s' was not pushed encoded in step %u",
			t->d.name, c->step);
	if (blocks > t->blocks_count)
		return cc_refuse_call(c, -EINVAL, "tensor '%s' has %u blocks, not %u", t->d.name,
			t->blocks_count, blocks);
	int rc = 0;
	for (uint32_t i = t->blocks_count - t->lacking; i < blocks && rc == 0; i++)
		rc = block_take(c, t, i);
	return rc;
}
