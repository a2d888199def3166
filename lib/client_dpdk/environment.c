// SPDX-License-Identifier: BSD-3-Clause
//
// EAL belongs to the process: the first carrier starts it with its needs, later ones (a session had
// again, another client) use it as it is. It ends with the process.
#include "client_dpdk_priv.h"

#include <errno.h>
#include <gp_log.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define HUGE_FREE "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"

static pthread_mutex_t start_lock = PTHREAD_MUTEX_INITIALIZER; // cold: a carrier is opened
static bool started;

static uint64_t hugepages_free_mib(void)
{
	char line[32] = "";
	FILE *f = fopen(HUGE_FREE, "re");
	if (!f)
		return 0;
	bool read = fgets(line, sizeof(line), f) != NULL;
	fclose(f);
	return read ? 2 * strtoull(line, NULL, 10) : 0;
}

// "0@(1,3)": the one lcore may run where the calling thread may.
static void lcores_format(char *text, size_t size)
{
	cpu_set_t set;
	size_t len = (size_t)snprintf(text, size, "0@(");
	CPU_ZERO(&set);
	if (sched_getaffinity(0, sizeof(set), &set) != 0)
		CPU_SET((size_t)GP_MAX(sched_getcpu(), 0), &set);
	for (size_t cpu = 0; cpu < CPU_SETSIZE && len + 8 < size; cpu++) {
		if (CPU_ISSET(cpu, &set))
			len += (size_t)snprintf(text + len, size - len, "%zu,", cpu);
	}
	text[len - 1] = ')';
}

static int eal_init(const struct cd_args *a, bool huge)
{
	char prefix[32], lcores[4096];
	(void)snprintf(prefix, sizeof(prefix), "gradplane-worker-%d", (int)getpid());
	lcores_format(lcores, sizeof(lcores));
	// memif shares memory with its peer by file: one file for all of it, or zero-copy refuses.
	// The driver says that nobody listens as an error of its own; the client says it better.
	const char *const extra[] = {
		"--single-file-segments", "--log-level=pmd.net.memif:emergency", NULL};
	const char *const allow[] = {a->name, NULL};
	const struct gp_dpdk_eal_opts opts = {
		.program = "gradplane-worker",
		.file_prefix = prefix,
		.lcores = lcores,
		.memory_mib = a->memory_mib,
		.no_huge = !huge,
		.no_pci = a->is_virtual,
		.allow = a->is_virtual ? NULL : allow,
		.extra = extra,
	};
	return gp_dpdk_eal_init(&opts);
}

// Somebody else may take the huge pages that were free a moment ago: `auto` then goes without.
static int eal_start(const struct cd_args *a, char text[GP_CARRIER_TEXT_SIZE])
{
	bool enough = hugepages_free_mib() >= a->memory_mib;
	if (a->huge == CD_HUGE_ON && !enough) {
		(void)snprintf(text, GP_CARRIER_TEXT_SIZE,
			"transport: huge=on, but %lu MiB of huge pages are free and memory is %u",
			hugepages_free_mib(), a->memory_mib);
		return -ENOMEM;
	}
	int rc = eal_init(a, enough && a->huge != CD_HUGE_OFF);
	if (rc && enough && a->huge == CD_HUGE_AUTO)
		rc = eal_init(a, false);
	if (rc)
		(void)snprintf(text, GP_CARRIER_TEXT_SIZE,
			"transport: DPDK does not start: %s (the lines above say why)",
			strerror(-rc));
	return rc;
}

int cd_environment_start(const struct cd_args *a, char text[GP_CARRIER_TEXT_SIZE])
{
	int rc = 0;
	pthread_mutex_lock(&start_lock);
	if (!started) {
		rc = eal_start(a, text);
		started = rc == 0;
		if (started)
			(void)atexit(gp_dpdk_eal_fini);
	}
	pthread_mutex_unlock(&start_lock);
	if (rc)
		return rc;
	rc = gp_dpdk_thread_enter();
	if (rc)
		(void)snprintf(text, GP_CARRIER_TEXT_SIZE,
			"transport: this thread cannot use DPDK: %s", strerror(-rc));
	return rc;
}
