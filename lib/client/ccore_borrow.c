// SPDX-License-Identifier: BSD-3-Clause
//
// Contributions that stay in the caller's memory until they are committed (GP_CLIENT_BORROW). Only
// where a payload is the gradient itself, byte for byte: f32. It is written into each datagram from
// there, also when it goes again: to the same server, in a new view, to another server. So the same
// bytes travel as long as the caller keeps its word, and what it does otherwise no one but the sum
// notices: a datagram is a copy, whose checksum and tag are those of what was copied.
#include "ccore_rows.h"

bool cc_borrows(const struct gp_ccore *c, const struct cc_tensor *t)
{
	return (c->cfg.flags & GP_CLIENT_BORROW) && t->codec == GP_CODEC_F32;
}

// In a reduce job there may be nothing else that is kept. A train job keeps its initial parameters.
bool cc_keeps(const struct gp_ccore *c)
{
	if (cc_is_reader(c))
		return false;
	bool keeps = !(c->cfg.flags & GP_CLIENT_BORROW) || c->w.kind != GP_KIND_REDUCE;
	for (uint32_t i = 0; i < c->tensors_count && !keeps; i++)
		keeps = c->tensors[i].how.by_caller || c->tensors[i].how.codec != GP_CLIENT_F32;
	return keeps;
}

static bool overlap(const float *a, const float *b, uint64_t elems)
{
	uintptr_t x = (uintptr_t)a, y = (uintptr_t)b, size = sizeof(float) * elems;
	return x < y + size && y < x + size;
}

int cc_borrow_check(
	struct gp_ccore *c, const struct cc_tensor *t, const float *grad, const float *out)
{
	if (!grad || !out || !cc_borrows(c, t) || !overlap(grad, out, t->elems))
		return 0;
	return cc_refuse_call(c, -EINVAL,
		"tensor '%s': out is (in part) where grad is, which GP_CLIENT_BORROW borrows until "
		"gp_client_wait returns; give another place, or leave the flag out",
		t->d.name);
}

void cc_borrow_begin(struct gp_ccore *c, struct cc_tensor *t, const float *grad)
{
	t->borrowed = grad;
	for (uint32_t i = 0; i < t->blocks_count; i++) {
		struct cc_block *b = &c->blocks[t->first_block + i];
		b->codec = GP_CODEC_F32;
		b->len = (uint32_t)sizeof(float) * b->elems;
	}
}

void cc_contribution_write(const struct gp_ccore *c, uint32_t block, uint8_t *to)
{
	const struct cc_block *b = &c->blocks[block];
	const struct cc_tensor *t = &c->tensors[b->tensor];
	if (b->len == 0)
		return;
	if (!t->borrowed) {
		memcpy(to, c->kept + (size_t)block * c->kept_stride, b->len);
		return;
	}
	size_t at = (size_t)(block - t->first_block) * c->layout.block_elems;
	GP_ASSERT(b->codec == GP_CODEC_F32 && at + b->elems <= t->elems);
	const struct gp_codec_src src = {.grad = t->borrowed + at, .elems = b->elems};
	uint32_t len = gp_codec_encode(GP_CODEC_F32, &src, to);
	GP_ASSERT(len == b->len);
}
