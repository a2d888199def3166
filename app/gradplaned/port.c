// SPDX-License-Identifier: BSD-3-Clause
//
// From the configuration to DPDK: arguments of the EAL, of the virtual device, and of the port.
#include "gradplaned.h"

#include <gp_capacity.h>
#include <gp_log.h>

#include <assert.h>
#include <errno.h>
#include <stdio.h>

#define DEVICE_SIZE 1024 // name, device and port.devargs
#define LCORES_SIZE 16384
#define BLOCK_SIZE  4096 // of a packet ring with short frames
#define BLOCK_JUMBO 40960

// The device's name in DPDK and, where it is made by us, its arguments.
struct device {
	char name[128];
	char vdev[DEVICE_SIZE];
	bool is_pci;
};

// One, or the links of a memif.
struct devices {
	uint32_t count;
	struct device d[GP_CONFIG_LINKS_MAX];
};

static_assert(GP_CONFIG_LINKS_MAX == GP_DPDK_LINKS_MAX, "every link has a device");

static void af_packet_fill(struct device *d, const struct gp_config *c)
{
	uint32_t frame = gp_config_af_packet_frame(c);
	uint32_t block = frame * 2 <= BLOCK_SIZE ? BLOCK_SIZE : BLOCK_JUMBO;
	uint32_t frames = (uint32_t)gp_align_up(c->port.rx_descriptors, block / frame);
	snprintf(d->name, sizeof(d->name), "net_af_packet0");
	snprintf(d->vdev, sizeof(d->vdev), "%s,iface=%s,blocksz=%u,framesz=%u,framecnt=%u", d->name,
		c->port.device, block, frame, frames);
}

static void memif_fill(struct device *d, const struct gp_config *c, uint32_t link)
{
	snprintf(d->name, sizeof(d->name), "net_memif%u", link);
	snprintf(d->vdev, sizeof(d->vdev), "%s,role=server,socket-abstract=no,socket=%s,id=%u",
		d->name, c->port.device, link);
}

static void device_fill(struct device *d, const struct gp_config *c, uint32_t link)
{
	static const struct {
		const char *name;
		const char *args;
	} simple[] = {
		[GP_PORT_TAP] = {"net_tap0", "iface="},
		[GP_PORT_AF_XDP] = {"net_af_xdp0", "iface="},
	};
	*d = (struct device){.is_pci = c->port.driver == GP_PORT_PCI};
	if (d->is_pci) {
		snprintf(d->name, sizeof(d->name), "%s", c->port.device);
		snprintf(d->vdev, sizeof(d->vdev), "%s", c->port.device);
	} else if (c->port.driver == GP_PORT_AF_PACKET) {
		af_packet_fill(d, c);
	} else if (c->port.driver == GP_PORT_MEMIF) {
		memif_fill(d, c, link);
	} else {
		GP_ASSERT(c->port.driver < GP_ARRAY_SIZE(simple));
		snprintf(d->name, sizeof(d->name), "%s", simple[c->port.driver].name);
		snprintf(d->vdev, sizeof(d->vdev), "%s,%s%s", d->name, simple[c->port.driver].args,
			c->port.device);
	}
	size_t len = strlen(d->vdev);
	if (c->port.devargs[0])
		snprintf(d->vdev + len, sizeof(d->vdev) - len, ",%s", c->port.devargs);
}

// 0 with n->huge decided, or -ENOMEM.
static int hugepages_choose(struct node *n)
{
	const struct gp_config_eal *e = &n->cfg.eal;
	uint64_t free_bytes = machine_hugepages_free();
	n->huge = e->hugepages != GP_HUGEPAGES_OFF && free_bytes >= e->memory;
	if (n->huge || e->hugepages == GP_HUGEPAGES_OFF)
		return 0;
	if (e->hugepages == GP_HUGEPAGES_ON) {
		gp_error("eal.hugepages is on, but %lu MiB of huge pages are free and eal.memory "
			 "asks for %lu: reserve them (`echo %lu > "
			 "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages`) or say auto",
			free_bytes >> 20, e->memory >> 20, (e->memory >> 21) + 1);
		return -ENOMEM;
	}
	gp_info("%lu MiB of huge pages are free, eal.memory is %lu MiB: running with --no-huge",
		free_bytes >> 20, e->memory >> 20);
	return 0;
}

static int eal_start(struct node *n, const struct devices *all)
{
	const struct gp_config_eal *e = &n->cfg.eal;
	const char *extra[GP_CONFIG_ARGS_MAX + 1] = {NULL};
	const char *devices[GP_CONFIG_LINKS_MAX + 1] = {NULL};
	bool is_pci = all->d[0].is_pci;
	char lcores[LCORES_SIZE];
	int rc = 0;
	if (!e->lcores[0])
		rc = machine_lcores(n->cfg.cores.count, lcores, sizeof(lcores));
	if (rc != 0)
		return rc;
	for (uint32_t i = 0; i < e->extra_args_count; i++)
		extra[i] = e->extra_args[i];
	for (uint32_t i = 0; i < all->count; i++)
		devices[i] = all->d[i].vdev;
	const struct gp_dpdk_eal_opts opts = {
		.program = "gradplaned",
		.file_prefix = e->file_prefix,
		.lcores = e->lcores[0] ? e->lcores : lcores,
		.memory_mib = (uint32_t)(e->memory >> 20),
		.no_huge = !n->huge,
		.no_pci = !is_pci,
		.vdevs = is_pci ? NULL : devices,
		.allow = is_pci ? devices : NULL,
		.extra = extra,
	};
	return gp_dpdk_eal_init(&opts);
}

