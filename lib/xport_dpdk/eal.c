// SPDX-License-Identifier: BSD-3-Clause
#include <gp_log.h>
#include <gp_xport_dpdk.h>

#include <errno.h>
#include <limits.h>
#include <rte_bus.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_malloc.h>
#include <rte_memory.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct arg_list {
	char *argv[GP_DPDK_ARGS_MAX + 1];
	int argc;
	int error;
};

static void arg_add(struct arg_list *l, const char *fmt, ...) GP_PRINTF(2, 3);

static void arg_add(struct arg_list *l, const char *fmt, ...)
{
	if (l->argc == GP_DPDK_ARGS_MAX) {
		l->error = -E2BIG;
		return;
	}
	va_list args;
	va_start(args, fmt);
	if (vasprintf(&l->argv[l->argc], fmt, args) < 0)
		l->error = -ENOMEM;
	else
		l->argc++;
	va_end(args);
}

static void arg_add_each(struct arg_list *l, const char *prefix, const char *const *values)
{
	for (; values && *values; values++)
		arg_add(l, "%s%s", prefix, *values);
}

// For drivers that are loaded later EAL takes the first level that fits, for others the last: a
// level among `extra` is said before ours and after.
static void log_levels_add(struct arg_list *l, const char *const *extra)
{
	for (; extra && *extra; extra++)
		if (strncmp(*extra, "--log-level", 11) == 0)
			arg_add(l, "%s", *extra);
}

static void args_fill(struct arg_list *l, const struct gp_dpdk_eal_opts *o)
{
	arg_add(l, "%s", o->program);
	arg_add(l, "--file-prefix=%s", o->file_prefix ? o->file_prefix : o->program);
	if (o->lcores)
		arg_add(l, "--lcores=%s", o->lcores);
	else
		arg_add(l, "--lcores=0@%d", GP_MAX(sched_getcpu(), 0));
	// No files of ours outlive the process, in hugetlbfs or elsewhere; EAL takes the two modes
	// apart.
	arg_add(l, o->no_huge ? "--no-shconf" : "--in-memory");
	arg_add(l, "--no-telemetry");
	log_levels_add(l, o->extra);
	arg_add(l, "--log-level=*:warning");
	if (o->memory_mib)
		arg_add(l, "-m%u", o->memory_mib);
	if (o->no_huge)
		arg_add(l, "--no-huge");
	if (o->no_pci)
		arg_add(l, "--no-pci");
	arg_add_each(l, "--vdev=", o->vdevs);
	arg_add_each(l, "--allow=", o->allow);
	arg_add_each(l, "", o->extra);
}

int gp_dpdk_eal_init(const struct gp_dpdk_eal_opts *opts)
{
	struct arg_list l = {0};
	args_fill(&l, opts);
	int rc = l.error;
	char *argv[GP_DPDK_ARGS_MAX + 1]; // EAL permutes and overwrites the array, not the strings
	memcpy(argv, l.argv, sizeof(argv));
	if (rc == 0 && rte_eal_init(l.argc, argv) < 0)
		rc = rte_errno ? -rte_errno : -EIO;
	if (rc)
		gp_error("dpdk: EAL did not start: %s%s", strerror(-rc),
			opts->no_huge ? "" : " (are hugepages reserved? else use no-huge)");
	for (int i = 0; i < l.argc; i++)
		free(l.argv[i]);
	return rc;
}

void gp_dpdk_eal_fini(void)
{
	char dir[PATH_MAX];
	snprintf(dir, sizeof(dir), "%s", rte_eal_get_runtime_dir());
	if (rte_eal_cleanup())
		gp_warn("dpdk: EAL clean-up was incomplete");
	// EAL leaves its folder behind; it goes when it is empty, else another process has a use
	// for it.
	(void)rmdir(dir);
}

int gp_dpdk_lcore(uint32_t i)
{
	unsigned lcore;
	RTE_LCORE_FOREACH_WORKER(lcore)
	{
		if (i-- == 0)
			return (int)lcore;
	}
	return -1;
}

int gp_dpdk_lcore_launch(int lcore, int (*fn)(void *arg), void *arg)
{
	GP_ASSERT(lcore >= 0 && fn);
	return rte_eal_remote_launch(fn, arg, (unsigned)lcore);
}

int gp_dpdk_lcore_wait(int lcore)
{
	GP_ASSERT(lcore >= 0);
	return rte_eal_wait_lcore((unsigned)lcore);
}

// The device's name: what comes before the first comma.
static void device_name(char name[RTE_DEV_NAME_MAX_LEN], const char *devargs)
{
	size_t len = strcspn(devargs, ",");
	snprintf(name, RTE_DEV_NAME_MAX_LEN, "%.*s", (int)len, devargs);
}

int gp_dpdk_device_add(const char *devargs)
{
	int rc = rte_dev_probe(devargs);
	if (rc)
		gp_error("dpdk: no device %s: %s", devargs, strerror(-rc));
	return rc;
}

void gp_dpdk_device_remove(const char *devargs)
{
	char name[RTE_DEV_NAME_MAX_LEN];
	device_name(name, devargs);
	bool is_virtual = strncmp(name, "net_", 4) == 0;
	if (rte_eal_hotplug_remove(is_virtual ? "vdev" : "pci", name))
		gp_warn("dpdk: device %s was not removed", name);
}

int gp_dpdk_thread_enter(void)
{
	if (rte_lcore_id() != LCORE_ID_ANY || rte_thread_register() == 0)
		return 0;
	return rte_errno ? -rte_errno : -EIO;
}

void *gp_dpdk_mem_take(size_t size, int numa)
{
	void *mem = rte_zmalloc_socket(
		"gradplane", size, GP_CACHE_LINE, numa < 0 ? SOCKET_ID_ANY : numa);
	if (!mem && numa >= 0)
		mem = rte_zmalloc_socket("gradplane", size, GP_CACHE_LINE, SOCKET_ID_ANY);
	if (mem)
		return mem;
	size_t rounded = gp_align_up(size, GP_CACHE_LINE);
	mem = rounded < size ? NULL : aligned_alloc(GP_CACHE_LINE, rounded);
	if (mem)
		memset(mem, 0, rounded);
	return mem;
}

void gp_dpdk_mem_give(void *mem)
{
	if (mem && rte_mem_virt2memseg(mem, NULL))
		rte_free(mem);
	else
		free(mem);
}
