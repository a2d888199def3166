// SPDX-License-Identifier: BSD-3-Clause
//
// Takeover of a step that has parts, with views. Two workers; a step's one unit has a part at each of
// two cores; home decides when both parts have every member's contribution. The backup holds a step
// when it holds both parts and the decision, which reach it in any order. Home may lose worker 1 (or
// believe so) at any moment, and either server may die at any moment, but not the only one that holds
// what was released: so a worker and the primary may die in one step.
//
// LAG 0: synchronous, a step is released when the backup holds all of it. LAG n: periodic, at most n
// steps are released beyond what the backup holds; after a takeover each worker is told the step to go
// on from.
//
// The network is every message ever sent, deliverable for ever: contributions by (worker, step, epoch,
// view), tentative results by (step, epoch, view, part), releases by (step, epoch). A result is known
// by the set of ranks in it: the same set gives the same bytes.
//
// Promises (assertions):
//	- both parts of a unit, and its decision, are of one set of ranks;
//	- workers that end a step in one epoch, or (within what was not rolled back) in several, have
//	  seen one value of it;
//	- synchronous: no worker is ever ahead of the server that leads; periodic: by at most LAG steps,
//	  and it is told.
// Not in it: cores' rings and the decision log (commit.pml), a rejoining worker, slots, the swaps
// themselves (failover.pml), progress.

#ifndef STEPS
#define STEPS 2
#endif
#ifndef E
#define E 4 // epochs are 1..E-1
#endif
#ifndef LAG
#define LAG 0
#endif

#define BOTH 3 // ranks, and parts
#define NONE 2 // no backup

#define BACKUP	0
#define PRIMARY 1
#define OUT	2

#define SET(v)		 ((v) -> 1 : BOTH) // members of view 0 and of view 1
#define PUSH(w, s, e, v) push[(((w) * STEPS + (s) - 1) * E + (e)) * 2 + (v)]
#define TENT(s, e, v)	 tent[(((s) - 1) * E + (e)) * 2 + (v)]
#define SE(s, e)	 (((s) - 1) * E + (e))

// ---- the network

bit push[2 * STEPS * E * 2];
byte tent[STEPS * E * 2]; // parts
byte rel[STEPS * E];	  // set of ranks, 0: not released
byte rep[STEPS * E];	  // to the backup: set of ranks in both parts and in the decision
byte ack[STEPS * E];	  // bits: part 0, part 1, decision
byte ann[E];		  // views that were announced, bits

// ---- the register

byte vep = 1, vprim = 0, vbk = 1;

// ---- servers

typedef server {
	byte ep;
	byte role;
	bit bk;
	bit up;
	byte app; // steps committed
	byte val[STEPS];
	bit view;
	byte have[2]; // contributions to each part of step app + 1
	byte made[2]; // set of ranks in a complete part, 0: not complete
	byte pend;    // decided, not yet committed
	byte got      // backup: pieces of step app + 1
};
server s[2];

// ---- workers

typedef worker {
	byte step;
	byte e;
	bit v;
	byte tent[2]; // set of ranks in the result, 0: none
	byte comm     // in the decision, 0: not known
};
worker w[2];

// ---- what only the checks know

byte agreed[STEPS * E]; // value of the step in the epoch in which a worker ended it
byte roll[E];		// steps committed when the epoch began

// ---- primary

inline announce(i) {
	ann[s[i].ep] = ann[s[i].ep] | (1 << s[i].view)
}

inline void_step(i) {
	s[i].have[0] = 0;
	s[i].have[1] = 0;
	s[i].made[0] = 0;
	s[i].made[1] = 0
}

// Part p is complete: its result goes out, tentatively.
inline part_complete(i, p) {
	if
	:: s[i].have[p] == SET(s[i].view) ->
		s[i].made[p] = s[i].have[p];
		TENT(s[i].app + 1, s[i].ep, s[i].view) =
			TENT(s[i].app + 1, s[i].ep, s[i].view) | (1 << (p))
	:: else
	fi
}

