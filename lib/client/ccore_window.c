// SPDX-License-Identifier: BSD-3-Clause
//
// How many datagrams may be in flight to one core of the server. Its credit is the limit: it keeps
// the receiving queue from running over. Within that the window follows the delay, as in Swift
// (Kumar et al., SIGCOMM 2020, 3.1): it grows by one in a round trip while the delay is below the
// target, and shrinks by at most half, once in a round trip, in proportion to how far the delay is
// above it. Losses do not shrink it: they are repaired, and where queues are the cause they are
// long before they are full.
//
// The target is a round trip through empty queues, the shortest of the last ten seconds, once more
// and a slack for programs that wait for their turn on a CPU.
#include "ccore_priv.h"

#define WINDOW_MIN    4
#define WINDOW_UNIT   256 // parts of a datagram
#define DELAY_SLACK   (2 * MS)
#define BASE_LIFETIME UINT64_C(10000000000)

void cc_window_start(struct cc_window *w, uint32_t credit)
{
	*w = (struct cc_window){.size = credit * WINDOW_UNIT, .limit = credit * WINDOW_UNIT};
}

uint32_t cc_window_size(const struct cc_window *w)
{
	return w->size / WINDOW_UNIT;
}

// The shortest of this period and the one before.
static uint64_t base_update(struct cc_window *w, uint64_t rtt, uint64_t now)
{
	if (w->base == 0 || now - w->base_since > BASE_LIFETIME) {
		w->base_before = w->base == 0 ? rtt : w->base;
		w->base = rtt;
		w->base_since = now;
	}
	w->base = GP_MIN(w->base, rtt);
	return GP_MIN(w->base, w->base_before);
}

void cc_window_sample(struct cc_window *w, uint64_t rtt, uint64_t now)
{
	uint64_t target = 2 * base_update(w, rtt, now) + DELAY_SLACK;
	if (rtt <= target) {
		uint32_t more = WINDOW_UNIT * WINDOW_UNIT / GP_MAX(w->size, WINDOW_UNIT);
		w->size = GP_MIN(w->size + GP_MAX(more, 1), w->limit);
		return;
	}
	if (now - w->shrunk_at < rtt)
		return;
	w->shrunk_at = now;
	uint64_t over = (rtt - target) * 4 / 5;
	uint64_t less = GP_MIN(w->size * over / rtt, w->size / 2);
	uint32_t least = GP_MIN(WINDOW_MIN * WINDOW_UNIT, w->limit);
	w->size = GP_MAX(w->size - (uint32_t)less, least);
}
