// SPDX-License-Identifier: BSD-3-Clause
//
// The engine on one thread, without a port: a transport inside this process, workers whose
// datagrams lie ready in frames, and a generator that rewrites header, section and the first line
// of the payload of each and hands them to a real core in bursts.
//
// Frames turn in a ring, so all of them are touched before one is used again, as a port's are.
// Answers stay with the transport until a window of later ones has followed: only then the memory
// they refer to is let go and a commit is confirmed, as by a worker far away. The steps of all
// workers follow each other without a pause; worker w is a little behind worker w - 1.
//
// After a run every block of the newest generation, and of a train job its optimizer state, is
// compared byte for byte with a plain loop over the contributions.
#ifndef GRADBENCH_RIG_H
#define GRADBENCH_RIG_H

#include <gp_codec.h>
#include <gp_engine.h>

#define RIG_JOBS_MAX GP_ENGINE_JOBS_MAX
#define RIG_BURST    32
#define RIG_PORT     10000 // of worker 0

struct rig_opts {
	bool train;
	uint32_t mtu; // IP
	uint32_t jobs;
	uint32_t workers;     // of each job
	uint32_t tensors;     // of each job
	uint64_t table_bytes; // values of all jobs together
	uint32_t frames;      // in rotation
	uint32_t skew;	      // blocks from the first worker to the last
	uint32_t slots, window;
};

struct rig_frame {
	struct gp_frame f; // first
	uint32_t refs;
	uint32_t idx; // in rotation; UINT32_MAX: an answer
};

struct rig_sent {
	struct rig_frame *rf;
	struct gp_hold *hold; // of a result; it is let go without a look at the frame
};

struct rig_xport {
	struct gp_xport base;
	struct rig *rig;
	uint8_t *frames_mem;
	size_t stride, answer_stride;
	uint32_t payload_at;	 // of a frame
	struct rig_frame **ring; // free frames in the order of their return
	uint32_t ring_mask, ring_head, ring_tail;
	uint8_t *answers_mem;
	struct rig_frame **answers; // free
	uint32_t answers_free, answers_count;
	struct rig_sent *flight; // not yet confirmed
	uint32_t flight_mask, flight_head, flight_tail, flight_max;
};

struct rig_worker {
	uint8_t head[64]; // header and section as they begin every datagram
	struct gp_addr peer;
	uint64_t packet;
	uint32_t session, decision;
	uint32_t step, block; // next place
	uint32_t lag;	      // places behind the first worker
	uint16_t job, rank;   // job: index
	uint32_t *where;      // per block: frame of its newest contribution
};

struct rig {
	struct rig_opts o;
	struct rig_xport x;
	struct gp_engine *engine;
	struct gp_core *core;
	struct gp_engine_config cfg;
	struct gp_job_config *jobs;
	struct rig_worker *workers; // [jobs][workers]
	uint32_t workers_count;
	uint32_t block_elems, blocks; // of each job
	uint32_t step_last;	      // of the run in hand
	uint32_t turn;		      // worker whose datagram is next
	uint64_t now;
	uint64_t place; // of worker 0 in this run
	uint32_t burst_count, grace_bursts;
	bool ready; // joined, registered, viewed
	void *mems[8 + 2 * RIG_JOBS_MAX];
	size_t mem_sizes[8 + 2 * RIG_JOBS_MAX];
	uint32_t mems_count;
};

// The caller's thread is registered with lib/rcu, before and as long as there is a rig.
//
// An engine with all workers in its view, and for a train job its initial parameters. 0 or -errno
// after a line on stderr.
int rig_create(struct rig **out, const struct rig_opts *o) GP_MUST_CHECK;
void rig_destroy(struct rig *r); // takes NULL

// Contributions of one step.
uint64_t rig_step_packets(const struct rig *r);
// `steps` whole steps through the engine; returns ns. rig_generate makes the same datagrams for
// nobody.
double rig_run(struct rig *r, uint32_t steps);
double rig_generate(struct rig *r, uint32_t steps);
// A load without an end, burst by burst: returns the contributions of one (none without `feed`),
// *ns is the CPU time that the engine took for it. Registrar and grace periods are another
// thread's. Nothing is sent again: the caller feeds only what the engine's slots have room for.
// After the stop the step in hand ends, and the run is over when all of it is committed.
void rig_endless(struct rig *r);
uint32_t rig_burst(struct rig *r, bool feed, uint64_t *ns);
void rig_endless_stop(struct rig *r);
bool rig_is_over(const struct rig *r);
// The payloads of all frames, read once; returns ns per frame.
double rig_read_frames(struct rig *r, uint64_t (*read)(const uint64_t *p, size_t words));
// Whether every block of the newest step is what its contributions say; else a line on stderr.
bool rig_check(struct rig *r) GP_MUST_CHECK;

// ---- inside: the transport (rig_xport.c) and what comes before the first step (rig_join.c)

int rig_xport_init(struct rig *r);
// Once nothing else is sent in these frames.
void rig_payloads_fill(struct rig *r);
struct rig_frame *rig_frame_take(struct rig_xport *x);
// All answers are confirmed.
void rig_xport_settle(struct rig_xport *x);
void *rig_mem_take(struct rig *r, size_t size);
int rig_join(struct rig *r) GP_MUST_CHECK;
// A datagram of a worker, outside of the generator.
void rig_submit(struct rig *r, struct gp_frame *f);
void rig_turn(struct rig *r);
// What a worker learns of an answer.
void rig_learn(struct rig *r, const struct gp_frame *f);

// The first line of a payload is this value, new each time; the rest is the frame's for ever.
#define RIG_LINE_ELEMS 16u

static inline float rig_stamp(uint32_t rank, uint32_t step, uint32_t block)
{
	return (float)((rank * 131u + step * 31u + block * 7u) & 4095u) + 0.25f;
}

static inline float *rig_payload(const struct rig *r, uint32_t frame)
{
	return (float *)(void *)(r->x.frames_mem + frame * r->x.stride + r->x.payload_at);
}

#endif
