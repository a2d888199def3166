// SPDX-License-Identifier: BSD-3-Clause
#include "relay.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SOCKET_BUFFER_SIZE (64 << 20)

static const char usage[] =
	"usage: gp_relay --a IFACE --b IFACE [--loss-pct P] [--dup-pct P] [--reorder-pct P]\n"
	"                [--delay-us N] [--reorder-us N] [--ports MIN-MAX] [--seed S]\n"
	"Forwards Ethernet frames between two interfaces and disturbs UDP datagrams of the ports.\n"
	"SIGUSR1 prints the counts, SIGTERM and SIGINT print them and end.\n";

struct relay {
	struct relay_opts opts;
	int fd[2];
	int signal_fd;
	struct lane lane[2]; // lane i carries frames that arrive at interface i
};

static uint64_t now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int fail(const char *what)
{
	const int rc = -errno;
	fprintf(stderr, "gp_relay: %s: %s\n", what, strerror(errno));
	return rc;
}

// A raw socket that sees every frame of the interface but those we send ourselves.
static int port_open(const char *iface)
{
	const int on = 1, size = SOCKET_BUFFER_SIZE, index = (int)if_nametoindex(iface);
	if (index == 0)
		return fail(iface);
	const int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fail("AF_PACKET socket (root?)");
	const struct packet_mreq promisc = {.mr_ifindex = index, .mr_type = PACKET_MR_PROMISC};
	const struct sockaddr_ll at = {
		.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = index};
	if (setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)) ||
		setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promisc, sizeof(promisc)) ||
		setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) ||
		setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) ||
		bind(fd, (const struct sockaddr *)&at, sizeof(at))) {
		const int rc = fail(iface);
		close(fd);
		return rc;
	}
	return fd;
}

// One burst in; returns frames read, or -errno.
static int receive_burst(int fd, struct lane *l)
{
	struct mmsghdr msg[BURST] = {0};
	struct iovec iov[BURST];
	struct frame *frame[BURST];
	uint32_t n = 0;
	while (n < BURST && (frame[n] = lane_take(l)) != NULL) {
		iov[n] = (struct iovec){frame[n]->data, FRAME_SIZE_MAX};
		msg[n].msg_hdr = (struct msghdr){.msg_iov = &iov[n], .msg_iovlen = 1};
		n++;
	}
	if (n == 0)
		return 0; // all in flight: the kernel's queue waits
	int got = recvmmsg(fd, msg, n, MSG_DONTWAIT, NULL);
	const int rc = got >= 0 ? got : errno == EAGAIN || errno == EINTR ? 0 : fail("recvmmsg");
	const uint64_t now = now_ns();
	for (uint32_t i = 0; i < n; i++) {
		if ((int)i >= got) {
			lane_give(l, frame[i]);
		} else if (msg[i].msg_hdr.msg_flags & MSG_TRUNC) {
			l->counts.oversized++;
			lane_give(l, frame[i]);
		} else {
			frame[i]->len = msg[i].msg_len;
			lane_arrive(l, frame[i], now);
		}
	}
	return rc;
}

// One burst out; what the interface does not take is counted, not tried again: this is a wire.
static uint32_t send_burst(int fd, struct lane *l)
{
	struct mmsghdr msg[BURST] = {0};
	struct iovec iov[BURST];
	struct frame *frame[BURST];
	const uint32_t n = lane_due(l, now_ns(), frame, BURST);
	for (uint32_t i = 0; i < n; i++) {
		iov[i] = (struct iovec){frame[i]->data, frame[i]->len};
		msg[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i], .msg_iovlen = 1};
	}
	for (uint32_t done = 0; done < n;) {
		const int sent = sendmmsg(fd, msg + done, n - done, 0);
		const uint32_t step = sent > 0 ? (uint32_t)sent : 1;
		for (uint32_t i = done; i < done + step; i++) {
			if (sent <= 0)
				l->counts.overflow++;
			else if (frame[i]->disturbed)
				l->counts.forwarded++;
			else
				l->counts.passed++;
		}
		done += step;
	}
	for (uint32_t i = 0; i < n; i++)
		lane_give(l, frame[i]);
	return n;
}

static void counts_print(struct relay *r)
{
	static const char *const name[2] = {"up", "down"};
	for (uint32_t i = 0; i < 2; i++) {
		struct relay_counts *c = &r->lane[i].counts;
		struct tpacket_stats stats = {0};
		socklen_t len = sizeof(stats);
		// The kernel's counter starts again at every reading.
		if (getsockopt(r->fd[i], SOL_PACKET, PACKET_STATISTICS, &stats, &len) == 0)
			c->missed += stats.tp_drops;
		printf("relay: %s forwarded=%" PRIu64 " dropped=%" PRIu64 " duplicated=%" PRIu64
		       " reordered=%" PRIu64 " passed=%" PRIu64 " overflow=%" PRIu64
		       " oversized=%" PRIu64 " missed=%" PRIu64 "\n",
			name[i], c->forwarded, c->dropped, c->duplicated, c->reordered, c->passed,
			c->overflow, c->oversized, c->missed);
	}
	fflush(stdout);
}

// True when asked to end.
static bool signal_read(struct relay *r)
{
	struct signalfd_siginfo info;
	bool end = false;
	while (read(r->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGUSR1)
			counts_print(r);
		else
			end = true;
	}
	return end;
}

