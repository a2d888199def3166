// SPDX-License-Identifier: BSD-3-Clause
//
// One server and its workers in one process and one thread, on virtual time: the production engine
// and client objects over the simulated network. A history follows from its options alone.
#ifndef SIM_CLUSTER_H
#define SIM_CLUSTER_H

#include "model.h"

#include <stddef.h>
#include <stdint.h>

#define CLUSTER_WHY_SIZE 400

struct cluster_opts {
	uint64_t seed;
	uint32_t workers;
	uint32_t cores;
	uint32_t steps;
	uint32_t elems_max; // of a tensor
	bool train;
	uint8_t atomicity;
	uint8_t codec;
	uint32_t slots;
	uint32_t window;
	uint32_t ring_size;
	uint32_t mtu; // IP
	uint32_t cut_interval;
	uint32_t loss_ppm, duplicate_ppm, reorder_ppm, corrupt_ppm;
	uint32_t kill_ppm; // of a worker, per step of it; it comes back as a new incarnation
	bool trace;
};

struct cluster_result {
	bool ok;
	char why[CLUSTER_WHY_SIZE];
	uint64_t datagrams;
	uint64_t virtual_ns;
	uint64_t hash; // of what every worker held after every step
	uint64_t retransmits;
	uint64_t kills;
	uint64_t cuts;
};

// Options of the history that a seed names.
void cluster_opts_of_seed(struct cluster_opts *o, uint64_t seed, uint32_t steps);
void cluster_run(const struct cluster_opts *o, struct cluster_result *r);

#endif
