// SPDX-License-Identifier: BSD-3-Clause
//
// The capacity proof: does what the configuration promises fit in what it reserves? Pure arithmetic
// over struct gp_config, no look at the machine; every row carries its formula with its numbers, so
// an operator can check it by hand and see which key to change.
//
// Threads: no state. Memory: the caller's struct (about 300 KiB: give it static or heap memory).
#ifndef GP_CAPACITY_H
#define GP_CAPACITY_H

#include <gp_config.h>

// Frames that a core keeps for ARP, neighbour discovery, ICMP, hello and its own answers.
#define GP_CONFIG_CONTROL_FRAMES 256
// What lib/table takes is the same for so many blocks.
#define GP_CONFIG_GROUP_BLOCKS 8
// What RTE_PKTMBUF_HEADROOM is; lib/xport_dpdk asserts it.
#define GP_CONFIG_HEADROOM 128
// `available` where nothing in the configuration limits the row.
#define GP_CAPACITY_UNLIMITED UINT64_MAX

#define GP_CAPACITY_ROWS_MAX (8 + (2 + GP_CONFIG_TABLES_MAX) * GP_CONFIG_JOBS_MAX)

struct gp_capacity_row {
	char what[160];
	char formula[256];
	const char *unit; // "frames", "bytes", ... static text
	const char *keys; // the keys to change when the row fails, static text
	uint64_t needed;
	uint64_t available;
	bool ok;
};

struct gp_capacity {
	uint32_t rows_count;
	bool ok; // every row is
	struct gp_capacity_row rows[GP_CAPACITY_ROWS_MAX];
};

// 0, or -ENOSPC when a row does not hold; `out` is complete either way.
int gp_config_capacity(const struct gp_config *c, struct gp_capacity *out) GP_MUST_CHECK;
// A table for people; failing rows say which keys to change.
void gp_capacity_print(FILE *f, const struct gp_capacity *cap);

// Data room of one mbuf of the port, headroom included: port.mtu + 14 (Ethernet) + 4 (VLAN) +
// headroom, rounded up to 64, not below what the driver insists on (af_packet: a whole ring frame).
uint32_t gp_config_mbuf_room(const struct gp_config *c);
// framesz of net_af_packet for this port: 2048, or 10240 (with blocksz 40960) for long frames.
uint32_t gp_config_af_packet_frame(const struct gp_config *c);
// Versions of 8 blocks: of each the visible one, a shadow and one for each cut (bsp: one), and one
// more for all.
uint32_t gp_config_group_versions(const struct gp_config_job *j);
// Bytes of server memory that 8 blocks of `elements` f32 take: their versions, each with its
// optimizer state, the 64-byte heads of blocks and versions, and in asynchronous jobs the pushes
// that wait for their commit (atomicity step) and what each rank read last (delay compensation).
uint64_t gp_config_group_bytes(const struct gp_config_job *j, uint32_t elements);
// Bytes that a table of an embed job takes on so many cores: rows with their optimizer state,
// index, and copies for generations that are read. At least what lib/table takes, and hardly more.
// `sync`: with replica.mode sync, where there is room for another node's rows, and copies for what
// is being replicated.
uint64_t gp_config_table_bytes(
	const struct gp_config_job *j, const struct gp_config_table *t, uint32_t cores, bool sync);
// Elements of a block where a path carries `mtu` bytes.
uint32_t gp_config_block_elements(uint32_t mtu);
// Places of a push at each core, of `elements` f32.
uint32_t gp_config_push_places(const struct gp_config_job *j, uint32_t elements);
// True where any queue may receive datagrams of any core (no hardware steering): frames then cross
// between cores by ring, and one queue has to take the windows of all.
bool gp_config_queues_mixed(const struct gp_config *c);

#endif
