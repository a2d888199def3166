// SPDX-License-Identifier: BSD-3-Clause
//
// What a worker's gradient becomes on its way, by docs/protocol.md 3 alone: plain loops over one
// block that share nothing with lib/codec. Finite gradients only.
#ifndef SIM_SENT_H
#define SIM_SENT_H

#include <stdbool.h>
#include <stdint.h>

// Numbers of codecs on the wire that others ask about.
#define SENT_F32  1
#define SENT_INT8 5

// The share of elements that the simulated workers keep where the codec is top-k; and where nothing
// may be lost of a gradient that has at most every second element.
#define SENT_TOPK_RATIO	      0.02f
#define SENT_TOPK_RATIO_EXACT 0.6f

// Elements of a block when every datagram carries payload_max bytes.
uint32_t sent_block_elems(uint32_t payload_max);
// Results become what a worker decodes that asked for them in this codec (f32, bf16, f16, int8).
void sent_result(uint8_t codec, float *values, uint32_t elems);
bool sent_is_topk(uint8_t codec);
// grad becomes what the server decodes, residual what the worker keeps. codec: its number on the
// wire; ratio: what a top-k keeps.
void sent_block(uint8_t codec, double ratio, float *grad, float *residual, uint32_t elems);

#endif
