// SPDX-License-Identifier: BSD-3-Clause
#include "xport_dpdk_priv.h"

#include <gp_log.h>

#include <errno.h>
#include <rte_errno.h>
#include <rte_flow.h>
#include <rte_ether.h>
#include <stdio.h>

#define RX_DESC_COUNT  512
#define TX_DESC_COUNT  512
#define FRAME_OVERHEAD (GP_INET_ETH_SIZE + GP_INET_VLAN_SIZE)

// Software drivers and what has been found about them. They copy with the CPU, so a tail may lie in
// any memory and their "offloads" are loops no faster than ours.
static const struct driver_trait {
	const char *name;
	bool fixed_mtu;		// refuses an MTU above 1500 although it receives longer frames
	uint32_t ip_mtu_tx_max; // 0 = as configured
	bool mac_is_kernels;	// the kernel's side of the link has the device's MAC
} driver_traits[] = {
	{.name = "net_tap", .fixed_mtu = true, .ip_mtu_tx_max = 1500, .mac_is_kernels = true},
	{.name = "net_af_packet", .fixed_mtu = true},
	{.name = "net_memif", .fixed_mtu = true},
	{.name = "net_ring"},
	{.name = "net_null"},
	{.name = "net_pcap"},
};

static const struct driver_trait *trait_find(const char *driver)
{
	for (size_t i = 0; i < GP_ARRAY_SIZE(driver_traits); i++)
		if (strcmp(driver_traits[i].name, driver) == 0)
			return &driver_traits[i];
	return NULL;
}

static uint16_t device_mtu(
	const struct rte_eth_dev_info *dev, const struct driver_trait *t, uint32_t ip_mtu)
{
	if ((t && t->fixed_mtu) || ip_mtu <= RTE_ETHER_MTU)
		return RTE_ETHER_MTU;
	uint32_t most = dev->max_rx_pktlen > FRAME_OVERHEAD ? dev->max_rx_pktlen - FRAME_OVERHEAD
							    : RTE_ETHER_MTU;
	return (uint16_t)GP_MIN(ip_mtu, GP_MIN(most, (uint32_t)dev->max_mtu));
}

static struct rte_eth_conf device_conf(
	struct gp_dpdk_port *p, const struct rte_eth_dev_info *dev, bool software)
{
	struct rte_eth_conf conf = {0};
	uint64_t checksums = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
	if (!software) {
		conf.rxmode.offloads = dev->rx_offload_capa & (RTE_ETH_RX_OFFLOAD_IPV4_CKSUM |
								      RTE_ETH_RX_OFFLOAD_UDP_CKSUM);
		p->info.checksum_offload = (dev->tx_offload_capa & checksums) == checksums;
	}
	if (p->info.checksum_offload)
		conf.txmode.offloads |= checksums;
	p->info.gather = (dev->tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS) || software;
	conf.txmode.offloads |= dev->tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
	uint64_t rss = dev->flow_type_rss_offloads &
		       (RTE_ETH_RSS_NONFRAG_IPV4_UDP | RTE_ETH_RSS_NONFRAG_IPV6_UDP);
	if (p->queues_count > 1 && rss && !software) {
		conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		conf.rx_adv_conf.rss_conf.rss_hf = rss;
	}
	return conf;
}

int port_configure(struct gp_dpdk_port *p, const struct gp_dpdk_port_opts *o, uint32_t link)
{
	struct rte_eth_dev_info dev;
	int rc = rte_eth_dev_info_get(p->port_ids[link], &dev);
	if (rc)
		return rc;
	snprintf(p->info.driver, sizeof(p->info.driver), "%s", dev.driver_name);
	const struct driver_trait *t = trait_find(dev.driver_name);
	p->any_memory = t && !o->zero_copy;
	p->queues_count = (uint16_t)GP_MIN(o->one_thread || p->linked ? 1 : o->cores_count,
		(uint32_t)GP_MIN(dev.max_rx_queues, dev.max_tx_queues));
	if (p->queues_count == 0)
		return -ENODEV;

	uint32_t ip_mtu = o->ip_mtu ? o->ip_mtu : RTE_ETHER_MTU;
	struct rte_eth_conf conf = device_conf(p, &dev, t);
	p->info.gather = p->info.gather && !o->zero_copy;
	conf.rxmode.mtu = device_mtu(&dev, t, ip_mtu);
	uint32_t tx_max = t && t->fixed_mtu ? ip_mtu : GP_MIN(ip_mtu, conf.rxmode.mtu);
	p->info.ip_mtu_tx = t && t->ip_mtu_tx_max ? GP_MIN(tx_max, t->ip_mtu_tx_max) : tx_max;
	if (p->info.ip_mtu_tx < ip_mtu)
		gp_warn("dpdk: %s sends at most %u of the configured MTU %u", dev.driver_name,
			p->info.ip_mtu_tx, ip_mtu);
	rc = rte_eth_dev_configure(p->port_ids[link], p->queues_count, p->queues_count, &conf);
	if (rc)
		gp_error("dpdk: %s refuses %u queues, MTU %u: %s", dev.driver_name, p->queues_count,
			conf.rxmode.mtu, strerror(-rc));
	return rc;
}

