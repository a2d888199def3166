// SPDX-License-Identifier: BSD-3-Clause
//
// Inside lib/replica: frames on a TCP connection, the messages in them, and a snapshot that
// arrives. The formats are written down in docs/replication.md.
#ifndef REPLICA_PRIV_H
#define REPLICA_PRIV_H

#include <gp_base.h>
#include <gp_replica.h>
#include <gp_snapshot.h>
#include <gp_snapshot_dir.h>
#include <gp_tls.h>

#include <limits.h>
#include <sys/socket.h>

struct bufferevent;
struct evbuffer;

// Frame header: magic u32, version u16, type u16, body length u32, zero u32, xxh3 u64 of these 16
// bytes and the body. Little-endian. The first 16 bytes stay so in every version.
#define FRAME_MAGIC	  0x46525047u // "GPRF"
#define FRAME_HEADER_SIZE 24
#define CHUNK_HEADER_SIZE 16 // file index u32, zero u32, offset u64
#define CHUNK_DATA_MAX	  (256u << 10)
#define FRAME_BODY_MAX	  (CHUNK_HEADER_SIZE + CHUNK_DATA_MAX)

enum frame_type {
	FRAME_HELLO = 1,
	FRAME_BEGIN = 2,
	FRAME_CHUNK = 3,
	FRAME_END = 4,
	FRAME_RESULT = 5,
};

struct frame {
	enum frame_type type;
	const uint8_t *body; // in the input, until frame_drop
	size_t len;
};

int replica_fail(struct gp_snapshot_error *err, int code, const char *fmt, ...) GP_PRINTF(3, 4);
// "<what>: <reason>"
int replica_fail_sys(struct gp_snapshot_error *err, int errno_code, const char *what);

// Appends one frame whose body is `head` followed by `body`. -ENOMEM.
int frame_put(struct evbuffer *out, enum frame_type type, const void *head, size_t head_len,
	const void *body, size_t body_len) GP_MUST_CHECK;
// 1: *f is the first frame in `in`; 0: not all of it is there yet; -EPROTO: not a frame, another
// version, or damaged.
int frame_take(struct evbuffer *in, struct frame *f, struct gp_snapshot_error *err) GP_MUST_CHECK;
void frame_drop(struct evbuffer *in, const struct frame *f);

// The newest snapshot of a job that a receiver has proved.
struct hold {
	char job[GP_SNAPSHOT_TEXT_SIZE];
	uint32_t step;
	uint64_t digest;
};

// The path of what has to be shipped first so that `path` can follow in the end: `path` itself when
// it is full or builds on what the replica holds (NULL: nothing). Only manifests are read.
int chain_next(const char *path, const struct hold *held, char *out,
	struct gp_snapshot_error *err) GP_MUST_CHECK;

struct msg_hello {
	char product[GP_SNAPSHOT_TEXT_SIZE];
	uint32_t holds_count; // a sender has none
	struct hold holds[GP_REPLICA_JOBS_MAX];
};

#define BEGIN_FILES_MAX (GP_SNAPSHOT_FILES_MAX + 2) // data, blocks, manifest

struct msg_begin {
	struct gp_snapshot_entry entry;
	uint64_t digest;
	uint32_t files_count;
	struct gp_snapshot_file files[BEGIN_FILES_MAX]; // params first, manifest last
	uint64_t size;					// of all files
};

struct msg_result {
	char job[GP_SNAPSHOT_TEXT_SIZE]; // "" when the refusal is of the connection
	uint32_t step;
	bool verified;
	uint64_t digest;
	char why[GP_SNAPSHOT_ERROR_SIZE];
};

int msg_hello_put(struct evbuffer *out, const struct msg_hello *m) GP_MUST_CHECK;
int msg_begin_put(struct evbuffer *out, const struct msg_begin *m) GP_MUST_CHECK;
int msg_result_put(struct evbuffer *out, const struct msg_result *m) GP_MUST_CHECK;
// -EPROTO with a text for everything that is not exactly such a message.
int msg_hello_parse(
	const struct frame *f, struct msg_hello *m, struct gp_snapshot_error *err) GP_MUST_CHECK;
int msg_begin_parse(
	const struct frame *f, struct msg_begin *m, struct gp_snapshot_error *err) GP_MUST_CHECK;
int msg_result_parse(
	const struct frame *f, struct msg_result *m, struct gp_snapshot_error *err) GP_MUST_CHECK;

// An address and port, numeric. -EINVAL names it.
struct address {
	struct sockaddr_storage addr;
	int len;
	char text[96];
};

int address_parse(const char *text, bool port_needed, struct address *out,
	struct gp_snapshot_error *err) GP_MUST_CHECK;
// No delay, and a dead peer is noticed within 20 s also while nothing is sent.
void socket_tune(int fd);
// NULL for plain TCP.
int link_tls_create(const struct gp_replica_tls *files, enum gp_tls_side side, struct gp_tls **out,
	struct gp_snapshot_error *err) GP_MUST_CHECK;
// A connection of either kind over `fd`, -1: one to be connected. NULL: out of memory.
struct bufferevent *link_open(struct event_base *base, struct gp_tls *tls, int fd);
// Why the link failed, after BEV_EVENT_ERROR; `errno_code` as it was when the event came.
void link_error(
	struct bufferevent *bev, int errno_code, const char *during, struct gp_snapshot_error *err);

// A snapshot that arrives: files on a stage, filled strictly in order.
struct incoming {
	struct gp_snapshot_stage *stage; // NULL: none
	struct msg_begin begin;
	const char *dir; // lives as long
	int fds[BEGIN_FILES_MAX];
	uint32_t file_idx;
	uint64_t offset;
};

// Reserves the room. On an error nothing stays.
int incoming_begin(struct incoming *in, const char *dir, const struct msg_begin *begin,
	struct gp_snapshot_error *err) GP_MUST_CHECK;
// `body` of a chunk frame.
int incoming_chunk(struct incoming *in, const uint8_t *body, size_t len,
	struct gp_snapshot_error *err) GP_MUST_CHECK;
// Syncs, proves, sets later ones of the job aside, gives it its name. Ends it in any case.
int incoming_end(struct incoming *in, char *path_out, struct gp_snapshot_error *err) GP_MUST_CHECK;
void incoming_drop(struct incoming *in);

#endif
