// SPDX-License-Identifier: BSD-3-Clause
//
// The connection between the two nodes of a pair: a stream (gp_stream.h) over TCP or TLS 1.3 on the
// caller's libevent base, with heartbeats.
//
// One node listens, the other connects, whoever leads: roles change, the link stays. It connects
// anew after each failure, with a back-off of at most half of silent_ms, so that a peer that lives
// is heard. It is longer where connections are futile: they end before the follower holds all jobs
// (its image has no room, say). The log names each reason once. A listener takes the newest
// connection that has proved itself and greeted, and ends the one before. With each connection the
// feeder or follower goes on where the last one ended.
//
// What it learns of the peer is told as events of gp_lead_rules.h:
//
//	PEER_HEARD     bytes came, after silence or for the first time
//	PEER_SILENT    none came for silent_ms, since create or the last ones, and nothing of the
//		       peer by another way (heard_ns); once
//	PEER_RESTARTED the peer greeted from another life than before, or no longer holds what its
//		       record promises (or the first time that it greets: does not)
//	PEER_RECORD    its leadership record
//	PEER_READY     the feeder's jobs are all at the peer (each time it becomes so)
//	PEER_WHOLE     its answer to gp_link_offer
//
// Owner and threads: create, destroy, all calls and callbacks on the thread of the base, which may
// block on nothing for longer than a part of silent_ms. Callbacks may call anything of the link but
// gp_link_destroy, and must not destroy the feeder or follower. Memory: at most out_max bytes and
// some frames wait to be sent, 512 KiB to be read, for each of at most 4 connections. SIGPIPE must
// be ignored.
// Errors: at create 0 or -errno with a text; what happens later is in the status, in the log, and
// tried again.
#ifndef GP_LINK_H
#define GP_LINK_H

#include <gp_feeder.h>
#include <gp_follower.h>
#include <gp_lead_rules.h>
#include <gp_replica.h>

struct event_base;
struct gp_link;

struct gp_link_opts {
	const char *listen; // "10.0.0.2:9751", port 0 = any free one; exactly one of both
	const char *peer;   // "10.0.0.2:9751"
	const char *product;
	uint32_t node;			  // 0 or 1
	uint64_t life;			  // random, of this process
	uint32_t heartbeat_ms;		  // 0 = a fifth of silent_ms
	uint32_t silent_ms;		  // 0 = 1000
	uint32_t backoff_ms_min;	  // 0 = 20; doubles after each failure
	uint32_t backoff_ms_max;	  // 0 = 1000; futile: times 4; at most half of silent_ms
	size_t out_max;			  // bytes that wait to be sent, 0 = 4 MiB
	const struct gp_replica_tls *tls; // NULL: plain TCP, on a network that is trusted
	void *arg;
	void (*event)(void *arg, const struct gp_lead_event *ev);
	struct gp_addr beat_to; // for our hello: where BEATs are taken
	uint64_t beat_cookie;	// 0: nowhere
	// Since when something else than the link was heard of the peer, ns; UINT64_MAX: never.
	// A connection on which nothing comes ends all the same. NULL: nothing else.
	uint64_t (*heard_ns)(void *arg);
	// The primary offers us this leadership; everything before it is in the image. If that is
	// all and the rules accept it: gp_link_whole.
	void (*offered)(void *arg, const struct gp_lead_record *to);
	// The feeder may take more events (gp_feeder_room), or more of them were shipped. NULL: not
	// told.
	void (*moved)(void *arg);
};

struct gp_link_status {
	bool connected;		     // and greeted
	bool silent;		     // PEER_SILENT was told last
	struct gp_stream_hello peer; // once greeted
	char peer_addr[96];	     // "" before the first connection
	uint64_t connections;	     // greeted since create
	uint64_t failures;
	uint32_t futile; // in a row; 0 again when one was of use
	uint64_t bytes_in, bytes_out;
	uint64_t frames_in, frames_out;
	uint64_t unsent;	// bytes
	uint64_t heard_ns;	// since the last byte; UINT64_MAX: never
	uint64_t round_trip_ns; // of the last heartbeat, 0: none
	char last_error[GP_STREAM_TEXT_SIZE];
};

// -EINVAL: an option; -EADDRINUSE; -ENOENT, -EACCES, ...: a certificate. Connects from the loop.
int gp_link_create(struct event_base *base, const struct gp_link_opts *opts, struct gp_link **out,
	struct gp_stream_error *err) GP_MUST_CHECK;
void gp_link_destroy(struct gp_link *l);	// takes NULL
uint16_t gp_link_port(const struct gp_link *l); // it listens on; 0: it does not

// What this node is, for its hello and for the peer at once when it changes. `record` NULL: none.
// `holding`: this life holds the state that the record promises; false until told.
void gp_link_self(struct gp_link *l, const struct gp_lead_record *record, bool holding);
// At most one of both: the other one has to be taken off (NULL) before. They have to live until
// they are taken off or the link is destroyed.
void gp_link_set_feeder(struct gp_link *l, struct gp_feeder *f);
void gp_link_set_follower(struct gp_link *l, struct gp_follower *f);
// The feeder or follower was given something: write what is due. Cheap when there is nothing.
void gp_link_turn(struct gp_link *l);
// -ENOTCONN.
int gp_link_offer(struct gp_link *l, const struct gp_lead_record *to) GP_MUST_CHECK;
int gp_link_whole(struct gp_link *l, uint64_t nonce) GP_MUST_CHECK;
void gp_link_status(const struct gp_link *l, struct gp_link_status *out);

#endif