int port_queues_setup(struct gp_dpdk_port *p, const struct gp_dpdk_port_opts *o, uint32_t link)
{
	uint16_t port_id = p->port_ids[link];
	uint16_t rx_desc = o->rx_desc_count ? o->rx_desc_count : RX_DESC_COUNT;
	uint16_t tx_desc = o->tx_desc_count ? o->tx_desc_count : TX_DESC_COUNT;
	int rc = rte_eth_dev_adjust_nb_rx_tx_desc(port_id, &rx_desc, &tx_desc);
	int numa = rte_eth_dev_socket_id(port_id);
	unsigned socket = numa < 0 ? 0 : (unsigned)numa;
	for (uint16_t q = 0; rc == 0 && q < p->queues_count; q++) {
		struct gp_xport_dpdk *core = p->cores[link_core(p, q, link)];
		rc = rte_eth_rx_queue_setup(port_id, q, rx_desc, socket, NULL, core->pool);
		if (rc == 0)
			rc = rte_eth_tx_queue_setup(port_id, q, tx_desc, socket, NULL);
	}
	if (rc)
		gp_error("dpdk: queue set-up with %u and %u descriptors: %s", rx_desc, tx_desc,
			strerror(-rc));
	p->info.rx_desc_count = rx_desc;
	p->info.queues_count = p->queues_count;
	p->info.links_count = p->links_count;
	return rc;
}

// Ours is the device's MAC unless one is configured, or the kernel's side of a tap has it already
// (a bridge would then keep our frames for itself).
static void mac_choose(struct gp_dpdk_port *p, const struct rte_ether_addr *device)
{
	static const uint8_t zero[6];
	const struct driver_trait *t = trait_find(p->info.driver);
	if (memcmp(p->host.mac, zero, 6) == 0) {
		memcpy(p->host.mac, device->addr_bytes, 6);
		if (t && t->mac_is_kernels) {
			p->host.mac[0] |= 2; // locally administered
			p->host.mac[5] ^= 0x80;
		}
	}
	memcpy(p->info.mac, p->host.mac, 6);
}

int port_start(struct gp_dpdk_port *p, uint32_t link)
{
	struct rte_ether_addr device, ours;
	uint16_t port_id = p->port_ids[link];
	int rc = rte_eth_macaddr_get(port_id, &device);
	if (rc)
		return rc;
	mac_choose(p, &device);
	memcpy(ours.addr_bytes, p->host.mac, 6);
	rc = rte_eth_dev_start(port_id);
	if (rc) {
		gp_error("dpdk: %s does not start: %s", p->info.driver, strerror(-rc));
		return rc;
	}
	p->running = link + 1;
	// Neighbour discovery comes to multicast groups; another MAC needs a filter of its own.
	bool extra_mac = !rte_is_same_ether_addr(&ours, &device);
	if (rte_eth_allmulticast_enable(port_id) ||
		(extra_mac && rte_eth_dev_mac_addr_add(port_id, &ours, 0)))
		(void)rte_eth_promiscuous_enable(port_id);
	return 0;
}

static struct rte_flow *flow_create(struct gp_dpdk_port *p, uint16_t core, bool v4)
{
	const struct rte_flow_attr attr = {.ingress = 1};
	const struct rte_flow_item_udp udp = {
		.hdr.dst_port = rte_cpu_to_be_16((uint16_t)(p->host.port_base + core))};
	const struct rte_flow_item_udp mask = {.hdr.dst_port = UINT16_MAX};
	const struct rte_flow_item items[] = {
		{.type = RTE_FLOW_ITEM_TYPE_ETH},
		{.type = v4 ? RTE_FLOW_ITEM_TYPE_IPV4 : RTE_FLOW_ITEM_TYPE_IPV6},
		{.type = RTE_FLOW_ITEM_TYPE_UDP, .spec = &udp, .mask = &mask},
		{.type = RTE_FLOW_ITEM_TYPE_END},
	};
	const struct rte_flow_action_queue queue = {.index = core};
	const struct rte_flow_action actions[] = {
		{.type = RTE_FLOW_ACTION_TYPE_QUEUE, .conf = &queue},
		{.type = RTE_FLOW_ACTION_TYPE_END},
	};
	struct rte_flow_error error;
	return rte_flow_create(p->port_ids[0], &attr, items, actions, &error);
}

void port_steer(struct gp_dpdk_port *p)
{
	if (p->cores_count == 1)
		return;
	bool all = p->queues_count == p->cores_count && !p->linked && !p->any_memory;
	for (uint16_t i = 0; all && i < p->cores_count; i++)
		all = flow_create(p, i, true) && flow_create(p, i, false);
	p->info.flow_steering = all;
	if (!all)
		gp_info("dpdk: %s takes no flow rules for our ports: cores pass datagrams on by "
			"ring",
			p->info.driver);
}