inline decide(i) {
	assert(s[i].made[0] == s[i].made[1]);
	s[i].pend = s[i].made[0];
	if
	:: s[i].bk -> rep[SE(s[i].app + 1, s[i].ep)] = s[i].pend
	:: else
	fi
}

#ifdef BUG_PARTS // released before the replica holds all parts
#define HELD(a) (((a) & 5) == 5)
#else
#define HELD(a) ((a) == 7)
#endif

// Steps that the backup holds in this epoch, of those committed or decided in it.
inline count_held(i, n) {
	n = roll[s[i].ep];
	do
	:: n < STEPS && HELD(ack[SE(n + 1, s[i].ep)]) -> n++
	:: else -> break
	od
}

#ifdef BUG_EARLY
#define MAY_COMMIT(i, held) 1
#elif defined(BUG_LAG)
#define MAY_COMMIT(i, held) (s[i].app + 1 <= (held) + LAG + 1)
#else
#define MAY_COMMIT(i, held) (!s[i].bk || s[i].app + 1 <= (held) + LAG)
#endif

inline commit(i) {
	s[i].val[s[i].app] = s[i].pend;
	s[i].app++;
	rel[SE(s[i].app, s[i].ep)] = s[i].pend;
	s[i].pend = 0;
	void_step(i)
}

// ---- takeover

// What the new leader is known by: its epoch, its view, and the steps that it holds, released again.
inline begin_epoch(i) {
	roll[s[i].ep] = s[i].app;
	s[i].view = (s[i].app > 0 && s[i].val[s[i].app - 1] == 1);
	announce(i);
	for (x : 0 .. (STEPS - 1)) {
		if
		:: x < s[i].app -> rel[SE(x + 1, s[i].ep)] = s[i].val[x]
		:: else
		fi
	};
	x = 0
}

inline promoted(i) {
	s[i].role = PRIMARY;
	s[i].ep = vep;
	s[i].bk = 0;
	s[i].pend = 0;
	void_step(i);
	begin_epoch(i);
#ifdef BUG_MIXED // a part of a step that it holds in part counts
	if
	:: s[i].got & 1 ->
		s[i].made[0] = rep[SE(s[i].app + 1, s[i].ep - 1)];
		s[i].have[0] = s[i].made[0]
	:: else
	fi;
#endif
	s[i].got = 0
}

// The same server goes on: what it has decided stands, contributions come again.
inline begin_epoch_kept(i) {
	roll[s[i].ep] = s[i].app;
	announce(i);
	for (x : 0 .. (STEPS - 1)) {
		if
		:: x < s[i].app -> rel[SE(x + 1, s[i].ep)] = s[i].val[x]
		:: else
		fi
	};
	x = 0;
	if
	:: !s[i].pend -> void_step(i)
	:: else
	fi
}

// The backup is out of the leadership: what waited for it is released.
inline alone(i) {
	s[i].ep = vep;
	s[i].bk = 0;
	begin_epoch_kept(i)
}

// State transfer and the swap that names the other server backup.
inline transfer(i) {
	vep++;
	vbk = 1 - i;
	s[i].ep = vep;
	s[i].bk = 1;
	begin_epoch_kept(i);
	if
	:: s[i].pend -> rep[SE(s[i].app + 1, vep)] = s[i].pend
	:: else
	fi;
	s[1 - i].up = 1;
	s[1 - i].role = BACKUP;
	s[1 - i].ep = vep;
	s[1 - i].bk = 0;
	s[1 - i].app = s[i].app;
	s[1 - i].pend = 0;
	s[1 - i].got = 0;
	s[1 - i].view = 0;
	s[1 - i].have[0] = 0;
	s[1 - i].have[1] = 0;
	s[1 - i].made[0] = 0;
	s[1 - i].made[1] = 0;
	for (x : 0 .. (STEPS - 1)) {
		s[1 - i].val[x] = (x < s[i].app -> s[i].val[x] : 0)
	};
	x = 0
}

// ---- backup

