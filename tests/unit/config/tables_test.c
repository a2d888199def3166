// SPDX-License-Identifier: BSD-3-Clause
//
// Embed jobs: what their tables are, what is refused, and the memory that they are reckoned to
// take.
#include "config_test.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <gp_capacity.h>
#include <gp_kept.h>
#include <gp_rows.h>
#include <stdlib.h>

static struct gp_config config, again;
static struct gp_capacity cap;
static char err[GP_CONFIG_ERROR_SIZE];

// Keys of the job begin in line 6 column 6; those of the first table in line 7 column 17.
#define EMBED(keys, tables)                                                                        \
	NODE_OK PORT_OK ADDRESS_OK                                                                 \
		"jobs:\n  - {name: j, id: 1, kind: embed, workers: 2, optimizer: {lr: 1},\n"       \
		"     consistency: asp, " keys "\n     tables: [" tables "]}\n"
#define TABLE_OK "{name: t, dim: 16, rows_max: 1000}"

Test(tables, defaults_and_every_key)
{
	cr_assert_eq(text_parse(EMBED("", TABLE_OK ","
						   "{name: u, dim: 3, rows_max: 7, type: bf16, "
						   "initial: normal, initial_scale: 0.5, seed: 9, "
						   "eviction: age, evict_after: 5, kept: 100}"),
			     &config, err),
		0, "%s", err);
	const struct gp_config_job *j = &config.jobs[0];
	const struct gp_config_table *t = &j->tables[0], *u = &j->tables[1];
	cr_assert(j->kind == GP_JOB_EMBED && j->atomicity == GP_ATOMICITY_STEP);
	cr_assert(j->tables_count == 2 && j->push_max == 256 << 10 && !j->deterministic);
	cr_assert_str_eq(t->name, "t");
	cr_assert(t->dim == 16 && t->rows_max == 1000 && t->type == GP_TABLE_F32);
	cr_assert(t->initial == GP_INITIAL_ZEROS && t->seed == 1 && t->kept == 25);
	cr_assert(t->eviction == GP_EVICTION_NONE && t->evict_after == 0);
	cr_assert_str_eq(u->name, "u");
	cr_assert(u->dim == 3 && u->rows_max == 7 && u->type == GP_TABLE_BF16 && u->seed == 9);
	cr_assert(u->initial == GP_INITIAL_NORMAL && u->initial_scale == 0.5f && u->kept == 100);
	cr_assert(u->eviction == GP_EVICTION_AGE && u->evict_after == 5);
}

Test(tables, what_is_printed_loads_to_the_same)
{
	char *text = NULL;
	size_t len = 0;
	cr_assert_eq(text_parse(EMBED("staleness: {lr: true}, ",
					TABLE_OK ",{name: u, dim: 3, rows_max: 7, eviction: age, "
						 "evict_after: 5}"),
			     &config, err),
		0, "%s", err);
	FILE *f = open_memstream(&text, &len);
	gp_config_print(f, &config);
	fclose(f);
	cr_assert_eq(text_parse(text, &again, err), 0, "%s\n%s", err, text);
	cr_assert_arr_eq(&config, &again, sizeof(config));
	free(text);
}

Test(tables, one_may_have_a_rule_and_a_rate_of_its_own)
{
	cr_assert_eq(
		text_parse(NODE_OK PORT_OK ADDRESS_OK
			"jobs:\n  - {name: j, id: 1, kind: embed, workers: 1, consistency: asp,\n"
			"     optimizer: {name: adam, lr: 1, beta1: 0.5, schedule: step, "
			"schedule_steps: 3},\n"
			"     tables: [{name: t, dim: 4, rows_max: 9}, {name: u, dim: 4, rows_max: "
			"9, lr: 2},\n"
			"       {name: v, dim: 4, rows_max: 9, optimizer: adamw, eviction: step,\n"
			"        evict_reads: true}]}\n",
			&config, err),
		0, "%s", err);
	const struct gp_config_job *j = &config.jobs[0];
	const struct gp_optim_params t = gp_config_table_optim(j, &j->tables[0]),
				     u = gp_config_table_optim(j, &j->tables[1]),
				     v = gp_config_table_optim(j, &j->tables[2]);
	cr_assert(t.kind == GP_OPTIM_ADAM && t.lr == 1 && t.beta1 == 0.5f);
	cr_assert(u.kind == GP_OPTIM_ADAM && u.lr == 2 && u.beta1 == 0.5f);
	cr_assert(v.kind == GP_OPTIM_ADAMW && v.lr == 1 && v.beta1 == 0.9f);
	cr_assert(v.weight_decay == 0.01f && v.schedule.kind == GP_OPTIM_STEP);
	cr_assert(j->tables[2].evict_reads && !j->tables[0].evict_reads);
}

