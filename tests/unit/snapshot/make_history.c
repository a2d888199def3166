// SPDX-License-Identifier: BSD-3-Clause
//
// make_history DIRECTORY FIRST LAST LEVEL: the snapshots of these steps, each built on the one
// before where that costs less.
#include "chain.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
	if (argc != 5)
		return 2;
	uint32_t first = (uint32_t)strtoul(argv[2], NULL, 10),
		 last = (uint32_t)strtoul(argv[3], NULL, 10);
	for (uint32_t step = first; step <= last; step++) {
		bool incremental;
		struct gp_snapshot_error err;
		int rc = chain_try(argv[1], step, step > first ? step - 1 : 0,
			(uint32_t)strtoul(argv[4], NULL, 10), &incremental, &err);
		if (rc != 0) {
			fprintf(stderr, "%s\n", err.text);
			return 1;
		}
	}
	return 0;
}