inline piece(i, b) {
	s[i].got = s[i].got | (b);
	ack[SE(s[i].app + 1, s[i].ep)] = ack[SE(s[i].app + 1, s[i].ep)] | (b);
	if
	:: s[i].got == 7 ->
		s[i].val[s[i].app] = rep[SE(s[i].app + 1, s[i].ep)];
		s[i].app++;
		s[i].got = 0
	:: else
	fi
}

#define LEADS(i)   (s[i].up && s[i].role == PRIMARY)
#define WORKS(i)   (LEADS(i) && s[i].app < STEPS && !s[i].pend)
#define GIVES(i, r) PUSH(r, s[i].app + 1, s[i].ep, s[i].view)
#define LACKS(i, p, r) (!(s[i].have[p] & (1 << (r))) && !s[i].made[p] && (SET(s[i].view) & (1 << (r))))
#define FOLLOWS(i) (s[i].up && s[i].role == BACKUP && s[i].app < STEPS && rep[SE(s[i].app + 1, s[i].ep)])

#define CONTRIBUTION(p, r)                                                                         \
	:: atomic { WORKS(i) && GIVES(i, r) && LACKS(i, p, r) ->                                   \
		s[i].have[p] = s[i].have[p] | (1 << (r));                                          \
		part_complete(i, p) }
#define WHOLE(r)                                                                                   \
	:: atomic { WORKS(i) && GIVES(i, r) && LACKS(i, 0, r) ->                                   \
		s[i].have[0] = s[i].have[0] | (1 << (r));                                          \
		s[i].have[1] = s[i].have[0];                                                       \
		part_complete(i, 0);                                                               \
		part_complete(i, 1) }
#define PIECE(b) :: atomic { FOLLOWS(i) && !(s[i].got & (b)) -> piece(i, b) }

proctype node(byte i) {
	byte x;
end:	do
#if LAG // parts, pieces and tentative results are the other search's
	WHOLE(0)
	WHOLE(1)
	PIECE(7)
#else
	CONTRIBUTION(0, 0)
	CONTRIBUTION(0, 1)
	CONTRIBUTION(1, 0)
	CONTRIBUTION(1, 1)
	PIECE(1)
	PIECE(2)
	PIECE(4)
#endif
	:: atomic { WORKS(i) && s[i].made[0] && s[i].made[1] -> decide(i) }
	:: atomic { LEADS(i) && s[i].pend ->
		count_held(i, x);
		if
		:: MAY_COMMIT(i, x) -> commit(i)
		:: else
		fi;
		x = 0 }
	// Worker 1 is lost, or seems to be: its contributions to this step go with it.
	:: atomic { WORKS(i) && s[i].view == 0 -> s[i].view = 1; void_step(i); announce(i) }
	// Changes of leadership, by compare-and-swap from one's own.
	:: atomic { s[i].up && s[i].role == BACKUP && s[i].ep == vep && vbk == i && vep < E - 1 ->
		vep++;
		vprim = i;
		vbk = NONE;
		promoted(i) }
	:: atomic { LEADS(i) && s[i].bk && s[i].ep == vep && vep < E - 1 ->
		vep++;
		vbk = NONE;
		alone(i) }
	:: atomic { LEADS(i) && !s[i].bk && s[i].ep == vep && vep < E - 1 -> transfer(i) }
	:: atomic { s[i].up && s[i].ep < vep && vprim != i && vbk != i && s[i].role != OUT ->
		s[i].role = OUT }
	:: atomic { s[i].up && !(vprim == i && vbk == NONE) && s[1 - i].up -> s[i].up = 0 }
	od
}

// ---- workers

inline forget(r) {
	w[r].tent[0] = 0;
	w[r].tent[1] = 0;
	w[r].comm = 0
}

// A new view, perhaps of a new epoch: tentative results of the old one are void.
inline adopt(r, ne, nv) {
	if
	:: w[r].e < ne && w[r].step > roll[ne] + 1 ->
		assert(LAG > 0 && w[r].step <= roll[ne] + 1 + LAG);
#ifndef BUG_NOROLL // it is not told to go back
		w[r].step = roll[ne] + 1;
#endif
		forget(r)
	:: else ->
#ifndef BUG_TENT // they stay
		forget(r)
#endif
	fi;
	assert(w[r].step <= roll[ne] + 1 || w[r].e == ne);
	w[r].e = ne;
	w[r].v = nv
}

