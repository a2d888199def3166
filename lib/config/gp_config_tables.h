// SPDX-License-Identifier: BSD-3-Clause
//
// Tables of embed jobs in the configuration. Part of gp_config.h, which see.
#ifndef GP_CONFIG_TABLES_H
#define GP_CONFIG_TABLES_H

#include <gp_base.h>

#define GP_CONFIG_TABLES_MAX 8 // of a job
#define GP_CONFIG_NAME_SIZE  64

enum gp_table_type { GP_TABLE_F32, GP_TABLE_BF16 };
enum gp_table_initial { GP_INITIAL_ZEROS, GP_INITIAL_UNIFORM, GP_INITIAL_NORMAL };
enum gp_eviction { GP_EVICTION_NONE, GP_EVICTION_AGE, GP_EVICTION_STEP };

// A table of sparse rows.
struct gp_config_table {
	char name[GP_CONFIG_NAME_SIZE];
	uint32_t dim;
	enum gp_table_type type;
	uint32_t rows_max; // on all cores
	enum gp_table_initial initial;
	float initial_scale;
	uint32_t seed;
	enum gp_eviction eviction;
	uint32_t evict_after; // commits; eviction age
	bool evict_reads;     // pulls count too
	uint32_t optimizer;   // 0: the job's; else 1 + enum gp_optimizer
	float lr;	      // 0: the job's
	uint32_t kept;	      // percent of rows_max: copies for generations that are read
};

// Every field with a default gets it.
void gp_config_table_init(struct gp_config_table *t);

#endif
