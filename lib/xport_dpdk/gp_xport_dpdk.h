// SPDX-License-Identifier: BSD-3-Clause
//
// Everything that knows DPDK: the environment, one Ethernet port, and for each polled core an
// instance of the transport contract (gp_xport.h) whose frames are mbufs.
//
// Steering. Core i owns UDP port port_base + i. Flow rules are asked for; where the driver refuses
// them (said once in the log) any core may receive any datagram and passes it to its owner over a
// ring. The result is the same. Where the driver has fewer queues than there are cores, the cores
// without one send through the queue of another, over a ring too.
//
// Links. A port may be several devices, of which each reaches other peers (memif has two ends): one
// core polls each of them (link l: core l % cores), an answer leaves on the link that its peer was
// heard on, and where another core has that link, over a ring.
//
// A client's port has one thread for all its cores (`one_thread`): one queue, one pool, and each
// core talks to one peer (gp_xport_dpdk_connect).
//
// Per burst: gp_xport_dpdk_poll, the engine, gp_xport_dpdk_flush. Poll answers ARP, IPv6 neighbour
// solicitations and echo requests by itself and gives every received frame one verdict (gp_inet.h):
// the sum of a core's verdicts is the number of frames it received.
//
// Frames fit one mbuf: 2 KiB of room up to MTU 1500, else 10 KiB (af_packet: framesz no larger).
//
// Sending never waits: what the driver does not take stays queued, in order; a driver that takes
// nothing for long loses the head of the queue to a counter. The tail of a frame is attached
// without a copy where the driver gathers and can read that memory, else it is copied.
//
// Threads: bring-up, teardown, statistics and announcements of a stopped port belong to the control
// thread; an instance belongs to its core (one EAL lcore). Memory: all at bring-up. Errors:
// bring-up returns -errno and has logged why; the packet path has counters only.
#ifndef GP_XPORT_DPDK_H
#define GP_XPORT_DPDK_H

#include <gp_inet.h>
#include <gp_xport.h>

#define GP_DPDK_CORES_MAX 32
#define GP_DPDK_ARGS_MAX  32
#define GP_DPDK_BURST	  32
#define GP_DPDK_LINKS_MAX 32

struct gp_dpdk_eal_opts {
	const char *program;
	const char *file_prefix; // NULL = program
	const char *lcores;	 // EAL map "0@0,1@1"; NULL = lcore 0 on the CPU of the caller
	uint32_t memory_mib;	 // 0 = the default of EAL
	bool no_huge;		 // anonymous memory, no hugepages
	bool no_pci;
	const char *const *vdevs; // "net_tap0,iface=gp0", NULL-terminated; NULL = none
	const char *const *allow; // PCI addresses, NULL-terminated; NULL = all
	const char *const *extra; // further EAL arguments, NULL-terminated; NULL = none
};

// Once a process, from the main thread, which becomes the main lcore.
int gp_dpdk_eal_init(const struct gp_dpdk_eal_opts *opts) GP_MUST_CHECK;
void gp_dpdk_eal_fini(void);

// The i-th worker lcore id (i from 0) of the lcore map, or -1: where polled core i runs.
int gp_dpdk_lcore(uint32_t i) GP_MUST_CHECK;
// Starts fn on that lcore / waits for its end and returns its result.
int gp_dpdk_lcore_launch(int lcore, int (*fn)(void *arg), void *arg) GP_MUST_CHECK;
int gp_dpdk_lcore_wait(int lcore);

// A device after the start of EAL, "net_memif0,role=client,socket=..." or a PCI address with its
// arguments. 0 or -errno (logged).
int gp_dpdk_device_add(const char *devargs) GP_MUST_CHECK;
// The port that used it is destroyed.
void gp_dpdk_device_remove(const char *devargs);
// Makes the calling thread one of EAL's, if it is none: pools have a cache for each of these. 0 or
// -errno.
int gp_dpdk_thread_enter(void) GP_MUST_CHECK;

// Zeroed, 64-byte aligned memory that the port can read (hugepages where there are any; heap memory
// when EAL has none left). numa -1 = any. NULL when there is none.
void *gp_dpdk_mem_take(size_t size, int numa) GP_MUST_CHECK;
void gp_dpdk_mem_give(void *mem);

struct gp_dpdk_port;
struct gp_xport_dpdk;

struct gp_dpdk_port_opts {
	const char *name; // of the device, "net_tap0" or a PCI address; NULL = the only port
	// Links: the devices' names; `name` is not looked at. 0 = one device.
	const char *links[GP_DPDK_LINKS_MAX];
	uint32_t links_count;
	uint32_t cores_count;
	uint32_t ip_mtu;	 // 0 = 1500
	uint32_t mbufs_per_core; // 0 = 4096; held contributions live here
	uint16_t rx_desc_count;	 // a queue; 0 = 512
	uint16_t tx_desc_count;	 // 0 = 512
	uint32_t handover_count; // slots of each ring between two cores; 0 = 512
	uint32_t tx_queue_count; // datagrams a core keeps for a driver that is full; 0 = 1024
	bool no_flow_rules;	 // cores always pass datagrams on by ring
	bool one_thread;	 // the cores are one thread's: one queue, one pool for all
	bool zero_copy;		 // the driver hands our buffers to the peer: no tail from elsewhere
	bool skip_udp_checksum;	 // peers on veth pairs leave checksums unfinished ("tx on")
	// Over IPv4 datagrams without a UDP checksum are taken, and answered without one; else
	// they are refused. For ports whose bytes stay in this machine's memory.
	bool optional_udp_checksum;
	struct gp_inet_host host; // mac zero = the device's (net_tap: derived from it, as the
				  // kernel side of the tap already has the same)
	uint16_t service_count;	  // addresses, the first ones of host: see gp_dpdk_port_serve
};

