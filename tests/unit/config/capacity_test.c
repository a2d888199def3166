// SPDX-License-Identifier: BSD-3-Clause
//
// Each row of the capacity proof at its edge: what just fits, and one more.
#include "config_test.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <gp_capacity.h>
#include <gp_table.h>
#include <stdlib.h>

static struct gp_config config;
static struct gp_capacity cap;
static char err[GP_CONFIG_ERROR_SIZE];

static const struct gp_capacity_row *row(const char *what)
{
	for (uint32_t i = 0; i < cap.rows_count; i++) {
		if (strcmp(cap.rows[i].what, what) == 0)
			return &cap.rows[i];
	}
	cr_assert_fail("no row %s", what);
	return NULL;
}

static void start(const char *text)
{
	cr_assert_eq(text_parse(text, &config, err), 0, "%s", err);
	cr_assert_eq(gp_config_capacity(&config, &cap), 0);
	cr_assert(cap.ok);
}

// The proof fails, and only in this row.
static void fails_in(const char *what)
{
	cr_assert_eq(gp_config_capacity(&config, &cap), -ENOSPC);
	cr_assert_not(cap.ok);
	for (uint32_t i = 0; i < cap.rows_count; i++)
		cr_expect_eq(cap.rows[i].ok, strcmp(cap.rows[i].what, what) != 0, "%s: %s",
			cap.rows[i].what, cap.rows[i].formula);
}

Test(capacity, every_file_in_conf_fits)
{
	DIR *dir = opendir(GP_CONF_DIR);
	cr_assert(dir);
	for (struct dirent *e; (e = readdir(dir));) {
		char path[512];
		size_t len = strlen(e->d_name);
		if (len < 6 || strcmp(e->d_name + len - 5, ".yaml") != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", GP_CONF_DIR, e->d_name);
		cr_assert_eq(gp_config_load(path, &config, err, sizeof(err)), 0, "%s", err);
		int rc = gp_config_capacity(&config, &cap);
		if (rc != 0)
			gp_capacity_print(stderr, &cap);
		cr_expect_eq(rc, 0, "%s", path);
	}
	closedir(dir);
}

Test(capacity, sessions)
{
	start(ALL_OK);
	config.limits.sessions = 2;
	cr_assert_eq(gp_config_capacity(&config, &cap), 0);
	config.limits.sessions = 1;
	fails_in("sessions");
}

Test(capacity, windows_take_three_quarters_of_a_queue)
{
	start(ALL_OK);
	config.port.rx_descriptors = 128;
	config.jobs[0].window = 48;
	cr_assert_eq(gp_config_capacity(&config, &cap), 0);
	config.jobs[0].window = 49;
	fails_in("windows on one receive queue");
	// Two cores behind one tap: either queue may get the datagrams of both.
	config.jobs[0].window = 48;
	config.cores.count = 2;
	fails_in("windows on one receive queue");
	config.jobs[0].window = 24;
	cr_assert_eq(gp_config_capacity(&config, &cap), 0);
}

Test(capacity, steering_keeps_queues_apart)
{
	start(ALL_OK);
	config.cores.count = 2;
	cr_assert(gp_config_queues_mixed(&config));
	config.port.driver = GP_PORT_PCI;
	cr_assert_not(gp_config_queues_mixed(&config));
	config.port.steering = GP_STEERING_OFF;
	cr_assert(gp_config_queues_mixed(&config));
	config.cores.count = 1;
	cr_assert_not(gp_config_queues_mixed(&config));
}

Test(capacity, mbufs)
{
	start(ALL_OK);
	uint32_t exact = 1024 + 1024 + 64 * 2 + 32 * 2 + GP_CONFIG_CONTROL_FRAMES;
	cr_assert_eq(row("mbufs of one core")->needed, exact);
	config.port.mbufs = exact;
	cr_assert_eq(gp_config_capacity(&config, &cap), 0);
	config.port.mbufs = exact - 1;
	fails_in("mbufs of one core");
	config.port.mbufs = exact + 64 * 2 + 256 - 1;
	config.cores.count = 2;
	fails_in("mbufs of one core");
	config.port.mbufs++;
	cr_assert_eq(gp_config_capacity(&config, &cap), 0);
}

Test(capacity, mtu_of_each_driver)
{
	static const uint32_t max[] = {[GP_PORT_TAP] = 1500,
		[GP_PORT_AF_PACKET] = 9216,
		[GP_PORT_AF_XDP] = 3310,
		[GP_PORT_MEMIF] = 9216,
		[GP_PORT_PCI] = 9216};
	start(ALL_OK);
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(max); i++) {
		config.port.driver = (enum gp_port_driver)i;
		config.port.mtu = max[i];
		cr_assert_eq(gp_config_capacity(&config, &cap), 0, "driver %u", i);
		config.port.mtu = max[i] + 1;
		fails_in("MTU of the port");
	}
}

