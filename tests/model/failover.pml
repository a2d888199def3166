// SPDX-License-Identifier: BSD-3-Clause
//
// Takeover without loss: aggregation, retransmission, a primary and its backup, and a view service
// that gives each leadership an epoch by compare-and-swap. The rules that a takeover has to keep:
//
//	1. A result leaves the primary only when the backup of its epoch has acknowledged it.
//	2. A primary goes on alone only in a new epoch without a backup, never because a backup is slow.
//	3. A backup acknowledges its own epoch only; promoted, it no longer acknowledges the deposed one.
//	4. A contribution counts once, by rank and whole step number.
//	5. Values and the watermark that says which are applied move together.
//
// The network is every message ever sent, deliverable for ever: loss, repetition, reordering and
// unbounded delay are all in it. Suspicion may be wrong at any moment.
//
// Promise (assertions): all workers see one value of each round, however often the leadership
// changes; what a worker has moved past is no more than one round behind the server.
// Not in it: progress, several blocks, views of workers, loss of both nodes at once.

#ifndef N
#define N 2 // workers
#endif
#ifndef R
#define R 3 // rounds: steps
#endif
#ifndef E
#define E 4 // epochs are 1..E-1
#endif

#define ALL  ((1 << N) - 1)
#define NONE 2 // no backup

#define BACKUP	0
#define PRIMARY 1
#define OUT	2

// The network: each is "was ever sent", by round and epoch.
#define PUSH(w, r, e) push[((w) * R + (r)) * E + (e)]
#define RE(r, e)      ((r) * E + (e))
bit push[N * R * E];
byte res[R * E]; // results, by value: the server and epoch that summed it
byte rep[R * E]; // primary to backup: the same value
bit ack[R * E];	 // backup to primary

// The view service.
byte vep = 1, vprim = 0, vbk = 1;

byte rw[N];	// round of each worker
byte agreed[R]; // the first value that any worker saw

typedef server {
	byte ep;     // epoch as this server knows it
	byte role;
	byte app;    // rounds applied: the watermark
	byte val[R]; // values applied
	byte mask;   // contributions to round `app`
	byte cnt;
	byte pend;   // summed, not yet acknowledged; 0 = none
	bit bk;	     // has a backup
	bit up
};
server s[2];

// The last contribution is here: sum, and hand to the backup before anyone else sees it.
inline complete(i) {
	assert(s[i].mask == ALL);
	s[i].pend = i * E + s[i].ep;
#ifdef BUG_EARLY
	res[RE(s[i].app, s[i].ep)] = s[i].pend; // a result leaves before the backup has it
#endif
	if
	:: s[i].bk -> rep[RE(s[i].app, s[i].ep)] = s[i].pend
	:: else
	fi
}

inline commit(i) {
	s[i].val[s[i].app] = s[i].pend;
	res[RE(s[i].app, s[i].ep)] = s[i].pend;
	s[i].app++;
	s[i].mask = 0;
	s[i].cnt = 0;
	s[i].pend = 0
}

// Takes worker w's contribution of round r if it was sent in epoch x; r = R when there is none.
inline pick(i) {
	select(w : 0 .. (N - 1));
	select(x : 1 .. (E - 1));
#ifdef BUG_PARITY // a round known by one bit only
	select(r : 0 .. (R - 1));
	if
	:: (r & 1) == (s[i].app & 1) && r <= s[i].app && PUSH(w, r, x) ->
		assert(r == s[i].app || (s[i].mask & (1 << w)))
	:: else -> r = R
	fi
#else
	r = s[i].app;
	if
	:: PUSH(w, r, x)
	:: else -> r = R
	fi
#endif
}

inline count(i) {
#ifdef BUG_NODEDUP // a repeated contribution counts again
	s[i].mask = s[i].mask | (1 << w);
	s[i].cnt++;
#else
	if
	:: !(s[i].mask & (1 << w)) ->
		s[i].mask = s[i].mask | (1 << w);
		s[i].cnt++
	:: else
	fi;
#endif
	if
	:: s[i].cnt == N -> complete(i)
	:: else
	fi
}

// The primary's state becomes the backup's.
inline transfer(i) {
	vep++;
	vbk = 1 - i;
	s[i].ep = vep;
	s[i].bk = 1;
	if
	:: s[i].pend ->
		s[i].pend = i * E + vep;
		rep[RE(s[i].app, vep)] = s[i].pend
	:: else
	fi;
	s[1 - i].up = 1;
	s[1 - i].role = BACKUP;
	s[1 - i].ep = vep;
	s[1 - i].app = s[i].app;
	s[1 - i].mask = 0;
	s[1 - i].cnt = 0;
	s[1 - i].pend = 0;
	s[1 - i].bk = 0;
	for (r : 0 .. (R - 1)) {
		s[1 - i].val[r] = s[i].val[r]
	}
}

