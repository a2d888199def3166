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
// Asynchronous jobs (ssp, asp, adaptive, quorum), once generation 0 is there: a contribution is one
// rank's whole push of one step, and a generation is a cut. In ssp, asp and adaptive each push is
// committed by itself when all cores have all of it. In quorum a step is closed with those members
// whose push is whole on all cores: when that is everybody, or when quorum_min have been for
// quorum_wait; what becomes whole later is a separate contribution to the next step, or is dropped.
// A view changes whenever a rank was lost or joined: contributions of different ranks never meet
// before their commit, so that aborts nothing of those who stay.
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
	bool snapshot;	 // cut: control is told when every core has it
	uint16_t ranks;	 // members whose contributions are in it
	uint32_t unit;	 // commit; asynchronous: lowest rank; cut: the one that ends, or NO_CUT
	uint32_t step;	 // commit: of the unit; view: first step
	uint32_t view;	 // commit: of the attempt; view: its number
	uint16_t lowest; // lowest member
	bool backup;	 // cut: the backup is brought to it (gp_backup.h of lib/engine)
	uint8_t reserved2;
	struct gp_ranks members; // view; asynchronous commit: whose push of `step` is in it
	struct gp_ranks
		others;	    // view: who joined with it; quorum commit: late pushes used up by it
	uint32_t admitted;  // view: the latest incarnation that may be in it
	uint32_t staleness; // asynchronous commit: steps that it is behind the fastest rank
};

#define GP_NO_CUT UINT32_MAX

enum gp_consist_mode { GP_CONSIST_SYNC, GP_CONSIST_EACH, GP_CONSIST_QUORUMS };

struct gp_consist_config {
	uint8_t mode;	   // enum gp_consist_mode
	bool late_refused; // quorum: late pushes are dropped
	uint32_t quorum_min;
	uint64_t quorum_wait_ns; // UINT64_MAX: twice the mean time from the first to the
				 // quorum_min-th
	uint32_t units_count;
	const uint16_t *unit_parts; // per unit: cores that own blocks of it
	uint32_t generation; // committed so far in all units; UINT32_MAX = nothing, step 0 is next
	uint32_t workers;
	uint32_t workers_min;
	uint32_t first_decision; // number of the last decision of an earlier life, 0 = none
	bool resumable; // asynchronous: another server may go on with the job (gp_async_resume)
};

// A push of one rank on its way: which step, and how many cores have all of it. A rank has at most
// two: one late, one of the step in hand; ssp and asp use both for steps in a row.
struct gp_arrival {
	uint32_t step;
	uint16_t parts;
	bool used;
};

#define GP_ASYNC_UNLIMITED UINT32_MAX

struct gp_async {
	uint32_t clock[GP_RANKS_MAX]; // highest step of the rank that was committed (quorum: used)
	uint32_t committed_at[GP_RANKS_MAX]; // decision of its last commit
	uint32_t joined_view[GP_RANKS_MAX];  // its contributions count from this view on
	struct gp_arrival arrival[GP_RANKS_MAX][2];
	struct gp_ranks joined; // since the view began
	bool resumed;		// the job goes on in another server: see gp_async_resume
	struct gp_ranks kept;	// resumed, before the first view: who goes on where it was
	uint32_t started_at;	// decision with which it became asynchronous
	uint32_t updates;	// commits so far
	uint32_t closed;	// quorum: highest step closed
	uint64_t first_at;	// quorum: first push of the step in hand whole, 0 = none
	uint64_t enough_at;	// quorum_min are
	uint64_t gap_ns;	// mean of enough_at - first_at, exponential, 1/8
	// Commits of single ranks may be limited until the next cut (gp_async_limit).
	uint32_t room;		     // what they may cost together, GP_ASYNC_UNLIMITED: anything
	uint32_t cost[GP_RANKS_MAX]; // of the push that the rank has in hand
	uint32_t turn;		     // rank whose push comes first when there is room again
};