#ifdef BUG_TENT
#define TAKEN(r, p) (w[r].tent[p] != 0)
#else
#define TAKEN(r, p) (w[r].tent[p] == w[r].comm)
#endif

// A value that was agreed in an earlier epoch holds, unless the step was rolled back since.
inline check_agreed(r) {
	x = w[r].e;
	y = w[r].step;
	do
	:: x > 1 && y <= roll[x] ->
		x--;
		assert(agreed[SE(y, x)] == 0 || agreed[SE(y, x)] == w[r].comm)
	:: else -> break
	od;
	x = 0;
	y = 0
}

inline end_step(r) {
	assert(w[r].tent[0] == w[r].comm && w[r].tent[1] == w[r].comm);
	assert(agreed[SE(w[r].step, w[r].e)] == 0 || agreed[SE(w[r].step, w[r].e)] == w[r].comm);
	agreed[SE(w[r].step, w[r].e)] = w[r].comm;
	check_agreed(r);
	w[r].step++;
	forget(r)
}

#define MEMBER(r)  (SET(w[r].v) & (1 << (r)))
#define ACTIVE(r)  (w[r].step <= STEPS && MEMBER(r))
// Who has ended everything still learns that it was taken back.
#define NEWER(r, ne, nv) ((ann[ne] & (1 << (nv))) && (w[r].e < ne || (w[r].e == ne && w[r].v < nv)))

#define RESULT(p)                                                                                  \
	:: atomic { ACTIVE(r) && !w[r].tent[p] && !w[r].comm &&                                    \
		(TENT(w[r].step, w[r].e, w[r].v) & (1 << (p))) -> w[r].tent[p] = SET(w[r].v) }      \
	:: atomic { ACTIVE(r) && w[r].comm && !TAKEN(r, p) -> w[r].tent[p] = w[r].comm } // pulled

#define LEARN(ne)                                                                                  \
	:: atomic { NEWER(r, ne, 0) -> adopt(r, ne, 0) }                                           \
	:: atomic { NEWER(r, ne, 1) -> adopt(r, ne, 1) }

proctype client(byte r) {
	byte x, y;
end:	do
	:: atomic { ACTIVE(r) && !PUSH(r, w[r].step, w[r].e, w[r].v) ->
		PUSH(r, w[r].step, w[r].e, w[r].v) = 1 }
#if LAG
	:: atomic { ACTIVE(r) && w[r].comm && !TAKEN(r, 0) ->
		w[r].tent[0] = w[r].comm;
		w[r].tent[1] = w[r].comm }
#else
	RESULT(0)
	RESULT(1)
#endif
	:: atomic { ACTIVE(r) && !w[r].comm && rel[SE(w[r].step, w[r].e)] ->
		w[r].comm = rel[SE(w[r].step, w[r].e)] }
#ifdef BUG_STALE // a release of the epoch before is taken
	:: atomic { ACTIVE(r) && !w[r].comm && w[r].e > 1 && rel[SE(w[r].step, w[r].e - 1)] ->
		w[r].comm = rel[SE(w[r].step, w[r].e - 1)] }
#endif
	:: atomic { ACTIVE(r) && w[r].comm && TAKEN(r, 0) && TAKEN(r, 1) -> end_step(r) }
	LEARN(1)
#if E > 2
	LEARN(2)
#endif
#if E > 3
	LEARN(3)
#endif
#if E > 4
	LEARN(4)
#endif
	od
}

init {
	atomic {
		s[0].ep = 1; s[0].role = PRIMARY; s[0].bk = 1; s[0].up = 1;
		s[1].ep = 1; s[1].role = BACKUP; s[1].up = 1;
		ann[1] = 1;
		w[0].step = 1; w[0].e = 1;
		w[1].step = 1; w[1].e = 1;
		run node(0);
		run node(1);
		run client(0);
		run client(1)
	}
}
