// SPDX-License-Identifier: BSD-3-Clause
//
// A dump of the flight recorder, driven through an engine of the same code: every core gets its
// datagrams and the commands that it took from its rings, in its order and with its time, and home
// decides again. What comes out (verdicts, decisions) is compared with what was recorded.
//
// Reproduced: the verdict of every datagram inside a session, the decisions of every home, slots,
// views, steps, when versions could be used again. With whole datagrams (gp_engine_config.
// flight_payloads) from the first one on, parameters and optimizer state too, byte for byte.
// In an asynchronous job a contribution that found no free version there is applied here at once;
// then updates may come in another order. Taken as recorded: hello and join (cookies are not
// written down), the silence of a member, when a core saw a session end, datagrams that were not
// kept whole except contributions, whose payloads are zeros of the same codec and length. Not
// reproduced: answers, and full rings and pools.
//
// A ring that has overwritten its beginning is entered at its first mark (a step committed in all
// units while no cut was under way): each job begins on each core there, with zeros for parameters.
// An asynchronous job has no such moment: its ranks never have nothing under way together. It is
// driven from its own beginning only (`missing` says so), and refused by name where that was a
// snapshot, since a dump does not say how far each rank was in it. A job of tables needs whole
// datagrams (without them `missing` says so). Standbys are refused too.
//
// A dump may be forged: what trips an assertion of the engine ends the replay with a text, unless
// gp_replay_unguard has let the program end there, for a debugger.
//
// Memory: from gp_engine_config.take and give. Threads: one. Errors: -errno with a text.
#ifndef GP_REPLAY_H
#define GP_REPLAY_H

#include <gp_engine.h>
#include <gp_flight.h>

#define GP_REPLAY_TEXT_SIZE 512

struct gp_replay;

struct gp_replay_result {
	uint64_t rounds;
	uint64_t datagrams; // driven
	uint64_t filled;    // of them with zeros for what was not kept
	uint64_t taken;	    // not driven: their effect is taken as recorded
	uint64_t before;    // records before the first mark of their job
	uint64_t decisions; // of homes, compared
	uint64_t
		short_of_memory; // contributions of asynchronous jobs that had to wait for it there
	bool wrapped;		 // it began at marks
	bool differs;
	bool fails;			// an assertion of the engine; it differs too
	char text[GP_REPLAY_TEXT_SIZE]; // the first difference
	char missing[160];		// a job that could not be driven at some core
};

// What a dump says of the node that wrote it.
struct gp_replay_node {
	uint32_t cores_count;
	uint32_t epoch;
	uint32_t payload_max;
	bool payloads;
	uint32_t cause; // enum gp_flight_cause
	char version[33];
	char text[65];	    // what failed
	const char *config; // not terminated
	size_t config_len;
};
int gp_replay_node_of(const struct gp_flight_file *f, struct gp_replay_node *n,
	char err[GP_REPLAY_TEXT_SIZE]) GP_MUST_CHECK;

// `cfg` gives the jobs and the memory; what the dump says of the node replaces the rest. `f` and
// its bytes stay until the end. -EINVAL: the dump does not fit the configuration or this program.
int gp_replay_create(struct gp_replay **out, const struct gp_flight_file *f,
	const struct gp_engine_config *cfg, char err[GP_REPLAY_TEXT_SIZE]) GP_MUST_CHECK;
void gp_replay_destroy(struct gp_replay *r); // takes NULL
// One round of one core: where a debugger wants to stop. False at the end, or at a difference.
bool gp_replay_round(struct gp_replay *r);
// From now on a failed assertion aborts.
void gp_replay_unguard(struct gp_replay *r);
const struct gp_replay_result *gp_replay_result(const struct gp_replay *r);
// For a look inside; its cores rest.
struct gp_engine *gp_replay_engine(struct gp_replay *r);

#endif