// What the port can do, for logs and the capacity proof.
struct gp_dpdk_port_info {
	char driver[32];
	uint32_t queues_count; // of each link
	uint32_t links_count;
	uint32_t rx_desc_count;
	uint32_t ip_mtu_tx; // largest IP datagram that the driver sends
	bool flow_steering;
	bool gather; // tails are attached, not copied
	bool checksum_offload;
	uint8_t mac[6];
};

struct gp_dpdk_port_stats {
	uint64_t rx_packets, rx_bytes, rx_missed, rx_errors, rx_no_mbuf;
	uint64_t tx_packets, tx_bytes, tx_errors;
};

// Configures and starts the port. 0 and *port, or -errno (logged): ENODEV, EINVAL, ENOMEM, or what
// the driver said.
int gp_dpdk_port_create(
	const struct gp_dpdk_port_opts *opts, struct gp_dpdk_port **port) GP_MUST_CHECK;
// Stops the port; no core may poll any more, and nobody uses a frame again. Drops what is queued
// and gives its tails back: their memory must still be there. Takes NULL.
void gp_dpdk_port_destroy(struct gp_dpdk_port *port);
void gp_dpdk_port_info(const struct gp_dpdk_port *port, struct gp_dpdk_port_info *info);
int gp_dpdk_port_stats(
	const struct gp_dpdk_port *port, struct gp_dpdk_port_stats *stats) GP_MUST_CHECK;
bool gp_dpdk_port_link_is_up(const struct gp_dpdk_port *port, uint32_t link);
// The service addresses move between machines: they are ours only while served (any thread; from
// the cores' next frame on). Datagrams then leave from the first one of the peer's family.
void gp_dpdk_port_serve(struct gp_dpdk_port *port, bool served);
// Instance of core i < cores_count; it belongs to the port.
struct gp_xport_dpdk *gp_dpdk_port_core(struct gp_dpdk_port *port, uint32_t i);

struct gp_xport *gp_xport_dpdk_base(struct gp_xport_dpdk *x);
// Up to `max` datagrams for this core's port; each frame carries one reference. Its data is the UDP
// payload, its peer the sender.
uint32_t gp_xport_dpdk_poll(struct gp_xport_dpdk *x, struct gp_frame **frames, uint32_t max);
// Frames that the last poll took from drivers, of whatever kind.
uint32_t gp_xport_dpdk_received(const struct gp_xport_dpdk *x);
// Hands what is queued to the driver; returns what is still queued.
uint32_t gp_xport_dpdk_flush(struct gp_xport_dpdk *x);
// Queues a gratuitous ARP or unsolicited neighbour advertisement for each of our addresses: at
// start and on takeover. Called on the instance's core.
void gp_xport_dpdk_announce(struct gp_xport_dpdk *x);

// From now on every frame is sent to this peer, and `peer` of a frame is not looked at.
void gp_xport_dpdk_connect(struct gp_xport_dpdk *x, const struct gp_addr *peer);
// Asks on link 0 for the Ethernet address of `ip`. Who answers later, or announces himself, is
// remembered for the last address asked for.
void gp_xport_dpdk_ask(struct gp_xport_dpdk *x, const uint8_t ip[16]);
// Whether it is known by now.
bool gp_xport_dpdk_answered(const struct gp_xport_dpdk *x, uint8_t mac[6]) GP_MUST_CHECK;

// One core's counters.
#define GP_XPORT_DPDK_COUNTERS(X)                                                                  \
	X(rx_frames, "Ethernet frames received from the driver")                                   \
	X(rx_bytes, "bytes of those")                                                              \
	X(rx_taken_over, "datagrams that another core received for this one")                      \
	X(tx_frames, "Ethernet frames taken by the driver")                                        \
	X(tx_bytes, "bytes of those")                                                              \
	X(tx_passed, "frames sent through the queue of another core")                              \
	X(tx_queue_full, "dropped: this core's queue had no room")                                 \
	X(tx_too_long, "dropped: longer than the port sends")                                      \
	X(tx_unresolved, "dropped: no Ethernet address, no address of that family, no such link")  \
	X(tx_stuck, "dropped: the driver took nothing for long")                                   \
	X(tx_gathered, "frames whose tail was attached")                                           \
	X(tx_copied, "frames that were copied whole or in part before sending")                    \
	X(no_frame, "alloc found the pool empty, or a copy had no buffer")

struct gp_xport_dpdk_stats {
#define X(name, help) uint64_t name;
	GP_XPORT_DPDK_COUNTERS(X)
#undef X
	uint64_t verdicts[GP_INET_VERDICTS_COUNT];
};

// From any thread; each counter is exact, the set is not a cut.
void gp_xport_dpdk_stats(const struct gp_xport_dpdk *x, struct gp_xport_dpdk_stats *stats);
// Frames of this core's pool that are free now; from any thread.
uint32_t gp_xport_dpdk_frames_free(const struct gp_xport_dpdk *x);

#endif
