// SPDX-License-Identifier: BSD-3-Clause
//
// A core under test, a transport that records what it sends, and datagrams of a server written by
// hand. One lane; job "job", world 2, rank 0; one tensor "w" of 10 blocks (the last one is short).
#ifndef CLIENT_FIXTURE_H
#define CLIENT_FIXTURE_H

#include <ccore_priv.h>

#define SENT_MAX    256
#define BLOCK_ELEMS 16
#define BLOCKS	    10
#define ELEMS	    (BLOCK_ELEMS * (BLOCKS - 1) + 5)
#define SESSION	    0x00070003
#define EPOCH	    4

struct fx_sent {
	uint8_t data[GP_WIRE_DATAGRAM_MAX];
	uint32_t len;
};

struct fx {
	struct gp_xport base;
	struct gp_ccore *core;
	struct gp_frame frames[8];
	uint8_t bufs[8][GP_WIRE_DATAGRAM_MAX];
	uint32_t frames_used; // bits
	struct fx_sent *sent;
	uint32_t sent_count;
	uint32_t seen; // by fx_next
	uint64_t now;
	uint64_t server_packet;
	uint32_t decision;
	struct gp_welcome w;
	float grad[ELEMS];
	float out[ELEMS];
};

// What the next fx_open takes: allocations that succeed (all), compression, flags; and the codec
// that its layout asks for.
struct fx_how {
	uint32_t takes;
	struct gp_client_compress compress;
	uint32_t flags;
	uint32_t hint;
};
extern struct fx_how fx_how;

// Where memory ends at once, f->core stays NULL.
void fx_open(struct fx *f, uint32_t mtu);
void fx_close(struct fx *f);
// Answers everything up to the layout.
void fx_laid_out(struct fx *f);
// Answers everything up to membership of view 1 at step 1 (a reduce job).
void fx_member(struct fx *f);

// The next datagram of `type` that was sent; fails the test when there is none.
const struct fx_sent *fx_next(struct fx *f, uint8_t type, struct gp_msg *m);
uint32_t fx_count(struct fx *f, uint8_t type); // since fx_next last looked
void fx_skip(struct fx *f);		       // all sent so far

// Feeds one datagram; h's session fields are filled in when it is of a session.
void fx_feed(struct fx *f, struct gp_header *h, const struct gp_section *s,
	const struct gp_ack *ack, const void *body, uint32_t body_len);
void fx_hello_reply(struct fx *f, uint32_t size, uint8_t chosen);
void fx_welcome(struct fx *f);
void fx_refuse(struct fx *f, const struct gp_refuse *r);
void fx_layout(struct fx *f, uint32_t registered, uint32_t state);
void fx_decide(struct fx *f, const struct gp_commit_entry *e);
void fx_result(
	struct fx *f, uint32_t block, uint32_t step, uint32_t view, bool tentative, float value);
void fx_ack(struct fx *f, uint64_t largest, uint64_t bits, bool largest_ok);
void fx_tick(struct fx *f, uint64_t after_ns);
void fx_push(struct fx *f, float value);

#endif
