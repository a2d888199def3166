// SPDX-License-Identifier: BSD-3-Clause
#include "xport_dpdk_priv.h"

#define BURSTS_MAX	 64  // of one flush
#define STALL_FLUSHES	 256 // without progress before the head of the queue is given up
#define IP4_UDP_OVERHEAD (GP_INET_IP4_SIZE + GP_INET_UDP_SIZE)
#define IP6_UDP_OVERHEAD (GP_INET_IP6_SIZE + GP_INET_UDP_SIZE)

static struct gp_xport_dpdk *core_of(struct gp_xport *x)
{
	return (struct gp_xport_dpdk *)x;
}

static struct gp_frame *dpdk_alloc(struct gp_xport *base)
{
	struct gp_xport_dpdk *x = core_of(base);
	struct rte_mbuf *m = rte_pktmbuf_alloc(x->pool);
	if (!m) {
		count(&x->counters.no_frame, 1);
		return NULL;
	}
	struct gp_frame *f = &dpdk_frame_of(m)->frame;
	*f = (struct gp_frame){
		.data = (uint8_t *)m->buf_addr + x->payload_off,
		.room = (uint32_t)m->buf_len - x->payload_off,
	};
	return f;
}

static void dpdk_hold(struct gp_xport *base, struct gp_frame *f)
{
	(void)base;
	rte_mbuf_refcnt_update(mbuf_of(f), 1);
}

static void dpdk_release(struct gp_xport *base, struct gp_frame *f)
{
	(void)base;
	rte_pktmbuf_free(mbuf_of(f));
}

static bool has_room(const struct core_link *l)
{
	return l->tx_tail - l->tx_head <= l->tx_mask;
}

void tx_push(struct gp_xport_dpdk *x, uint32_t link, struct rte_mbuf *m)
{
	GP_ASSERT(link < x->links_count);
	struct core_link *l = &x->links[link];
	if (!has_room(l)) {
		count(&x->counters.tx_queue_full, 1);
		rte_pktmbuf_free(m);
		return;
	}
	l->tx[l->tx_tail++ & l->tx_mask] = m;
}

static void tail_give_back(struct gp_hold *hold)
{
	if (hold) {
		GP_ASSERT(hold->count > 0);
		hold->count--;
	}
}

// The driver has sent the tail, on this core.
static void tail_sent(void *addr, void *hold)
{
	(void)addr;
	tail_give_back(hold);
}

// A NIC reads the tail itself: it must be memory of EAL, in one piece on the bus.
static bool tail_is_reachable(
	const struct gp_xport_dpdk *x, const struct gp_frame *f, rte_iova_t *iova)
{
	*iova = (rte_iova_t)(uintptr_t)f->tail;
	if (x->port->any_memory)
		return true;
	if (!rte_mem_virt2memseg(f->tail, NULL))
		return false;
	*iova = rte_mem_virt2iova(f->tail);
	return *iova != RTE_BAD_IOVA &&
	       rte_mem_virt2iova(f->tail + f->tail_len - 1) == *iova + f->tail_len - 1;
}

// An mbuf whose data is the tail itself, or NULL when it has to be copied.
static struct rte_mbuf *tail_attach(struct gp_xport_dpdk *x, const struct gp_frame *f)
{
	rte_iova_t iova;
	if (!x->port->info.gather || x->links[f->peer.link].via != x->idx ||
		!tail_is_reachable(x, f, &iova))
		return NULL;
	struct rte_mbuf *t = rte_pktmbuf_alloc(x->tail_pool);
	if (!t)
		return NULL;
	struct rte_mbuf_ext_shared_info *info = &dpdk_frame_of(t)->tail_info;
	info->free_cb = tail_sent;
	info->fcb_opaque = f->tail_hold;
	rte_mbuf_ext_refcnt_set(info, 1);
	rte_pktmbuf_attach_extbuf(t, (void *)(uintptr_t)f->tail, iova, (uint16_t)f->tail_len, info);
	t->data_len = (uint16_t)f->tail_len;
	t->pkt_len = f->tail_len;
	count(&x->counters.tx_gathered, 1);
	return t;
}

