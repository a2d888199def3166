// SPDX-License-Identifier: BSD-3-Clause
#include "xport_dpdk_priv.h"

#define PREFETCH_AHEAD 4

static void verdict_count(struct gp_xport_dpdk *x, enum gp_inet_verdict v, uint32_t n)
{
	count(&x->counters.verdicts[v], n);
}

// Checks that the hardware has made and passed; what it failed or skipped is made again here.
static uint32_t flags_of(const struct gp_xport_dpdk *x, const struct rte_mbuf *m)
{
	uint32_t flags = x->parse_flags;
	if ((m->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK) == RTE_MBUF_F_RX_IP_CKSUM_GOOD)
		flags |= GP_INET_SKIP_IP_CHECKSUM;
	if ((m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_GOOD)
		flags |= GP_INET_SKIP_UDP_CHECKSUM;
	return flags;
}

static void frame_fill(struct rte_mbuf *m, const struct gp_inet_packet *p)
{
	uint32_t off = m->data_off + p->payload_off;
	dpdk_frame_of(m)->frame = (struct gp_frame){
		.data = (uint8_t *)m->buf_addr + off,
		.len = p->payload_len,
		.room = m->buf_len - off,
		.peer = p->peer,
	};
}

// The request's own mbuf becomes the answer.
static void answer_send(struct gp_xport_dpdk *x, enum gp_inet_verdict v, struct rte_mbuf *m,
	const struct gp_inet_packet *p)
{
	uint32_t room = (uint32_t)m->buf_len - m->data_off;
	uint32_t len =
		gp_inet_answer(dpdk_host(x->port), v, p, rte_pktmbuf_mtod(m, uint8_t *), room);
	m->data_len = (uint16_t)len;
	m->pkt_len = len;
	m->ol_flags &= RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL;
	tx_push(x, p->peer.link, m);
}

static void neighbour_heard(struct gp_xport_dpdk *x, const struct gp_addr *peer)
{
	if (memcmp(peer->ip, x->asked_ip, 16) != 0)
		return;
	memcpy(x->asked_mac, peer->mac, 6);
	x->answered = true;
}

// One frame; true when it is a datagram for this core.
static bool frame_take(struct gp_xport_dpdk *x, uint32_t link, struct rte_mbuf *m)
{
	struct gp_inet_packet p;
	enum gp_inet_verdict v = GP_INET_SEGMENTED;
	if (m->nb_segs == 1)
		v = gp_inet_parse(dpdk_host(x->port), rte_pktmbuf_mtod(m, uint8_t *), m->data_len,
			flags_of(x, m), &p);
	p.peer.link = (uint8_t)link;
	if (v == GP_INET_ACCEPTED) {
		frame_fill(m, &p);
		if (p.core == x->idx) {
			verdict_count(x, v, 1);
			return true;
		}
		x->staged[p.core][x->staged_count[p.core]++] = m;
		return false;
	}
	verdict_count(x, v, 1);
	if (v == GP_INET_NEIGHBOUR)
		neighbour_heard(x, &p.peer);
	if (v == GP_INET_ARP_ANSWERED || v == GP_INET_ND_ANSWERED || v == GP_INET_ECHO_ANSWERED)
		answer_send(x, v, m, &p);
	else
		rte_pktmbuf_free(m);
	return false;
}

static void staged_hand_over(struct gp_xport_dpdk *x)
{
	for (uint32_t i = 0; i < x->port->cores_count; i++) {
		uint32_t n = x->staged_count[i];
		if (n == 0)
			continue;
		uint32_t passed = rte_ring_sp_enqueue_burst(
			x->rx_out[i], (void *const *)x->staged[i], n, NULL);
		verdict_count(x, GP_INET_HANDED_OVER, passed);
		verdict_count(x, GP_INET_HANDOVER_FULL, n - passed);
		for (uint32_t k = passed; k < n; k++)
			rte_pktmbuf_free(x->staged[i][k]);
		x->staged_count[i] = 0;
	}
}

static uint32_t receive(
	struct gp_xport_dpdk *x, uint32_t link, struct gp_frame **frames, uint32_t max)
{
	const struct core_link *l = &x->links[link];
	struct rte_mbuf *burst[GP_DPDK_BURST];
	uint16_t want = (uint16_t)GP_MIN(max, (uint32_t)GP_DPDK_BURST);
	uint16_t got = rte_eth_rx_burst(l->port_id, l->queue, burst, want);
	uint32_t kept = 0;
	uint64_t bytes = 0;
	for (uint16_t i = 0; i < got && i < PREFETCH_AHEAD; i++)
		rte_prefetch0(rte_pktmbuf_mtod(burst[i], void *));
	for (uint16_t i = 0; i < got; i++) {
		if (i + PREFETCH_AHEAD < got)
			rte_prefetch0(rte_pktmbuf_mtod(burst[i + PREFETCH_AHEAD], void *));
		bytes += burst[i]->pkt_len;
		if (frame_take(x, link, burst[i]))
			frames[kept++] = &dpdk_frame_of(burst[i])->frame;
	}
	if (got == 0)
		return 0;
	x->received += got;
	count(&x->counters.rx_frames, got);
	count(&x->counters.rx_bytes, bytes);
	if (x->port->cores_count > 1)
		staged_hand_over(x);
	return kept;
}

// What other cores received for this one. The first ring asked changes from poll to poll, so that a
// flood at one core does not starve the others.
static uint32_t take_over(struct gp_xport_dpdk *x, struct gp_frame **frames, uint32_t max)
{
	uint32_t receivers_count = x->port->receivers_count;
	uint32_t kept = 0;
	uint32_t from = x->poll_turn % receivers_count;
	for (uint32_t i = 0; i < receivers_count && kept < max; i++) {
		struct rte_ring *ring = x->rx_in[from];
		from = from + 1 == receivers_count ? 0 : from + 1;
		void *burst[GP_DPDK_BURST];
		uint32_t want = GP_MIN(max - kept, (uint32_t)GP_DPDK_BURST);
		uint32_t got = ring ? rte_ring_sc_dequeue_burst(ring, burst, want, NULL) : 0;
		for (uint32_t k = 0; k < got; k++)
			frames[kept++] = &dpdk_frame_of(burst[k])->frame;
	}
	count(&x->counters.rx_taken_over, kept);
	return kept;
}

// The first link asked changes from poll to poll too.
static uint32_t links_receive(struct gp_xport_dpdk *x, struct gp_frame **frames, uint32_t max)
{
	if (x->links_count == 1)
		return receive(x, 0, frames, max);
	uint32_t kept = 0;
	uint32_t link = x->poll_turn % x->links_count;
	for (uint32_t i = 0; i < x->links_count && kept < max; i++) {
		if (x->links[link].polled)
			kept += receive(x, link, frames + kept, max - kept);
		link = link + 1 == x->links_count ? 0 : link + 1;
	}
	return kept;
}

uint32_t gp_xport_dpdk_poll(struct gp_xport_dpdk *x, struct gp_frame **frames, uint32_t max)
{
	bool own = x->polled_count > 0;
	uint32_t kept = 0;
	GP_ASSERT(max > 0);
	x->poll_turn++;
	x->received = 0;
	// Half of the burst at most, so that neither source starves the other.
	if (x->port->cores_count > 1)
		kept = take_over(x, frames, own ? max / 2 : max);
	if (own)
		kept += links_receive(x, frames + kept, max - kept);
	return kept;
}

uint32_t gp_xport_dpdk_received(const struct gp_xport_dpdk *x)
{
	return x->received;
}

// A frame of discovery: its buffer, and how it leaves.
static bool notice_begin(struct gp_xport_dpdk *x, struct rte_mbuf **m)
{
	*m = rte_pktmbuf_alloc(x->pool);
	if (!*m)
		count(&x->counters.no_frame, 1);
	return *m != NULL;
}

static void notice_send(struct gp_xport_dpdk *x, uint32_t link, struct rte_mbuf *m, uint32_t len)
{
	m->data_len = (uint16_t)len;
	m->pkt_len = len;
	tx_push(x, link, m);
}

void gp_xport_dpdk_announce(struct gp_xport_dpdk *x)
{
	const struct gp_inet_host *h = dpdk_host(x->port);
	for (uint32_t i = 0; i < x->links_count * h->addrs_count; i++) {
		struct rte_mbuf *m;
		if (!notice_begin(x, &m))
			return;
		uint8_t *frame = rte_pktmbuf_mtod(m, uint8_t *);
		notice_send(x, i / h->addrs_count, m,
			gp_inet_build_announce(h, i % h->addrs_count, frame));
	}
}

void gp_xport_dpdk_ask(struct gp_xport_dpdk *x, const uint8_t ip[16])
{
	struct rte_mbuf *m;
	if (memcmp(x->asked_ip, ip, 16) != 0) {
		memcpy(x->asked_ip, ip, 16);
		x->answered = false;
	}
	if (!notice_begin(x, &m))
		return;
	uint32_t len = gp_inet_build_ask(&x->port->host, ip, rte_pktmbuf_mtod(m, uint8_t *));
	if (len > 0)
		notice_send(x, 0, m, len);
	else
		rte_pktmbuf_free(m);
}

bool gp_xport_dpdk_answered(const struct gp_xport_dpdk *x, uint8_t mac[6])
{
	memcpy(mac, x->asked_mac, 6);
	return x->answered;
}

void gp_xport_dpdk_connect(struct gp_xport_dpdk *x, const struct gp_addr *peer)
{
	x->peer = *peer;
	x->connected = true;
}
