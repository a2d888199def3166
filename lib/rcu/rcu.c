// SPDX-License-Identifier: BSD-3-Clause
#include <gp_rcu.h>

#include <urcu/urcu-qsbr.h>

#if defined(__SANITIZE_THREAD__)
#define GP_RCU_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define GP_RCU_TSAN 1
#endif
#endif

#ifdef GP_RCU_TSAN
// liburcu is not instrumented: these two tell the sanitizer of the edge that a grace period makes.
void __tsan_acquire(void *addr);
void __tsan_release(void *addr);
static char grace_edge;
#define EDGE_FROM_READER() __tsan_release(&grace_edge)
#define EDGE_TO_WRITER()   __tsan_acquire(&grace_edge)
#else
#define EDGE_FROM_READER() ((void)0)
#define EDGE_TO_WRITER()   ((void)0)
#endif

void gp_rcu_register_thread(void)
{
	urcu_qsbr_register_thread();
}

void gp_rcu_unregister_thread(void)
{
	EDGE_FROM_READER();
	urcu_qsbr_unregister_thread();
}

void gp_rcu_offline(void)
{
	EDGE_FROM_READER();
	urcu_qsbr_thread_offline();
}

void gp_rcu_online(void)
{
	urcu_qsbr_thread_online();
}

void gp_rcu_quiescent(void)
{
	EDGE_FROM_READER();
	urcu_qsbr_quiescent_state();
}

void gp_rcu_synchronize(void)
{
	EDGE_FROM_READER();
	urcu_qsbr_synchronize_rcu();
	EDGE_TO_WRITER();
}

void gp_rcu_grace_turn(struct gp_rcu_grace *g)
{
	gp_rcu_synchronize();
	uint64_t passed = atomic_load_explicit(&g->passed, memory_order_relaxed);
	// pairs with the acquire in gp_rcu_grace_over
	atomic_store_explicit(&g->passed, passed + 1, memory_order_release);
	// The count is visible before the next period begins: pairs with the fence in
	// gp_rcu_grace_stamp.
	atomic_thread_fence(memory_order_seq_cst);
}

uint64_t gp_rcu_grace_stamp(const struct gp_rcu_grace *g)
{
	// The replacement is visible before the count is read. Either the period under way began
	// after it, or its predecessor's count is seen here.
	atomic_thread_fence(memory_order_seq_cst);
	return atomic_load_explicit(&g->passed, memory_order_relaxed) + 2;
}
