// SPDX-License-Identifier: BSD-3-Clause
//
// The network and the ports of a simulated cluster: the transport (lib/xport/gp_xport.h) that the
// engine and the clients send through, and everything that can happen to a datagram on the way.
//
// Hosts have a pool of frames and one endpoint for each core of the server. A datagram's fate is
// drawn when it leaves; it arrives in its endpoint's queue, from where its host takes it. The
// server's frames leave like those of a network card: later, in bursts, and until then a result
// that is sent by reference must not change. Checksums are modelled: what was corrupted goes
// through the validator, in a buffer of its exact size, and is dropped; only the fault `undetected`
// lets a few through.
#ifndef SIM_WIRE_H
#define SIM_WIRE_H

#include "opts.h"
#include "rng.h"

#include <gp_wire.h>
#include <gp_xport.h>

#define WIRE_BASE_PORT	   9700
#define WIRE_HOST_SERVER   0
#define WIRE_HOST_WORKER   1 // and those that follow
#define WIRE_HOST_READER   (WIRE_HOST_WORKER + SIM_WORKERS_MAX)
#define WIRE_HOST_STRANGER (WIRE_HOST_READER + SIM_READERS_MAX)
#define WIRE_HOSTS	   (WIRE_HOST_STRANGER + 1)
#define WIRE_LATE_MAX	   8
#define WIRE_NEVER	   UINT64_MAX

enum wire_dir { WIRE_UP, WIRE_DOWN }; // to the server, from it

struct wire_frame;

struct wire_queue {
	struct wire_frame **at;
	uint32_t mask;
	uint32_t head, tail;
};

// A result that has left, and that the card's driver still refers to until more are sent.
struct wire_late {
	const uint8_t *tail;
	uint32_t len;
	uint64_t hash;
	struct gp_hold *hold;
};

struct wire_endpoint {
	struct gp_xport base;
	struct wire *wire;
	uint16_t host;
	uint16_t lane;
	struct gp_addr addr;
	struct wire_queue rx;
	struct wire_queue tx;		      // server: frames that have not left yet
	struct wire_late late[WIRE_LATE_MAX]; // server: oldest first, from late_first
	uint32_t late_first, late_count;
	// an address not proved yet: what came from it and what went there
	bool proved;
	uint64_t bytes_from, bytes_to;
};

struct wire_host {
	uint32_t frames_max;
	uint32_t frames_used;
	bool starved; // alloc finds nothing for a while
	bool cut[2];  // by direction
	uint32_t burst_left[2];
};

struct wire_stats {
	uint64_t sent, delivered, lost, cut, duplicated, old, reordered, corrupted, undetected;
	uint64_t malformed, strange, no_frame, queue_full, nobody;
};

struct wire_event {
	uint64_t time;
	uint64_t seq;
	struct wire_frame *frame;
	struct wire_endpoint *to;
};

struct wire_old {
	uint64_t release; // datagrams sent
	struct wire_frame *frame;
	struct wire_endpoint *to;
};

struct wire {
	const struct sim_opts *o;
	uint64_t now;
	uint64_t seq;
	struct rng rng;
	bool faulty;	   // false: everything arrives, at once and in order
	uint32_t late_max; // results that a card refers to after they have left
	bool log;
	uint64_t hash;			      // of everything that arrived, and when
	char why[200];			      // first promise broken; empty: none
	uint32_t mtu;			      // UDP payload
	uint8_t spliced[GP_WIRE_HEADER_SIZE]; // header of an earlier datagram
	struct wire_host hosts[WIRE_HOSTS];
	struct wire_endpoint endpoints[WIRE_HOSTS][SIM_CORES_MAX];
	struct wire_event *heap;
	uint32_t heap_count;
	struct wire_old *old; // a heap by release
	uint32_t old_count;
	struct wire_frame *frames;
	uint32_t frames_count;
	struct wire_frame *free;
	uint32_t free_count;
	struct wire_stats stats;
	// Called when the server's core `lane` allocates, sends or gives back a frame: a moment at
	// which other threads may run.
	void (*moment)(void *arg, uint32_t lane);
	void *moment_arg;
};

// Takes memory once for the whole process; begins a history.
void wire_start(struct wire *w, const struct sim_opts *o);
// A new life of a host: its endpoints' addresses and what waited in its queues.
void wire_host_start(struct wire *w, uint32_t host, bool new_port);
struct gp_xport *wire_xport(struct wire *w, uint32_t host, uint32_t lane);

// When the next datagram arrives; WIRE_NEVER: none is on its way.
uint64_t wire_next(const struct wire *w);
// Lets the next one that is due by `now` arrive; false when none is. *to: whose queue.
bool wire_deliver(struct wire *w, uint64_t now, struct wire_endpoint **to);
// Up to `max` frames that have arrived there.
uint32_t wire_take(struct wire_endpoint *e, struct gp_frame **frames, uint32_t max);
// What has arrived there is lost.
void wire_drop(struct wire_endpoint *e);
// The frames of a server's endpoint leave.
void wire_flush(struct wire_endpoint *e);
// Faults are over: cuts heal, old copies come within the next moments.
void wire_calm(struct wire *w);
// Frames that are nowhere where they belong once nothing is under way.
uint32_t wire_frames_missing(const struct wire *w);

// wire_bend.c
void wire_corrupt(struct wire *w, struct gp_frame *f);
// Gives a PUSH a payload that its codec refuses; false when this one cannot be given one.
bool wire_malform(struct gp_frame *f, uint32_t elems);
// The validator and the readers of sections on exactly these bytes.
void wire_validate(const uint8_t *data, uint32_t len);
void wire_log(
	const struct wire *w, const char *what, const struct gp_frame *f, uint32_t host, bool up);

#endif
