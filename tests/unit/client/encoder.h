// SPDX-License-Identifier: BSD-3-Clause
//
// A caller that encodes by itself what it pushes, as one with a GPU does, here with lib/codec: one
// tensor, with its residual. Payloads have a stride of their own.
#ifndef CLIENT_ENCODER_H
#define CLIENT_ENCODER_H

#include <gp_client_encoded.h>

#include <gp_codec.h>

#define ENCODER_ELEMS_MAX 1024
#define ENCODER_SPARE	  12 // bytes between the longest payload and the next one

struct encoder {
	struct gp_client_blocks blocks;
	struct gp_client_encoded how;
	float residual[ENCODER_ELEMS_MAX];
	uint8_t payload[8 * ENCODER_ELEMS_MAX];
	uint32_t lens[ENCODER_ELEMS_MAX];
};

// What gp_client_push_encoded takes, before anything is encoded.
static inline const struct gp_client_encoded *encoder_begin(
	struct encoder *e, const struct gp_client_blocks *blocks)
{
	e->blocks = *blocks;
	e->how = (struct gp_client_encoded){
		.codec = blocks->codec,
		.payload = e->payload,
		.stride = blocks->payload_max + ENCODER_SPARE,
		.lens = e->lens,
	};
	GP_ASSERT(blocks->elems <= ENCODER_ELEMS_MAX);
	GP_ASSERT(e->how.stride * blocks->count <= sizeof(e->payload));
	return &e->how;
}

static inline void encoder_block(struct encoder *e, const float *grad, uint32_t i)
{
	uint64_t at = (uint64_t)i * e->blocks.block_elems;
	bool last = i + 1 == e->blocks.count;
	const struct gp_codec_src src = {
		.grad = grad + at,
		.residual = e->residual + at,
		.elems = last ? (uint32_t)(e->blocks.elems - at) : e->blocks.block_elems,
		.k = last ? e->blocks.k_last : e->blocks.k,
	};
	e->lens[i] =
		gp_codec_encode((uint8_t)e->blocks.codec, &src, e->payload + i * e->how.stride);
}

static inline void encoder_run(struct encoder *e, const float *grad)
{
	for (uint32_t i = 0; i < e->blocks.count; i++)
		encoder_block(e, grad, i);
}

#endif
