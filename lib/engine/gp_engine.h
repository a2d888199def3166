// SPDX-License-Identifier: BSD-3-Clause
//
// The server, without I/O: what becomes of each datagram, on any number of cores.
//
//	engine	  one node: its cores, its registrar, the published sessions and jobs
//	core	  a polled core: takes (frames, now), sends through its transport
//	registrar the control side: joins, registration, layouts, cuts; takes (now)
//
// The engine knows no DPDK, socket, thread, clock or heap. The daemon runs each core on an lcore
// and the registrar on its control thread; the simulator runs all of them in one loop. They meet
// only in SPSC rings and in objects that are published once and immutable from then on (jobs,
// sessions).
//
// Threads: gp_core_* of core i by the thread of core i only (registered with lib/rcu, one quiescent
// state a burst, after sending); gp_registrar_* by the control thread only; gp_engine_create and
// destroy while nothing runs; the functions marked "any thread" in an RCU read section.
//
// Time is in nanoseconds of a clock that never goes back; the caller reads it once a burst.
#ifndef GP_ENGINE_H
#define GP_ENGINE_H

#include <gp_base.h>
#include <gp_consist.h>
#include <gp_engine_tables.h>
#include <gp_metrics.h>
#include <gp_optim.h>
#include <gp_rcu.h>
#include <gp_restore.h>
#include <gp_secure.h>
#include <gp_table.h>
#include <gp_wire.h>
#include <gp_xport.h>

#define GP_ENGINE_CORES_MAX    32
#define GP_ENGINE_JOBS_MAX     64
#define GP_ENGINE_SESSIONS_MAX 1024
#define GP_ENGINE_BURST_MAX    64

// What becomes of a contribution that holds NaN or infinity.
enum gp_nonfinite_policy {
	GP_NONFINITE_IS_REFUSED, // the worker is told, with rank, tensor, block and step
	GP_NONFINITE_DROPS_RANK, // and its session ends
	GP_NONFINITE_IS_ZERO,	 // its block counts as zeros
};

// What becomes of a contribution that comes late (docs/protocol.md 5): quorum: after its step was
// closed; ssp, asp and adaptive: more than stale_max steps behind the fastest rank.
enum gp_stale_policy {
	GP_STALE_HOLD,	 // quorum: counts whole in the next step
	GP_STALE_SCALE,	 // counts, multiplied by 1 / (1 + steps late)
	GP_STALE_REFUSE, // is dropped, and its worker told
};

struct gp_job_config {
	char name[GP_WIRE_JOB_NAME_SIZE];
	uint16_t id; // 1 .. 64
	uint8_t kind;
	uint8_t atomicity;
	uint8_t consistency;
	bool mean;
	bool deterministic;
	uint8_t nonfinite, sparse_max; // enum gp_nonfinite_policy; results (percent of dense)
	uint32_t codec;		       // that workers are asked to use, as in LAYOUT; 0: f32
	float norm_max; // a contribution's to a block counts scaled down to it; 0 = no limit
	// Train jobs of consistency bsp and atomicity step: the mean gradient of a step counts
	// scaled down to this norm over all tensors; 0 = no limit.
	float clip_norm;
	uint32_t workers;
	uint32_t workers_min;
	uint32_t slots;	 // open blocks per core, a power of two
	uint32_t window; // credit per worker and core
	uint32_t tensors_max;
	uint32_t payload_max; // IP MTU - 48 that every member's path must carry
	uint64_t memory_max;
	uint64_t timeout_ns;
	uint32_t lag_max;      // steps beyond what the backup holds, 0 = any number
	uint32_t cut_interval; // steps between cuts that home makes by itself, 0 = none
	// bsp: memory for what a cut keeps, in percent of the generation; 0 = 100. When less than
	// 100 runs out, completions wait until the cut ends, and with them the credit of workers.
	uint32_t cut_percent;
	// Asynchronous jobs (every consistency but bsp).
	uint8_t stale;		 // enum gp_stale_policy
	bool staleness_lr;	 // learning rate / (1 + staleness)
	uint32_t bound;		 // ssp: steps; adaptive: the largest that it takes
	uint32_t bound_min;	 // adaptive: the smallest
	uint32_t stale_max;	 // steps, UINT32_MAX = none
	uint32_t quorum_min;	 // contributions that close a step
	uint64_t quorum_wait_ns; // for the others then; UINT64_MAX = adapted from measured arrivals
	uint64_t cut_age_ns;	 // a read may join a cut that old
	uint32_t cuts_max;	 // live cuts, 3 .. GP_TABLE_CUTS_MAX
	uint64_t rto_min_ns;	 // bounds of the clients' time-out, 0 = theirs
	uint64_t rto_max_ns;
	bool recorded;	 // every decision is told by gp_registrar_events.decided
	bool replicated; // decisions pass the release gate of gp_backup.h
	struct gp_optim_params optim;
	// Embed jobs: consistency ssp, asp or adaptive, atomicity step.
	uint32_t tables_count;
	struct gp_job_table tables[GP_ENGINE_TABLES_MAX];
	uint64_t push_max; // bytes that one push may bring to a core
};

