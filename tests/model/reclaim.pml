// SPDX-License-Identifier: BSD-3-Clause
//
// Cuts, the hand-over of versions and their reuse: lib/table and lib/rcu, with two cores that each
// own one block (a unit of its own), home's decisions in their order, one reader on another thread
// and the thread that turns grace periods. Every load of a pointer, and every store by core 0, is a
// step by itself.
//
// The reader does what the snapshot thread does (finds the cut's version of each block in a read
// section, reads it outside one, for the cut keeps it) and what a digest does (finds a version of
// the newest whole generation and reads it inside the section).
//
// A grace period ends when the reader has been quiescent since it began. rem is what is left of a
// retired version's stamp (stamp - passed): 2 when it is retired, one less at each count.
//
// Promises (assertions):
//	- a version that a reader uses is not written;
//	- while a cut is active the reader finds its generation in every block;
//	- a core has begun a cut before it ends it, and keeps at most one version for it.
// Not in it: weak memory (the order that the fences give is assumed; two mutants show what they are
// for), frames that hold a version, several readers.

#ifndef STEPS
#define STEPS 3
#endif
#define VERSIONS 3 // of a block
#ifndef CUTS
#define CUTS 1
#endif
#ifndef VIEWS
#define VIEWS 0 // new views that void what is not committed
#endif

#ifndef DIGEST
#define DIGEST 1 // the reader reads outside cuts too
#endif

#define NONE VERSIONS
#define LOG  (2 * STEPS + CUTS + VIEWS)

#define COMMIT 0 // + unit
#define CUT    2
#define VIEW   3

#ifdef BUG_STAMP // one grace period, perhaps begun before the retirement
#define PERIODS 1
#else
#define PERIODS 2
#endif

typedef table {
	byte shadow; // versions, by number
	byte cur;
	byte kept;
	byte step[VERSIONS];
	bit used[VERSIONS]; // named by the block
	byte rem[VERSIONS]; // else: counts until it may be used again
	byte done;	    // step of the newest
	byte committed[2];  // as this core knows
	byte applied;	    // decisions
	byte view;
	bit cut;
	bit end_due
};
table t[2];

byte log[LOG + 1];
byte decided;
byte committed[2];
byte view;
bit told[2]; // part done in this view
bit cut_active;
bit cut_ready;
bit cut_told; // control knows that the cut is ready
byte cut_step;
byte cut_seen;
byte cut_ended;
byte cuts_left = CUTS;

bit online; // the reader may hold a pointer
bit need;   // the period under way waits for it

#define LOWER(a) (a[0] - (a[0] > a[1]) * (a[0] - a[1]))

// ---- home

inline decide(what) {
	decided++;
	log[decided] = what
}

#ifdef BUG_SEEN // ready before all cores have begun
#define SEEN 1
#else
#define SEEN (cut_seen == 2)
#endif
#ifdef BUG_READY // ready before the generation is whole
#define WHOLE 1
#else
#define WHOLE (LOWER(committed) >= cut_step)
#endif

proctype home() {
end:
	do
	:: atomic { told[0] && t[0].view == view -> told[0] = 0; committed[0]++; decide(COMMIT) }
	:: atomic { told[1] && t[1].view == view -> told[1] = 0; committed[1]++; decide(COMMIT + 1) }
	:: atomic { view < VIEWS -> view++; told[0] = 0; told[1] = 0; decide(VIEW) }
	// gp_consist_cut: units a step ahead pin that step.
	:: atomic { cuts_left && !cut_active ->
		cuts_left--;
		cut_active = 1;
		cut_told = 0;
		cut_step = LOWER(committed) + (committed[0] != committed[1]);
		cut_seen = 0;
		cut_ended = 0;
		decide(CUT) }
	:: atomic { cut_active && !cut_told && SEEN && WHOLE -> cut_told = 1; cut_ready = 1 }
	:: atomic { cut_active && cut_ended == 2 -> cut_active = 0; cut_ended = 0 }
	od
}

// ---- owners

// table_retire: after the pointer has been replaced.
inline retire(k, v) {
	d_step {
		t[k].used[v] = 0;
		t[k].rem[v] = (k == 0 -> PERIODS : 0)
	}
}

#define FREE(k, v) (!t[k].used[v] && t[k].rem[v] == 0)

// gp_table_take, and the writing of it.
inline version_take(k) {
	atomic {
		if
		:: FREE(k, 0) -> new = 0
		:: !FREE(k, 0) && FREE(k, 1) -> new = 1
		:: !FREE(k, 0) && !FREE(k, 1) && FREE(k, 2) -> new = 2
		fi;
		t[k].used[new] = 1;
		t[k].step[new] = t[k].done + 1
	}
}

// gp_table_publish
inline publish(k) {
	if
	:: t[k].shadow == NONE
	:: t[k].shadow != NONE ->
		old = t[k].cur;
		if
		:: old != NONE && t[k].cut && t[k].step[old] == cut_step ->
			assert(t[k].kept == NONE);
#ifdef BUG_KEPT_LATE // the old place is overwritten first
			t[k].cur = t[k].shadow;
			t[k].kept = old
#else
			t[k].kept = old;
			t[k].cur = t[k].shadow
#endif
		:: else ->
#ifdef BUG_STAMP_EARLY // the count is read before the replacement is visible
			if
			:: old != NONE -> retire(k, old)
			:: else
			fi;
			t[k].cur = t[k].shadow
#else
			t[k].cur = t[k].shadow;
			if
			:: old != NONE -> retire(k, old)
			:: else
			fi
#endif
		fi
	fi;
	atomic {
		t[k].shadow = new;
		t[k].done++;
		told[k] = (t[k].view == view);
		new = 0;
		old = 0
	}
}