Test(tables, each_optimizer_of_rows)
{
	cr_assert_eq(text_parse(EMBED("optimizer: {name: rowwise_adagrad, lr: 1}, ", TABLE_OK),
			     &config, err),
		-EINVAL); // optimizer is given twice
	cr_assert_eq(text_parse(NODE_OK PORT_OK ADDRESS_OK
			     "jobs:\n  - {name: j, id: 1, kind: embed, workers: 1, consistency: "
			     "asp,\n     optimizer: {lr: 1, name: rowwise_adagrad}, "
			     "tables: [" TABLE_OK "]}\n",
			     &config, err),
		0, "%s", err);
	cr_assert_eq(config.jobs[0].optimizer.epsilon, 1e-10f);
	cr_assert_eq(gp_config_optim(&config.jobs[0].optimizer).kind, GP_OPTIM_ROWWISE_ADAGRAD);
}

#define SYNC(keys)                                                                                 \
	NODE_OK PORT_OK ADDRESS_OK "leadership: {kind: manual}\n"                                  \
				   "replica: {mode: sync, listen: '127.0.0.1:1'}\n"                \
				   "jobs:\n  - {name: j, id: 1, kind: embed, workers: 2,\n"        \
				   "     consistency: asp, optimizer: {lr: 1}, memory_max: 1MiB, " \
				   "tables: [\n{name: t, dim: 1, " keys "}]}\n"

