// SPDX-License-Identifier: BSD-3-Clause
//
// Inside lib/lead: what a kind of register does, records in files, connections.
#ifndef LEAD_PRIV_H
#define LEAD_PRIV_H

#include <gp_lead.h>
#include <gp_tls.h>

#include <jansson.h>
#include <limits.h>
#include <sys/socket.h>

struct bufferevent;
struct event;

int lead_fail(struct gp_lead_error *err, int code, const char *fmt, ...) GP_PRINTF(3, 4);

json_t *lead_record_json(const struct gp_lead_record *r);
bool lead_record_take(json_t *o, struct gp_lead_record *out);

// ---- link.c: addresses and connections

struct lead_address {
	struct sockaddr_storage addr;
	int len;
	char host[64];
	uint16_t port;
	char text[80];
};

int lead_address_parse(const char *text, bool port_needed, struct lead_address *out,
	struct gp_lead_error *err) GP_MUST_CHECK;
// NULL files: *out is NULL, and lead_link_open makes plain connections.
int lead_tls_create(const struct gp_lead_tls *files, enum gp_tls_side side, struct gp_tls **out,
	struct gp_lead_error *err) GP_MUST_CHECK;
// NULL: out of memory. `peer`: the address that is asked, which the certificate must carry when
// nothing else is said; NULL for an accepted connection.
struct bufferevent *lead_link_open(
	struct event_base *base, struct gp_tls *tls, int fd, const char *peer);
// Why a connection ended, after BEV_EVENT_ERROR.
void lead_link_why(struct bufferevent *bev, int errno_code, char text[GP_LEAD_TEXT_SIZE]);

// ---- file.c: one record in one file, DIRECTORY/KEY.json

// The directory is made when only its last part is missing, locked against a second process, and
// synced: what is read there is on the disk.
int lead_dir_open(const char *path, int *fd, struct gp_lead_error *err) GP_MUST_CHECK;
// No such file: 0 and exists false. -EBADMSG: damaged.
int lead_file_load(int dir, const char *key, struct gp_lead_held *out,
	struct gp_lead_error *err) GP_MUST_CHECK;
// On the disk when it returns 0. -ESTALE: it may or may not be on the disk, stop; other errors: the
// old one stands.
int lead_file_store(int dir, const char *key, const struct gp_lead_held *held,
	struct gp_lead_error *err) GP_MUST_CHECK;

// ---- register.c and the kinds

// One question to one endpoint.
struct lead_question {
	bool swap;
	struct gp_lead_held from;
	struct gp_lead_record to;
	uint32_t endpoint;
};

enum lead_outcome {
	LEAD_IS,     // get: held
	LEAD_DONE,   // swap: held
	LEAD_NOT,    // swap refused: held stands
	LEAD_FAILED, // no answer; a swap may have happened
};

// ---- course.c: from the first endpoint to the answer, without input or output

enum lead_phase {
	LEAD_PHASE_IDLE,
	LEAD_PHASE_GET,
	LEAD_PHASE_SWAP,    // sent
	LEAD_PHASE_RESOLVE, // sent, no answer: what does the register hold?
};

struct lead_course {
	enum lead_phase phase;
	struct lead_question question; // to be asked now, of its endpoint
	uint32_t endpoints_count;      // 0 as 1
	uint32_t tried;		       // endpoints in a row without an answer
	uint32_t rounds;	       // of a swap
	uint64_t failures;	       // endpoints without an answer
	uint64_t doubts;	       // swaps whose first answer was lost
};

// From idle; the question is to be asked then.
void lead_course_get(struct lead_course *c);
void lead_course_swap(
	struct lead_course *c, const struct gp_lead_held *from, const struct gp_lead_record *to);
// What the endpoint said (`held` but for LEAD_FAILED). True: ask c->question; false: it is over,
// with *answer, and `held` is what goes with it but for UNKNOWN and AWAY.
bool lead_course_turn(struct lead_course *c, enum lead_outcome outcome,
	const struct gp_lead_held *held, enum gp_lead_answer *answer) GP_MUST_CHECK;

struct lead_kind {
	const char *name;
	bool endpoints; // needs them
	int (*create)(
		struct gp_lead *l, const struct gp_lead_opts *opts, struct gp_lead_error *err);
	void (*destroy)(struct gp_lead *l);
	// Ends in one call of lead_answer, from inside or later, unless it is dropped.
	void (*ask)(struct gp_lead *l, const struct lead_question *q);
	// Ends the connection of a question, answered or not.
	void (*drop)(struct gp_lead *l);
};

extern const struct lead_kind lead_kind_etcd;
extern const struct lead_kind lead_kind_witness;
extern const struct lead_kind lead_kind_manual;

// `held` for all but LEAD_FAILED, `why` for that.
void lead_answer(struct gp_lead *l, enum lead_outcome outcome, const struct gp_lead_held *held,
	const char *why);
struct event_base *lead_base(const struct gp_lead *l);
const char *lead_key(const struct gp_lead *l);
const struct lead_address *lead_endpoint(const struct gp_lead *l, uint32_t i);
struct gp_tls *lead_tls(const struct gp_lead *l);
void *lead_state(const struct gp_lead *l);
void lead_state_set(struct gp_lead *l, void *state);

// ---- etcd_json.c: bodies of the gateway, pure

#define ETCD_KEY_PREFIX "/gradplane/leadership/"

// NULL: out of memory. Free with free().
char *etcd_range_body(const char *key);
char *etcd_txn_body(const char *key, const struct lead_question *q);
// False with a text when it is no such answer.
bool etcd_range_parse(const char *body, size_t len, struct gp_lead_held *out,
	char why[GP_LEAD_TEXT_SIZE]) GP_MUST_CHECK;
bool etcd_txn_parse(const char *body, size_t len, const struct gp_lead_record *to, bool *succeeded,
	struct gp_lead_held *out, char why[GP_LEAD_TEXT_SIZE]) GP_MUST_CHECK;

// ---- manual.c: the register of a node by itself, a file

struct lead_manual {
	int dir;
	bool broken; // the disk may hold another record than it tells
};

// Blocks for a sync of the disk; leaderships change rarely. `err` of LEAD_FAILED.
enum lead_outcome lead_manual_answer(struct lead_manual *m, const char *key,
	const struct lead_question *q, struct gp_lead_held *held, struct gp_lead_error *err);

// ---- witness messages, one JSON object a line

#define WITNESS_LINE_MAX 1024

void lead_witness_question(
	const char *key, const struct lead_question *q, char line[WITNESS_LINE_MAX]);
// `why` of LEAD_FAILED.
enum lead_outcome lead_witness_reply(const char *line, size_t len, bool swap,
	struct gp_lead_held *held, char why[GP_LEAD_TEXT_SIZE]);

// ---- records.c: the witness's records on its disk, and what it answers, without sockets

struct lead_records;

int lead_records_open(
	const char *directory, struct lead_records **out, struct gp_lead_error *err) GP_MUST_CHECK;
void lead_records_close(struct lead_records *r); // takes NULL
// Blocks for a sync of the disk at each swap. `reply` is a line.
void lead_records_answer(
	struct lead_records *r, const char *line, size_t len, char reply[WITNESS_LINE_MAX]);
uint32_t lead_records_count(const struct lead_records *r);

#endif