static int lcores_find(struct node *n)
{
	for (uint32_t i = 0; i < n->cfg.cores.count; i++) {
		n->lcores[i].id = gp_dpdk_lcore(i);
		if (n->lcores[i].id >= 0)
			continue;
		gp_error("eal.lcores %s has %u lcores beside the first; cores.count %u needs as "
			 "many",
			n->cfg.eal.lcores, i, n->cfg.cores.count);
		return -EINVAL;
	}
	return 0;
}

void address_map_v4(uint8_t out[16], const struct gp_config_ip *ip)
{
	memset(out, 0, 10);
	out[10] = out[11] = 0xff;
	memcpy(out + 12, ip->addr, 4);
}

static void host_fill(struct gp_inet_host *h, const struct gp_config *c)
{
	*h = (struct gp_inet_host){
		.port_base = (uint16_t)c->cores.udp_port,
		.ports_count = (uint16_t)c->cores.count,
	};
	if (c->port.mac_present)
		memcpy(h->mac, c->port.mac, 6);
	if (c->address.service_ipv4.present)
		address_map_v4(h->addrs[h->addrs_count++], &c->address.service_ipv4);
	if (c->address.service_ipv6.present)
		memcpy(h->addrs[h->addrs_count++], c->address.service_ipv6.addr, 16);
	if (c->address.ipv4.present)
		address_map_v4(h->addrs[h->addrs_count++], &c->address.ipv4);
	for (uint32_t i = 0; i < c->address.ipv6_count; i++)
		memcpy(h->addrs[h->addrs_count++], c->address.ipv6[i].addr, 16);
}

static int port_start(struct node *n, const struct devices *all)
{
	const struct gp_config *c = &n->cfg;
	struct gp_dpdk_port_opts opts = {
		.name = all->d[0].name,
		.links_count = c->port.driver == GP_PORT_MEMIF ? all->count : 0,
		.cores_count = c->cores.count,
		.ip_mtu = c->port.mtu,
		.mbufs_per_core = c->port.mbufs,
		.rx_desc_count = (uint16_t)c->port.rx_descriptors,
		.tx_desc_count = (uint16_t)c->port.tx_descriptors,
		.handover_count = c->cores.ring_size,
		.no_flow_rules = c->port.steering == GP_STEERING_OFF,
		.optional_udp_checksum = c->port.udp_checksum == GP_UDP_CHECKSUM_OPTIONAL,
	};
	for (uint32_t i = 0; i < opts.links_count; i++)
		opts.links[i] = all->d[i].name;
	opts.service_count =
		(uint16_t)(c->address.service_ipv4.present + c->address.service_ipv6.present);
	host_fill(&opts.host, c);
	int rc = gp_dpdk_port_create(&opts, &n->port);
	if (rc != 0)
		return rc;
	gp_dpdk_port_info(n->port, &n->port_info);
	gp_dpdk_port_serve(n->port, c->node.role == GP_ROLE_PRIMARY);
	return 0;
}

static void on_signal_nothing(int number)
{
	(void)number;
}

// net_tap looks for a real-time signal with no handler and has the kernel send it for every packet,
// which costs several times as much as reading the packet. Where it finds none it reads at every
// poll instead.
static void tap_signals_withhold(void)
{
	const struct sigaction nothing = {.sa_handler = on_signal_nothing, .sa_flags = SA_RESTART};
	for (int s = SIGRTMIN; s <= SIGRTMAX; s++)
		sigaction(s, &nothing, NULL);
}

int port_up(struct node *n)
{
	struct devices all = {.count = n->cfg.port.links};
	for (uint32_t i = 0; i < all.count; i++)
		device_fill(&all.d[i], &n->cfg, i);
	int rc = hugepages_choose(n);
	if (rc != 0)
		return rc;
	if (n->cfg.port.driver == GP_PORT_TAP)
		tap_signals_withhold();
	rc = eal_start(n, &all);
	if (rc != 0) {
		gp_error("port %s (%s): DPDK did not start with device %s: the lines above say "
			 "why; is port.device right, and eal.memory enough?",
			n->cfg.port.device, gp_port_driver_name(n->cfg.port.driver), all.d[0].vdev);
		return rc;
	}
	rc = lcores_find(n);
	if (rc == 0)
		rc = port_start(n, &all);
	if (rc != 0)
		gp_dpdk_eal_fini();
	return rc;
}

void port_down(struct node *n)
{
	gp_dpdk_port_destroy(n->port);
	gp_dpdk_eal_fini();
}
