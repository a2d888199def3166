// SPDX-License-Identifier: BSD-3-Clause
//
// Views and commits across two cores: what lib/consist decides, lib/engine carries out and
// lib/client believes. Two workers; blocks 0 and 2 at core 0, block 1 at core 1; unit 0 is blocks
// 0 and 1 (a part at each core), unit 1 is block 2. Core 0 is home. So a view may come when one
// unit of a step is committed and the other is not.
//
// The network is every datagram ever sent, deliverable for ever: a contribution by (worker, step,
// view, block), a tentative result by (step, view, block). A COMMIT is home's log read in order,
// as a worker that asks for what it lacks sees it; a final result is a pull from the core. Rings
// between cores are bounded and in order. A death and a wrong suspicion are the same to home: it
// loses the worker, who may go on for a while, learns that it is fenced, and joins again as a new
// incarnation. Dying is never being scheduled again.
//
// Promises (assertions):
//	- all blocks of a unit, and home's decision, are of one set of ranks and incarnations, each
//	  once; a core and home agree on view, step and blocks when a commit is applied;
//	- a worker ends a step only with results of the attempts that were committed;
//	- decisions are applied in order; a member is never left behind;
//	- with a fair network every worker ends (no state without a way on).
// Not in it: slots and BUSY (a block has one open slot here), initial parameters and pulls of a
// joiner, readers, log overrun, stop. With MIN 2 a worker joins in the middle of a step; there worker
// 1, the one that is lost, has to ask for results (WANT1 7): no decision that it is sent says that a
// unit was committed before it came, only a result does.

#ifndef STEPS
#define STEPS 2
#endif
#ifndef LOSSES
#define LOSSES 1 // how often home loses a worker
#endif
#ifndef MIN
#define MIN 1 // workers_min
#endif
#ifndef LOSABLE
#define LOSABLE 2 // workers that home may lose
#endif
#ifndef WANT0
#define WANT0 2 // blocks whose result worker 0 asks for
#endif
#ifndef WANT1
#define WANT1 0
#endif
#ifndef RING
#define RING 2 // entries between cores
#endif

#define W     2
#define ALL   3 // both workers
#define UNITS 2
#define B     3
#define VIEWS (2 * LOSSES + 1)
#define LOG   (UNITS * STEPS + VIEWS)
#define WANTS(r, i) HAS(((r) -> WANT1 : WANT0), i)
#define FINAL 255 // of a block's result: nothing more to come

#define BIT(x)	      (1 << (x))
#define HAS(set, x)   (((set) >> (x)) & 1)
#define COUNT(set)    (((set) & 1) + ((set) >> 1))
#define CORE(b)	      ((b) & 1)
#define UNIT(b)	      ((b) >> 1)
#define PARTS(u)      (2 - (u))		   // cores that own blocks of unit u
#define BLOCKS(c, u)  (1 - ((c) & (u)))	   // blocks of unit u at core c
#define PUSH(w, s, v) push[((w) * STEPS + (s) - 1) * VIEWS + (v) - 1]
#define TENT(s, v)    tent[((s) - 1) * VIEWS + (v) - 1]
#define LOWER(a)      (a[0] - (a[0] > a[1]) * (a[0] - a[1]))

// ---- the network

byte push[W * STEPS * VIEWS]; // sets of blocks
byte tent[STEPS * VIEWS];

// ---- home: struct gp_consist

#define COMMIT 1
#define VIEW   2

typedef entry {
	byte kind;
	byte unit;
	byte step; // view: its first
	byte view; // commit: of the attempt
	byte members
};
entry log[LOG + 1];

byte decided;	 // highest decision
byte view;	 // 0 = none yet
byte members;
byte live = ALL; // joined and not lost
byte lost;	 // members lost since the view began
byte committed[UNITS];
byte parts[UNITS];
byte sent;	 // decisions given to core 1
byte losses_left = LOSSES;

// ---- cores: struct job_core, one open slot a block

typedef job_core {
	byte decision;
	byte view;
	byte members;
	byte committed[UNITS];
	byte done[UNITS]; // blocks complete at committed + 1
	bit due[UNITS]	  // part done, home not told yet
};
job_core c[2];

typedef gp_block {
	byte ranks; // slot of step done + 1
	byte count;
	byte from[W]; // view of each contribution
	byte done;    // step of the newest version
	byte view;    // it was made in
	byte sum      // whose contributions are in it
};
gp_block b[B];

