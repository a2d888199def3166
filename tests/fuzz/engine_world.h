// SPDX-License-Identifier: BSD-3-Clause
//
// The engine that engine_fuzz.c works on: its job, ports and peers, time, and what must be true of
// it at every moment and at rest.
#ifndef FUZZ_ENGINE_WORLD_H
#define FUZZ_ENGINE_WORLD_H

#include <engine_async.h>

#include "input.h"
#include "wire_port.h"

#define CORES_MAX 2
#define PEERS	  4 // two workers, a third that may read, a stranger without a cookie
#define STRANGER  3
#define MTU	  1252
#define PAYLOAD	  528 // so blocks have 96 elements
#define BLOCKS	  4
#define TENSORS	  2
#define MS_NS	  UINT64_C(1000000)
#define OLD_COUNT 16
#define OLD_SIZE  1500

#define ROWS_PLACE_MAX 700
#define ROWS_PULL_MAX  128

extern const uint64_t tensor_elems[TENSORS];
extern const uint64_t table_dims[TENSORS]; // of an embed job

struct peer {
	struct gp_addr addr[CORES_MAX];
	uint8_t cookie[CORES_MAX][GP_WIRE_COOKIE_SIZE];
	uint64_t packet[CORES_MAX];
	uint64_t incarnation;
	uint32_t session;
	uint32_t epoch;
	uint32_t view;
	uint32_t decision;
	uint16_t job;
	uint16_t rank;
	uint64_t bytes_sent, bytes_got;
};

struct world {
	struct gp_job_config job;
	struct gp_engine *e;
	struct gp_registrar *reg;
	struct port port[CORES_MAX];
	struct peer peers[PEERS];
	uint64_t now;
	uint32_t cores;
	uint32_t asleep; // cores that are not turned
	bool no_control;
	bool no_grace;
	bool cut_ready;
	uint8_t how; // bits 0-1: 1 restored, 2 an embed job, 2-3: NaN policy, 4-6: consistency, 7:
		     // nobody has joined
	struct {
		uint8_t data[OLD_SIZE];
		uint32_t len, core, peer;
	} old[OLD_COUNT];
	uint32_t old_count;
	struct input in;
};

// The job and the engine, as the tape chooses; nobody has joined.
void world_begin(struct world *w);
void world_restore(struct world *w, uint32_t step, uint32_t decision);
// One round of everything that is awake: cores, control, a grace period.
void world_turn(struct world *w);
void world_core_turn(struct world *w, uint32_t core);
// Wakes everything, turns it until it rests, proves that nothing is missing, frees.
void world_end(struct world *w);
// NULL while the core does not know the job.
const struct job_core *world_job(const struct world *w, uint32_t core);
// Every datagram has one verdict; a new state is remembered for the fuzzer.
void world_check(const struct world *w);

static inline bool world_embeds(const struct world *w)
{
	return w->job.kind == GP_KIND_EMBED;
}

// engine_rows.c: embed jobs. The job; the payload of a place, ROWS_PLACE_MAX bytes at most, and of
// a pull with its generation, both for that core; what must be true after each event.
void rows_job_choose(struct world *w, uint8_t a, uint8_t b);
uint32_t rows_place_put(struct world *w, uint32_t core, struct gp_section *s, uint8_t *at);
uint32_t rows_pull_put(struct world *w, uint32_t core, uint8_t *body, uint32_t *generation);
void rows_check(const struct world *w);

#endif
