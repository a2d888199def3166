// SPDX-License-Identifier: BSD-3-Clause
//
// The wire format of docs/protocol.md: a validator that proves every bound of a datagram before any
// field is used, and put/get pairs for every message. Pure functions over caller's memory: no
// state, no allocation; any alignment. A datagram that gp_wire_parse accepted can be read by the
// gp_wire_get functions without further checks of length; meaning (which job, which block) is the
// reader's.
#ifndef GP_WIRE_H
#define GP_WIRE_H

#include <gp_base.h>
#include <gp_verdict.h>
#include <gp_wire_defs.h>

struct gp_header {
	uint8_t version;
	uint8_t type;
	uint8_t flags;
	uint8_t pad;
	uint16_t job;
	uint16_t rank;
	uint32_t session;
	uint32_t epoch;
	uint32_t view;
	uint32_t step;
	uint64_t packet;
	uint32_t decision;
	uint16_t credit;
	uint8_t sections;
	uint8_t key;
};

struct gp_section {
	uint32_t block;
	uint16_t len;
	uint16_t run;
	uint8_t codec;
	uint8_t flags;
	float weight;
};

struct gp_ack {
	uint64_t largest;
	uint64_t bits;
	uint32_t delay_us;
	uint32_t flags; // bit 0: largest was accepted
};

// A validated datagram: the header in host form and where its parts lie.
struct gp_msg {
	struct gp_header h;
	const uint8_t *sections; // h.sections * 16 bytes
	const uint8_t *ack;	 // 24 bytes or NULL
	const uint8_t *body;
	uint32_t body_len;
};

struct gp_hello {
	uint8_t versions_count;
	uint8_t versions[GP_WIRE_VERSIONS_MAX];
	uint8_t chosen; // HELLO_REPLY
	uint32_t size;
	uint64_t nonce;
	uint8_t cookie[GP_WIRE_COOKIE_SIZE];
};

struct gp_join {
	uint8_t cookie[GP_WIRE_COOKIE_SIZE];
	uint64_t nonce;
	uint64_t incarnation;
	uint64_t previous;
	uint32_t flags;
	uint16_t rank;
	uint16_t world;
	uint32_t payload_max;
	uint32_t session;
	char job[GP_WIRE_JOB_NAME_SIZE]; // terminated (the parser proves it)
};

// Which line of commits a server's steps are of. What was committed before the last start from a
// snapshot that may have lost something, up to `step`, is of `before`; all after it is of `own`.
struct gp_history {
	uint64_t own;	 // random; 0: not told
	uint64_t before; // 0: not known
	uint32_t step;
};
// Of a job that begins with nothing.
#define GP_HISTORY_NONE 1

struct gp_welcome {
	uint64_t nonce;
	uint32_t session;
	uint16_t job;
	uint16_t cores;
	uint16_t base_port;
	uint16_t home;
	uint8_t kind;
	uint8_t atomicity;
	uint8_t consistency;
	uint8_t flags;
	uint32_t next_step;
	uint32_t heartbeat_us;
	uint32_t timeout_us;
	uint32_t slots;
	uint32_t window;
	uint32_t decision;
	uint32_t payload_max;
	uint16_t world;
	uint16_t rank;
	uint64_t incarnation;
	uint32_t rto_min_us; // 0: the client's own
	uint32_t rto_max_us;
	struct gp_history history;
};

struct gp_register {
	uint32_t tensors_count;
	uint32_t first;
	uint16_t n;
};

struct gp_tensor_desc {
	uint32_t priority;
	uint8_t dtype; // 1 = f32
	uint8_t dims_count;
	uint16_t name_len;
	uint64_t dims[GP_WIRE_DIMS_MAX];
	char name[GP_WIRE_TENSOR_NAME_MAX + 1];
};

struct gp_layout {
	uint32_t registered;
	uint32_t state; // 0 waiting, 1 ready
	uint32_t block_elems;
	uint32_t blocks_count;
	uint32_t units_count;
	uint32_t flags;
	uint32_t next_step;
	uint32_t first;
	uint16_t n;
	uint16_t missing_count;
	uint16_t missing_rank;
};

#define GP_WIRE_CODEC_AUTO 255
#define GP_WIRE_RATIO_ONE  16777216.0 // 2^24

struct gp_layout_entry {
	uint32_t tensor;
	uint32_t first_block;
	uint32_t unit;
	uint32_t codec; // asked for: id, or GP_WIRE_CODEC_AUTO, and ratio x GP_WIRE_RATIO_ONE << 8
};

struct gp_commit {
	uint32_t first;
	uint16_t n;
};

enum gp_wire_commit_flags {
	GP_COMMIT_MEMBER = 1, // view: the addressee belongs to it
	GP_COMMIT_YOURS = 2,  // commit: the addressee's contribution of this step is in it
	GP_COMMIT_LATE = 4,   // commit: one of an earlier step of the addressee is
};

struct gp_commit_entry {
	uint8_t kind;
	uint8_t flags;
	uint16_t ranks;
	uint32_t unit;
	uint32_t step;
	uint32_t view;
	uint16_t lowest;
};

struct gp_heartbeat {
	uint32_t known;
	uint32_t rtt_us; // the worker's smoothed RTT to home, 0 = none yet
	uint64_t time;
};

enum gp_heartbeat_flags {
	GP_HEARTBEAT_MEMBER = 1,  // reply: the addressee belongs to `view`
	GP_HEARTBEAT_COUNTED = 2, // its contributions are in all units of `generation`
	GP_HEARTBEAT_AHEAD = 4,	  // and in all that are committed a step further
};

