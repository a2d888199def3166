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

#define GP_WIRE_VERSION		1
#define GP_WIRE_MAGIC		UINT32_C(0x4e4c5047)
#define GP_WIRE_HEADER_SIZE	40
#define GP_WIRE_SECTION_SIZE	16
#define GP_WIRE_ACK_SIZE	24
#define GP_WIRE_TAG_SIZE	16
#define GP_WIRE_PAD_MAX		63
#define GP_WIRE_SECTIONS_MAX	64
#define GP_WIRE_DATAGRAM_MAX	9216
#define GP_WIRE_OVERHEAD_MAX	108 // header, section, ack or pad, tag beside one full block
#define GP_WIRE_HELLO_SIZE_MIN	1200
#define GP_WIRE_COOKIE_SIZE	24
#define GP_WIRE_JOB_NAME_SIZE	64
#define GP_WIRE_TENSOR_NAME_MAX 63
#define GP_WIRE_DIMS_MAX	8
#define GP_WIRE_TEXT_MAX	200
#define GP_WIRE_COMMITS_MAX	32
#define GP_WIRE_VERSIONS_MAX	7
#define GP_WIRE_STEP_NEWEST	UINT32_MAX
#define GP_WIRE_RANK_NONE	UINT16_MAX

enum gp_wire_type {
	GP_WIRE_HELLO = 1,
	GP_WIRE_HELLO_REPLY,
	GP_WIRE_JOIN,
	GP_WIRE_WELCOME,
	GP_WIRE_REGISTER,
	GP_WIRE_LAYOUT,
	GP_WIRE_PUSH,
	GP_WIRE_PULL,
	GP_WIRE_RESULT,
	GP_WIRE_COMMIT,
	GP_WIRE_ACK,
	GP_WIRE_HEARTBEAT,
	GP_WIRE_HEARTBEAT_REPLY,
	GP_WIRE_BARRIER,
	GP_WIRE_BARRIER_REPLY,
	GP_WIRE_LEAVE,
	GP_WIRE_LEAVE_REPLY,
	GP_WIRE_REFUSE,
	GP_WIRE_NACK,
	GP_WIRE_BUSY,
	GP_WIRE_TYPE_END
};

enum gp_wire_flags {
	GP_WIRE_F_ACK = 1,
	GP_WIRE_F_TAG = 2,
	GP_WIRE_F_TENTATIVE = 4,
	GP_WIRE_F_WANT = 8,
};

enum gp_wire_section_flags { GP_WIRE_S_RANKS = 1 };

enum gp_wire_kind { GP_KIND_REDUCE = 1, GP_KIND_TRAIN = 2 };
enum gp_wire_atomicity { GP_ATOM_BLOCK = 1, GP_ATOM_TENSOR = 2, GP_ATOM_STEP = 3 };
enum gp_wire_consistency { GP_CONSIST_BSP = 1 };
enum gp_wire_welcome_flags {
	GP_WELCOME_MEAN = 1,
	GP_WELCOME_DETERMINISTIC = 2,
	GP_WELCOME_STANDBY = 4
};
enum gp_wire_join_flags { GP_JOIN_READER = 1, GP_JOIN_REPLACE = 2, GP_JOIN_ATTACH = 4 };
enum gp_wire_layout_flags { GP_LAYOUT_INITIALISED = 1 };
enum gp_wire_decision {
	GP_DECISION_COMMIT = 1,
	GP_DECISION_VIEW = 2,
	GP_DECISION_CUT = 3,
	GP_DECISION_STOP = 4,
};
enum gp_wire_state { GP_STATE_WAITING, GP_STATE_RUNNING, GP_STATE_STANDBY, GP_STATE_STOPPING };

#define GP_REFUSALS(X)                                                                             \
	X(1, VERSION, "version")                                                                   \
	X(2, UNKNOWN_JOB, "unknown_job")                                                           \
	X(3, RANK_TAKEN, "rank_taken")                                                             \
	X(4, WORLD_SIZE, "world_size")                                                             \
	X(5, RANK_RANGE, "rank_range")                                                             \
	X(6, MTU, "mtu")                                                                           \
	X(7, SHAPE_MISMATCH, "shape_mismatch")                                                     \
	X(8, TENSOR_COUNT, "tensor_count")                                                         \
	X(9, UNKNOWN_TENSOR, "unknown_tensor")                                                     \
	X(10, OVER_QUOTA, "over_quota")                                                            \
	X(11, STALE, "stale")                                                                      \
	X(12, OTHER_VIEW, "other_view")                                                            \
	X(13, FENCED, "fenced")                                                                    \
	X(14, WRONG_PARTITION, "wrong_partition")                                                  \
	X(15, NOT_LEADER, "not_leader")                                                            \
	X(16, GONE, "gone")                                                                        \
	X(17, NOT_READY, "not_ready")                                                              \
	X(18, BAD_PAYLOAD, "bad_payload")                                                          \
	X(19, STOPPING, "stopping")                                                                \
	X(20, TOO_EARLY, "too_early")

enum gp_refusal {
	GP_REFUSAL_NONE = 0,
#define GP_X(n, id, name) GP_REFUSAL_##id = n,
	GP_REFUSALS(GP_X)
#undef GP_X
		GP_REFUSAL_END
};

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
	uint64_t server_nonce;
	uint32_t payload_max;
	uint16_t world;
	uint16_t rank;
	uint64_t incarnation;
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

struct gp_layout_entry {
	uint32_t tensor;
	uint32_t first_block;
	uint32_t unit;
};

struct gp_commit {
	uint32_t first;
	uint16_t n;
};

enum gp_wire_commit_flags { GP_COMMIT_MEMBER = 1 }; // of a view: the addressee belongs to it

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
	uint64_t time;
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

// Section i of a parsed message (i < h.sections).
void gp_wire_get_section(const struct gp_msg *m, uint32_t i, struct gp_section *s);
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
void gp_wire_get_refuse(const struct gp_msg *m, struct gp_refuse *x);
// BARRIER, BARRIER_REPLY: two u32; LEAVE, LEAVE_REPLY, BUSY: one u64 at the start of the body.
void gp_wire_get_barrier(const struct gp_msg *m, uint32_t *name, uint32_t *state);
uint64_t gp_wire_get_u64(const struct gp_msg *m);

// Writers. gp_wire_begin writes the header of `h` at `data`, reserves sections and, with flag ACK,
// the ack block, adds h->pad zero bytes, and returns the offset of the body. The caller's buffer
// has room for all of it (asserted against `room`). Body writers return the bytes written at
// `body`.
uint32_t gp_wire_begin(uint8_t *data, uint32_t room, const struct gp_header *h);
void gp_wire_put_section(uint8_t *data, uint32_t i, const struct gp_section *s);
void gp_wire_put_ack(uint8_t *data, uint32_t sections, const struct gp_ack *a);
// The pad that places the body on a 64-byte line when the datagram starts `lower` bytes (Ethernet,
// IP, UDP) after one, limited to `spare` bytes.
uint8_t gp_wire_pad(uint32_t lower, uint32_t flags, uint32_t sections, uint32_t spare);

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
uint32_t gp_wire_put_refuse(uint8_t *body, const struct gp_refuse *x);
uint32_t gp_wire_put_barrier(uint8_t *body, uint32_t name, uint32_t state);
uint32_t gp_wire_put_u64(uint8_t *body, uint64_t v);

const char *gp_wire_type_name(uint32_t type);	   // "PUSH"; "?" when unknown
const char *gp_wire_refusal_name(uint32_t reason); // "rank_taken"; "?" when unknown

#endif