chan to_core = [RING] of { byte };	       // core 0 -> 1: decisions
chan to_home = [RING] of { byte, byte, byte }; // core 1 -> 0, part done: unit, step, view

// ---- workers: struct gp_ccore

#define RUNS	0
#define ZOMBIE	1 // home has lost it, it does not know
#define WAITS	2 // has a new session, home has not been told

typedef ccore {
	byte state;
	byte known; // highest decision known without a gap
	byte view;
	bit member;
	byte step;  // 0: joined, not yet in a view
	bit gave;   // contributed in this step
	byte committed[UNITS]; // view of the commit at this step, 0 = none known
	byte result[B]	       // view of a tentative result, 0 = none, FINAL
};
ccore w[W];

// ---- what only the checks know

byte life[W]; // incarnation
byte life_of[W * (VIEWS + 1)]; // incarnation that contributed in a view, + 1
byte attempt[UNITS * STEPS];   // view in which it was committed
#define LIFE(r, v)    life_of[(r) * (VIEWS + 1) + (v)]
#define ATTEMPT(u, s) attempt[(u) * STEPS + (s) - 1]

// ---- home

inline log_add(k, u, s) {
	decided++;
	log[decided].kind = k;
	log[decided].unit = u;
	log[decided].step = s;
	log[decided].view = view;
	log[decided].members = members
}

// Block i of unit u has the members' contributions, each of the same life as block 0's.
inline check_block(u, i) {
	assert(b[i].done == committed[u]);
	assert(b[i].view == view);
	assert(b[i].sum == members);
	assert(!HAS(members, 0) || LIFE(0, b[i].from[0]) == LIFE(0, b[u * 2].from[0]));
	assert(!HAS(members, 1) || LIFE(1, b[i].from[1]) == LIFE(1, b[u * 2].from[1]))
}

#ifdef BUG_PART_VIEW // home takes part done of any view
#define OTHER_VIEW(v) 0
#else
#define OTHER_VIEW(v) ((v) != view)
#endif

// gp_consist_part_done
inline part_done(u, s, v) {
	if
	:: (view == 0 || s != committed[u] + 1 || OTHER_VIEW(v))
	:: else ->
		assert(parts[u] < PARTS(u));
		parts[u]++;
		if
		:: parts[u] == PARTS(u) ->
			assert(s == LOWER(committed) + 1);
			parts[u] = 0;
			committed[u] = s;
			ATTEMPT(u, s) = view;
			log_add(COMMIT, u, s);
			check_block(u, u * 2);
			if
			:: u == 0 -> check_block(0, 1)
			:: else
			fi
		:: else
		fi
	fi
}

#define BOUNDARY  (committed[0] == committed[1])
#define SURVIVORS (members & ~lost)
// next_members: the survivors alone in the middle of a step, if they are enough.
#define NEXT      ((lost && COUNT(SURVIVORS) >= MIN && !BOUNDARY) -> SURVIVORS : live)
#define VIEW_DUE  ((view == 0 && live == ALL) || \
	(view > 0 && (lost || (BOUNDARY && live != members)) && COUNT(NEXT) >= MIN))

// gp_consist_try_view
inline try_view() {
	assert(view < VIEWS);
	members = NEXT;
	lost = 0;
	view++;
	parts[0] = 0;
	parts[1] = 0;
	log_add(VIEW, 0, LOWER(committed) + 1)
}

inline lose(r) {
	losses_left--;
	live = live & ~BIT(r);
	lost = lost | (members & BIT(r));
	w[r].state = ZOMBIE
}

inline join(r) {
	live = live | BIT(r);
	w[r].state = RUNS
}

// ---- cores

#ifdef BUG_AHEAD // a step completes while the one before is not committed at this core
#define MAY_COMPLETE(k, i) 1
#else
#define MAY_COMPLETE(k, i) (b[i].done == LOWER(c[k].committed))
#endif

