// SPDX-License-Identifier: BSD-3-Clause
//
// Shipping finished snapshots from a primary to its replica over TCP.
//
// The sender of the primary keeps one connection to the receiver of the replica and ships whole
// snapshot directories over it, the newest of each job; the receiver writes them beside its own,
// proves them with gp_snapshot_open, gives them their name, tells its owner and then acknowledges
// with the digest. The sender counts a step as safe only from that answer. The messages are in
// docs/replication.md.
//
// Owner and threads: both ends live on the caller's libevent base; create, send, status, destroy
// and all callbacks run on the thread of that base. It must be one that may block on the disk
// (control or background thread, never a polled core). Sockets never block.
//
// Memory: at most GP_REPLICA_JOBS_MAX entries and a few chunks of 256 KiB a connection; a receiver
// takes at most GP_REPLICA_PEERS_MAX connections.
//
// Security: TLS 1.3 with certificates on both sides when `tls` is given; both ends must have it,
// and the frames inside are the same. Without it plain TCP, for networks that are trusted
// (configurations say `insecure: true`).
//
// Errors: 0 or -errno with a text that says what to do. What happens later (lost connection,
// refusal, full disk at the replica) is in the status and in the log, and is tried again.
#ifndef GP_REPLICA_H
#define GP_REPLICA_H

#include <gp_base.h>
#include <gp_snapshot.h>

#define GP_REPLICA_VERSION   1
#define GP_REPLICA_JOBS_MAX  64
#define GP_REPLICA_PEERS_MAX 4

struct event_base;

// PEM files and the name that the peer's certificate must carry; see gp_tls.h.
struct gp_replica_tls {
	const char *cert, *key, *ca;
	const char *peer_name;
};

// Sender.
struct gp_replica_sender;

struct gp_replica_sender_opts {
	const char *peer;	 // "10.0.0.2:9750" or "[fd00::2]:9750", numeric
	const char *product;	 // version, for the peer's log
	uint32_t backoff_ms_min; // 0 = 100; doubles after each failure
	uint32_t backoff_ms_max; // 0 = 5000
	uint32_t
		answer_ms_max; // 0 = 60000: without progress for so long the connection is given up
	const struct gp_replica_tls *tls; // NULL: plain TCP
};

struct gp_replica_status {
	bool connected;		     // and greeted
	bool busy;		     // a transfer is under way or waits for its answer
	bool sent;		     // last_step_sent is valid
	bool verified;		     // last_step_verified is valid
	uint32_t last_step_sent;     // of the job asked for: all bytes handed to the connection
	uint32_t last_step_verified; // the replica holds it and has proved it
	uint64_t bytes;		     // of snapshots, sent since create, with repeats
	uint64_t transfers;	     // begun
	uint64_t verified_count;
	uint64_t superseded_count;		 // never begun, because a newer one came
	uint64_t failures;			 // connections lost or refused, snapshots refused
	char last_error[GP_SNAPSHOT_ERROR_SIZE]; // "" if none yet
};

// Connects at once and again after every failure, with backoff. -EINVAL: the address or a
// certificate.
int gp_replica_sender_create(struct event_base *base, const struct gp_replica_sender_opts *opts,
	struct gp_replica_sender **out, struct gp_snapshot_error *err) GP_MUST_CHECK;
// Takes NULL. What is under way is given up.
void gp_replica_sender_destroy(struct gp_replica_sender *s);
// Ships the finished snapshot directory `path` (`.../<job>-<step>`). The newest of a job wins: one
// that waits is superseded, one under way is completed first; an interrupted one starts again. It
// is proved before it is sent; the last one of each job is sent again to a replica that has lost
// it. -EINVAL: not a snapshot's name, or `step` is not the name's; -ENOSPC: more than
// GP_REPLICA_JOBS_MAX jobs.
int gp_replica_send(struct gp_replica_sender *s, const char *path, uint32_t step) GP_MUST_CHECK;
// `job` NULL: of the job that was sent or verified last.
void gp_replica_sender_status(
	const struct gp_replica_sender *s, const char *job, struct gp_replica_status *out);

// Receiver.
struct gp_replica_receiver;

// A snapshot arrived, was verified and has its name. Called before the sender is told; must not
// destroy the receiver.
typedef void (*gp_replica_snapshot_fn)(
	void *arg, const char *path, const char *job, uint32_t step, uint64_t digest);

struct gp_replica_receiver_opts {
	const char *listen;   // "10.0.0.2:9750", "[::]:9750"; port 0 = any free one
	const char *dir;      // prepared with gp_snapshot_dir_prepare by create
	const char *product;  // version, for the peer's log
	uint32_t keep;	      // snapshots of each job to keep, 0 = 3
	uint64_t size_max;    // bytes of one snapshot, 0 = 1 TiB; more is refused by name
	uint32_t idle_ms_max; // 0 = 60000: a transfer without a byte for so long is given up
	const struct gp_replica_tls *tls;   // NULL: plain TCP
	gp_replica_snapshot_fn on_snapshot; // may be NULL
	void *arg;
};

struct gp_replica_receiver_status {
	uint32_t peers;		 // connected now
	uint64_t bytes;		 // of snapshots
	uint64_t verified_count; // snapshots taken
	uint64_t refused_count;	 // snapshots or connections refused, each with a text in the log
	char last_error[GP_SNAPSHOT_ERROR_SIZE];
};

// Listens. -EADDRINUSE: the text says which port and what to do; -EINVAL: an address or option.
int gp_replica_receiver_create(struct event_base *base, const struct gp_replica_receiver_opts *opts,
	struct gp_replica_receiver **out, struct gp_snapshot_error *err) GP_MUST_CHECK;
// Takes NULL. Half-received snapshots are removed.
void gp_replica_receiver_destroy(struct gp_replica_receiver *r);
// The port it listens on.
uint16_t gp_replica_receiver_port(const struct gp_replica_receiver *r);
void gp_replica_receiver_status(
	const struct gp_replica_receiver *r, struct gp_replica_receiver_status *out);

#endif
