// SPDX-License-Identifier: BSD-3-Clause
//
// The client that client_fuzz.c works on, for what other files know of it.
#ifndef FUZZ_CLIENT_WORLD_H
#define FUZZ_CLIENT_WORLD_H

#include <ccore_rows.h>

#include "input.h"
#include "wire_port.h"

#define LANES	    2
#define TENSORS	    2
#define BLOCKS	    4
#define BLOCK_ELEMS 96
#define MTU	    1472
#define SESSION	    0x00070003
#define EPOCH	    4
#define NONCE	    77
#define EVENTS_MAX  400
#define OLD_COUNT   8
#define OLD_SIZE    1500
#define TAKE_MAX    (16 << 20)
#define SPINS_MAX   16
#define ROWS	    8 // of one call, in an embed job

// The payloads of a tensor whose caller encodes.
struct handed {
	uint8_t *payload;
	uint8_t *taken; // as they were when they were taken
	uint32_t *lens;
	uint32_t stride;
	uint32_t count; // blocks
	uint32_t given; // of them taken
};

struct client {
	struct gp_ccore *c;
	struct port port[LANES];
	struct gp_welcome w;
	struct input in;
	uint64_t now;
	uint64_t packet; // server's
	uint32_t hello_size[LANES];
	uint32_t takes_left;
	uint32_t taken; // not given back
	uint8_t up;	// how far it was brought, and how tensors are registered
	float *grad[TENSORS];
	float *before[TENSORS]; // what was pushed
	float *out[TENSORS];
	bool begun[TENSORS];
	struct handed handed[TENSORS];
	uint64_t ids[ROWS];
	float *rows[2]; // of a push, and of the pull in hand
	struct {
		uint8_t data[OLD_SIZE];
		uint32_t len, lane;
	} old[OLD_COUNT];
	uint32_t old_count;
};

static inline uint32_t below(struct input *in, uint32_t count)
{
	return input_u8(in) % count;
}

static inline bool client_embeds(const struct client *k)
{
	return k->w.kind == GP_KIND_EMBED;
}

// A datagram of the server. `how` of its header: bit 7 bends fields, bit 6 brings acknowledgements.
struct gp_header client_header(struct client *k, uint8_t type, uint8_t how);
void client_send(struct client *k, uint32_t lane, struct gp_header *h, const struct gp_section *s,
	const uint8_t *body, uint32_t body_len);
// A call that is refused says why.
void client_call_check(const struct client *k, int rc);

// client_encoded.c: how a tensor is registered; a push, whole or in part; more of it, handed over
// or encoded; a datagram of contributions, which has what was handed over; the end.
extern const uint64_t tensor_elems[TENSORS];
void encoded_describe(const struct client *k, uint32_t tensor, struct gp_client_tensor *d);
void push_call(struct client *k, uint32_t tensor, uint8_t how);
void more_call(struct client *k, uint32_t tensor, uint8_t how);
void encoded_sent(const struct client *k, const struct gp_msg *m);
void encoded_free(struct client *k);

// client_rows.c: embed jobs. The job and the client; an answer with rows; a push or a pull.
extern const uint64_t table_dims[TENSORS];
void rows_client_choose(struct client *k, struct gp_ccore_config *cfg, uint8_t a);
void rows_send(struct client *k, uint32_t lane);
void rows_call(struct client *k, uint8_t how);

#endif
