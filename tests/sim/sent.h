// SPDX-License-Identifier: BSD-3-Clause
//
// What a worker's gradient becomes on its way, by docs/protocol.md 3 alone: plain loops over one
// block that share nothing with lib/codec. Finite gradients only.
#ifndef SIM_SENT_H
#define SIM_SENT_H

#include <stdint.h>

// The share of elements that the simulated workers keep where the codec is top-k.
#define SENT_TOPK_RATIO 0.02f

// Elements of a block when every datagram carries payload_max bytes.
uint32_t sent_block_elems(uint32_t payload_max);
// grad becomes what the server decodes, residual what the worker keeps. codec: its number on the
// wire.
void sent_block(uint8_t codec, float *grad, float *residual, uint32_t elems);

#endif
