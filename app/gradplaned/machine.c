// SPDX-License-Identifier: BSD-3-Clause
#include "gradplaned.h"

#include <gp_log.h>

#include <dirent.h>
#include <errno.h>
#include <linux/capability.h>
#include <net/if.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <sys/un.h>
#include <unistd.h>

#define HUGEPAGES_DIR	 "/sys/kernel/mm/hugepages"
#define LCORES_TEXT_SIZE 4096

uint64_t clock_now(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

// Bytes of free pages of one size, by its name "hugepages-2048kB".
static uint64_t hugepages_of(const char *name)
{
	static const char prefix[] = "hugepages-";
	char path[PATH_MAX], line[32] = "";
	if (strncmp(name, prefix, sizeof(prefix) - 1) != 0)
		return 0;
	uint64_t kib = strtoull(name + sizeof(prefix) - 1, NULL, 10);
	snprintf(path, sizeof(path), HUGEPAGES_DIR "/%s/free_hugepages", name);
	FILE *f = fopen(path, "re");
	if (!f)
		return 0;
	bool read = fgets(line, sizeof(line), f) != NULL;
	fclose(f);
	return read ? strtoull(line, NULL, 10) * kib * 1024 : 0;
}

uint64_t machine_hugepages_free(void)
{
	uint64_t sum = 0;
	struct dirent *entry;
	DIR *dir = opendir(HUGEPAGES_DIR);
	if (!dir)
		return 0;
	while ((entry = readdir(dir)))
		sum += hugepages_of(entry->d_name);
	closedir(dir);
	return sum;
}

static bool capability_held(uint32_t capability)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {0};
	if (syscall(SYS_capget, &header, data) != 0)
		return geteuid() == 0;
	return data[capability / 32].effective >> (capability % 32) & 1;
}

static bool right_held(const struct gp_config *c)
{
	static const struct {
		uint32_t capability;
		const char *name;
	} needed[] = {
		[GP_PORT_TAP] = {CAP_NET_ADMIN, "CAP_NET_ADMIN"},
		[GP_PORT_AF_PACKET] = {CAP_NET_RAW, "CAP_NET_RAW"},
		[GP_PORT_AF_XDP] = {CAP_NET_ADMIN, "CAP_NET_ADMIN"},
		[GP_PORT_MEMIF] = {0, NULL},
		[GP_PORT_PCI] = {CAP_SYS_ADMIN, "CAP_SYS_ADMIN"},
	};
	GP_ASSERT(c->port.driver < GP_ARRAY_SIZE(needed));
	const char *name = needed[c->port.driver].name;
	if (!name || capability_held(needed[c->port.driver].capability))
		return true;
	gp_error("port.driver %s needs root, or at least %s: start gradplaned as root",
		gp_port_driver_name(c->port.driver), name);
	return false;
}

static bool interface_is_up(const char *name)
{
	struct ifreq req = {0};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	snprintf(req.ifr_name, sizeof(req.ifr_name), "%.15s", name);
	bool up = ioctl(fd, SIOCGIFFLAGS, &req) == 0 && (req.ifr_flags & IFF_UP);
	close(fd);
	return up;
}

// A socket that a killed server has left is removed; one that is served is somebody's.
static bool memif_socket_fits(const char *path)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%.107s", path);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return true; // the driver will say
	bool served = connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0;
	bool stale = !served && errno == ECONNREFUSED;
	close(fd);
	if (served)
		gp_error(
			"port.device %s is the memif socket of another process: stop it, or choose "
			"another port.device",
			path);
	if (stale && unlink(path) == 0)
		gp_info("removed the memif socket %s, which nobody serves", path);
	return !served;
}

static bool device_fits(const struct gp_config *c)
{
	const char *device = c->port.device;
	if (c->port.driver == GP_PORT_MEMIF) {
		machine_directory_make(device);
		return memif_socket_fits(device);
	}
	bool exists = if_nametoindex(device) != 0;
	if (c->port.driver == GP_PORT_TAP && exists) {
		gp_error("port.device %s exists already: stop the gradplaned that uses it, remove "
			 "it with `ip link del %s`, or choose another port.device",
			device, device);
		return false;
	}
	if (c->port.driver != GP_PORT_AF_PACKET && c->port.driver != GP_PORT_AF_XDP)
		return true;
	if (!exists) {
		gp_error("port.device: there is no interface %s; `ip link` lists them", device);
		return false;
	}
	if (!interface_is_up(device)) {
		gp_error("port.device %s is down: `ip link set %s up`", device, device);
		return false;
	}
	return true;
}

bool machine_allows(const struct gp_config *c)
{
	return right_held(c) && device_fits(c);
}

// Appends; false when there is no more room.
static bool text_add(char *text, size_t size, const char *fmt, ...) GP_PRINTF(3, 4);

static bool text_add(char *text, size_t size, const char *fmt, ...)
{
	size_t len = strlen(text);
	va_list args;
	va_start(args, fmt);
	int n = vsnprintf(text + len, size - len, fmt, args);
	va_end(args);
	return n >= 0 && (size_t)n < size - len;
}

// "(0,1,2)", and each CPU's number in cpus[].
static uint32_t cpus_list(const cpu_set_t *set, uint32_t cpus[CPU_SETSIZE], char *text, size_t size)
{
	uint32_t count = 0;
	bool ok = text_add(text, size, "(");
	for (uint32_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, set))
			continue;
		ok = ok && text_add(text, size, count ? ",%u" : "%u", cpu);
		cpus[count++] = cpu;
	}
	return ok && text_add(text, size, ")") ? count : 0;
}

int machine_lcores(uint32_t cores, char *text, size_t size)
{
	cpu_set_t set;
	uint32_t cpus[CPU_SETSIZE];
	char all[LCORES_TEXT_SIZE] = "";
	if (sched_getaffinity(0, sizeof(set), &set) != 0)
		return -errno;
	uint32_t count = cpus_list(&set, cpus, all, sizeof(all));
	if (count == 0)
		return -E2BIG;
	text[0] = '\0';
	bool ok = text_add(text, size, "0@%s", all);
	for (uint32_t i = 0; i < cores; i++) {
		// With a CPU to spare the first is left to control. With too few the kernel had
		// better choose: a core tied to a CPU that others keep busy holds up the whole job.
		if (count >= cores)
			ok = ok && text_add(text, size, ",%u@%u", i + 1, cpus[i + (count > cores)]);
		else
			ok = ok && text_add(text, size, ",%u@%s", i + 1, all);
	}
	return ok ? 0 : -E2BIG;
}

void machine_directory_make(const char *path)
{
	char dir[PATH_MAX];
	snprintf(dir, sizeof(dir), "%s", path);
	char *slash = strrchr(dir, '/');
	if (!slash || slash == dir)
		return;
	*slash = '\0';
	// Whoever needs the directory says what is wrong with it.
	if (mkdir(dir, 0755) == 0)
		gp_info("made the directory %s", dir);
}
