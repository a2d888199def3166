// SPDX-License-Identifier: BSD-3-Clause
//
// A made-up train job in memory, whose commits a feeder ships to a follower.
#ifndef REPLICATION_RIG_H
#define REPLICATION_RIG_H

#include <gp_base.h>

enum replication_wire { REPLICATION_MEMORY, REPLICATION_TCP, REPLICATION_TLS };

struct replication_opts {
	uint32_t table_mb; // parameters
	uint32_t mtu;
	uint32_t steps; // after the base and two more, which are not measured
	uint32_t states;
	bool blocks; // atomicity block, else step
	bool digest; // of every step
	enum replication_wire wire;
	const char *tls; // folder of certificates
};

struct replication_result {
	uint64_t bytes; // values and state that were committed
	uint64_t wall_ns;
	uint64_t primary_ns, backup_ns; // CPU time
};

// 0, or -errno after a line on stderr.
int replication_run(const struct replication_opts *o, struct replication_result *out) GP_MUST_CHECK;

#endif