// slot_complete: not before home's decision on the whole step before has come.
inline try_complete(k, i) {
	if
	:: b[i].count > 0 && b[i].count == COUNT(c[k].members) && MAY_COMPLETE(k, i) ->
		b[i].done++;
		b[i].view = c[k].view;
		b[i].sum = b[i].ranks;
		b[i].ranks = 0;
		b[i].count = 0;
		TENT(b[i].done, c[k].view) = TENT(b[i].done, c[k].view) | BIT(i);
		c[k].done[UNIT(i)]++;
		if
		:: c[k].done[UNIT(i)] == BLOCKS(k, UNIT(i)) -> c[k].due[UNIT(i)] = 1
		:: else
		fi
	:: else
	fi
}

inline apply_commit(k, d) {
	assert(log[d].step == c[k].committed[log[d].unit] + 1 && log[d].view == c[k].view);
	assert(c[k].done[log[d].unit] == BLOCKS(k, log[d].unit));
	c[k].committed[log[d].unit] = log[d].step;
	c[k].done[log[d].unit] = 0;
	try_complete(k, k); // those that waited for it
	if
	:: k == 0 -> try_complete(0, 2)
	:: else
	fi
}

// gp_table_abort and slot_clear_all
inline void_block(k, i) {
#ifndef BUG_KEEP_SLOTS // contributions outlive their view
	b[i].ranks = 0;
	b[i].count = 0;
#endif
#ifndef BUG_KEEP_SHADOW // a version that was not committed outlives its view
	if
	:: b[i].done > c[k].committed[UNIT(i)] -> b[i].done = c[k].committed[UNIT(i)]
	:: else
	fi
#endif
}

inline apply_view(k, d) {
	void_block(k, k);
	if
	:: k == 0 -> void_block(0, 2)
	:: else
	fi;
	c[k].done[0] = 0;
	c[k].done[1] = 0;
#ifndef BUG_KEEP_QUEUE // what was not yet told to home is told in the new view
	c[k].due[0] = 0;
	c[k].due[1] = 0;
#endif
	c[k].view = log[d].view;
	c[k].members = log[d].members
}

inline apply(k, d) {
#ifndef BUG_ORDER
	assert(d == c[k].decision + 1);
#endif
	c[k].decision = d;
	if
	:: log[d].kind == COMMIT -> apply_commit(k, d)
	:: else -> apply_view(k, d)
	fi
}

// Whether worker r's contribution to block i may arrive at core k; v is the view in its header.
#define ARRIVES(k, r, i, v)                                                                        \
	((v) > 0 && HAS(c[k].members, r) && b[i].done < STEPS &&                                    \
		HAS(PUSH(r, b[i].done + 1, v), i) && NOT_A_COPY(r, i))
#ifdef BUG_NODEDUP // a copy counts
#define NOT_A_COPY(r, i) (b[i].count < 4)
#else
#define NOT_A_COPY(r, i) (!HAS(b[i].ranks, r))
#endif

// slot_add; x is the view in the header.
inline take(k, r, i) {
	if
	:: ARRIVES(k, r, i, x) ->
		b[i].ranks = b[i].ranks | BIT(r);
		b[i].count++;
		b[i].from[r] = x;
		assert(b[i].done + 2 > STEPS || !HAS(PUSH(r, b[i].done + 2, x), i)); // one slot a block
		try_complete(k, i)
	:: else
	fi
}

// The blocks of one core travel in one datagram.
inline take_all(k, r) {
	take(k, r, k);
	if
	:: k == 0 -> take(0, r, 2)
	:: else
	fi;
	x = 0
}

#define ANY_ARRIVES(k, r, v) (ARRIVES(k, r, k, v) || (k == 0 && ARRIVES(0, r, 2, v)))
#ifdef BUG_PUSH_VIEW // a core takes contributions of any view
#define ARRIVAL(k, r)                                                                              \
	:: atomic { ANY_ARRIVES(k, r, c[k].view) -> x = c[k].view; take_all(k, r) }                 \
	:: atomic { ANY_ARRIVES(k, r, 1) -> x = 1; take_all(k, r) }
#else
#define ARRIVAL(k, r) :: atomic { ANY_ARRIVES(k, r, c[k].view) -> x = c[k].view; take_all(k, r) }
#endif

// Home applies its own decisions in the turn in which it makes them.
inline self_apply() {
	if
	:: c[0].decision < decided ->
		u = c[0].decision + 1;
		apply(0, u)
	:: else
	fi
}

// Its own part reaches it without another core between.
inline own_part(i) {
	u = i;
	c[0].due[u] = 0;
	s = c[0].committed[u] + 1;
	v = c[0].view;
	part_done(u, s, v);
	self_apply()
}

