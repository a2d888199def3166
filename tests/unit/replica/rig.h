// SPDX-License-Identifier: BSD-3-Clause
//
// Both ends of a replica link in one event loop, and a relay between them that can damage the
// stream.
#ifndef RIG_H
#define RIG_H

#include "../snapshot/sample.h"

#include <gp_replica.h>

struct event_base;

#define RIG_WAIT_MS 20000

struct rig {
	struct event_base *base;
	char from[PATH_MAX], to[PATH_MAX]; // snapshot directories of primary and replica
	struct gp_replica_receiver *receiver;
	struct gp_replica_sender *sender;
	uint16_t port;	    // of the receiver
	uint32_t idle_ms;   // of the receiver; 0: long enough for any machine
	uint32_t snapshots; // seen by on_snapshot
	uint32_t last_step;
	char last_job[GP_SNAPSHOT_TEXT_SIZE];
};

void rig_init(struct rig *r);
void rig_fini(struct rig *r);
// port 0: any free one.
void rig_receiver_start(struct rig *r, uint16_t port);
// Connects to `port`, with back-off of 1..20 ms.
void rig_sender_start(struct rig *r, uint16_t port);
// The same with TLS (NULL: without), at any free port and to r->port.
void rig_receiver_tls(struct rig *r, const struct gp_replica_tls *tls);
void rig_sender_tls(struct rig *r, const struct gp_replica_tls *tls);
// Writes a snapshot at the primary and hands it to the sender.
void rig_ship(struct rig *r, const char *job, uint32_t step, uint64_t rows);
void rig_write(struct rig *r, const char *job, uint32_t step, uint64_t rows, char *path);
struct gp_replica_status rig_status(const struct rig *r, const char *job);
// Runs the loop until it is true; fails the test after RIG_WAIT_MS.
#define rig_until(r, cond)                                                                         \
	do {                                                                                       \
		uint64_t rig_end = rig_now_ms() + RIG_WAIT_MS;                                     \
		while (!(cond)) {                                                                  \
			cr_assert_lt(rig_now_ms(), rig_end, "waited too long for " #cond);         \
			rig_turn(r);                                                               \
		}                                                                                  \
	} while (0)
uint64_t rig_now_ms(void);
// One turn of the loop, at most some milliseconds.
void rig_turn(struct rig *r);
// The replica holds this snapshot and its newest of the job is this one.
void rig_expect_replica(const struct rig *r, const char *job, uint32_t step, uint64_t rows);
uint32_t rig_replica_count(const struct rig *r);

// A relay to r->port. Of the first connection only, byte `at` towards the receiver is changed
// (xor `flip`), or the connection is cut there (flip 0).
struct relay;
struct relay *relay_start(struct rig *r, uint64_t at, uint8_t flip, uint16_t *port);
void relay_stop(struct relay *relay);
// Whether byte `at` was reached.
bool relay_hit(const struct relay *relay);

#endif
