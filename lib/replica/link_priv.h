// SPDX-License-Identifier: BSD-3-Clause
//
// Inside the link: its connections. One of them has greeted and is active; a listener has others
// that have not yet.
//
// Without TLS a connection reads and writes its socket itself, with large reads into one buffer:
// libevent's own would take 4 KiB at a time.
#ifndef LINK_PRIV_H
#define LINK_PRIV_H

#include "link_queue.h"
#include "replica_priv.h"

#include <event2/util.h>
#include <gp_link.h>

#define LINK_CONNS_MAX 4
#define CONN_IN_SIZE   (4 * GP_STREAM_FRAME_MAX)

struct event;
struct gp_link;

struct conn {
	struct gp_link *link; // NULL: free
	struct gp_stream *stream;
	int fd;				   // plain
	struct event *readable, *writable; // plain
	struct bufferevent *bev;	   // TLS
	struct event *again;		   // TLS
	struct evbuffer *out;		   // of bev
	struct queue queue;		   // plain
	int write_error;		   // plain: found while the stream was at work
	size_t turn_bytes;		   // of frames made in this turn
	struct event *deadline;		   // for the greeting
	uint8_t *in;			   // CONN_IN_SIZE, beginning with a frame
	size_t in_len;
	uint8_t *reserved; // memory of the frame that is being made
	bool open;	   // bytes can flow
	bool failed;	   // it is closed from the loop
	bool refused;	   // by the stream: what came, or has to be sent
	bool served;	   // once greeted: the peer, or this end, held all that there was
	bool turning;
	char addr[96];
	struct gp_stream_error why;
};

// What a connection tells its link. Neither closes it at once.
void link_bytes_came(struct conn *c);
void link_greeted(struct conn *c, const struct gp_stream_hello *peer);
void link_moved(struct conn *c); // something was read or written
void link_conn_failed(struct conn *c);
void link_record(struct conn *c, const struct gp_lead_record *record);
void link_offered(struct conn *c, const struct gp_lead_record *to);
void link_whole(struct conn *c, uint64_t nonce);
void link_pong(struct conn *c, uint64_t stamp);

struct conn_opts {
	struct event_base *base;
	struct gp_tls *tls; // NULL: plain
	int fd;		    // -1: connect to `peer`
	const struct address *peer;
	size_t out_max;
	uint32_t greeting_ms;
	const char *addr;
};

// Takes `fd` over in any case. 0 or -errno.
int conn_open(struct conn *c, struct gp_link *l, const struct conn_opts *o) GP_MUST_CHECK;
void conn_close(struct conn *c);
void conn_fail(struct conn *c, int code, const char *fmt, ...) GP_PRINTF(3, 4);
// Writes what is due.
void conn_turn(struct conn *c);
// The result of a call of its stream: fails the connection.
void conn_check(struct conn *c, int rc, const struct gp_stream_error *err);
size_t conn_unsent(const struct conn *c);

// The link's hello, and its bounds.
struct gp_stream_hello link_hello(const struct gp_link *l);
size_t link_out_max(const struct gp_link *l);
// The feeder ended its turn before all was looked at, or the follower before a cut was settled.
bool link_goes_on(const struct conn *c);

#endif
