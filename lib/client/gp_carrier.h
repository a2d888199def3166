// SPDX-License-Identifier: BSD-3-Clause
//
// A carrier is how the datagrams of one client travel: it opens a lane, a gp_xport, to each core of
// a server. The client is told which by a text, "NAME:ARGUMENTS":
//
//	udp[:KEY=VALUE,...]	sockets of the kernel (carrier_udp.c); what NULL or "" means
//	memif:SOCKET[,...]	shared memory with a server on the same host
//	dpdk:DEVARGS[,...]	any other device of DPDK
//
// The last two live in a library of their own, libgradplane_dpdk, which is loaded when it is asked
// for: who uses sockets needs no DPDK. docs/transports.md has the arguments.
//
// Threads: a carrier belongs to its client's thread. Memory: of its own. Errors: -errno and a text;
// once open, its lanes count what goes wrong.
#ifndef GP_CARRIER_H
#define GP_CARRIER_H

#include <gp_xport.h>

#include <poll.h>

#define GP_CARRIER_TEXT_SIZE 256
// Of the structs below: a library of another is refused.
#define GP_CARRIER_ABI 2
// What a library of carriers exports: a gp_carrier_list_fn.
#define GP_CARRIER_LIST "gp_carrier_list"

struct gp_carrier_ops;

// Embedded first in every carrier's own struct.
struct gp_carrier {
	const struct gp_carrier_ops *ops;
};

struct gp_carrier_opts {
	const char *name;  // as in the text
	const char *args;  // after the colon; ""
	uint32_t path_mtu; // IP MTU to use; 0 = of the interface
	uint32_t lanes_max;
};

struct gp_carrier_ops {
	// 0 or -errno, with a text.
	int (*open)(struct gp_carrier **out, const struct gp_carrier_opts *opts,
		char text[GP_CARRIER_TEXT_SIZE]);
	void (*close)(struct gp_carrier *c); // all lanes are closed
	// Lane 0, 1, ... in turn, to that port of a server. NULL with errno and a text;
	// ECONNREFUSED: it may go better soon.
	struct gp_xport *(*lane_open)(struct gp_carrier *c, uint32_t lane,
		const struct gp_addr *server, char text[GP_CARRIER_TEXT_SIZE]);
	void (*lanes_close)(struct gp_carrier *c);
	// As of any transport: what has arrived, each with one reference; what is still queued.
	uint32_t (*poll)(
		struct gp_carrier *c, uint32_t lane, struct gp_frame **frames, uint32_t max);
	uint32_t (*flush)(struct gp_carrier *c, uint32_t lane);
	// What to wait for with poll(2): fills `fds` (room for all lanes), returns how many. *ns is
	// how long the caller would wait, and is lowered to how long it may; 0: not at all.
	uint32_t (*fds)(struct gp_carrier *c, struct pollfd *fds, uint64_t *ns);
	// What keeps it from reaching the server, as far as it knows; false: nothing known.
	bool (*trouble)(const struct gp_carrier *c, char text[GP_CARRIER_TEXT_SIZE]);
	// How often the network said, on the lanes open now, that nobody listens. NULL: it never
	// does.
	uint64_t (*refused)(const struct gp_carrier *c);
};

// The carriers of a library by name, NULL for none of that name; *abi is the library's.
typedef const struct gp_carrier_ops *gp_carrier_list_fn(const char *name, uint32_t *abi);

extern const struct gp_carrier_ops gp_carrier_udp;

// The carrier that `text` names, loading its library if need be, and *args behind the name. NULL
// with errno and a text.
const struct gp_carrier_ops *gp_carrier_find(
	const char *text, char name[16], const char **args, char error[GP_CARRIER_TEXT_SIZE]);

struct gp_client;
struct gp_client_opts;
struct gp_client_error;

// gp_client_create with a carrier of the caller's instead of opts->transport, which it gets as
// `args`: for what looks at the datagrams or disturbs them.
int gp_client_create_over(struct gp_client **out, const struct gp_client_opts *opts,
	const struct gp_carrier_ops *ops, struct gp_client_error *err) GP_MUST_CHECK;

// ---- arguments, "KEY=VALUE,..."

// Cuts the next one off *at; false at the end. Without '=', *value is NULL. Both lie in `buf`; one
// that is too long for it has an empty key.
bool gp_carrier_arg(const char **at, char *buf, uint32_t size, char **key, char **value);
// A whole number 0..max.
bool gp_carrier_number(const char *text, uint64_t max, uint64_t *out) GP_MUST_CHECK;

#endif