// A frame that somebody still holds may be used again at once: the driver gets a copy, so that
// headers and segment chain of the original stay its holder's.
static struct gp_frame *frame_own(struct gp_xport_dpdk *x, struct gp_frame *f)
{
	if (rte_mbuf_refcnt_read(mbuf_of(f)) == 1)
		return f;
	struct gp_frame *copy = dpdk_alloc(&x->base);
	if (copy) {
		uint8_t *data = copy->data;
		uint32_t room = copy->room;
		GP_ASSERT(f->len <= room);
		*copy = *f;
		copy->data = data;
		copy->room = room;
		memcpy(data, f->data, f->len);
		count(&x->counters.tx_copied, 1);
	} else {
		tail_give_back(f->tail_hold);
	}
	dpdk_release(&x->base, f);
	return copy;
}

static void frame_drop(struct gp_frame *f, _Atomic uint64_t *why)
{
	count(why, 1);
	tail_give_back(f->tail_hold);
	rte_pktmbuf_free(mbuf_of(f));
}

static void offload_fill(struct rte_mbuf *m, bool v4, uint32_t l2_len)
{
	m->l2_len = l2_len & 0x7f;
	m->l3_len = v4 ? GP_INET_IP4_SIZE : GP_INET_IP6_SIZE;
	m->ol_flags |= RTE_MBUF_F_TX_UDP_CKSUM;
	m->ol_flags |= v4 ? RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM : RTE_MBUF_F_TX_IPV6;
}

// The bytes of f as an mbuf chain ready for the driver; headers_len of them come before f->data.
static struct rte_mbuf *frame_chain(
	struct gp_xport_dpdk *x, struct gp_frame *f, uint32_t headers_len)
{
	struct rte_mbuf *m = mbuf_of(f);
	struct rte_mbuf *t = f->tail_len ? tail_attach(x, f) : NULL;
	if (!t) {
		if (f->tail_len) {
			GP_ASSERT(f->len + f->tail_len <= f->room);
			memcpy(f->data + f->len, f->tail, f->tail_len);
			f->len += f->tail_len;
			count(&x->counters.tx_copied, 1);
		}
		tail_give_back(f->tail_hold);
	}
	uint8_t *start = f->data - headers_len;
	GP_ASSERT(start >= (uint8_t *)m->buf_addr);
	m->data_off = (uint16_t)(start - (uint8_t *)m->buf_addr);
	m->data_len = (uint16_t)(headers_len + f->len);
	m->pkt_len = m->data_len + (t ? f->tail_len : 0);
	m->nb_segs = t ? 2 : 1;
	m->next = t;
	m->ol_flags &= RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL;
	return m;
}

static void dpdk_send(struct gp_xport *base, struct gp_frame *f)
{
	struct gp_xport_dpdk *x = core_of(base);
	const struct gp_dpdk_port *p = x->port;
	if (x->connected)
		f->peer = x->peer;
	uint32_t link = f->peer.link;
	if (link >= x->links_count) { // of another node's port
		frame_drop(f, &x->counters.tx_unresolved);
		return;
	}
	bool v4 = gp_addr_is_v4(&f->peer);
	uint64_t ip_len =
		(uint64_t)f->len + f->tail_len + (v4 ? IP4_UDP_OVERHEAD : IP6_UDP_OVERHEAD);
	if (ip_len > p->info.ip_mtu_tx) {
		frame_drop(f, &x->counters.tx_too_long);
		return;
	}
	f = frame_own(x, f);
	if (!f)
		return;
	struct gp_inet_datagram d = {
		.payload = f->data,
		.len = f->len,
		.tail = f->tail,
		.tail_len = f->tail_len,
		.src_port = (uint16_t)(p->host.port_base + x->idx),
		.offload = p->info.checksum_offload && !(f->peer.flags & GP_ADDR_NO_CHECKSUM),
	};
	uint32_t headers_len = gp_inet_build_udp(dpdk_host(p), &f->peer, &d);
	if (headers_len == 0) {
		frame_drop(f, &x->counters.tx_unresolved);
		return;
	}
	struct rte_mbuf *m = frame_chain(x, f, headers_len);
	if (d.offload)
		offload_fill(m, v4, headers_len - (v4 ? IP4_UDP_OVERHEAD : IP6_UDP_OVERHEAD));
	tx_push(x, link, m);
}

