// SPDX-License-Identifier: BSD-3-Clause
//
// A real engine over a loss-free simulated network, with workers that speak lib/wire by hand. Time,
// grace periods and the order of everything are the test's: nothing happens but in rig_* calls.
#ifndef DRIVER_H
#define DRIVER_H

#include <criterion/criterion.h>

#include <gp_codec.h>
#include <gp_engine.h>
#include <gp_watch.h>
#include <gp_xport_sim.h>

#define RIG_CORES_MAX	4
#define RIG_WORKERS_MAX 12
#define RIG_SEEN_MAX	8192
#define RIG_DECIDED_MAX 2048
#define RIG_PAYLOAD	1452 // IP MTU 1500
#define RIG_TIMEOUT_NS	UINT64_C(1000000000)
#define RIG_MS		UINT64_C(1000000)
#define RIG_BASE_PORT	9700
#define BLOCK_ELEMS	336
// The model that most tests train: "w" in blocks 0..2 (336, 336, 28 elements), "b" in block 3.
#define W_ELEMS	     700
#define B_ELEMS	     10
#define BLOCKS	     4
#define TENSORS	     2
#define ELEMS_MAX    2304
#define TENSOR_OF(b) ((b) < 3 ? 0u : 1u)

struct tensor {
	const char *name;
	uint32_t priority;
	uint32_t dims_count;
	uint64_t dims[GP_WIRE_DIMS_MAX];
};
extern const struct tensor model[TENSORS];
uint32_t model_elems(uint32_t block);

// A datagram that reached a worker.
struct seen {
	uint8_t *bytes;
	struct gp_msg m;
	uint32_t core; // that sent it
};

struct rig;

struct worker {
	struct rig *r;
	struct gp_xport *x[RIG_CORES_MAX];
	uint8_t cookie[RIG_CORES_MAX][GP_WIRE_COOKIE_SIZE];
	uint64_t packet[RIG_CORES_MAX];
	uint64_t incarnation;
	uint32_t session;
	uint16_t job;
	uint16_t rank;
	uint32_t join_flags; // of every JOIN
	uint32_t epoch;
	uint32_t view;
	uint32_t decision;
	struct gp_welcome welcome;
	struct gp_refuse refuse;
	struct seen seen[RIG_SEEN_MAX];
	uint32_t seen_count;
};

struct rig {
	struct gp_engine_config cfg;
	struct gp_job_config jobs[2];
	struct gp_engine *e;
	struct gp_registrar *reg;
	struct gp_sim_net *net;
	struct gp_xport *core_x[RIG_CORES_MAX];
	struct worker w[RIG_WORKERS_MAX];
	uint64_t now;
	uint32_t frames_count;
	uint32_t asleep; // cores that are not turned
	bool no_grace;	 // grace periods do not end
	bool no_control; // the registrar is not polled
	uint32_t starve; // frames to keep away from the engine
	struct gp_frame *starved[8192];
	uint32_t starved_count;
	uint32_t takes_left; // memory: that many more takes succeed
	uint32_t cuts_ready;
	uint32_t cut_step;
	uint32_t layouts_ready;
	struct gp_decision decided[RIG_DECIDED_MAX]; // of recorded jobs
	uint32_t decided_count;
	uint32_t decided_before_cut; // decisions known when the last cut was ready
	char closed_why[128];
};

// Defaults: 1 core, job "job" (id 1), 2 workers, reduce, atomicity step, sum, 16 slots, window 64.
struct rig *rig_new(void);
void rig_start(struct rig *r);
// rig_start, then all workers join, attach, register and know the first view.
void rig_up(struct rig *r);
// Proves that everything is back, and frees.
void rig_free(struct rig *r);
// As rig_free where a test leaves contributions in their slots on purpose.
void rig_free_busy(struct rig *r);

// Turns everything until nothing happens; takes a few ms of the rig's time.
void rig_run(struct rig *r);
// Everything that is awake, once. Returns what was done.
uint32_t rig_round(struct rig *r);
// Lets time pass while workers of the mask send heartbeats.
void rig_wait(struct rig *r, uint64_t ns, uint32_t alive);
uint64_t rig_verdicts(const struct rig *r, enum gp_verdict v);
uint64_t rig_count(const struct rig *r, size_t offset);
#define RIG_COUNT(r, member) rig_count(r, offsetof(struct gp_core_stats, member))
struct gp_job_view rig_job(const struct rig *r);

// ---- a worker's datagrams; none of them waits

struct gp_header worker_header(struct worker *w, uint32_t core, uint8_t type);
// Fills in the packet number. Payloads of the sections, or the body, in `body`.
void worker_send(struct worker *w, uint32_t core, struct gp_header *h, const struct gp_section *s,
	const void *body, uint32_t len);
void worker_send_raw(struct worker *w, uint32_t core, const void *bytes, uint32_t len);
void worker_hello(struct worker *w, uint32_t core, uint32_t size, uint8_t version);
void worker_join(struct worker *w, uint32_t core, struct gp_join *j);
struct gp_join worker_join_of(const struct worker *w, uint16_t rank);
void worker_register(
	struct worker *w, const struct tensor *t, uint32_t count, uint32_t first, uint32_t n);
void worker_heartbeat(struct worker *w, uint32_t core, uint32_t known);
void worker_leave(struct worker *w);
void worker_barrier(struct worker *w, uint32_t name);
void worker_pull(struct worker *w, uint32_t block, uint32_t run, uint32_t step, bool want);
void worker_push(struct worker *w, uint32_t step, const struct gp_section *s, const void *payload,
	bool want);
// One block's contribution as f32: rig_value of each element, weight 1.
void worker_push_block(struct worker *w, uint32_t step, uint32_t block, bool want);
void worker_push_all(struct worker *w, uint32_t step, bool want);

// ---- exchanges

// Hello, then join; 0 or the reason of the refusal (w->refuse).
uint32_t worker_enter(struct worker *w, uint16_t rank);
uint32_t worker_enter_as(struct worker *w, struct gp_join *j);
void worker_attach(struct worker *w);
// Registers the model; 0 or the reason of the refusal.
uint32_t worker_bring(struct worker *w);

// ---- what a worker got

uint32_t seen_count(const struct worker *w, uint8_t type);
// The n-th of the type from the end (0 = the newest), NULL when there are fewer.
const struct seen *seen_last(const struct worker *w, uint8_t type, uint32_t n);
void seen_clear(struct worker *w);
// The newest RESULT of (block, step); NULL when none.
const struct seen *seen_result(const struct worker *w, uint32_t block, uint32_t step);
bool seen_commit(const struct worker *w, uint8_t kind, uint32_t unit, uint32_t step);
void result_values(const struct seen *s, float *values);

float rig_value(uint32_t rank, uint32_t step, uint32_t block, uint32_t i);
// The sum in rank order of ranks 0..count-1, by plain loops.
void reference_sum(float *sum, uint32_t count, uint32_t step, uint32_t block);

#endif