active proctype core0() {
	byte u, s, v, x;
end:
	do
	:: atomic { to_home ? u, s, v -> part_done(u, s, v); self_apply(); u = 0; s = 0; v = 0 }
	:: atomic { VIEW_DUE -> try_view(); self_apply(); u = 0 }
	:: atomic { sent < decided && nfull(to_core) -> sent++; to_core ! sent }
	:: atomic { losses_left && HAS(live & LOSABLE, 0) -> lose(0) }
	:: atomic { losses_left && HAS(live & LOSABLE, 1) -> lose(1) }
	:: atomic { w[0].state == WAITS -> join(0) }
	:: atomic { w[1].state == WAITS -> join(1) }
	:: atomic { c[0].due[0] -> own_part(0); u = 0; s = 0; v = 0 }
	:: atomic { c[0].due[1] -> own_part(1); u = 0; s = 0; v = 0 }
	ARRIVAL(0, 0)
	ARRIVAL(0, 1)
	od
}

active proctype core1() {
	byte d, x;
end:
	do
#ifdef BUG_ORDER // the second in the ring is applied before the first
	:: atomic { len(to_core) == 2 -> byte e; to_core ? d; to_core ? e; apply(1, e);
		apply(1, d); d = 0; e = 0 }
#endif
	:: atomic { to_core ? d -> apply(1, d); d = 0 }
	:: atomic { c[1].due[0] && nfull(to_home) ->
		to_home ! 0, c[1].committed[0] + 1, c[1].view; c[1].due[0] = 0 }
	ARRIVAL(1, 0)
	ARRIVAL(1, 1)
#ifdef BUG_VIEW_AHEAD // a core takes a view from a worker's header
	:: atomic { c[1].view < w[0].view && LIFE(0, w[0].view) && log[w[0].known].kind == VIEW ->
		apply_view(1, w[0].known) }
#endif
	od
}

// ---- workers

inline forget(r) {
	w[r].result[0] = 0;
	w[r].result[1] = 0;
	w[r].result[2] = 0;
	w[r].committed[0] = 0;
	w[r].committed[1] = 0;
	w[r].gave = 0
}

// In these, x is the view of the result or of the commit.
inline final(r, i) {
	assert(x == ATTEMPT(UNIT(i), w[r].step));
	w[r].result[i] = FINAL
}

// Blocks that wait to be sent in the view that the worker knows.
#define OPEN(r, i)   ((w[r].result[i] != FINAL && !w[r].committed[UNIT(i)]) << (i))
#define UNSENT(r)    ((OPEN(r, 0) | OPEN(r, 1) | OPEN(r, 2)) & ~PUSH(r, w[r].step, w[r].view))
#define ACTIVE(r)    (w[r].state != WAITS && w[r].member && w[r].step > 0)
#ifdef BUG_NO_RESEND // nothing is sent again in a new view
#define MAY_GIVE(r)  (!w[r].gave)
#else
#define MAY_GIVE(r)  1
#endif

inline give(r) {
	PUSH(r, w[r].step, w[r].view) =
		PUSH(r, w[r].step, w[r].view) | OPEN(r, 0) | OPEN(r, 1) | OPEN(r, 2);
	w[r].gave = 1;
	assert(!LIFE(r, w[r].view) || LIFE(r, w[r].view) == life[r] + 1);
	LIFE(r, w[r].view) = life[r] + 1
}

// commit_block
inline commit_block(r, i) {
	if
	:: w[r].result[i] == FINAL
	:: w[r].result[i] != FINAL && !WANTS(r, i) -> w[r].result[i] = FINAL
#ifdef BUG_NO_VOID
	:: w[r].result[i] != FINAL && WANTS(r, i) && w[r].result[i] ->
		x = w[r].result[i];
		final(r, i)
#else
	:: w[r].result[i] != FINAL && WANTS(r, i) && w[r].result[i] == x -> final(r, i)
#endif
	:: else -> w[r].result[i] = 0
	fi
}

inline decided_commit(r, d) {
	if
	:: log[d].step != w[r].step || w[r].committed[log[d].unit]
	:: else ->
		x = log[d].view;
		w[r].committed[log[d].unit] = x;
		if
		:: log[d].unit == 0 ->
			commit_block(r, 0);
			commit_block(r, 1)
		:: else -> commit_block(r, 2)
		fi;
		x = 0
	fi
}

