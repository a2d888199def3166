// SPDX-License-Identifier: BSD-3-Clause
//
// Sizes of the bodies of docs/protocol.md, shared by the validator, the readers and the writers.
#ifndef GP_WIRE_PRIV_H
#define GP_WIRE_PRIV_H

#include <gp_wire.h>

#define WIRE_HELLO_BODY		  56
#define WIRE_JOIN_BODY		  128
#define WIRE_WELCOME_BODY	  96
#define WIRE_REGISTER_BODY	  16
#define WIRE_DESC_FIXED		  8
#define WIRE_LAYOUT_BODY	  40
#define WIRE_LAYOUT_ENTRY	  16
#define WIRE_COMMIT_BODY	  8
#define WIRE_COMMIT_ENTRY	  24
#define WIRE_HEARTBEAT_BODY	  16
#define WIRE_HEARTBEAT_REPLY_BODY 40
#define WIRE_READ_BODY		  16
#define WIRE_READ_REPLY_BODY	  32
#define WIRE_BARRIER_BODY	  8
#define WIRE_U64_BODY		  8
#define WIRE_REFUSE_BODY	  60
#define WIRE_ROWS_BODY		  GP_WIRE_ROWS_HEAD

// Bytes of a descriptor before and with the padding of its name.
static inline uint32_t wire_desc_used(uint32_t dims_count, uint32_t name_len)
{
	return WIRE_DESC_FIXED + dims_count * 8 + name_len;
}

static inline uint32_t wire_desc_padded(uint32_t used)
{
	return (used + 7) & ~UINT32_C(7);
}

#endif
