// SPDX-License-Identifier: BSD-3-Clause
//
// rows_worker SERVER JOB FROM TO: the one worker of an embed job with tables a (dim 4), b (dim 3)
// and c (dim 2): pushes gradients that depend on the step alone, of steps FROM to TO, and prints
// the rows as the last step left them. Exit 0, or 1 with what failed.
#include <gp_client.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define TABLES	   3
#define IDS	   5
#define DIM_MAX	   4
#define TIMEOUT_MS 30000

static const char *const names[TABLES] = {"a", "b", "c"};
static const uint32_t dims[TABLES] = {4, 3, 2};
static const uint64_t ids[IDS] = {1, 7, 1000, UINT64_C(1) << 40, 99};

static int failed(const struct gp_client_error *err)
{
	printf("rows_worker: %s\n", err->text);
	return 1;
}

static int step_push(struct gp_client *c, uint32_t step, struct gp_client_error *err)
{
	float grad[TABLES][IDS * DIM_MAX];
	struct gp_client_rows rows[TABLES];
	for (uint32_t t = 0; t < TABLES; t++) {
		for (uint32_t i = 0; i < IDS * dims[t]; i++)
			grad[t][i] = (float)((step * 7 + i * 3 + t) % 11) - 4.5f;
		rows[t] = (struct gp_client_rows){
			.table = t, .count = IDS, .ids = ids, .values = grad[t]};
	}
	int rc = gp_client_push_rows(c, rows, TABLES, err);
	return rc ? rc : gp_client_wait(c, TIMEOUT_MS, err);
}

static int rows_print(struct gp_client *c, struct gp_client_error *err)
{
	float values[TABLES][IDS * DIM_MAX];
	struct gp_client_rows rows[TABLES];
	for (uint32_t t = 0; t < TABLES; t++)
		rows[t] = (struct gp_client_rows){
			.table = t, .count = IDS, .ids = ids, .values = values[t]};
	int rc = gp_client_pull_rows(c, rows, TABLES, NULL, TIMEOUT_MS, err);
	for (uint32_t t = 0; rc == 0 && t < TABLES; t++)
		for (uint32_t i = 0; i < IDS * dims[t]; i++)
			printf("%s %u %a\n", names[t], i, (double)values[t][i]);
	return rc;
}

int main(int argc, char **argv)
{
	struct gp_client_tensor tables[TABLES];
	struct gp_client *c = NULL;
	struct gp_client_error err = {0};
	if (argc != 5)
		return 1;
	const struct gp_client_opts how = {.server = argv[1], .job = argv[2], .world = 1};
	for (uint32_t t = 0; t < TABLES; t++) {
		tables[t] = (struct gp_client_tensor){.dims_count = 1};
		snprintf(tables[t].name, sizeof(tables[t].name), "%s", names[t]);
		tables[t].dims[0] = dims[t];
	}
	int rc = gp_client_create(&c, &how, &err);
	if (rc == 0)
		rc = gp_client_register(c, tables, TABLES, TIMEOUT_MS, &err);
	for (long s = strtol(argv[3], NULL, 10), end = strtol(argv[4], NULL, 10);
		rc == 0 && s <= end; s++)
		rc = step_push(c, (uint32_t)s, &err);
	if (rc == 0)
		rc = rows_print(c, &err);
	gp_client_destroy(c);
	return rc ? failed(&err) : 0;
}