static int wait_ready(struct relay *r, struct pollfd pfd[3])
{
	const uint64_t now = now_ns();
	uint64_t next = lane_next_ns(&r->lane[0]);
	if (lane_next_ns(&r->lane[1]) < next)
		next = lane_next_ns(&r->lane[1]);
	const uint64_t left = next > now ? next - now : 0;
	const struct timespec ts = {(time_t)(left / 1000000000u), (long)(left % 1000000000u)};
	for (int i = 0; i < 3; i++)
		pfd[i] = (struct pollfd){i < 2 ? r->fd[i] : r->signal_fd, POLLIN, 0};
	if (ppoll(pfd, 3, next == UINT64_MAX ? NULL : &ts, NULL) < 0 && errno != EINTR)
		return fail("ppoll");
	return 0;
}

static int relay_run(struct relay *r)
{
	struct pollfd pfd[3];
	for (;;) {
		int rc = wait_ready(r, pfd);
		if (rc)
			return rc;
		for (uint32_t i = 0; i < 2; i++) {
			if (pfd[i].revents && (rc = receive_burst(r->fd[i], &r->lane[i])) < 0)
				return rc;
			lane_expire(&r->lane[i], now_ns());
			while (send_burst(r->fd[1 - i], &r->lane[i]) == BURST)
				;
		}
		if (pfd[2].revents && signal_read(r))
			return 0;
	}
}

// 0..100 with up to three decimals, into units of 1/1000.
static int percent_parse(const char *text, uint32_t *out)
{
	char *end;
	const double v = strtod(text, &end);
	if (end == text || *end || !(v >= 0 && v <= 100))
		return -EINVAL;
	*out = (uint32_t)(v * 1000 + 0.5);
	return 0;
}

static int number_parse(const char *text, uint64_t max, uint64_t *out)
{
	char *end;
	errno = 0;
	*out = strtoull(text, &end, 10);
	return end == text || *end || errno || *out > max ? -EINVAL : 0;
}

static int ports_parse(const char *text, struct relay_opts *o)
{
	char *end;
	const unsigned long low = strtoul(text, &end, 10);
	if (end == text || *end != '-')
		return -EINVAL;
	text = end + 1;
	const unsigned long high = strtoul(text, &end, 10);
	if (end == text || *end || low > high || high > UINT16_MAX)
		return -EINVAL;
	o->port_min = (uint16_t)low;
	o->port_max = (uint16_t)high;
	return 0;
}

static int option_apply(struct relay_opts *o, int option, const char *text)
{
	uint64_t v = 0;
	int rc = 0;
	switch (option) {
	case 'a':
	case 'b':
		o->iface[option - 'a'] = text;
		return 0;
	case 'l':
		return percent_parse(text, &o->loss);
	case 'd':
		return percent_parse(text, &o->dup);
	case 'r':
		return percent_parse(text, &o->reorder);
	case 'D':
		rc = number_parse(text, 1000000, &v);
		o->delay_us = (uint32_t)v;
		return rc;
	case 'R':
		rc = number_parse(text, 1000000, &v);
		o->reorder_us = (uint32_t)v;
		return rc;
	case 's':
		return number_parse(text, UINT64_MAX, &o->seed);
	case 'p':
		return ports_parse(text, o);
	default:
		return -EINVAL;
	}
}

static int options_parse(struct relay_opts *o, int argc, char **argv)
{
	static const struct option names[] = {{"a", 1, 0, 'a'}, {"b", 1, 0, 'b'},
		{"loss-pct", 1, 0, 'l'}, {"dup-pct", 1, 0, 'd'}, {"reorder-pct", 1, 0, 'r'},
		{"delay-us", 1, 0, 'D'}, {"reorder-us", 1, 0, 'R'}, {"ports", 1, 0, 'p'},
		{"seed", 1, 0, 's'}, {0}};
	int c;
	*o = (struct relay_opts){.reorder_us = 5000, .port_min = 9700, .port_max = 9763, .seed = 1};
	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
		if (option_apply(o, c, optarg)) {
			if (c != '?')
				fprintf(stderr, "gp_relay: bad value '%s'\n", optarg);
			return -EINVAL;
		}
	}
	return optind == argc && o->iface[0] && o->iface[1] ? 0 : -EINVAL;
}

static int relay_open(struct relay *r)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	r->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (r->signal_fd < 0)
		return fail("signalfd");
	for (uint32_t i = 0; i < 2; i++) {
		if (lane_init(&r->lane[i], &r->opts, i))
			return fail("memory");
		r->fd[i] = port_open(r->opts.iface[i]);
		if (r->fd[i] < 0)
			return r->fd[i];
	}
	return 0;
}

int main(int argc, char **argv)
{
	static struct relay r = {.fd = {-1, -1}, .signal_fd = -1};
	if (options_parse(&r.opts, argc, argv)) {
		fputs(usage, stderr);
		return 2;
	}
	int rc = relay_open(&r);
	if (rc == 0) {
		printf("relay: ready %s <-> %s\n", r.opts.iface[0], r.opts.iface[1]);
		fflush(stdout);
		rc = relay_run(&r);
		counts_print(&r);
	}
	for (uint32_t i = 0; i < 2; i++) {
		lane_fini(&r.lane[i]);
		if (r.fd[i] >= 0)
			close(r.fd[i]);
	}
	return rc ? 1 : 0;
}