static const struct {
	const char *text;
	const char *error;
} refusals[] = {
	{EMBED("", ""), "t.yaml:7:6: jobs[0].tables: is missing; kind embed needs a table"},
	{EMBED("", "{dim: 1, rows_max: 1}"), "t.yaml:7:15: jobs[0].tables[0].name: is missing"},
	{EMBED("", TABLE_OK ", {name: u, dim: 0, rows_max: 1}"),
		"t.yaml:7:66: jobs[0].tables[1].dim: 0 is out of range 1..2304"},
	{EMBED("", "{name: t, dim: 333, rows_max: 1}"),
		"t.yaml:7:25: jobs[0].tables[0].dim: 333: a datagram at port.mtu 1500 carries rows "
		"of at most 332 values; lower it, or raise port.mtu"},
	{EMBED("", "{name: t, dim: 1, rows_max: 1, initial_scale: 1}"),
		"t.yaml:7:46: jobs[0].tables[0].initial_scale: is for initial uniform and normal; "
		"this table's is zeros"},
	{EMBED("", "{name: t, dim: 1, rows_max: 1, initial: zeros, initial_scale: 1}"),
		"t.yaml:7:62: jobs[0].tables[0].initial_scale: is for initial uniform and normal"},
	{EMBED("", TABLE_OK "," TABLE_OK),
		"t.yaml:7:51: jobs[0].tables[1].name: t is also the name of tables[0]"},
	{EMBED("", "{name: t, dim: 1, rows_max: 1, dims: 1}"),
		"t.yaml:7:46: jobs[0].tables[0].dims: unknown key; did you mean dim?"},
	{EMBED("", "{name: t, dim: 1, rows_max: 1, eviction: age}"),
		"t.yaml:7:15: jobs[0].tables[0].evict_after: is missing; eviction age needs it"},
	{EMBED("", "{name: t, dim: 1, rows_max: 1, evict_after: 3}"),
		"t.yaml:7:46: jobs[0].tables[0].evict_after: is for eviction age"},
	{EMBED("", "{name: t, dim: 1, rows_max: 1, evict_reads: true}"),
		"t.yaml:7:46: jobs[0].tables[0].evict_reads: is for eviction age and step"},
	{EMBED("", "{name: t, dim: 1, rows_max: 1, optimizer: momentum},"
		   "{name: u, dim: 1, rows_max: 1, optimizer: rowwise_adagrad},"
		   "{name: v, dim: 1, rows_max: 1, optimizer: adam},"
		   "{name: w, dim: 1, rows_max: 1, optimizer: ftrl}"),
		"t.yaml:7:6: jobs[0].tables: the optimizers of all tables keep 6 arrays of state; "
		"snapshots have room for 5"},
	{EMBED("", "{name: t, dim: 1, rows_max: 1, optimizer: lamb}"),
		"t.yaml:7:57: jobs[0].tables[0].optimizer: lamb is not one of"},
	{EMBED("", TABLE_OK "," TABLE_OK "," TABLE_OK "," TABLE_OK "," TABLE_OK "," TABLE_OK
			    "," TABLE_OK "," TABLE_OK "," TABLE_OK),
		"t.yaml:7:295: jobs[0].tables: has more than 8 items"},
	{EMBED("", "t"), "t.yaml:7:15: jobs[0].tables[0]: is a single value, not a mapping"},
	{EMBED("mean: true,", TABLE_OK), "t.yaml:6:24: jobs[0].mean: is not for kind embed"},
	{EMBED("norm_max: 1,", TABLE_OK), "t.yaml:6:24: jobs[0].norm_max: is not for kind embed"},
	{EMBED("tensors_max: 1,", TABLE_OK), "t.yaml:6:24: jobs[0].tensors_max: is not for kind"},
	{EMBED("staleness: {max: 1},", TABLE_OK),
		"t.yaml:6:36: jobs[0].staleness.max: is not for kind embed"},
	{NODE_OK PORT_OK ADDRESS_OK
		"jobs:\n  - {name: j, id: 1, kind: embed, workers: 2, consistency: asp,\n"
		"     optimizer: {lr: 1, clip_norm: 1}, tables: [" TABLE_OK "]}\n",
		"t.yaml:6:25: jobs[0].optimizer.clip_norm: is not for kind embed"},
	{EMBED("nonfinite: zero,", TABLE_OK), "t.yaml:6:24: jobs[0].nonfinite: zero is not for"},
	{EMBED("atomicity: block,", TABLE_OK),
		"t.yaml:6:24: jobs[0].atomicity: block is not for kind embed: a push is the unit"},
	{NODE_OK PORT_OK ADDRESS_OK "jobs:\n  - {name: j, id: 1, kind: embed, workers: 2,\n"
				    "     optimizer: {lr: 1}, tables: [" TABLE_OK "]}\n",
		"t.yaml:5:5: jobs[0].consistency: bsp is not for kind embed, which takes ssp, asp"},
	{NODE_OK PORT_OK ADDRESS_OK
		"jobs:\n  - {name: j, id: 1, kind: embed, workers: 2, consistency: asp,\n"
		"     tables: [" TABLE_OK "]}\n",
		"t.yaml:5:5: jobs[0].optimizer.lr: is missing; kind embed needs it"},
	{NODE_OK PORT_OK ADDRESS_OK "jobs:\n  - {name: j, id: 1, kind: train, workers: 2,\n"
				    "     optimizer: {lr: 1}, tables: [" TABLE_OK "]}\n",
		"t.yaml:6:26: jobs[0].tables: is for kind embed; this job is of kind train"},
	{NODE_OK PORT_OK ADDRESS_OK "jobs:\n  - {name: j, id: 1, kind: train, workers: 2,\n"
				    "     optimizer: {lr: 1}, push_max: 1MiB}\n",
		"t.yaml:6:26: jobs[0].push_max: is for kind embed; this job is of kind train"},
	{NODE_OK PORT_OK ADDRESS_OK "jobs:\n  - {name: j, id: 1, kind: train, workers: 2,\n"
				    "     optimizer: {lr: 1, name: rowwise_adagrad}}\n",
		"t.yaml:6:25: jobs[0].optimizer.name: rowwise_adagrad keeps one number for a row"},
	{SYNC("rows_max: 1100000000"), "t.yaml:9:19: jobs[0].tables[0].rows_max: 1100000000: with "
				       "replica.mode sync a table has"},
	{SYNC("rows_max: 900000000, kept: 300"),
		"t.yaml:9:40: jobs[0].tables[0].kept: 300: with replica.mode sync a table has"},
};