inline void_result(r, i) {
	if
	:: w[r].result[i] != FINAL && !w[r].committed[UNIT(i)] -> w[r].result[i] = 0
	:: else
	fi
}

// decided_view and cc_round_view
inline decided_view(r, d) {
	w[r].view = log[d].view;
	w[r].member = HAS(log[d].members, r);
	if
	:: !w[r].member
	:: else ->
		if
		:: !w[r].gave && w[r].step != log[d].step ->
			w[r].step = log[d].step;
			forget(r)
		:: else -> assert(w[r].step + 1 >= log[d].step) // else left behind
		fi;
#ifndef BUG_NO_VOID // results of the aborted view stay, and what stays is final at the commit
		void_result(r, 0);
		void_result(r, 1);
		void_result(r, 2)
#endif
	fi
}

inline decision_take(r) {
	w[r].known++;
	if
	:: log[w[r].known].kind == COMMIT -> decided_commit(r, w[r].known)
	:: else -> decided_view(r, w[r].known)
	fi
}

// result_stands: a tentative result of the view that the worker knows, or of the committed attempt.
#define TAKES(r, i)  (ACTIVE(r) && w[r].step <= STEPS && WANTS(r, i) && w[r].result[i] == 0)
#define STANDS(r, i)                                                                               \
	(TAKES(r, i) &&                                                                             \
		(w[r].committed[UNIT(i)] -> HAS(TENT(w[r].step, w[r].committed[UNIT(i)]), i)         \
					  : HAS(TENT(w[r].step, w[r].view), i)))
inline tentative_take(r, i) {
	if
	:: w[r].committed[UNIT(i)] ->
		x = w[r].committed[UNIT(i)];
		final(r, i);
		x = 0
	:: else -> w[r].result[i] = w[r].view
	fi
}

// A final result pulled: the core has it committed and visible.
#define PULLED(r, i)                                                                               \
	(WANTS(r, i) && w[r].result[i] != FINAL && b[i].done == w[r].step &&                       \
		c[CORE(i)].committed[UNIT(i)] >= w[r].step)

#define HELD(r) (w[r].result[0] == FINAL && w[r].result[1] == FINAL && w[r].result[2] == FINAL)

#ifdef BUG_OLD_TENTATIVE // a late result of an aborted view is taken for one of this view
#define LATE(i)                                                                                    \
	:: atomic { TAKES(r, i) && w[r].view > 1 && HAS(TENT(w[r].step, 1), i) ->                   \
		if                                                                                  \
		:: w[r].committed[UNIT(i)] -> x = 1; final(r, i); x = 0                             \
		:: else -> w[r].result[i] = 1                                                       \
		fi }
#else
#define LATE(i)
#endif
#define RESULTS(i)                                                                                 \
	:: atomic { STANDS(r, i) -> tentative_take(r, i) }       \
	:: atomic { ACTIVE(r) && w[r].step <= STEPS && PULLED(r, i) ->                                \
		x = b[i].view; final(r, i); x = 0 }                                                 \
	LATE(i)

proctype client(byte r) {
	byte x;
	do
	:: atomic { ACTIVE(r) && w[r].step <= STEPS && MAY_GIVE(r) && UNSENT(r) -> give(r) }
	:: atomic { w[r].state != WAITS && w[r].known < decided -> decision_take(r) }
	RESULTS(0)
	RESULTS(1)
	RESULTS(2)
	:: atomic { ACTIVE(r) && w[r].step <= STEPS && HELD(r) -> w[r].step++; forget(r) }
	// Fenced: a new life. WELCOME says that all decisions so far are known.
	:: atomic { w[r].state == ZOMBIE ->
		w[r].state = WAITS;
		w[r].known = decided;
		w[r].view = 0;
		w[r].member = 0;
		w[r].step = 0;
		forget(r);
		life[r]++ }
	:: atomic { w[r].state == RUNS && w[r].step > STEPS -> goto ended }
	od;
ended:
end:	if
	:: atomic { w[r].state == ZOMBIE -> w[r].state = WAITS }
	fi;
	goto ended
}

init {
	atomic {
		run client(0);
		run client(1)
	}
}
