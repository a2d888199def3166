// SPDX-License-Identifier: BSD-3-Clause
//
// What the client's core remembers. A *lane* is the client's side of one core of the server: a
// transport, packet numbers, credit. Blocks are indexed by their job-wide number; block b belongs
// to lane b % lanes and has place b / lanes there.
#ifndef CCORE_TYPES_H
#define CCORE_TYPES_H

#include "ccore_retry.h"
#include "gp_ccore.h"

#include <gp_codec.h>

#define MS		  UINT64_C(1000000)
#define US		  UINT64_C(1000)
#define LOWER_V4	  42 // Ethernet, IPv4, UDP
#define LOWER_V6	  62
#define V4_SPARE	  20	   // payload_max is reckoned for IPv6
#define RTO_MIN		  (5 * MS) // unless WELCOME tells
#define RTO_MAX		  (200 * MS)
#define REPAIR_BLOCKS_MAX 32
#define PULL_SECTIONS_MAX 32
#define HOLE_PLACES	  3 // a result that many places on shows that one is missing
#define REORDER_PACKETS	  3 // an acknowledgement that many packets on shows that one is lost
#define LATE_SLACK	  (1 * MS)
#define REMINDERS_MAX	  6 // doublings of the wait for an answer to one
#define PULL_BACKOFF_MAX  (50 * MS)
#define CREDIT_MAX	  4096
#define RING_CREDITS	  4 // places of the ring for each datagram that may be in flight
#define PROBES_MAX	  3
#define HEARTBEAT_PAD	  48
#define SHORT_PAD	  56 // BARRIER and LEAVE: as long as HEARTBEAT, so that a REFUSE fits

// ---- round-trip time (RFC 6298, floor and ceiling of our own)

struct cc_rtt {
	uint64_t srtt; // ns, 0 = no sample yet
	uint64_t rttvar;
	uint64_t latest;
	uint64_t min; // bounds of the time-out
	uint64_t max;
};

// ---- window (ccore_window.c)

struct cc_window {
	uint32_t size; // 1/256 datagrams
	uint32_t limit;
	uint64_t base; // shortest round trip of this period, ns; 0 = none yet
	uint64_t base_before;
	uint64_t base_since;
	uint64_t shrunk_at;
};

// ---- datagrams in flight

// `count` blocks from place `first` travel in packet `pn`. `open`: it holds credit.
struct cc_sent {
	uint64_t pn;
	uint64_t time;
	uint32_t first;
	uint16_t count;
	uint16_t left; // of them without an answer
	bool open;
	uint32_t bytes;	    // of the datagram
	uint64_t delivered; // bytes of the lane that had arrived when it was sent
};

enum cc_block_state {
	CC_IDLE,     // not asked for in this round
	CC_COMING,   // the contribution is being encoded
	CC_UNSENT,   // contribution waits to be sent
	CC_SENT,     // in flight in packet `pn`
	CC_ACCEPTED, // in its slot (or nothing to send): the result is awaited
	CC_RESULT,   // result here, commit not known
	CC_FINAL,    // nothing more to come in this round
};

struct cc_block {
	uint64_t pn;
	uint32_t tensor;
	uint32_t len;  // of the contribution
	uint32_t view; // of a tentative result
	uint16_t elems;
	uint8_t codec;
	uint8_t state;
	bool want;
	bool ahead; // init: its unit is already one step further
	bool sent_before;
	bool dirty; // a result of this step was written and then aborted
};

enum cc_lane_phase { CC_LANE_DOWN, CC_LANE_HELLO, CC_LANE_JOIN, CC_LANE_UP };

struct cc_lane {
	struct gp_xport *x;
	uint32_t idx;
	uint8_t phase;
	// handshake
	struct cc_retry retry;
	uint8_t cookie[GP_WIRE_COOKIE_SIZE];
	uint32_t probe_sizes[PROBES_MAX]; // UDP payload, falling
	uint32_t probe_count;
	uint32_t probe_idx;
	uint32_t probe_tries;
	uint32_t join_tries;
	uint32_t probe_best; // index answered, PROBES_MAX = none
	bool probe_again;    // larger ones are tried once more: the server may have been away
	// in session
	uint64_t tx_packet;
	struct cc_rtt rtt;
	struct cc_window window;
	uint64_t delivered;  // bytes of contributions that have arrived
	uint64_t rate;	     // largest measured, bytes/s
	uint64_t rtt_packet; // newest packet sampled
	struct cc_sent *ring;
	uint32_t ring_mask;
	uint64_t ring_low;    // no packet below is open
	uint64_t acked;	      // highest packet that is known to have arrived
	uint64_t quiet_since; // last contribution sent or news of arrivals
	uint32_t reminders;   // sent since then
	uint32_t credit;
	uint32_t outstanding;
	// blocks
	uint32_t places; // blocks of this lane
	uint32_t low;	 // lowest place without what it waits for
	uint32_t next;	 // no block below waits to be sent
	uint32_t busy_from;
	uint64_t busy_until;
	uint64_t busy_wait; // the last one, 0: something was taken since
	// results awaited
	uint32_t waiting;     // blocks in CC_ACCEPTED
	uint32_t result_high; // highest place with a result
	uint64_t rx_high;     // highest packet number of the core
	uint32_t gap_end;     // below it a result may be in a packet that did not come
	uint32_t hole_next; // places below were looked at; those from hole_from are to be asked for
	uint32_t hole_from;
	uint64_t hole_last;
	uint32_t asked; // bulk pull: blocks asked for and not yet here
	uint64_t pull_at;
	uint64_t pull_last;
	uint64_t pull_backoff;
};

// ---- tensors, units

