// SPDX-License-Identifier: BSD-3-Clause
//
// Inside libgradplane_dpdk: what a transport's text says (args.c), the environment of DPDK, which a
// process has once (environment.c), and the carrier (carrier.c).
#ifndef CLIENT_DPDK_PRIV_H
#define CLIENT_DPDK_PRIV_H

#include <gp_carrier.h>
#include <gp_xport_dpdk.h>

#define CD_DEVARGS_SIZE 512

enum cd_huge { CD_HUGE_AUTO, CD_HUGE_ON, CD_HUGE_OFF };

struct cd_args {
	char devargs[CD_DEVARGS_SIZE]; // for DPDK; the device's name begins it
	char name[64];		       // of the device
	bool is_virtual;	       // not a PCI address
	bool zero_copy;		       // memif; not in devargs
	bool no_checksum;	       // memif over IPv4: datagrams without a UDP checksum
	struct gp_addr ip;	       // ours; link-local by id for memif when not given
	struct gp_addr ip6;	       // memif: likewise
	struct gp_addr gateway;	       // where the server's host is not a neighbour
	bool has_gateway;
	uint8_t server_mac[6];
	bool has_server_mac;
	uint32_t mtu;
	uint32_t port; // first UDP port; 0 = any
	uint32_t frames;
	uint32_t memory_mib;
	uint32_t vlan;
	enum cd_huge huge;
	char sharer[128]; // memif: the socket, for texts
};

// 0 or -EINVAL with a text. `number` makes names of devices different in a process.
int cd_args_parse(struct cd_args *a, const struct gp_carrier_opts *o, uint32_t number,
	char text[GP_CARRIER_TEXT_SIZE]) GP_MUST_CHECK;

// Starts EAL if it does not run yet; the calling thread belongs to it afterwards. 0 or -errno with
// a text.
int cd_environment_start(const struct cd_args *a, char text[GP_CARRIER_TEXT_SIZE]) GP_MUST_CHECK;

const struct gp_carrier_ops *gp_carrier_list(const char *name, uint32_t *abi);

#endif