Test(tables, refusals)
{
	for (size_t i = 0; i < GP_ARRAY_SIZE(refusals); i++) {
		int rc = text_parse(refusals[i].text, &config, err);
		cr_expect_eq(rc, -EINVAL, "accepted:\n%s", refusals[i].text);
		cr_expect_eq(strncmp(err, refusals[i].error, strlen(refusals[i].error)), 0,
			"seen     %s\nexpected %s", err, refusals[i].error);
	}
}

// The proof is at least what lib/table takes, and hardly more.
Test(tables, memory_is_what_they_take)
{
	static const uint64_t rows[] = {1, 100, 1736, 1737, 40000, 1000000};
	cr_assert_eq(text_parse(EMBED("", TABLE_OK), &config, err), 0, "%s", err);
	struct gp_config_job *j = &config.jobs[0];
	struct gp_config_table *t = &j->tables[0];
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(rows) * 12; i++) {
		t->rows_max = (uint32_t)rows[i / 12];
		t->dim = i % 3 == 0 ? 1 : i % 3 == 1 ? 16 : 301;
		t->type = i % 2 ? GP_TABLE_BF16 : GP_TABLE_F32;
		t->evict_reads = i % 5 == 0;
		j->optimizer.name = i % 12 < 6 ? GP_OPTIMIZER_FTRL : GP_OPTIMIZER_ROWWISE_ADAGRAD;
		const struct gp_rows_config r = {.rows_max = t->rows_max,
			.dim = t->dim,
			.bf16 = t->type == GP_TABLE_BF16,
			.optim = gp_config_optim(&j->optimizer),
			.reads = t->evict_reads};
		const struct gp_kept_config k = {
			.copies_max = GP_MAX(t->rows_max * t->kept / 100, 1),
			.floats = t->dim + gp_optim_row_state(r.optim.kind, t->dim)};
		uint64_t taken = gp_rows_size(&r) + gp_kept_size(&k);
		uint64_t proof = gp_config_table_bytes(j, t, 1, false);
		cr_assert_geq(proof, taken, "%u rows of %u", t->rows_max, t->dim);
		cr_assert_leq(proof - taken, taken / 50 + 65536, "%u rows of %u: %lu, not %lu",
			t->rows_max, t->dim, proof, taken);
	}
}

// With a replica that holds every push there is room for another node's rows, and for copies.
Test(tables, a_synchronous_replica_costs_memory)
{
	cr_assert_eq(text_parse(NODE_OK PORT_OK ADDRESS_OK
			     "leadership: {kind: manual}\n"
			     "replica: {mode: sync, listen: '127.0.0.1:1'}\n"
			     "jobs:\n  - {name: j, id: 1, kind: embed, workers: 2, "
			     "consistency: asp, optimizer: {lr: 1}, tables: [" TABLE_OK "]}\n",
			     &config, err),
		0, "%s", err);
	const struct gp_config_job *j = &config.jobs[0];
	uint64_t alone = gp_config_table_bytes(j, &j->tables[0], 2, false);
	uint64_t sync = gp_config_table_bytes(j, &j->tables[0], 2, true);
	cr_assert_gt(sync, alone);
}

Test(tables, memory_is_proved)
{
	cr_assert_eq(
		text_parse(EMBED("memory_max: 16MiB, ", TABLE_OK), &config, err), 0, "%s", err);
	cr_assert_eq(gp_config_capacity(&config, &cap), 0);
	config.jobs[0].tables[0].rows_max = 300000;
	cr_assert_eq(gp_config_capacity(&config, &cap), -ENOSPC);
	uint32_t failed = 0;
	for (uint32_t i = 0; i < cap.rows_count; i++)
		failed += !cap.rows[i].ok && strcmp(cap.rows[i].what, "memory of job j") == 0;
	cr_assert_eq(failed, 1);
	config.jobs[0].memory_max = 64 << 20;
	cr_assert_eq(gp_config_capacity(&config, &cap), 0);
	config.jobs[0].push_max = 32 << 20;
	cr_assert_eq(gp_config_capacity(&config, &cap), -ENOSPC);
}
