// SPDX-License-Identifier: BSD-3-Clause
//
// Live progress on stderr: on a terminal one line that is rewritten twice a second, else one line
// every 2 s; or one JSON object every 2 s. With --progress-steps every so many steps instead.
#ifndef GW_PROGRESS_H
#define GW_PROGRESS_H

#include "options.h"

#include <stdbool.h>
#include <stdint.h>

struct gw_progress {
	enum gw_progress_kind kind;
	bool is_tty;
	bool is_open; // a line on the terminal without its end
	uint32_t rank;
	uint32_t batch; // samples of a step
	uint32_t every; // steps; 0: by time
	uint64_t last_ns;
	uint32_t last_step;
	uint64_t last_bytes;
};

// What is known after a step. Bytes are those sent and received since the start.
struct gw_progress_now {
	uint32_t step;
	uint32_t steps_end; // UINT32_MAX: open
	double loss;
	uint64_t bytes;
	uint64_t retransmits;
};

void gw_progress_init(struct gw_progress *p, const struct gw_options *opts, uint32_t step);
// Prints if it is time to. Cheap otherwise.
void gw_progress_step(struct gw_progress *p, const struct gw_progress_now *now);
// Ends the line on the terminal.
void gw_progress_fini(struct gw_progress *p);
// A worker that took no step ends as one that did; says why.
void gw_idle_tell(const struct gw_options *opts, uint32_t own_steps, uint32_t step);

#endif