struct gp_consist {
	struct gp_consist_config cfg;
	uint32_t view; // 0 = none yet
	uint32_t view_first_step;
	uint32_t first_need; // members of the first view: all workers, unless home says otherwise
	uint32_t members_count;
	uint32_t lowest;
	struct gp_ranks members;
	struct gp_ranks live; // joined and not lost
	struct gp_ranks lost; // members of the view that were lost since it began
	uint32_t admitted;    // the latest incarnation that joined
	uint32_t generation;
	uint32_t units_done; // units committed at generation + 1
	// bsp: who is in all of `generation`, in all that is committed beyond it; nothing known:
	// all
	struct gp_ranks counted[2];
	struct gp_decision view_decided; // the last one; number 0: none
	uint32_t *committed;		 // per unit: step
	uint16_t *parts;		 // per unit: parts done of the next step
	uint32_t decision;		 // highest number given
	uint32_t log_mask;
	struct gp_decision *log;
	struct gp_async async;
};

// Whether contributions of different ranks are committed apart from each other now.
static inline bool gp_consist_is_async(const struct gp_consist *c)
{
	return c->cfg.mode != GP_CONSIST_SYNC && c->generation != UINT32_MAX;
}

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
// ---- asynchronous jobs

// Where they begin: every rank has contributed through clock[rank], or, NULL, through `step`.
void gp_async_start(struct gp_consist *c, const uint32_t *clock, uint32_t step);
// After gp_async_start, where a server goes on from what another one had decided, after so many
// `updates`. A rank may have had a share in its clock's next step there.
void gp_async_resume(struct gp_consist *c, uint32_t updates);
// After gp_consist_join: this incarnation has what the one before was about to contribute. If the
// job was resumed and this is before its first view, the rank keeps its clock. True when it does.
bool gp_async_keep(struct gp_consist *c, uint32_t rank);
// One core has all of (rank, step), told in `view`. True when this made a decision. Stale ones are
// ignored.
bool gp_async_part_done(struct gp_consist *c, uint32_t rank, uint32_t step, uint32_t view);
// From now on, until the next call, commits of ranks may cost `room` together. A push that is whole
// and costs more than is left waits; each has to cost at most what was given here.
void gp_async_limit(struct gp_consist *c, uint32_t room);
// What the rank's push in hand costs, as far as is known: the highest of what is told until it is
// committed counts. Before the part that makes it whole is told.
void gp_async_cost(struct gp_consist *c, uint32_t rank, uint32_t cost);
// Commits one push that waited and for which there is room now. True when there was one.
bool gp_async_commit_waiting(struct gp_consist *c);
// Quorum: closes the step in hand if that is due: call it when the parts of a burst are told, so
// that a late push which came before is in it. True when it did.
bool gp_async_try_close(struct gp_consist *c, uint64_t now);
// Decides a cut, the next generation; the cut `ends` (or GP_NO_CUT) is let go of by the same
// decision. Returns its number.
uint32_t gp_async_cut(struct gp_consist *c, uint32_t ends, bool snapshot);
// The same, of a cut that the backup is brought to, while the gate is closed for the `gate`th time;
// the decision bears that as its staleness.
uint32_t gp_async_backup_cut(struct gp_consist *c, uint32_t ends, uint32_t gate);
// Lowest and highest step that members of the view have had committed; *slowest is the rank of the
// lowest. 0 and GP_RANKS_MAX without members.
uint32_t gp_async_clock_min(const struct gp_consist *c, uint32_t *slowest);
uint32_t gp_async_clock_max(const struct gp_consist *c);

// Decides that the step in hand is the last.
void gp_consist_stop(struct gp_consist *c);

// Whether one more decision fits when the slowest core has been given those up to `delivered`.
bool gp_consist_room(const struct gp_consist *c, uint32_t delivered) GP_MUST_CHECK;
// Decision `number`, or NULL when it is not yet made or no longer kept.
const struct gp_decision *gp_consist_log(const struct gp_consist *c, uint32_t number);

#endif