// gp_table_abort
inline abort(k) {
	if
	:: t[k].done > t[k].committed[k] ->
		old = t[k].shadow;
		t[k].shadow = NONE;
		atomic {
			retire(k, old);
			t[k].done = t[k].committed[k];
			old = 0
		}
	:: else
	fi
}

// gp_table_cut_end
inline cut_end(k) {
	assert(t[k].cut);
	t[k].cut = 0;
	t[k].end_due = 0;
	if
	:: t[k].kept != NONE ->
		old = t[k].kept;
		t[k].kept = NONE;
		retire(k, old);
		old = 0
	:: else
	fi;
	cut_ended++
}

inline apply(k) {
	t[k].applied++;
	if
	:: log[t[k].applied] == COMMIT -> t[k].committed[0]++
	:: log[t[k].applied] == COMMIT + 1 -> t[k].committed[1]++
	:: log[t[k].applied] == CUT ->
		assert(!t[k].cut);
		t[k].cut = 1;
		cut_seen++
	:: log[t[k].applied] == VIEW
	fi
}

#define VIEW_NEXT(k) (t[k].applied < decided && log[t[k].applied + 1] == VIEW)

// slot_complete: not before the whole step before is committed, and not without a version.
#define MAY_COMPLETE(k)                                                                            \
	(t[k].done < STEPS && t[k].done == LOWER(t[k].committed) &&                                 \
		(FREE(k, 0) || FREE(k, 1) || FREE(k, 2)))

proctype owner0() {
	byte new, old;
end:
	do
	:: atomic { t[0].applied < decided && !VIEW_NEXT(0) -> apply(0) }
	:: atomic { VIEW_NEXT(0) -> apply(0); t[0].view++ } abort(0)
	:: atomic { MAY_COMPLETE(0) -> version_take(0) } publish(0)
	:: t[0].end_due -> cut_end(0)
	od
}

// The other owner, which the reader meets only in cuts: each of these is one step, and what it
// retires it uses again at once.
proctype owner1() {
	byte new, old;
end:
	do
	:: atomic { t[1].applied < decided && !VIEW_NEXT(1) -> apply(1) }
	:: atomic { VIEW_NEXT(1) -> apply(1); t[1].view++; abort(1) }
	:: atomic { MAY_COMPLETE(1) -> version_take(1); publish(1) }
	:: atomic { t[1].end_due -> cut_end(1) }
	od
}

// ---- grace periods: gp_rcu_grace_turn

inline count_one(v) {
	if
	:: t[0].rem[v] > 0 -> t[0].rem[v]--
	:: else
	fi
}

inline count() {
	atomic {
		for (v : 0 .. (VERSIONS - 1)) {
			count_one(v)
		}
		v = 0
	}
}

proctype grace() {
	byte v;
end:
	do
	:: !need ->
#ifdef BUG_COUNT_LATE // the next period begins before the count of this one is visible
		need = online;
		count()
#else
		count();
		need = online
#endif
	od
}

// ---- the reader

// Looks at version `at`, unless it was found before.
inline match(k, g) {
	if
	:: found == NONE && at != NONE ->
		if
		:: t[k].step[at] == g -> found = at
		:: else
		fi
	:: else
	fi;
	at = 0
}

// gp_table_find: shadow, cur, kept.
inline find(k, g) {
	found = NONE;
#ifdef BUG_FIND_ORDER // against the way that versions move
	at = t[k].kept;
	match(k, g);
	at = t[k].cur;
	match(k, g);
	at = t[k].shadow;
	match(k, g)
#else
	at = t[k].shadow;
	match(k, g);
	at = t[k].cur;
	match(k, g);
	at = t[k].kept;
	match(k, g)
#endif
}

inline quiescent() {
	atomic {
		online = 0;
		need = 0
	}
}

inline end_cut() {
	atomic {
		t[0].end_due = 1;
		t[1].end_due = 1
	}
}

inline read_cut() {
	online = 1;
	find(0, cut_step);
	atomic {
		quiescent();
		assert(found != NONE);
		first = found
	}
	atomic {
		find(1, cut_step);
		assert(found != NONE)
	}
#ifdef BUG_END // the cut ends while the reader reads
	end_cut();
#endif
	atomic {
		assert(t[0].step[first] == cut_step && t[0].used[first]);
		assert(t[1].step[found] == cut_step && t[1].used[found]);
#ifndef BUG_END
		end_cut();
#endif
		first = 0;
		found = 0
	}
}

inline read_newest(k) {
	g = LOWER(committed);
	online = 1;
	find(k, g);
#ifdef BUG_READ_LATE // used after the quiescent state
	quiescent();
#endif
	atomic {
		assert(found == NONE || t[k].step[found] == g);
		quiescent();
		found = 0;
		g = 0
	}
}

proctype reader() {
	byte at, found, first, g;
end:
	do
	:: cut_ready -> cut_ready = 0; read_cut()
#if DIGEST
	:: read_newest(0)
#endif
	od
}

// Generation 0 was loaded: a shadow that is committed.
init {
	atomic {
		t[0].cur = NONE;
		t[0].kept = NONE;
		t[0].used[0] = 1;
		t[1].cur = NONE;
		t[1].kept = NONE;
		t[1].used[0] = 1;
		run home();
		run owner0();
		run owner1();
		run grace();
		run reader()
	}
}
