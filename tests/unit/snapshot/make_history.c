// SPDX-License-Identifier: BSD-3-Clause
//
// make_history DIRECTORY FIRST LAST LEVEL [tables]: the snapshots of these steps, each built on the
// one before where that costs less; of chain.c, or of tables.c.
#include "chain.h"
#include "tables.h"

#include <stdio.h>
#include <stdlib.h>

static int tables_try(const char *dir, uint32_t step, uint32_t base, uint32_t level,
	bool *incremental, struct gp_snapshot_error *err)
{
	struct tables s;
	tables_init(&s, step, false);
	return tables_write(dir, &s, base, level, incremental, err);
}

int main(int argc, char **argv)
{
	bool tables = argc == 6 && strcmp(argv[5], "tables") == 0;
	if (argc != 5 && !tables)
		return 2;
	uint32_t first = (uint32_t)strtoul(argv[2], NULL, 10),
		 last = (uint32_t)strtoul(argv[3], NULL, 10);
	for (uint32_t step = first; step <= last; step++) {
		bool incremental;
		struct gp_snapshot_error err;
		uint32_t base = step > first ? step - 1 : 0;
		uint32_t level = (uint32_t)strtoul(argv[4], NULL, 10);
		int rc = (tables ? tables_try : chain_try)(
			argv[1], step, base, level, &incremental, &err);
		if (rc != 0) {
			fprintf(stderr, "%s\n", err.text);
			return 1;
		}
	}
	return 0;
}
