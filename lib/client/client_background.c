// SPDX-License-Identifier: BSD-3-Clause
//
// The thread that does a client's I/O while its owner computes. Client and core have one user at a
// time: a call of the owner takes the lock and keeps it until it returns; the thread takes a turn
// under the lock and waits for arrivals without it. Callers go first: the thread does not take the
// lock while one waits for it.
#include "client_priv.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define SLEEP_MAX (100 * NS_PER_MS)

struct client_background {
	struct gp_client *c;
	pthread_t thread;
	pthread_mutex_t lock;
	_Atomic uint32_t callers; // that hold the lock or wait for it
	_Atomic bool stop;
	int wake; // eventfd: a call has ended, or stop
};

// Until a datagram arrives, a call ends, or `until`.
static void background_sleep(
	struct client_background *b, struct pollfd *fds, uint32_t count, uint64_t until)
{
	uint64_t now = client_now(), seen;
	uint64_t left = until > now ? GP_MIN(until - now, SLEEP_MAX) : 0;
	const struct timespec t = {.tv_sec = 0, .tv_nsec = (long)left};
	fds[count] = (struct pollfd){.fd = b->wake, .events = POLLIN};
	(void)ppoll(fds, count + 1, &t, NULL);
	(void)!read(b->wake, &seen, sizeof(seen));
}

static void *background_run(void *arg)
{
	struct client_background *b = arg;
	struct pollfd fds[GP_CCORE_LANES_MAX + 1];
	while (!atomic_load_explicit(&b->stop, memory_order_acquire)) {
		uint32_t count = 0;
		uint64_t until = UINT64_MAX;
		if (atomic_load_explicit(&b->callers, memory_order_relaxed) == 0) {
			pthread_mutex_lock(&b->lock);
			// A session that has ended is for the owner's next call to look at.
			if (!b->c->lost && !gp_ccore_error(b->c->core)) {
				until = client_turn(b->c);
				count = client_fds(b->c, fds, &until);
			}
			pthread_mutex_unlock(&b->lock);
		}
		background_sleep(b, fds, count, until);
	}
	return NULL;
}

static void background_free(struct client_background *b)
{
	pthread_mutex_destroy(&b->lock);
	if (b->wake >= 0)
		close(b->wake);
	free(b);
}

int gp_client_background(struct gp_client *c, struct gp_client_error *err)
{
	if (c->background)
		return client_error(err, -EALREADY, "the client has its thread already");
	struct client_background *b = calloc(1, sizeof(*b));
	if (!b)
		return client_error(err, -ENOMEM, "no memory for the client's thread");
	b->c = c;
	pthread_mutex_init(&b->lock, NULL);
	b->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	int rc = b->wake < 0 ? errno : pthread_create(&b->thread, NULL, background_run, b);
	if (rc) {
		background_free(b);
		return client_error(err, -rc, "the client's thread: %s", strerror(rc));
	}
	c->background = b;
	return 0;
}

static void background_wake(struct client_background *b)
{
	const uint64_t one = 1;
	(void)!write(b->wake, &one, sizeof(one));
}

void client_background_end(struct gp_client *c)
{
	struct client_background *b = c->background;
	if (!b)
		return;
	c->background = NULL;
	// Pairs with the acquire in background_run.
	atomic_store_explicit(&b->stop, true, memory_order_release);
	background_wake(b);
	pthread_join(b->thread, NULL);
	background_free(b);
}

struct client_background *client_enter(const struct gp_client *c)
{
	struct client_background *b = c->background;
	if (!b)
		return NULL;
	atomic_fetch_add_explicit(&b->callers, 1, memory_order_relaxed);
	pthread_mutex_lock(&b->lock);
	return b;
}

void client_leave(struct client_background **held)
{
	struct client_background *b = *held;
	if (!b)
		return;
	atomic_fetch_sub_explicit(&b->callers, 1, memory_order_relaxed);
	pthread_mutex_unlock(&b->lock);
	background_wake(b);
}