inline learn(i) {
	s[i].role = PRIMARY;
	s[i].bk = 0;
	s[i].ep = vep;
	if
	:: s[i].pend -> s[i].pend = i * E + s[i].ep
	:: else ->
		s[i].mask = 0;
		s[i].cnt = 0
	fi
}

// A result of any epoch is taken; all workers must see the same.
inline result_take(w) {
	select(x : 1 .. (E - 1));
	if
	:: res[RE(rw[w], x)] ->
		if
		:: agreed[rw[w]] == 0 -> agreed[rw[w]] = res[RE(rw[w], x)]
		:: else -> assert(agreed[rw[w]] == res[RE(rw[w], x)])
		fi;
		rw[w]++
	:: else
	fi
}

proctype worker(byte w) {
	byte e = 1, x;
	do
	:: atomic { rw[w] < R && !PUSH(w, rw[w], e) -> PUSH(w, rw[w], e) = 1 }
	:: atomic { e < vep -> e = vep }
	:: atomic { rw[w] < R -> result_take(w); x = 0 }
	:: rw[w] == R -> break
	od
}

proctype node(byte i) {
	byte w, x, r;
	do
	// A contribution arrives.
	:: atomic {
		s[i].up && s[i].role == PRIMARY && s[i].app < R && !s[i].pend ->
		pick(i);
		if
		:: r < R -> count(i)
		:: else
		fi;
		w = 0; x = 0; r = 0 }
	// A late or repeated one: the stored result goes out again. Two slots suffice.
	:: atomic {
		s[i].up && s[i].role == PRIMARY && s[i].app > 0 ->
		select(w : 0 .. (N - 1));
		r = s[i].app - 1;
		if
		:: PUSH(w, r, s[i].ep) && rw[w] == r -> res[RE(r, s[i].ep)] = s[i].val[r]
		:: else
		fi;
		assert(rw[w] + 1 >= s[i].app);
		w = 0; r = 0 }
	:: atomic {
		s[i].up && s[i].role == PRIMARY && s[i].pend && (!s[i].bk || ack[RE(s[i].app, s[i].ep)]
#ifdef BUG_SOLO
		|| 1 // the backup is slow: on without it
#endif
		) -> commit(i) }
	// The backup applies, then acknowledges; its own epoch only.
	:: atomic {
		s[i].up && s[i].role == BACKUP && s[i].app < R && rep[RE(s[i].app, s[i].ep)] ->
		r = s[i].app;
		s[i].val[r] = rep[RE(r, s[i].ep)];
		s[i].app++;
		ack[RE(r, s[i].ep)] = 1;
		r = 0 }
#ifdef BUG_NOFENCE // promoted, it still acknowledges the deposed primary
	:: atomic {
		s[i].up && s[i].role == PRIMARY && s[i].app < R && s[i].ep > 1 &&
		rep[RE(s[i].app, s[i].ep - 1)] -> ack[RE(s[i].app, s[i].ep - 1)] = 1 }
#endif
	// The backup promotes itself.
	:: atomic {
		s[i].up && s[i].role == BACKUP && s[i].ep == vep && vbk == i && vep < E - 1 ->
		vep++;
		vprim = i;
		vbk = NONE
#ifdef BUG_LOSTWM // its values are newer than its watermark
		; if
		:: s[i].app -> s[i].app--
		:: else
		fi
#endif
		}
	// The primary drops its backup.
	:: atomic {
		s[i].up && s[i].role == PRIMARY && s[i].bk && s[i].ep == vep && vep < E - 1 ->
		vep++;
		vbk = NONE }
	:: atomic { s[i].up && vprim == i && s[i].ep < vep -> learn(i) }
	:: atomic {
		s[i].up && s[i].role == PRIMARY && !s[i].bk && s[i].ep == vep && vbk == NONE &&
		vep < E - 1 -> transfer(i); r = 0 }
	// A crash; never of the only one that has everything.
	:: atomic { s[i].up && !(vprim == i && vbk == NONE) -> s[i].up = 0 }
	// A deposed node learns of it, or never does.
	:: atomic { s[i].up && s[i].ep < vep && vprim != i && vbk != i -> s[i].role = OUT }
	:: (rw[0] == R && rw[N - 1] == R) -> break
	od
}

init {
	atomic {
		s[0].ep = 1; s[0].role = PRIMARY; s[0].bk = 1; s[0].up = 1;
		s[1].ep = 1; s[1].role = BACKUP; s[1].up = 1;
		byte k;
		for (k : 0 .. (N - 1)) {
			run worker(k)
		};
		run node(0);
		run node(1)
	}
}
