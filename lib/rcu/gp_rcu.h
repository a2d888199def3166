// SPDX-License-Identifier: BSD-3-Clause
//
// Read-copy-update: the only door to liburcu (QSBR flavour).
//
// Objects that several threads read are immutable once published. A writer replaces the pointer
// with gp_rcu_publish; a reader fetches it with gp_rcu_dereference and may use what it points to
// until its next quiescent state. What was replaced may be freed or reused after a grace period,
// that is when every registered, online thread has passed a quiescent state since.
//
// Threads. Each reader calls gp_rcu_register_thread once, then gp_rcu_quiescent at least once a
// burst (holding no pointer it will use again), and gp_rcu_offline / gp_rcu_online around anything
// that blocks: an online thread that stops is a grace period that never ends. Writers need not be
// registered. gp_rcu_synchronize blocks, so a polled core never calls it: the control thread turns
// a struct gp_rcu_grace, and owners stamp what they retire and reuse it themselves when the stamp
// is over.
//
// Order: publish (release) pairs with dereference (acquire); a quiescent state pairs with the
// return of gp_rcu_synchronize. ThreadSanitizer is told of the second, so it stays quiet about
// correct use and still finds a read after its grace period.
#ifndef GP_RCU_H
#define GP_RCU_H

#include <gp_base.h>

#include <stdatomic.h>

// Comes back online. A thread registers once and must unregister before it ends.
void gp_rcu_register_thread(void);
void gp_rcu_unregister_thread(void);

// Between them the thread must not dereference.
void gp_rcu_offline(void);
void gp_rcu_online(void);

// "I hold no pointer from before this call." About 1 ns; once a burst.
void gp_rcu_quiescent(void);

// A read section costs nothing under QSBR; the two calls mark it for the reader of the code.
static inline void gp_rcu_read_lock(void)
{
}

static inline void gp_rcu_read_unlock(void)
{
}

// `loc` is `_Atomic(T *) *`; v is T *. Everything written before is visible to who dereferences v.
#define gp_rcu_publish(loc, v)	atomic_store_explicit((loc), (v), memory_order_release)
#define gp_rcu_dereference(loc) atomic_load_explicit((loc), memory_order_acquire)

// Waits until every online thread has been quiescent. A registered caller counts as quiescent.
void gp_rcu_synchronize(void);

// Counted grace periods: written by the one thread that turns it, read by all.
struct gp_rcu_grace {
	_Atomic uint64_t passed;
};

// Waits one grace period and counts it.
void gp_rcu_grace_turn(struct gp_rcu_grace *g);

// Call after the pointer has been replaced: what it pointed to may be reused once
// gp_rcu_grace_over(g, stamp). A period under way may have begun before the replacement, so the
// stamp asks for one more than that.
uint64_t gp_rcu_grace_stamp(const struct gp_rcu_grace *g) GP_MUST_CHECK;

static inline bool gp_rcu_grace_over(const struct gp_rcu_grace *g, uint64_t stamp)
{
	// pairs with the release in gp_rcu_grace_turn: readers have left before the reuse
	return atomic_load_explicit(&g->passed, memory_order_acquire) >= stamp;
}

#endif
