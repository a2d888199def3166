// SPDX-License-Identifier: BSD-3-Clause
//
// What a node of a pair may do: the rules of takeover without input or output.
//
//	1. A primary releases only what the backup of the same leadership holds, or the leadership
// has 	   no backup.
//	2. A backup acknowledges only in its own epoch.
//	3. The leadership is changed only by compare-and-swap from the one that the node belongs to;
// who 	   loses stops.
//	4. Who is promoted drops partial slots and replays stored results.
//	5. A node comes back by state transfer, then a swap, then what was not released is
// replicated 	   again, in the new epoch.
//
// The owner feeds events (a record was read, the peer is silent, a swap was answered) and does what
// the answer says; roles and permissions are then in the struct. There is no clock: silence is the
// owner's judgement and may be wrong at any time; that costs availability, never safety.
//
// A peer becomes backup in three moves. PEER_READY: it has nearly all. The answer is `offer`:
// release nothing more, tell the peer `to` and that all it lacks is on its way. The peer, when it
// holds all of it, gives its own rules OFFERED and answers; that is PEER_WHOLE here, and the swap
// begins. So whoever the record names as backup holds all that was ever released.
//
// Owner, threads, memory: the caller's memory; pure; one thread at a time.
#ifndef GP_LEAD_RULES_H
#define GP_LEAD_RULES_H

#include <gp_lead.h>

// What an operator's promotion adds to the epoch where no register compares (manual): restarts of
// the node that was left behind add 1 or 2 each and stay below.
#define GP_LEAD_STRIDE 1000

enum gp_lead_role {
	GP_LEAD_OUT,	 // in no leadership: releases nothing, acknowledges nothing
	GP_LEAD_BACKUP,	 // acknowledges in its epoch
	GP_LEAD_PRIMARY, // releases, see gp_lead_may_release
};

enum gp_lead_event_kind {
	GP_LEAD_EV_RECORD,	   // read: held
	GP_LEAD_EV_AWAY,	   // the register does not answer
	GP_LEAD_EV_COMMITTED,	   // our swap: held
	GP_LEAD_EV_REFUSED,	   // our swap: held stands instead
	GP_LEAD_EV_UNKNOWN,	   // our swap
	GP_LEAD_EV_PEER_SILENT,	   // past the time-out
	GP_LEAD_EV_PEER_HEARD,	   // again
	GP_LEAD_EV_PEER_RESTARTED, // it answers and has lost what it held
	GP_LEAD_EV_PEER_RECORD,	   // the peer tells its record: held.record
	GP_LEAD_EV_PEER_READY,	   // primary: the peer has all but the last changes
	GP_LEAD_EV_PEER_WHOLE,	   // primary: the peer holds all, for the offer with nonce
				   // held.record.nonce
	GP_LEAD_EV_OFFERED,	   // this node holds all, for the leadership held.record
	GP_LEAD_EV_STALLED, // a core missed its own deadline: read before anything is released
	GP_LEAD_EV_FENCED,  // operator: promote this node, the peer is off. Void
			    // without a read that succeeded, and during a change
};

struct gp_lead_event {
	enum gp_lead_event_kind kind;
	struct gp_lead_held held; // where the kind says so
};

// What became of the role.
enum gp_lead_turn {
	GP_LEAD_TURN_NONE,
	GP_LEAD_TURN_RESUMED,  // primary, from what is on this node's disk
	GP_LEAD_TURN_PROMOTED, // primary, was backup: drop partial slots, replay stored results
	GP_LEAD_TURN_ALONE,    // primary, in a new epoch without backup: release what waits
	GP_LEAD_TURN_PAIRED, // primary, with a backup: replicate what waits again, in the new epoch
	GP_LEAD_TURN_FOLLOWS, // backup
	GP_LEAD_TURN_STOPPED, // out: release and acknowledge nothing, drop what was not released
};

struct gp_lead_todo {
	enum gp_lead_turn turn;
	bool read;   // the register
	bool swap;   // rules.from to rules.to, and tell the answer
	bool offer;  // rules.to to the peer
	bool accept; // of OFFERED: what the transfer brought is this node's state
};

// Why nothing is released, or nothing happens.
enum gp_lead_why {
	GP_LEAD_WHY_NOTHING,
	GP_LEAD_WHY_REPLICA,   // the backup is silent: on_loss wait, or manual
	GP_LEAD_WHY_REGISTER,  // the peer and the register are both gone
	GP_LEAD_WHY_CHANGE,    // a change of leadership is under way
	GP_LEAD_WHY_VALIDATES, // after a pause of this node
	GP_LEAD_WHY_PRIMARY,   // out: the primary has to bring this node up to date
	GP_LEAD_WHY_TAKEOVER,  // out: the backup holds more than this node's disk and has to take
			       // over
	GP_LEAD_WHY_LOST, // out: led alone, restarted, and the disk holds less than was promised
	GP_LEAD_WHY_OPERATOR,  // the primary is silent, and only an operator may promote
	GP_LEAD_WHY_WENT_BACK, // the register holds an older record than it did: never trusted
			       // again
};

struct gp_lead_rules_opts {
	uint32_t self;	    // 0 or 1
	bool automatic;	    // the register compares for both nodes: etcd, witness
	bool alone;	    // on_loss: alone; only with `automatic`
	bool founder;	    // makes the first record
	bool resume;	    // this node's disk holds all that it ever promised as primary: it may
			    // go on from there after a restart
	bool resume_alone;  // likewise where no backup holds more: nobody has anything better
	uint32_t epoch_min; // no lower epoch is named
	uint64_t seed;	    // of nonces; random in each life
};

enum gp_lead_intent {
	GP_LEAD_NO_INTENT,
	GP_LEAD_FOUND,
	GP_LEAD_RESUME,
	GP_LEAD_TAKE_OVER,
	GP_LEAD_DROP,
	GP_LEAD_PAIR,
	GP_LEAD_ADOPT, // manual: the record that the peer told
};

struct gp_lead_rules {
	struct gp_lead_rules_opts opts;
	enum gp_lead_role role;
	struct gp_lead_held mine; // role other than out: the leadership that this node acts in
	struct gp_lead_held seen; // the newest that was read
	struct gp_lead_held last; // what was read last; differs when the register went back
	bool seen_valid;
	bool away; // the register did not answer last time
	bool went_back;
	bool peer_silent, peer_restarted;
	uint32_t peer_restarts, offer_restarts; // counted; as many when the offer was made
	bool stalled;
	bool fenced; // the operator's word, while it is used
	enum gp_lead_intent intent;
	bool in_flight; // the swap has no answer; with an intent and not in flight: in doubt
	struct gp_lead_held from;
	struct gp_lead_record to;
	bool holding;		       // primary: an offer is out
	struct gp_lead_record offered; // this node holds all for this leadership; epoch 0: none
	uint64_t nonces;
};

void gp_lead_rules_init(struct gp_lead_rules *r, const struct gp_lead_rules_opts *opts);
struct gp_lead_todo gp_lead_rules_event(struct gp_lead_rules *r, const struct gp_lead_event *ev);

// Rule 1. `acked_epoch`: the epoch in which the backup acknowledged it, 0 when it has not.
bool gp_lead_may_release(const struct gp_lead_rules *r, uint32_t acked_epoch);
// Rule 2: a record that the primary of `epoch` sent.
bool gp_lead_may_acknowledge(const struct gp_lead_rules *r, uint32_t epoch);
enum gp_lead_why gp_lead_rules_why(const struct gp_lead_rules *r);
const char *gp_lead_why_text(enum gp_lead_why why);
const char *gp_lead_role_name(enum gp_lead_role role);

#endif
