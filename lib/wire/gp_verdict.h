// SPDX-License-Identifier: BSD-3-Clause
//
// What became of a datagram that reached the protocol core: every one gets exactly one verdict, so
// the sum of these counters is the number of datagrams received. The one list makes the enum, the
// counter names and the help texts of the metrics.
#ifndef GP_VERDICT_H
#define GP_VERDICT_H

#define GP_VERDICTS(X)                                                                             \
	/* refused by the validator of lib/wire */                                                 \
	X(BAD_LENGTH, "bad_length", "shorter than its parts, or trailing bytes")                   \
	X(BAD_VERSION, "bad_version", "version byte is not 1")                                     \
	X(BAD_TYPE, "bad_type", "unknown message type")                                            \
	X(BAD_FLAGS, "bad_flags", "flags unknown or not allowed on this type")                     \
	X(BAD_PAD, "bad_pad", "pad or reserved bytes are not zero")                                \
	X(BAD_SECTIONS, "bad_sections", "number of sections not allowed on this type")             \
	X(BAD_SECTION, "bad_section",                                                              \
		"a section's run, length, codec, flags or weight is illegal")                      \
	X(BAD_BODY, "bad_body", "body does not fit its type")                                      \
	X(BAD_NAME, "bad_name", "a name is empty, unterminated or holds control characters")       \
	X(BAD_COUNT, "bad_count", "a count in the body is out of range")                           \
	/* taken by the engine */                                                                  \
	X(HELLO, "hello", "hello answered")                                                        \
	X(JOIN, "join", "join or attach taken up")                                                 \
	X(REGISTER, "register", "registration taken up")                                           \
	X(PUSH, "push", "contribution in its slot")                                                \
	X(PUSH_DUPLICATE, "push_duplicate", "contribution that was counted before")                \
	X(PUSH_BUSY, "push_busy", "contribution beyond the admitted slots")                        \
	X(PULL, "pull", "pull answered")                                                           \
	X(PULL_HELD, "pull_held", "pull held until its generation exists")                         \
	X(READ, "read", "read granted, or nothing there yet")                                      \
	X(READ_PARKED, "read_parked", "read that waits for its bound")                             \
	X(HEARTBEAT, "heartbeat", "heartbeat")                                                     \
	X(BEAT, "beat", "sign of life of the other node of the pair")                              \
	X(BARRIER, "barrier", "barrier")                                                           \
	X(LEAVE, "leave", "leave")                                                                 \
	/* refused by the engine */                                                                \
	X(WRONG_DIRECTION, "wrong_direction", "a server's message sent to a server")               \
	X(HELLO_SHORT, "hello_short", "hello below 1200 bytes or of another size than it says")    \
	X(HELLO_LIMIT, "hello_limit", "hello above the rate limit")                                \
	X(BAD_COOKIE, "bad_cookie", "cookie wrong or too old; of a BEAT: not the one told")        \
	X(BAD_JOB, "bad_job", "no such job number")                                                \
	X(BAD_SESSION, "bad_session", "session unknown, ended or of another address")              \
	X(BAD_EPOCH, "bad_epoch", "other leadership epoch")                                        \
	X(OTHER_VIEW, "other_view", "contribution of another view")                                \
	X(NOT_READY, "not_ready", "job has no layout or no view yet")                              \
	X(UNKNOWN_BLOCK, "unknown_block", "block beyond the layout")                               \
	X(WRONG_CORE, "wrong_core", "block or request of another core")                            \
	X(BAD_PAYLOAD, "bad_payload", "payload refused by its codec")                              \
	X(NONFINITE, "nonfinite", "contribution that holds NaN or infinity")                       \
	X(TABLE_FULL, "table_full", "push of rows that its table has no place for")                \
	X(NOT_ALLOWED, "not_allowed",                                                              \
		"not for this rank: reader, or not the one to give initial values")                \
	X(STALE, "stale", "step from before the job's history")                                    \
	X(TOO_EARLY, "too_early", "step beyond what the schedule allows")                          \
	X(STOPPING, "stopping", "step after the last one before the server stops")                 \
	X(GONE, "gone", "generation is no longer there")                                           \
	X(CONTROL_FULL, "control_full", "ring to the control thread is full; the worker repeats")

enum gp_verdict {
	GP_VERDICT_OK = -1, // from the validator only: goes on to the engine
#define GP_X(id, name, help) GP_VERDICT_##id,
	GP_VERDICTS(GP_X)
#undef GP_X
		GP_VERDICT_COUNT
};

// Counter name ("push_duplicate") and one line of help; v in 0 .. GP_VERDICT_COUNT - 1.
const char *gp_verdict_name(enum gp_verdict v);
const char *gp_verdict_help(enum gp_verdict v);

#endif