struct gp_heartbeat_reply {
	uint64_t time;
	uint32_t generation;
	uint32_t view;
	uint16_t members;
	uint16_t missing;
	uint16_t missing_rank;
	uint16_t state;
	uint32_t next_step;
	uint32_t view_first_step;
	uint16_t lowest;
	uint8_t flags;
	uint32_t ahead; // bsp: units that are committed a step beyond `generation`
};

struct gp_read {
	uint32_t request;
	uint32_t clock; // the step that is to be computed
	uint32_t flags;
};

struct gp_read_reply {
	uint32_t request;
	uint16_t state;
	uint16_t rank;	     // parked: one that it waits for
	uint32_t generation; // granted
	uint32_t clock;	     // lowest step that all members have committed
	uint32_t bound;	     // in steps, GP_WIRE_BOUND_NONE
};

struct gp_refuse {
	uint16_t reason;
	uint8_t about;
	uint32_t step;
	uint32_t what;
	uint32_t age_ms;
	uint64_t expected;
	uint64_t seen;
	uint64_t nonce;
	uint8_t where_ip[16];
	uint16_t where_port;
	uint16_t text_len;
	char text[GP_WIRE_TEXT_MAX + 1]; // terminated
};

// Proves: length, version, type, flags known, pad and reserved bytes zero, parts inside the
// datagram, section lengths sum to the body (PUSH, RESULT) and sizes of fixed bodies, runs and
// weights legal, names terminated, counts in range. `m` is filled only when the answer is
// GP_VERDICT_OK.
enum gp_verdict gp_wire_parse(const uint8_t *data, uint32_t len, struct gp_msg *m) GP_MUST_CHECK;

void gp_wire_get_ack(const struct gp_msg *m, struct gp_ack *a);

void gp_wire_get_hello(const struct gp_msg *m, struct gp_hello *x);
void gp_wire_get_join(const struct gp_msg *m, struct gp_join *x);
void gp_wire_get_welcome(const struct gp_msg *m, struct gp_welcome *x);
void gp_wire_get_register(const struct gp_msg *m, struct gp_register *x);
// Walks the descriptors: *pos starts at 0; false after the last.
bool gp_wire_next_desc(const struct gp_msg *m, uint32_t *pos, struct gp_tensor_desc *d);
void gp_wire_get_layout(const struct gp_msg *m, struct gp_layout *x);
void gp_wire_get_layout_entry(const struct gp_msg *m, uint32_t i, struct gp_layout_entry *e);
void gp_wire_get_commit(const struct gp_msg *m, struct gp_commit *x);
void gp_wire_get_commit_entry(const struct gp_msg *m, uint32_t i, struct gp_commit_entry *e);
void gp_wire_get_heartbeat(const struct gp_msg *m, struct gp_heartbeat *x);
void gp_wire_get_heartbeat_reply(const struct gp_msg *m, struct gp_heartbeat_reply *x);
void gp_wire_get_read(const struct gp_msg *m, struct gp_read *x);
void gp_wire_get_read_reply(const struct gp_msg *m, struct gp_read_reply *x);
void gp_wire_get_refuse(const struct gp_msg *m, struct gp_refuse *x);
// BARRIER, BARRIER_REPLY: two u32, a call being its number with GP_BARRIER_DONE; LEAVE,
// LEAVE_REPLY, BUSY: one u64 at the start of the body.
void gp_wire_get_barrier(const struct gp_msg *m, uint32_t *name, uint32_t *call);
uint64_t gp_wire_get_u64(const struct gp_msg *m);

// Writers of bodies; each returns the bytes written at `body`, of which the caller's buffer has
// room. What comes before the body: gp_wire_hot.h.
uint32_t gp_wire_put_hello(uint8_t *body, const struct gp_hello *x);
uint32_t gp_wire_put_join(uint8_t *body, const struct gp_join *x);
uint32_t gp_wire_put_welcome(uint8_t *body, const struct gp_welcome *x);
uint32_t gp_wire_put_register(uint8_t *body, const struct gp_register *x);
uint32_t gp_wire_desc_size(const struct gp_tensor_desc *d);
uint32_t gp_wire_put_desc(uint8_t *at, const struct gp_tensor_desc *d);
uint32_t gp_wire_put_layout(uint8_t *body, const struct gp_layout *x);
uint32_t gp_wire_put_layout_entry(uint8_t *at, const struct gp_layout_entry *e);
uint32_t gp_wire_put_commit(uint8_t *body, const struct gp_commit *x);
uint32_t gp_wire_put_commit_entry(uint8_t *at, const struct gp_commit_entry *e);
uint32_t gp_wire_put_heartbeat(uint8_t *body, const struct gp_heartbeat *x);
uint32_t gp_wire_put_heartbeat_reply(uint8_t *body, const struct gp_heartbeat_reply *x);
uint32_t gp_wire_put_read(uint8_t *body, const struct gp_read *x);
uint32_t gp_wire_put_read_reply(uint8_t *body, const struct gp_read_reply *x);
uint32_t gp_wire_put_refuse(uint8_t *body, const struct gp_refuse *x);
uint32_t gp_wire_put_barrier(uint8_t *body, uint32_t name, uint32_t call);
uint32_t gp_wire_put_u64(uint8_t *body, uint64_t v);

const char *gp_wire_type_name(uint32_t type);	   // "PUSH"; "?" when unknown
const char *gp_wire_refusal_name(uint32_t reason); // "rank_taken"; "?" when unknown

#include <gp_wire_hot.h>
#include <gp_wire_rows.h>

#endif