const struct gp_xport_ops dpdk_ops = {
	.alloc = dpdk_alloc,
	.hold = dpdk_hold,
	.release = dpdk_release,
	.send = dpdk_send,
};

static uint32_t link_of(const struct gp_xport_dpdk *x, uint16_t port_id)
{
	uint32_t l = 0;
	while (l + 1 < x->links_count && x->links[l].port_id != port_id)
		l++;
	return l;
}

static bool all_have_room(const struct gp_xport_dpdk *x)
{
	for (uint32_t l = 0; l < x->links_count; l++)
		if (x->links[l].via == x->idx && !has_room(&x->links[l]))
			return false;
	return true;
}

// What other cores want sent on links of this one, as far as there is room.
static void passed_collect(struct gp_xport_dpdk *x)
{
	for (uint32_t i = 0; i < x->port->cores_count; i++) {
		void *m;
		while (x->tx_in[i] && all_have_room(x) && rte_ring_sc_dequeue(x->tx_in[i], &m) == 0)
			tx_push(x, link_of(x, ((struct rte_mbuf *)m)->port), m);
	}
}

// The longest run of the queue that is contiguous in memory, at most one burst.
static uint16_t run_len(const struct core_link *l)
{
	uint32_t to_end = l->tx_mask + 1 - (l->tx_head & l->tx_mask);
	return (uint16_t)GP_MIN(GP_MIN(l->tx_tail - l->tx_head, to_end), (uint32_t)GP_DPDK_BURST);
}

static uint16_t run_send(struct gp_xport_dpdk *x, struct core_link *l, uint16_t len)
{
	struct rte_mbuf **run = &l->tx[l->tx_head & l->tx_mask];
	uint32_t bytes[GP_DPDK_BURST];
	for (uint16_t i = 0; i < len; i++)
		bytes[i] = run[i]->pkt_len; // the driver may free them
	uint16_t sent = rte_eth_tx_burst(l->port_id, l->queue, run, len);
	uint64_t total = 0;
	for (uint16_t i = 0; i < sent; i++)
		total += bytes[i];
	count(&x->counters.tx_frames, sent);
	count(&x->counters.tx_bytes, total);
	return sent;
}

static uint16_t run_pass(struct gp_xport_dpdk *x, struct core_link *l, uint16_t len)
{
	struct rte_mbuf **run = &l->tx[l->tx_head & l->tx_mask];
	for (uint16_t i = 0; i < len; i++)
		run[i]->port = l->port_id;
	uint16_t passed = (uint16_t)rte_ring_sp_enqueue_burst(
		x->tx_out[l->via], (void *const *)run, len, NULL);
	count(&x->counters.tx_passed, passed);
	return passed;
}

// A driver that refuses its head for ever (a frame it cannot send, a link that is down) must not
// hold the rest back for ever.
static void stall_guard(struct gp_xport_dpdk *x, struct core_link *l, bool progress)
{
	if (progress || l->tx_head == l->tx_tail) {
		l->tx_stalled = 0;
	} else if (++l->tx_stalled >= STALL_FLUSHES) {
		rte_pktmbuf_free(l->tx[l->tx_head++ & l->tx_mask]);
		count(&x->counters.tx_stuck, 1);
	}
}

// Returns what is still queued.
static uint32_t link_flush(struct gp_xport_dpdk *x, struct core_link *l)
{
	bool progress = false;
	for (uint32_t i = 0; i < BURSTS_MAX && l->tx_head != l->tx_tail; i++) {
		uint16_t len = run_len(l);
		uint16_t taken = l->via == x->idx ? run_send(x, l, len) : run_pass(x, l, len);
		l->tx_head += taken;
		progress |= taken > 0;
		if (taken < len)
			break;
	}
	stall_guard(x, l, progress);
	return l->tx_tail - l->tx_head;
}

uint32_t gp_xport_dpdk_flush(struct gp_xport_dpdk *x)
{
	uint32_t queued = 0;
	if (x->polled_count > 0)
		passed_collect(x);
	for (uint32_t i = 0; i < x->links_count; i++)
		queued += link_flush(x, &x->links[i]);
	return queued;
}
