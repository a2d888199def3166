// SPDX-License-Identifier: BSD-3-Clause
//
// Against the kernel: a net_tap port in a network namespace of this test's own, polled while ping
// and plain sockets talk to it. Needs root; skipped by name otherwise.
#include <criterion/criterion.h>

#include "bench.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DEADLINE_S 20
#define DATAGRAMS  50
#define BURST	   32

static struct gp_dpdk_port *port;
static struct gp_xport_dpdk *core[2];

static bool tap_open(void)
{
	if (geteuid() != 0 || access("/dev/net/tun", R_OK | W_OK) || unshare(CLONE_NEWNET))
		return false;
	char prefix[32];
	const char *const vdevs[] = {"net_tap0,iface=gptap", NULL};
	snprintf(prefix, sizeof(prefix), "gp_tap_%d", (int)getpid());
	const struct gp_dpdk_eal_opts eal = {.program = "unit",
		.file_prefix = prefix,
		.memory_mib = 128,
		.no_huge = true,
		.no_pci = true,
		.vdevs = vdevs};
	cr_assert_eq(gp_dpdk_eal_init(&eal), 0);
	struct gp_dpdk_port_opts opts = {
		.cores_count = 2, .mbufs_per_core = 2048, .host = host_make(2)};
	memset(opts.host.mac, 0, 6); // choose
	cr_assert_eq(gp_dpdk_port_create(&opts, &port), 0);
	for (uint32_t i = 0; i < 2; i++)
		core[i] = gp_dpdk_port_core(port, i);
	cr_assert_eq(system("ip link set lo up && ip link set gptap up && ip addr add 10.0.0.2/24 "
			    "dev gptap"
			    " && ip addr add fd00::2/64 dev gptap nodad"),
		0);
	return true;
}

// One turn of both cores; every datagram goes back to its sender.
static void turn(void)
{
	for (uint32_t i = 0; i < 2; i++) {
		struct gp_xport *x = gp_xport_dpdk_base(core[i]);
		struct gp_frame *in[BURST];
		uint32_t n = gp_xport_dpdk_poll(core[i], in, BURST);
		for (uint32_t k = 0; k < n; k++)
			x->ops->send(x, in[k]);
		gp_xport_dpdk_flush(core[i]);
	}
}

static uint64_t now_s(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec;
}

// Runs a shell command while the port is polled; its exit status, or -1 at the deadline.
static int run_polled(const char *command)
{
	pid_t pid = fork();
	if (pid == 0) {
		execl("/bin/sh", "sh", "-c", command, NULL);
		_exit(127);
	}
	for (uint64_t end = now_s() + DEADLINE_S; now_s() < end;) {
		int status;
		turn();
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return -1;
}

static void tap_close(void)
{
	for (uint32_t i = 0; i < 2; i++) {
		struct gp_xport_dpdk_stats s;
		uint64_t sum = 0;
		gp_xport_dpdk_stats(core[i], &s);
		for (uint32_t v = 0; v < GP_INET_VERDICTS_COUNT; v++)
			sum += s.verdicts[v];
		cr_assert_eq(sum, s.rx_frames);
	}
	gp_dpdk_port_destroy(port);
	gp_dpdk_eal_fini();
}

Test(tap, ping_and_arping_are_answered, .timeout = 60)
{
	if (!tap_open())
		cr_skip_test("needs root and /dev/net/tun");
	if (system("command -v ping >/dev/null"))
		cr_skip_test("ping is not installed");
	cr_assert_eq(run_polled("ping -q -c 3 -i 0.1 -W 5 10.0.0.1 >/dev/null"), 0);
	cr_assert_eq(run_polled("ping -q -c 3 -i 0.1 -W 5 -s 1400 10.0.0.1 >/dev/null"), 0);
	cr_assert_eq(run_polled("ping -q -6 -c 3 -i 0.1 -W 5 fd00::1 >/dev/null"), 0);
	if (system("command -v arping >/dev/null") == 0)
		cr_assert_eq(run_polled("arping -q -c 2 -w 5 -I gptap 10.0.0.1 >/dev/null"), 0);
	tap_close();
}

static int socket_open(bool v6, uint16_t dst_port)
{
	int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = htons(dst_port)};
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = htons(dst_port)};
	memcpy(&a4.sin_addr, our_ip4 + 12, 4);
	memcpy(&a6.sin6_addr, our_ip6, 16);
	cr_assert_eq(v6 ? connect(fd, (struct sockaddr *)&a6, sizeof(a6))
			: connect(fd, (struct sockaddr *)&a4, sizeof(a4)),
		0);
	return fd;
}

// The kernel's checksums satisfy us and ours satisfy the kernel, for every length's parity; each
// core answers from its own port (the socket is connected and takes no other).
static void echo_case(bool v6, uint32_t core_idx)
{
	uint8_t out[1452], in[2048];
	int fd = socket_open(v6, (uint16_t)(PORT_BASE + core_idx));
	for (uint32_t i = 0; i < DATAGRAMS; i++) {
		size_t len = i == 0 ? sizeof(out) : 1 + i * 13;
		memset(out, (int)i, len);
		cr_assert_eq(send(fd, out, len, 0), (ssize_t)len);
		ssize_t got = -1;
		for (uint64_t end = now_s() + DEADLINE_S; got < 0 && now_s() < end;) {
			turn();
			got = recv(fd, in, sizeof(in), 0);
		}
		cr_assert_eq(got, (ssize_t)len, "v6 %d core %u datagram %u", v6, core_idx, i);
		cr_assert_eq(memcmp(in, out, len), 0);
	}
	close(fd);
}

Test(tap, kernel_sockets_and_cores_understand_each_other, .timeout = 60)
{
	if (!tap_open())
		cr_skip_test("needs root and /dev/net/tun");
	for (uint32_t i = 0; i < 2; i++) {
		echo_case(false, i);
		echo_case(true, i);
	}
	tap_close();
}