struct cc_tensor {
	struct gp_client_tensor d;
	uint64_t elems;
	uint32_t first_block;
	uint32_t blocks_count;
	uint32_t unit;
	uint32_t open;	 // blocks of it that are asked for and not final
	uint32_t unsent; // ... that wait to be sent
	uint32_t number; // embed: of the table on the wire
	bool known;	 // entry of the layout is here
	bool pushed;	 // in this step
	bool taken;	 // its result of this step is in use
	float weight;
	float *out;
	float *held; // where the results of step held_step are; NULL: nowhere
	uint32_t held_step;
	struct gp_client_compress how;
	uint8_t codec; // in force
	double ratio;  // of this step
	float threshold;
	float *residual; // NULL: nothing is kept back
	float *velocity; // NULL: no momentum correction
	// Of how many of its blocks, the last ones, the contribution of this step is not here yet;
	// pushed encoded: where from; else, while there are such: what is to be encoded.
	uint32_t lacking;
	struct gp_client_encoded encoded;
	const float *values;
	const float *borrowed; // the contribution of this step is there; NULL: it is kept
};

struct cc_unit {
	uint32_t first_block;
	uint32_t blocks_count;
	uint32_t view;	// of the commit
	bool committed; // at the round's step
	bool voided;	// scratch of a view change
};

enum cc_mode {
	CC_STEP,      // contributions of c->step
	CC_INIT_ZERO, // step 0: the lowest rank gives, the others pull
	CC_INIT,      // pull the generation before the view's first step
	CC_PULL,      // pull the newest generation, or the one granted
};

// A step of an asynchronous job.
enum cc_phase {
	CC_SETTLED,    // nothing is owed, or results are being pulled
	CC_COMMITTING, // contributed, the commit is awaited
	CC_READING,    // committed, a generation to pull is asked for
};

struct gp_ccore {
	struct gp_ccore_config cfg;
	uint64_t now;
	uint64_t last_tick;
	uint64_t heard; // last datagram of the session, or since when we wait
	struct gp_client_error error;
	struct gp_client_error last;
	struct gp_client_stats stats;
	bool joined; // WELCOME of core 0 is here
	bool leaving;
	bool left;
	uint64_t taken_since; // rank taken: first refusal, 0 = none
	struct gp_welcome w;
	uint32_t epoch;
	uint32_t payload_own; // proved by HELLO: UDP payload
	uint32_t limit;	      // UDP payload that may be sent
	uint32_t lanes_count;
	struct cc_lane lanes[GP_CCORE_LANES_MAX];
	// registration
	struct cc_tensor *tensors;
	uint32_t tensors_count;
	uint32_t registered; // as the server says
	uint32_t entries;    // of the layout, known
	bool laid_out;
	bool formed; // there was a layout, of this server or one before
	struct gp_layout layout;
	struct cc_retry layout_retry;
	uint32_t missing_rank; // of LAYOUT or HEARTBEAT_REPLY; GP_WIRE_RANK_NONE
	uint32_t missing_count;
	struct cc_block *blocks;
	struct cc_unit *units;
	uint8_t *kept; // blocks_count contributions of kept_stride bytes
	uint32_t kept_stride;
	float *feedback; // residuals and velocities of all tensors, then room for a sample
	float *sample;
	uint32_t auto_steps;
	// decisions
	uint32_t known;
	uint32_t seen; // highest that any datagram showed
	uint32_t confirmed;
	uint32_t uncollected; // blocks of committed units whose result is not here
	uint64_t ask_at;      // 0: no gap
	uint32_t gap_replies; // HEARTBEAT_REPLYs that did not close it
	uint32_t view;
	uint32_t view_step;
	uint32_t lowest;
	bool member;
	bool view_skipped; // decisions were lost for good, perhaps a view among them
	// round
	uint8_t mode;
	bool running; // a round of init or pull is under way
	bool mixed;   // init: some units are a step ahead
	uint32_t step;
	uint32_t round_step;
	uint32_t todo;	 // blocks asked for and not final
	uint32_t pushed; // tensors
	uint32_t pulls_restarted;
	bool generation_wanted;	   // pull: waits for a HEARTBEAT_REPLY
	uint64_t generation_since; // ... that echoes this time or a later one
	struct cc_retry generation_retry;
	// asynchronous jobs
	uint8_t phase;
	bool yours;	  // the step's contribution is committed
	uint32_t closed;  // quorum: highest step closed
	uint32_t after;	  // the step that is over: the next one follows it
	bool commit_late; // all of the step has arrived, and no commit: home is asked
	struct cc_retry commit_retry;
	struct cc_read read;
	float *const *params;
	struct cc_rows *rows; // embed jobs
	// home
	uint64_t home_sent;  // last datagram to home
	uint64_t home_time;  // in the last HEARTBEAT; each has a later one
	uint64_t home_heard; // last datagram from home
	struct cc_retry view_retry;
	bool barrier_open;
	bool barrier_done;
	uint32_t barrier_name;
	uint32_t barrier_call; // its number; + 2 with each
	struct cc_retry barrier_retry;
	// A new server is told which barrier was passed last: others may still wait at it.
	bool barrier_any;
	bool barrier_tell;
	uint32_t barrier_passed;
	uint32_t barrier_passed_call;
	struct cc_retry barrier_tell_retry;
	// a session had again
	uint8_t fate;		   // enum gp_ccore_fate
	struct gp_history history; // that the steps known are of
	bool pulled;		   // reader: generation `newest` was read whole
	uint32_t newest;
	bool collecting; // the step is committed, its results are fetched
	bool owed;	 // asynchronous: so it was when the session ended
	uint64_t again_since;
	struct cc_retry again_retry;
	struct cc_retry leave_retry;
};

#endif
