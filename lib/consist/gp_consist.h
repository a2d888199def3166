// SPDX-License-Identifier: BSD-3-Clause
//
// What a job's home decides: which ranks are in the view, and when a unit is committed. A pure
// state machine of the home core: it is told of parts done, ranks that joined and ranks that were
// lost, and numbers its decisions. Every core (home's own too) applies them in that order and never
// acts on a view that it did not get this way.
//
// Bulk-synchronous (bsp): unit u of step s is committed when every core that owns blocks of it has
// them complete in the current view; step s + 1 of a unit follows step s of it.
//
// Views. The first view needs all workers of the job. A lost member ends its view at once, when
// enough members survive: every unit not yet committed is tried again without it. A rank that
// joined enters where no unit of the open step is committed yet (a step boundary), or at once when
// the survivors alone are too few.
//
// The decision log is also the queue to the cores and to workers that missed some: a ring whose
// overrun gp_consist_room prevents.
#ifndef GP_CONSIST_H
#define GP_CONSIST_H

#include <gp_arena.h>
#include <gp_base.h>

enum gp_decision_kind {
	GP_DECIDED_COMMIT = 1,
	GP_DECIDED_VIEW = 2,
	GP_DECIDED_CUT = 3,  // generation `step` is read whole: versions of it are kept
	GP_DECIDED_STOP = 4, // no step after `step` begins
};

struct gp_decision {
	uint32_t number;
	uint8_t kind;
	uint8_t reserved;
	uint16_t ranks;	 // members whose contributions are in it
	uint32_t unit;	 // commit
	uint32_t step;	 // commit: of the unit; view: first step
	uint32_t view;	 // commit: of the attempt; view: its number
	uint16_t lowest; // lowest member
	uint16_t reserved2;
	struct gp_ranks members; // view
	uint32_t admitted;	 // view: the latest incarnation that may be in it
};

struct gp_consist_config {
	uint32_t units_count;
	const uint16_t *unit_parts; // per unit: cores that own blocks of it
	uint32_t generation; // committed so far in all units; UINT32_MAX = nothing, step 0 is next
	uint32_t workers;
	uint32_t workers_min;
	uint32_t first_decision; // number of the last decision of an earlier life, 0 = none
};

struct gp_consist {
	struct gp_consist_config cfg;
	uint32_t view; // 0 = none yet
	uint32_t view_first_step;
	uint32_t members_count;
	uint32_t lowest;
	struct gp_ranks members;
	struct gp_ranks live; // joined and not lost
	struct gp_ranks lost; // members of the view that were lost since it began
	uint32_t admitted;    // the latest incarnation that joined
	uint32_t generation;
	uint32_t units_done; // units committed at generation + 1
	uint32_t *committed; // per unit: step
	uint16_t *parts;     // per unit: parts done of the next step
	uint32_t decision;   // highest number given
	uint32_t log_mask;
	struct gp_decision *log;
};

size_t gp_consist_size(uint32_t units_count) GP_MUST_CHECK;
// 0 or -ENOMEM.
int gp_consist_init(struct gp_consist *c, const struct gp_consist_config *cfg,
	struct gp_arena *arena) GP_MUST_CHECK;

// Incarnations of all ranks are numbered in the order of their births. A rank is lost before its
// next incarnation is born, so who was born later than `admitted` of a view is in that view under
// no rank: what such a one contributes there must not meet what its predecessor left.
void gp_consist_join(struct gp_consist *c, uint32_t rank, uint32_t incarnation);
void gp_consist_lose(struct gp_consist *c, uint32_t rank);

// One core has all its blocks of (unit, step) complete in `view`. True when this made a decision. A
// part of another view or step is ignored: its core has not yet applied what home decided.
bool gp_consist_part_done(struct gp_consist *c, uint32_t unit, uint32_t step, uint32_t view);
// Decides a new view if one is due and possible. True when it did.
bool gp_consist_try_view(struct gp_consist *c);
// Decides a cut of the lowest generation that no unit has passed; returns its step, or UINT32_MAX
// when nothing was ever committed.
uint32_t gp_consist_cut(struct gp_consist *c) GP_MUST_CHECK;
// Decides that the step in hand is the last.
void gp_consist_stop(struct gp_consist *c);

// Whether one more decision fits when the slowest core has been given those up to `delivered`.
bool gp_consist_room(const struct gp_consist *c, uint32_t delivered) GP_MUST_CHECK;
// Decision `number`, or NULL when it is not yet made or no longer kept.
const struct gp_decision *gp_consist_log(const struct gp_consist *c, uint32_t number);

#endif
