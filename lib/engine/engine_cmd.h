// SPDX-License-Identifier: BSD-3-Clause
//
// Commands between cores, and between cores and control: each ring has one writer and one reader.
#ifndef ENGINE_CMD_H
#define ENGINE_CMD_H

#include <gp_consist.h>
#include <gp_engine.h>
#include <gp_xport.h>

// Units that one command may be about. CMD_PART_DONE of a synchronous job has in `session` how many
// more units are done, each as many after the last as there are cores; CMD_DECISION to a core has
// in `rank` how many more commits follow, each of the unit that is `session` after the last.
#define CMD_UNITS_MAX 32u

// Taken of one ring in a burst, so that a busy ring cannot starve the port. The last of them may be
// a run: up to CMDS_PER_BURST + CMD_UNITS_MAX - 1 decisions.
#define CMDS_PER_BURST 64u

enum cmd_type {
	CMD_PART_DONE = 1, // core -> home: unit, step, view; of rows: what they cost as session
	CMD_DECISION,	   // home -> core; home -> control, which records it
	CMD_CUT_SEEN,	   // core -> home: step
	CMD_CUT_ENDED,	   // core -> home: step
	CMD_MEASURED,	   // core -> home: step, view, round as unit (whole.h)
	CMD_FACTOR,	   // home -> core: step, view, tensor as unit, the factor's bits as rank
	CMD_MORE,	   // core -> itself: the next piece of step, view
	CMD_APPLIED,	   // core -> home: a staged commit, its number as step
	CMD_BIND,	   // control -> core: session's address
	CMD_REPLY,	   // control -> core: send this frame
	CMD_DONE_WITH,	   // control -> core: release this frame
	CMD_JOB_READY,	   // control -> core: job
	CMD_MEMBER_JOIN,   // control -> home: rank, session, its serial
	CMD_MEMBER_LOST,   // control -> home: rank, session
	CMD_CUT,	   // control -> home
	CMD_CUT_END,	   // control -> core
	CMD_STOP,	   // control -> home
	CMD_GATE,	   // replicating thread -> home: the gate wanted as step, 0 = open
	CMD_RELEASE,	   // replicating thread -> home: decision as step, of gate view
	CMD_POINT_SEEN, // core -> home: a cut that the backup is brought to, step; or one is wanted
	CMD_JOIN,	// core -> control: frame
	CMD_REGISTER,	// core -> control: frame, session
	CMD_LEAVE,	// core -> control: session
	CMD_EXPEL,	// core -> control: session that contributed NaN or infinity
	CMD_LOST,	// home -> control: session
	CMD_CUT_READY,	// home -> control: step, decision
	CMD_BOUND_MOVED, // home -> control: move
	CMD_BASE,	 // home -> replicating thread: decision as unit, generation as step, gate
};

struct cmd {
	uint8_t type;
	uint8_t core; // sender
	uint16_t job;
	uint32_t unit;
	uint32_t step;
	uint32_t view;
	uint32_t rank;
	uint32_t session;
	void *ptr; // frame or job
	union {
		struct gp_addr addr;
		struct gp_decision decision;
		struct gp_bound_move move;
	};
};

#endif
