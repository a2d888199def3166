// SPDX-License-Identifier: BSD-3-Clause
//
// Writes down what the flight recorder of an engine holds (gp_engine_config.flight_cells), with
// what a replay needs: the configuration as text, layouts, sessions, and every ring. The format is
// that of gp_flight.h; gp_replay.h reads it.
//
// Any thread that may dereference (registered with lib/rcu and online, or beside cores that no
// longer run), while the cores run. Async-signal-safe as far as the sink is, about 9 KiB of stack,
// so that the hook of a failed assertion may call it.
#ifndef GP_FLIGHT_DUMP_H
#define GP_FLIGHT_DUMP_H

#include <gp_engine.h>
#include <gp_flight.h>

enum gp_flight_cause { GP_FLIGHT_BY_COMMAND, GP_FLIGHT_BY_SIGNAL, GP_FLIGHT_BY_ASSERT };

struct gp_flight_reason {
	uint32_t cause;	     // enum gp_flight_cause
	uint64_t now;	     // of the engine's clock
	uint64_t wall;	     // seconds since 1970
	const char *version; // of the program
	const char *text;    // what failed, "" otherwise
	const char *config;  // embedded; may be NULL
};

// 0 or the error of the sink.
int gp_engine_flight_dump(const struct gp_engine *e, const struct gp_flight_sink *sink,
	const struct gp_flight_reason *why) GP_MUST_CHECK;

#endif
