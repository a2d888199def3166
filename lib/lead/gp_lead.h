// SPDX-License-Identifier: BSD-3-Clause
//
// The leadership record of a pair of nodes and the register that holds it.
//
// A leadership is {epoch, primary, backup or none}. It is changed only by compare-and-swap from the
// one that the caller has read, so every change has one winner. The register is one of
//
//	etcd	a key in etcd, through its JSON gateway (/v3/kv/range, /v3/kv/txn), by mod_revision
//	witness	a small third process (gradplaned --witness, gp_lead_witness.h)
//	manual	a file of this node: nobody compares between the two nodes, so a takeover needs an
//		operator who knows that the other node is off
//
// What a node may do with what it reads is in gp_lead_rules.h.
//
// Every swap carries a nonce. When its answer is lost, the record is read again: it carries our
// nonce (committed), has moved on (refused, and our swap can no longer happen), or is as it was.
// Then the same swap is sent again, since it may still be under way: with the same nonce both are
// one.
//
// Owner and threads: a register client lives on the caller's libevent base; create, get, swap,
// destroy and all callbacks run on the thread of that base. One question at a time. Memory: some
// KiB on the heap. SIGPIPE must be ignored.
//
// Limits: GP_LEAD_ENDPOINTS_MAX addresses, each asked for `timeout_ms`; a question is answered
// after at most GP_LEAD_ROUNDS_MAX times all of them, twice.
#ifndef GP_LEAD_H
#define GP_LEAD_H

#include <gp_base.h>

#define GP_LEAD_NODE_NONE     UINT32_MAX
#define GP_LEAD_ENDPOINTS_MAX 5
#define GP_LEAD_ROUNDS_MAX    3
#define GP_LEAD_RECORD_SIZE   160 // of a record as text
#define GP_LEAD_KEY_SIZE      64
#define GP_LEAD_TEXT_SIZE     512
#define GP_LEAD_TIMEOUT_MS    200

struct event_base;

struct gp_lead_error {
	int code; // -errno
	char text[GP_LEAD_TEXT_SIZE];
};

struct gp_lead_record {
	uint32_t epoch;	  // from 1, only ever higher
	uint32_t primary; // node: 0 or 1
	uint32_t backup;  // the other one, or GP_LEAD_NODE_NONE
	uint64_t nonce;	  // of the swap that made it
};

// What the register holds. `version` is the register's own count; nothing but equality counts.
struct gp_lead_held {
	bool exists; // else version is 0 and record without meaning
	uint64_t version;
	struct gp_lead_record record;
};

bool gp_lead_record_equal(const struct gp_lead_record *a, const struct gp_lead_record *b);
// {"v":1,"epoch":3,"primary":0,"backup":1,"nonce":"0123456789abcdef"}; backup null for none.
void gp_lead_record_format(const struct gp_lead_record *r, char text[GP_LEAD_RECORD_SIZE]);
// False for everything that is not exactly such a text. `len` bytes, no terminator needed.
bool gp_lead_record_parse(const char *text, size_t len, struct gp_lead_record *out) GP_MUST_CHECK;
// 1..63 letters, digits, '.', '_' and '-', not beginning with '.' or '-'.
bool gp_lead_key_valid(const char *key);

// PEM files, see gp_tls.h. peer_name NULL: the certificate must carry the address that is asked.
struct gp_lead_tls {
	const char *cert, *key, *ca;
	const char *peer_name;
};

struct gp_lead_opts {
	const char *kind; // "etcd", "witness", "manual"
	const char *key;  // which record; in etcd it is /gradplane/leadership/KEY
	uint32_t endpoints_count;
	const char *endpoints[GP_LEAD_ENDPOINTS_MAX]; // "10.0.0.3:2379", "[fd00::3]:9793", numeric
	const struct gp_lead_tls *tls;		      // NULL: plain
	const char *directory;			      // manual
	uint32_t timeout_ms;			      // for one endpoint, 0 = GP_LEAD_TIMEOUT_MS
};

struct gp_lead;

enum gp_lead_answer {
	GP_LEAD_CURRENT,   // of a get; `held` is what the register holds
	GP_LEAD_COMMITTED, // of a swap; `held` is the new record
	GP_LEAD_REFUSED,   // of a swap, which can no longer happen; `held` is what stands instead
	GP_LEAD_UNKNOWN,   // of a swap: it may have happened, or may still happen
	GP_LEAD_AWAY,	   // of a get: no endpoint answers
};

// `held` is NULL for UNKNOWN and AWAY. May ask again; must not destroy the client.
typedef void (*gp_lead_fn)(void *arg, enum gp_lead_answer answer, const struct gp_lead_held *held);

struct gp_lead_status {
	bool reachable;	    // the last question had an answer
	uint64_t questions; // to an endpoint
	uint64_t failures;  // without an answer
	uint64_t swaps;	    // committed
	uint64_t doubts;    // swaps whose first answer was lost
	char last_error[GP_LEAD_TEXT_SIZE];
};

// Asks nothing yet. -EINVAL: an option; -ENOENT, -EACCES, ...: a file.
int gp_lead_create(struct event_base *base, const struct gp_lead_opts *opts, struct gp_lead **out,
	struct gp_lead_error *err) GP_MUST_CHECK;
// Takes NULL. An open question is dropped without an answer; a swap may still happen.
void gp_lead_destroy(struct gp_lead *l);
// -EBUSY: a question is open. The answer always comes from the loop, never from inside the call.
int gp_lead_get(struct gp_lead *l, gp_lead_fn fn, void *arg) GP_MUST_CHECK;
int gp_lead_swap(struct gp_lead *l, const struct gp_lead_held *from,
	const struct gp_lead_record *to, gp_lead_fn fn, void *arg) GP_MUST_CHECK;
bool gp_lead_busy(const struct gp_lead *l);
void gp_lead_status(const struct gp_lead *l, struct gp_lead_status *out);

#endif
