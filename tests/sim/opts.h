// SPDX-License-Identifier: BSD-3-Clause
//
// What a history is made of: the job, the cluster, and which faults meet it. Everything follows
// from the seed, each property from a hash of its own, so that taking one away leaves the others as
// they are (that is how a failing history is made smaller).
#ifndef SIM_OPTS_H
#define SIM_OPTS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define SIM_WORKERS_MAX 64
#define SIM_READERS_MAX 4
#define SIM_CORES_MAX	4
#define SIM_LIST_MAX	16
#define SIM_EMBED	6 // as a mode: an embed job, ssp, asp or adaptive

// Name and meaning; a history has a random subset.
#define SIM_FAULTS(X)                                                                              \
	X(LOSS, "loss")		    /* datagrams lost one by one, up to half */                    \
	X(BURST, "burst")	    /* up to 64 in a row lost, one direction of one host */        \
	X(DUP, "dup")		    /* a copy a little later, up to half */                        \
	X(OLD, "old")		    /* a copy up to 2^20 datagrams later */                        \
	X(REORDER, "reorder")	    /* overtaken by others */                                      \
	X(DELAY, "delay")	    /* up to 10 s on the way */                                    \
	X(CORRUPT, "corrupt")	    /* bits, cuts, trailing bytes, spliced; checksum finds it */   \
	X(UNDETECTED, "undetected") /* ... a few pass the checksum: nothing may break */           \
	X(MALFORMED, "malformed")   /* a payload that its codec must refuse whole */               \
	X(ONEWAY, "oneway")	    /* one direction of one host is cut for a while */             \
	X(PARTITION, "partition")   /* all hosts are cut from the server for a while */            \
	X(KILL, "kill")		    /* workers and readers die and come back */                    \
	X(SLOW, "slow")		    /* some workers up to 100 times slower */                      \
	X(ORDER, "order")	    /* each worker computes its tensors in another order */        \
	X(PAUSE, "pause")	    /* the whole server sleeps up to 3 s */                        \
	X(COREPAUSE, "corepause")   /* one core sleeps: rings to and from it fill */               \
	X(CONTROL, "control")	    /* the control thread sleeps: no grace periods, no joins */    \
	X(CLOCK, "clock")	    /* clocks of hosts jump up to 10 s forward */                  \
	X(FRAMES, "frames")	    /* the server runs out of frames */                            \
	X(CLIENTFRAMES, "clientframes") /* clients run out of frames */                            \
	X(NAN, "nan")			/* gradients with NaN or infinity */                       \
	X(STRANGER, "stranger")		/* datagrams come again from another address */            \
	X(CUTS, "cuts")			/* cuts at random, held for long */                        \
	X(PULLS, "pulls")		/* workers pull between steps, and push without asking */  \
	X(PREEMPT, "preempt") /* another core, or control, runs in the middle of a turn */         \
	X(CARD, "card")	      /* the server's card sends late, up to 20 ms */

enum sim_fault {
#define X(id, name) FAULT_##id,
	SIM_FAULTS(X)
#undef X
		FAULT_COUNT
};

struct sim_list {
	uint32_t count; // 0: any
	uint32_t values[SIM_LIST_MAX];
};

// What the command line narrows down.
struct sim_limits {
	struct sim_list workers;
	struct sim_list cores;
	uint32_t steps;	    // at most; 0: as many as the datagrams allow
	uint32_t datagrams; // 0: by seed
	uint32_t faults;    // those of the seed that may happen
	uint32_t tensors;   // at most; 0: by seed
	uint32_t modes;	    // set of enum gp_wire_consistency and SIM_EMBED; 0: by seed
	uint32_t readers;   // at most
	bool results_f32;   // nobody asks for results in another codec
	bool codecs_one;    // all contributions are in the codec of the history
};

struct sim_opts {
	uint64_t seed;
	uint32_t faults; // set of enum sim_fault
	// the cluster
	uint32_t workers;
	uint32_t workers_min;
	uint32_t readers;
	uint32_t cores;
	uint32_t ring_size;
	uint32_t frames; // of the server
	uint32_t client_frames;
	uint32_t grain_ns; // how soon a free core or worker looks
	// the job
	bool train;
	bool embed; // its tensors are tables
	bool lamb;
	uint32_t clip_percent; // of the norm that a step usually has; 0: none is clipped
	uint32_t kept_percent;
	bool mean;
	uint8_t atomicity;
	uint8_t consistency;
	uint8_t stale;	     // quorum: enum gp_stale_policy
	uint32_t bound;	     // ssp, adaptive
	uint32_t quorum_min; // and the wait
	uint64_t quorum_wait_ns;
	uint64_t cut_age_ns;
	uint32_t cuts_max;
	uint8_t codec;
	bool results;  // clients get theirs in codecs of their own, see sim_results
	bool mixed;    // contributions come in codecs of their own, see sim_codec
	bool in_place; // results are written over the gradients
	uint8_t nonfinite;
	uint32_t tensors;
	uint32_t elems_max; // of a tensor
	uint32_t payload_max;
	uint32_t slots;
	uint32_t window;
	uint32_t cut_interval;
	uint64_t timeout_ns;
	bool restored;	     // the job begins at first_step with first_decision behind it
	uint32_t first_step; // generation restored
	uint32_t first_decision;
	// when faults end, whichever comes first
	uint32_t steps;
	uint32_t datagrams;
	uint64_t faults_ns;
	// how much of each fault
	uint32_t loss_ppm, burst_ppm, dup_ppm, old_ppm, reorder_ppm, corrupt_ppm, undetected_ppm;
	uint32_t malformed_ppm, nan_ppm, stranger_ppm, quiet_ppm, pull_ppm, preempt_ppm;
	uint32_t old_max; // datagrams
	uint64_t delay_min_ns, delay_max_ns, reorder_ns, dup_ns;
	uint64_t compute_ns; // of a tensor
	uint64_t event_ns;   // mean time between events of each kind (kill, pause, ...)
	uint32_t slow_max;
};

static inline bool sim_has(const struct sim_opts *o, enum sim_fault f)
{
	return o->faults >> f & 1;
}

void sim_limits_none(struct sim_limits *l);
void sim_opts_of_seed(struct sim_opts *o, uint64_t seed, const struct sim_limits *l);
// The codec of its own that the client at that host asks for.
uint8_t sim_results(const struct sim_opts *o, uint32_t host);
// The codec in which a life of a rank contributes to a tensor: its number in the client's
// interface, 0: as the job says. Of an asynchronous job it is one that loses nothing.
uint8_t sim_codec(const struct sim_opts *o, uint32_t rank, uint32_t life, uint32_t tensor);
// "bsp", ...
const char *sim_mode_name(uint32_t consistency);
void sim_opts_print(FILE *f, const struct sim_opts *o);
// "loss,kill" -> set; false for an unknown name. "none" is the empty set, "all" every one.
bool sim_faults_parse(const char *text, uint32_t *set);
void sim_faults_print(FILE *f, uint32_t set);

#endif