struct gp_engine_config {
	uint32_t cores_count;
	uint16_t base_port;
	uint32_t epoch;
	uint32_t sessions_max;
	uint32_t ring_size;   // commands between two cores, and between a core and control
	uint32_t payload_max; // of the port: IP MTU - 48
	bool standby; // replica: readers only, restored generations are replaced as they arrive
	uint64_t hello_rate; // hellos answered per second and core
	struct gp_cookie_key cookie_key;
	uint64_t seed;	       // histories (which name it) and session generations
	uint32_t flight_cells; // flight recorder: cells of each core, a power of two; 0: none
	bool flight_payloads;  // and it keeps whole datagrams
	uint32_t jobs_count;
	const struct gp_job_config *jobs; // copied
	// Memory for tables: `take` returns zeroed, 64-byte aligned memory or NULL.
	void *(*take)(void *arg, size_t size);
	void (*give)(void *arg, void *mem);
	void *mem_arg;
};

struct gp_engine;
struct gp_core;
struct gp_registrar;

// 0, -ENOMEM, or -EINVAL (a limit; the daemon's configuration check has named it before).
int gp_engine_create(struct gp_engine **out, const struct gp_engine_config *cfg,
	struct gp_xport *const *xports) GP_MUST_CHECK;
void gp_engine_destroy(struct gp_engine *e); // takes NULL
struct gp_core *gp_engine_core(struct gp_engine *e, uint32_t i);
struct gp_registrar *gp_engine_registrar(struct gp_engine *e);
// Turned by the control thread (gp_rcu_grace_turn) so that retired versions come back.
struct gp_rcu_grace *gp_engine_grace(struct gp_engine *e);

// Takes over one reference of each frame. n <= GP_ENGINE_BURST_MAX.
void gp_core_rx(struct gp_core *c, struct gp_frame **frames, uint32_t n, uint64_t now);
// Rings, decisions, deferred work, acknowledgements, time-outs. Once a burst, after gp_core_rx.
// Returns how many things it did: 0 means the core is idle.
uint32_t gp_core_tick(struct gp_core *c, uint64_t now);

// Handles what cores handed to control, and starts what is due. Returns work done.
uint32_t gp_registrar_poll(struct gp_registrar *r, uint64_t now);

// See lib/consist/gp_adaptive.h.
struct gp_bound_move {
	uint32_t from;
	uint32_t to;
	uint32_t waited_permille;
	uint32_t straggling_permille;
	uint32_t staleness_milli;
	uint32_t lost; // moves before this one that control was too busy to hear of
};

// Events that the owner of the registrar wants to know, called from gp_registrar_poll.
struct gp_registrar_events {
	void *arg;
	// A cut of `job` at generation `step` is whole and pinned until gp_registrar_cut_release.
	void (*cut_ready)(void *arg, uint16_t job, uint32_t step, uint32_t decision);
	void (*session_opened)(void *arg, uint16_t job, uint32_t rank, const struct gp_addr *from);
	void (*session_closed)(void *arg, uint16_t job, uint32_t rank, const char *why);
	void (*refused)(void *arg, const struct gp_refuse *refuse, const struct gp_addr *from);
	void (*layout_ready)(void *arg, uint16_t job);
	// The staleness bound of an adaptive job has moved; `why` is what was measured.
	void (*bound_moved)(void *arg, uint16_t job, const struct gp_bound_move *why);
	// Of a recorded job, which must have this: every decision, in order, before a cut_ready
	// that rests on it.
	void (*decided)(void *arg, uint16_t job, const struct gp_decision *decision);
};
void gp_registrar_set_events(struct gp_registrar *r, const struct gp_registrar_events *ev);

// The generation that job `id` starts from, before anyone registered; or, on a standby, the
// generation to serve from now on. A replicated job has its layout then, so that a backup can be
// given it before any worker has come; if nothing says the size of its blocks, they are such that
// any path (gp_job_config.payload_max) carries them. 0, -ENOENT (no such job), -EBUSY (a layout
// exists, or the one before is still being read: try again), -ENOMEM (over memory_max), -EINVAL (a
// standby whose first generation had other tensors, or larger blocks than its paths carry; other
// tables, or of another dimension, than the configuration has), -ENOSPC (more rows than a table may
// have).
int gp_registrar_restore(
	struct gp_registrar *r, uint16_t job, const struct gp_restore *restore) GP_MUST_CHECK;
// A standby becomes the leader of `epoch`: each job goes on from the generation served last, with
// the workers that join from now on; a job without one begins anew. Sessions of readers end.
// -EINVAL: it is none, or the epoch is not above the present one. Decisions of the old leader that
// this one never had are gone: the caller has made sure that it can decide nothing more.
int gp_registrar_promote(struct gp_registrar *r, uint32_t epoch) GP_MUST_CHECK;
// The backup holds this generation of the job: with lag_max, steps more than that many beyond it
// are not begun (BUSY) until it holds more.
void gp_registrar_backed(struct gp_registrar *r, uint16_t job, uint32_t generation);
// Asks home for a cut as soon as one generation is whole. -EBUSY: one is under way. -EAGAIN: the
// job has no generation yet.
int gp_registrar_cut(struct gp_registrar *r, uint16_t job) GP_MUST_CHECK;
void gp_registrar_cut_release(struct gp_registrar *r, uint16_t job);
// No new step begins: contributions to steps after the one in hand are refused as stopping.
void gp_registrar_stop(struct gp_registrar *r);

