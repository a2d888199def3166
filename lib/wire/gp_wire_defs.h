// SPDX-License-Identifier: BSD-3-Clause
//
// The numbers of docs/protocol.md: sizes, limits, message types, flags, refusals. Included by
// gp_wire.h; no code.
#ifndef GP_WIRE_DEFS_H
#define GP_WIRE_DEFS_H

#include <stdint.h>

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
#define GP_WIRE_BOUND_NONE	UINT32_MAX // READ_REPLY: no bound

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
	GP_WIRE_READ,
	GP_WIRE_READ_REPLY,
	GP_WIRE_PULL_ROWS,
	GP_WIRE_ROWS,
	GP_WIRE_BEAT,
	GP_WIRE_TYPE_END
};

enum gp_wire_flags {
	GP_WIRE_F_ACK = 1,
	GP_WIRE_F_TAG = 2,
	GP_WIRE_F_TENTATIVE = 4,
	GP_WIRE_F_WANT = 8,
};

enum gp_wire_section_flags { GP_WIRE_S_RANKS = 1 };

enum gp_wire_kind { GP_KIND_REDUCE = 1, GP_KIND_TRAIN = 2, GP_KIND_EMBED = 3 };
enum gp_wire_atomicity { GP_ATOM_BLOCK = 1, GP_ATOM_TENSOR = 2, GP_ATOM_STEP = 3 };
enum gp_wire_consistency {
	GP_CONSIST_BSP = 1,
	GP_CONSIST_SSP = 2,
	GP_CONSIST_ASP = 3,
	GP_CONSIST_QUORUM = 4,
	GP_CONSIST_ADAPTIVE = 5,
};
// Of a barrier's call, whose number is the rest: the rank has passed it.
#define GP_BARRIER_DONE 1u

enum gp_wire_welcome_flags {
	GP_WELCOME_MEAN = 1,
	GP_WELCOME_DETERMINISTIC = 2,
	GP_WELCOME_STANDBY = 4,
	GP_WELCOME_STALE_REFUSED = 8, // contributions that come too late are dropped
	GP_WELCOME_WHOLE = 16,	      // there is no result before its step is committed
};
enum gp_wire_join_flags {
	GP_JOIN_READER = 1,
	GP_JOIN_REPLACE = 2,
	GP_JOIN_ATTACH = 4,
	GP_JOIN_CHANGED = 8,	  // holds the results of the step before, wants what changed
	GP_JOIN_GOES_ON = 16,	  // has what `previous` was about to contribute, byte for byte
	GP_JOIN_RESULTS = 0xff00, // id of the codec that it wants results in; 0: f32
};
#define GP_JOIN_RESULTS_SHIFT 8

// RESULT: absent elements are as in the result of the step before, not 0.
#define GP_WIRE_SECTION_KEEP 2
enum gp_wire_layout_flags { GP_LAYOUT_INITIALISED = 1 };
enum gp_wire_decision {
	GP_DECISION_COMMIT = 1,
	GP_DECISION_VIEW = 2,
	GP_DECISION_CUT = 3,
	GP_DECISION_STOP = 4,
};
enum gp_wire_read_flags { GP_READ_RESERVE = 1 };
enum gp_wire_read_state { GP_READ_PARKED, GP_READ_GRANTED, GP_READ_NOTHING };
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
	X(20, TOO_EARLY, "too_early")                                                              \
	X(21, NONFINITE, "nonfinite")                                                              \
	X(22, TOO_STALE, "too_stale")

enum gp_refusal {
	GP_REFUSAL_NONE = 0,
#define GP_X(n, id, name) GP_REFUSAL_##id = n,
	GP_REFUSALS(GP_X)
#undef GP_X
		GP_REFUSAL_END
};

#endif