Test(capacity, mbuf_room)
{
	start(ALL_OK);
	cr_assert_eq(gp_config_mbuf_room(&config), 1664);
	config.port.mtu = 9000;
	cr_assert_eq(gp_config_mbuf_room(&config), 9152);
	config.port.driver = GP_PORT_AF_PACKET;
	cr_assert_eq(gp_config_mbuf_room(&config), 10240 + 128);
	config.port.mtu = 1500;
	cr_assert_eq(gp_config_mbuf_room(&config), 2048 + 128);
	config.port.mtu = 1964;
	cr_assert_eq(gp_config_af_packet_frame(&config), 2048);
	config.port.mtu = 1965;
	cr_assert_eq(gp_config_af_packet_frame(&config), 10240);
}

Test(capacity, memory)
{
	start(ALL_OK);
	const char *what = "memory of packet buffers (hugepages or --no-huge)";
	uint64_t needed = row(what)->needed;
	cr_assert_gt(needed, UINT64_C(4096) * 1664);
	config.eal.memory = needed;
	cr_assert_eq(gp_config_capacity(&config, &cap), 0);
	config.eal.memory = needed - 1;
	fails_in(what);
}

// Of each job once, of one with tables twice, and of the largest again: a base beside it.
Test(capacity, a_replica_holds_a_job_twice_while_it_gets_a_new_base)
{
	const struct gp_config_job more[] = {{.kind = GP_JOB_TRAIN, .memory_max = 300},
		{.kind = GP_JOB_EMBED, .memory_max = 200}};
	start(ALL_OK);
	config.replica.mode = GP_REPLICA_SYNC;
	for (uint32_t i = 0; i < 2; i++) {
		config.jobs[i] = config.jobs[0];
		config.jobs[i].kind = more[i].kind;
		config.jobs[i].memory_max = more[i].memory_max;
	}
	config.jobs_count = 2;
	cr_assert_eq(gp_config_capacity(&config, &cap), -ENOSPC); // of such a job
	cr_assert_eq(row("the replica's copy of the jobs")->needed, 300 + 2 * 200 + 2 * 200);
}

Test(capacity, window_and_slots)
{
	start(ALL_OK);
	config.jobs[0].slots = 32;
	cr_assert_eq(gp_config_capacity(&config, &cap), 0);
	config.jobs[0].slots = 16;
	fails_in("window of job j");
}

// The proof and the table agree, but for what a table takes once.
Test(capacity, counts_what_the_table_takes)
{
	start(ALL_OK);
	config.jobs[0].kind = GP_JOB_TRAIN;
	config.jobs[0].optimizer.name = GP_OPTIMIZER_MOMENTUM;
	uint64_t proof = 1000 * gp_config_group_bytes(&config.jobs[0], 336);
	const struct gp_table_config cfg = {
		.blocks_count = 8000, .elems_max = 336, .states_count = 1, .cuts_max = 1};
	uint64_t table = gp_table_size(&cfg);
	cr_assert_geq(table, proof);
	cr_assert_leq(table - proof, 40000, "%lu more", (unsigned long)(table - proof));
}

