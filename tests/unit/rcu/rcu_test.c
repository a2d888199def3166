// SPDX-License-Identifier: BSD-3-Clause
#include <criterion/criterion.h>

#include <gp_rcu.h>

#include <pthread.h>
#include <sched.h>
#include <time.h>

#define READERS	   2
#define WORDS	   64
#define OBJECTS	   8
#define SWAPS	   2000
#define READS_MIN  2000
#define POISON	   UINT64_C(0xdeaddeaddeaddead)
#define DEADLINE_S 60

struct object {
	_Atomic uint64_t words[WORDS]; // all equal while published; POISON while nobody may look
};

struct shared {
	struct object objects[OBJECTS];
	_Atomic(struct object *) current;
	struct gp_rcu_grace grace;
	_Atomic bool stop;
	_Atomic uint64_t reads;
	_Atomic uint64_t wrong;
	_Atomic uint32_t ready;
};

static void object_fill(struct object *o, uint64_t value)
{
	for (int i = 0; i < WORDS; i++)
		atomic_store_explicit(&o->words[i], value, memory_order_relaxed);
}

static bool object_is_whole(struct object *o)
{
	uint64_t first = atomic_load_explicit(&o->words[0], memory_order_relaxed);
	for (int i = 1; i < WORDS; i++)
		if (atomic_load_explicit(&o->words[i], memory_order_relaxed) != first)
			return false;
	return first != POISON;
}

static void *reader(void *arg)
{
	struct shared *s = arg;
	gp_rcu_register_thread();
	atomic_fetch_add(&s->ready, 1);
	for (uint32_t n = 0; !atomic_load(&s->stop); n++) {
		gp_rcu_read_lock();
		struct object *o = gp_rcu_dereference(&s->current);
		for (int again = 0; again < 4; again++) {
			if (!object_is_whole(o))
				atomic_fetch_add(&s->wrong, 1);
			sched_yield(); // a long section: the writer runs while o is in use
		}
		gp_rcu_read_unlock();
		atomic_fetch_add_explicit(&s->reads, 1, memory_order_relaxed);
		gp_rcu_quiescent();
		if (n % 64 == 0) {
			gp_rcu_offline();
			sched_yield();
			gp_rcu_online();
		}
	}
	gp_rcu_unregister_thread();
	return NULL;
}

static void *grace_turner(void *arg)
{
	struct shared *s = arg;
	while (!atomic_load(&s->stop))
		gp_rcu_grace_turn(&s->grace);
	return NULL;
}

static void readers_start(struct shared *s, pthread_t *threads)
{
	object_fill(&s->objects[0], 1);
	gp_rcu_publish(&s->current, &s->objects[0]);
	for (int i = 0; i < READERS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, reader, s), 0);
	while (atomic_load(&s->ready) < READERS)
		sched_yield();
}

static void readers_stop(struct shared *s, pthread_t *threads)
{
	atomic_store(&s->stop, true);
	for (int i = 0; i < READERS; i++)
		pthread_join(threads[i], NULL);
	cr_assert_gt(atomic_load(&s->reads), 0);
	cr_assert_eq(atomic_load(&s->wrong), 0, "a reader saw an object after its grace period");
}

Test(rcu, synchronize_waits_for_readers, .timeout = DEADLINE_S)
{
	static struct shared s;
	pthread_t threads[READERS];
	readers_start(&s, threads);
	for (uint64_t i = 1; i <= SWAPS || atomic_load(&s.reads) < READS_MIN; i++) {
		struct object *old = gp_rcu_dereference(&s.current);
		struct object *next = &s.objects[i % 2];
		object_fill(next, i + 1);
		gp_rcu_publish(&s.current, next);
		gp_rcu_synchronize();
		object_fill(old, POISON);
	}
	readers_stop(&s, threads);
}

// The owner never waits: it retires with a stamp and reuses the oldest object when its stamp is
// over.
Test(rcu, stamped_objects_are_reused_safely, .timeout = DEADLINE_S)
{
	static struct shared s;
	uint64_t stamps[OBJECTS] = {0};
	pthread_t threads[READERS], turner;
	readers_start(&s, threads);
	cr_assert_eq(pthread_create(&turner, NULL, grace_turner, &s), 0);
	for (uint64_t i = 1; i <= SWAPS || atomic_load(&s.reads) < READS_MIN;) {
		struct object *next = &s.objects[i % OBJECTS];
		if (!gp_rcu_grace_over(&s.grace, stamps[i % OBJECTS])) {
			sched_yield();
			continue;
		}
		object_fill(next, POISON);
		object_fill(next, i + 1);
		gp_rcu_publish(&s.current, next);
		stamps[(i - 1) % OBJECTS] = gp_rcu_grace_stamp(&s.grace);
		i++;
	}
	readers_stop(&s, threads);
	pthread_join(turner, NULL);
	cr_assert_gt(atomic_load(&s.grace.passed), 0);
}

static void *synchronizer(void *arg)
{
	struct shared *s = arg;
	gp_rcu_grace_turn(&s->grace);
	return NULL;
}

static uint64_t now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

Test(rcu, online_reader_holds_a_grace_period_back, .timeout = DEADLINE_S)
{
	static struct shared s;
	pthread_t thread;
	gp_rcu_register_thread();
	uint64_t stamp = gp_rcu_grace_stamp(&s.grace);
	cr_assert_eq(stamp, 2);
	cr_assert_eq(pthread_create(&thread, NULL, synchronizer, &s), 0);
	for (uint64_t end = now_ms() + 50; now_ms() < end;)
		cr_assert_eq(atomic_load(&s.grace.passed), 0);
	gp_rcu_quiescent();
	pthread_join(thread, NULL);
	cr_assert_eq(atomic_load(&s.grace.passed), 1);
	cr_assert(!gp_rcu_grace_over(&s.grace, stamp));

	gp_rcu_offline();
	gp_rcu_grace_turn(&s.grace);
	gp_rcu_online();
	cr_assert(gp_rcu_grace_over(&s.grace, stamp));
	gp_rcu_unregister_thread();
}
