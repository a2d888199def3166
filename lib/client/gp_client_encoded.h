// SPDX-License-Identifier: BSD-3-Clause
//
// libgradplane: contributions that the caller has encoded, such as on a GPU, handed over block by
// block, so that what is ready travels while the rest is still being encoded.
//
// For tensors with compress.by_caller (gp_client.h; in the client's options: for all that name no
// codec of their own) a step is
//
//	gp_client_blocks	what this step encodes: blocks, codec, how many elements of each
//	gp_client_push_encoded	begins the contribution, says where its payloads will be
//	gp_client_encoded_ready	the first n blocks are there: they are proved, copied, and go out;
//				as often as wanted, until all are there
//	gp_client_wait		as ever
//
// and gp_client_push and gp_client_push_pull refuse them, unless the rank passes the tensor (NULL).
// Payloads are those of docs/protocol.md, 3. The client encodes the initial parameters itself.
//
// What was handed over is the client's: kept until it is committed, and sent again from the same
// bytes whatever happens, losses, new views and another server included. The caller's memory is not
// looked at again.
//
// Error feedback is the caller's, and so is momentum correction: topk_momentum is not looked at.
// The residual that the encoding leaves behind belongs to the step, and counts as follows.
//   0, -EINVAL, and -ETIMEDOUT of a session that goes on: it stands. Nothing that was handed over
//   is ever to be encoded again,
// and nothing that is refused was begun or taken; so call gp_client_push_encoded before the
// encoding, which changes the residual, is begun.
//   -GP_ROLLED_BACK, from any call: the step in hand is void, and what was kept back for it is not
// that of the step to go on with, gp_client_step. Put back the residual that the step before that
// one has left, if it was kept (in a checkpoint); else zero it. The client cannot know and counts
// it as lost (residuals_lost). Blocks not yet handed over are void too: their encoding may end, the
// next gp_client_push_encoded begins anew.
//   Any other error ends the session: what a rank that joins anew goes on from is its checkpoint.
//
// Threads: as gp_client.h; the thread of gp_client_background looks at handed over blocks only.
// Memory: no residual is kept in the client for these tensors, else as gp_client.h.
#ifndef GP_CLIENT_ENCODED_H
#define GP_CLIENT_ENCODED_H

#include <gp_client.h>

#ifdef __cplusplus
extern "C" {
#endif

// What the step that comes next, or is under way, encodes of a tensor. The last block may be
// shorter than the others.
struct gp_client_blocks {
	enum gp_client_codec codec; // never auto
	uint32_t block_elems;
	uint32_t count;
	uint64_t elems;
	// top-k: elements to keep of each block, and of the last one; else 0. With topk_sampled any
	// number that payload_max has room for will do, 0 included.
	uint32_t k, k_last;
	uint32_t payload_max; // bytes of a block's payload, at most
};

// The payload of block b is the lens[b] bytes at payload + b * stride. Both arrays are read only
// for blocks that gp_client_encoded_ready names, inside that call.
struct gp_client_encoded {
	enum gp_client_codec codec;
	const uint8_t *payload;
	size_t stride;
	const uint32_t *lens;
};

// After gp_client_register. 0 or -EINVAL. With a warm-up of top-k ask again after
// gp_client_push_encoded, which may have had a lost session again: k is then that of its step.
GP_CLIENT_API int gp_client_blocks(
	const struct gp_client *c, uint32_t tensor, struct gp_client_blocks *blocks);

// As gp_client_push_pull, and with `out` NULL as gp_client_push, but no block is there yet.
// -EINVAL: the client encodes this tensor, or codec is not that of gp_client_blocks.
GP_CLIENT_API int gp_client_push_encoded(struct gp_client *c, uint32_t tensor,
	const struct gp_client_encoded *encoded, float weight, float *out,
	struct gp_client_error *err);

// Blocks 0..blocks-1 are there; those that were before are not looked at again. Does what I/O is
// due, so it may be called with the same number too. -EINVAL: the text names tensor, block and what
// is wrong with its payload; the blocks before it are taken, it and those after it are not, and may
// be put right.
GP_CLIENT_API int gp_client_encoded_ready(
	struct gp_client *c, uint32_t tensor, uint32_t blocks, struct gp_client_error *err);

#ifdef __cplusplus
}
#endif
#endif