Test(capacity, asynchronous_jobs_take_a_version_for_each_cut_and_their_pushes)
{
	start(ALL_OK);
	struct gp_config_job *j = &config.jobs[0];
	j->kind = GP_JOB_TRAIN;
	j->consistency = GP_CONSISTENCY_SSP;
	j->atomicity = GP_ATOMICITY_BLOCK;
	j->cuts.max = 5;
	cr_assert_eq(gp_config_group_versions(j), 57);
	const struct gp_table_config cfg = {.blocks_count = 8000, .elems_max = 336, .cuts_max = 5};
	uint64_t proof = 1000 * gp_config_group_bytes(j, 336),
		 table = gp_table_size(&cfg) + 8000 * 4;
	cr_assert_geq(table, proof);
	cr_assert_leq(table - proof, 40000, "%lu more", (unsigned long)(table - proof));
	uint64_t block = gp_config_group_bytes(j, 336);
	j->atomicity = GP_ATOMICITY_STEP;
	uint64_t push = 12 + 2048; // 6 x 336 + 8, on lines
	cr_assert_eq(gp_config_group_bytes(j, 336), block + 8 * j->workers * push);
	j->consistency = GP_CONSISTENCY_QUORUM;
	cr_assert_eq(gp_config_group_bytes(j, 336), block + 8 * j->workers * push * 2);
	j->atomicity = GP_ATOMICITY_BLOCK;
	j->optimizer.delay_compensation = 0.5f;
	cr_assert_eq(gp_config_group_bytes(j, 336), block + 8 * j->workers * 4 * 336);
}

Test(capacity, parameters)
{
	start(ALL_OK);
	uint64_t group = 25 * (64 + 16 + 4 * 336) + 8 * 64;
	cr_assert_eq(row("parameters of job j")->available, (256u << 20) / group * 8 * 336);
	cr_assert_eq(row("parameters of job j")->needed, 336);
	config.jobs[0].kind = GP_JOB_TRAIN;
	cr_assert_eq(gp_config_group_bytes(&config.jobs[0], 336), group);
	config.jobs[0].optimizer.name = GP_OPTIMIZER_MOMENTUM;
	cr_assert_eq(gp_config_group_bytes(&config.jobs[0], 336), group + 25 * 4 * 336);
	config.jobs[0].optimizer.name = GP_OPTIMIZER_ADAM;
	cr_assert_eq(gp_config_group_bytes(&config.jobs[0], 336), group + 2 * 25 * 4 * 336);
	config.jobs[0].memory_max = 336 * 24 - 1;
	fails_in("parameters of job j");
}

Test(capacity, print_names_the_keys_of_a_failing_row)
{
	char *text = NULL;
	size_t len = 0;
	start(ALL_OK);
	config.limits.sessions = 1;
	fails_in("sessions");
	FILE *f = open_memstream(&text, &len);
	gp_capacity_print(f, &cap);
	fclose(f);
	cr_assert(strstr(text, "FAIL  sessions: needs 2 of 1 sessions\n"), "%s", text);
	cr_assert(strstr(text, "change limits.sessions, jobs[].workers\n"), "%s", text);
	cr_assert(strstr(text, "capacity: does not fit\n"), "%s", text);
	free(text);
}

Test(capacity, rows_of_64_jobs_have_room)
{
	gp_config_init(&config);
	config.jobs_count = GP_CONFIG_JOBS_MAX;
	for (uint32_t i = 0; i < config.jobs_count; i++) {
		gp_config_job_init(&config.jobs[i], GP_JOB_REDUCE);
		memset(config.jobs[i].name, 'n', sizeof(config.jobs[i].name) - 1);
		config.jobs[i].workers = 1;
		config.jobs[i].path_mtu_min = 1500;
	}
	int rc = gp_config_capacity(&config, &cap);
	cr_assert_eq(rc, -ENOSPC); // 64 windows do not fit one queue
	cr_assert_leq(cap.rows_count, GP_CAPACITY_ROWS_MAX);
}