// What status, metrics and tests may see of a job; control thread. Exact once the job rests.
struct gp_job_view {
	const char *name;
	uint16_t id;
	uint8_t kind;
	uint8_t atomicity;
	bool ready;
	bool initialised; // has a committed generation
	uint32_t workers;
	uint32_t joined; // sessions of workers
	uint32_t readers;
	uint32_t view;
	uint32_t members;
	uint32_t generation; // highest step committed in all units
	uint32_t decision;
	uint32_t state; // enum gp_wire_state
	uint32_t block_elems;
	uint32_t blocks_count;
	uint32_t units_count;
	uint32_t tensors_count;
	uint64_t memory_used;
	uint64_t memory_max;
	bool cut_active;
	uint32_t kept;	    // versions of blocks that are there for cuts alone
	uint32_t shortages; // how often a completion found all memory held, by cuts too; wraps
	uint8_t consistency;
	uint32_t lag_max, backed; // 0: any lag; generation that the replica holds
	uint32_t bound;		  // asynchronous: staleness bound now, GP_WIRE_BOUND_NONE
	uint32_t clock_min; // asynchronous: steps that the slowest and the fastest member have done
	uint32_t clock_max;
	uint32_t tables_count; // embed: tensors are its tables
	bool gated;	       // its release gate is closed (gp_backup.h)
};
// i < jobs_count, in the order of the configuration.
void gp_engine_job_view(const struct gp_engine *e, uint32_t i, struct gp_job_view *v);

// While a cut for a snapshot is ready: the step that rank has contributed to last, of those in it.
// In asynchronous jobs steps that it may have begun; the next life of the job must not take
// contributions of those again. In bsp jobs a rank that is not in the whole last step has the one
// before.
uint32_t gp_engine_clock(const struct gp_engine *e, uint32_t job_idx, uint32_t rank);
// The same of a bsp job behind a closed gate, without a cut: of generation `step`, the last one
// out. That, and what gp_engine_block finds of it, is right if neither generation nor decision of
// the job have moved when all was read.
uint32_t gp_engine_clock_out(
	const struct gp_engine *e, uint32_t job_idx, uint32_t rank, uint32_t step);
// Any thread, of a job that has its layout: the identity of the line of commits that `step` is of,
// for the manifest of a snapshot (struct gp_history). 0: not known.
uint64_t gp_engine_history(const struct gp_engine *e, uint32_t job_idx, uint32_t step);

// Asynchronous jobs: whether anything of the job changed after the cut that made this generation by
// this decision.
bool gp_engine_has_changed(
	const struct gp_engine *e, uint32_t job_idx, uint32_t generation, uint32_t decision);

struct gp_rank_view {
	uint32_t rank;
	bool joined;
	uint64_t incarnation;
	struct gp_addr addr;
	uint64_t last_rx; // ns, 0 = never
	uint32_t registered;
};
bool gp_engine_rank_view(
	const struct gp_engine *e, uint32_t job_idx, uint32_t rank, struct gp_rank_view *v);

// Any thread: values (array 0) or optimizer state (array 1..) of one block of generation `step`;
// NULL when it is not there. Valid until the caller's next quiescent state, or while a cut pins it.
const float *gp_engine_block(const struct gp_engine *e, uint32_t job_idx, uint32_t block,
	uint32_t step, uint32_t array, uint32_t *elems);
// Digest of a generation (docs/protocol.md 6): the sum of its blocks' digests. -ENOENT when a block
// of it is gone. No grace period ends while an online thread reads a whole generation, and memory
// does not come back to the cores: beside a running job take it block by block, offline between.
int gp_engine_digest(
	const struct gp_engine *e, uint32_t job_idx, uint32_t step, uint64_t *digest) GP_MUST_CHECK;
int gp_engine_block_digest(const struct gp_engine *e, uint32_t job_idx, uint32_t block,
	uint32_t step, uint64_t *digest) GP_MUST_CHECK;

// One core's counters; any thread.
struct gp_core_stats {
	GP_ALIGNED(GP_CACHE_LINE) struct gp_counter verdicts[GP_VERDICT_COUNT];
	struct gp_counter rx_datagrams; // == sum of verdicts
	struct gp_counter tx_datagrams;
	struct gp_counter tx_no_frame; // an answer was not sent: no frame; the worker asks again
	struct gp_counter blocks_completed;
	struct gp_counter blocks_zeroed;  // contributions with NaN or infinity, counted as zeros
	struct gp_counter blocks_clamped; // contributions above the job's norm_max, scaled down
	struct gp_counter completions_deferred; // no free version, or decision not yet here
	struct gp_counter units_committed;
	struct gp_counter units_aborted;
	struct gp_counter polls;
	struct gp_counter polls_busy;
};
const struct gp_core_stats *gp_core_stats(const struct gp_core *c);

#endif
