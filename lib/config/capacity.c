// SPDX-License-Identifier: BSD-3-Clause
//
// The rows of the capacity proof. Each function adds the rows of one resource.
#include "gp_capacity.h"

#include "config_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>

#define ETHER_LEN	   14
#define VLAN_LEN	   4
#define MBUF_ROUND	   64
#define AF_PACKET_FRAME	   2048
#define AF_PACKET_JUMBO	   10240
#define AF_PACKET_OVERHEAD 66 // TPACKET_V2 header and its padding before the Ethernet header
#define MBUF_STRUCT_SIZE   128
#define MEMPOOL_OBJECT	   64			// header and padding of one pool object
#define DESCRIPTOR_SIZE	   64			// no driver of ours keeps more for one descriptor
#define EAL_BYTES	   (UINT64_C(24) << 20) // an allowance for DPDK's own tables
#define RECORDER_CELL	   128u			// GP_FLIGHT_CELL of lib/flight
#define BLOCK_ALIGN	   16			// elements
#define TABLE_HEADER	   64			// of a block, and of a version
#define TABLE_SPARE	   16			// of a version: its place in the ring of spare ones
#define STAGED_HEADER	   12			// of a block of a push that waits for its commit
#define WHOLE_BLOCK	   24			// of a block whose update waits for the whole step
#define EMBED_BYTES	   (1u << 20)		// an allowance for what an embed job has beside
#define BLOCK_OVERHEAD	   (40 + 8 + 108) // IPv6, UDP, and what a datagram holds beside its block

static const struct {
	uint32_t mtu_max;
	const char *why;
} driver_limits[] = {
	[GP_PORT_TAP] = {1500, "net_tap cannot send longer frames"},
	[GP_PORT_AF_PACKET] = {9216, "the jumbo frame of the packet ring"},
	[GP_PORT_AF_XDP] = {3310, "a page less what DPDK and XDP keep in it"},
	[GP_PORT_MEMIF] = {9216, "the memif buffer"},
	[GP_PORT_PCI] = {9216, "jumbo frames"},
};

uint32_t gp_config_af_packet_frame(const struct gp_config *c)
{
	uint32_t frame = c->port.mtu + ETHER_LEN + VLAN_LEN + AF_PACKET_OVERHEAD;
	return frame <= AF_PACKET_FRAME ? AF_PACKET_FRAME : AF_PACKET_JUMBO;
}

static uint32_t frame_bytes(const struct gp_config *c)
{
	return c->port.mtu + ETHER_LEN + VLAN_LEN + GP_CONFIG_HEADROOM;
}

uint32_t gp_config_mbuf_room(const struct gp_config *c)
{
	uint32_t room = (uint32_t)gp_align_up(frame_bytes(c), MBUF_ROUND);
	if (c->port.driver == GP_PORT_AF_PACKET)
		room = GP_MAX(room, gp_config_af_packet_frame(c) + GP_CONFIG_HEADROOM);
	return room;
}

bool gp_config_queues_mixed(const struct gp_config *c)
{
	bool steered = c->port.driver == GP_PORT_PCI && c->port.steering == GP_STEERING_AUTO;
	return c->cores.count > 1 && !steered;
}

uint32_t gp_config_group_versions(const struct gp_config_job *j)
{
	uint32_t cuts = j->consistency == GP_CONSISTENCY_BSP ? 1 : j->cuts.max;
	return GP_CONFIG_GROUP_BLOCKS * (2 + cuts) + 1;
}

// What one block takes of an asynchronous job beside its versions: pushes that wait for their
// commit, and what each rank read last where the optimizer compensates for delay.
static uint64_t async_block_bytes(const struct gp_config_job *j, uint32_t elements)
{
	if (j->consistency == GP_CONSISTENCY_BSP)
		return 0;
	uint64_t bytes = sizeof(uint32_t);
	uint64_t stages = j->consistency == GP_CONSISTENCY_QUORUM ? 2 : 1;
	if (j->atomicity == GP_ATOMICITY_STEP)
		bytes += j->workers * stages *
			 (STAGED_HEADER + gp_align_up(6 * (uint64_t)elements + 8, TABLE_HEADER));
	if (j->optimizer.delay_compensation != 0)
		bytes += j->workers * sizeof(float) * elements;
	return bytes;
}

uint64_t gp_config_group_bytes(const struct gp_config_job *j, uint32_t elements)
{
	uint32_t states = 0;
	if (j->kind == GP_JOB_TRAIN)
		states = gp_optim_states(gp_config_optim(&j->optimizer).kind);
	uint64_t version = TABLE_HEADER + TABLE_SPARE + (1 + states) * sizeof(float) * elements;
	return gp_config_group_versions(j) * version + GP_CONFIG_GROUP_BLOCKS * TABLE_HEADER +
	       GP_CONFIG_GROUP_BLOCKS * async_block_bytes(j, elements) +
	       GP_CONFIG_GROUP_BLOCKS * (gp_config_is_whole(j) ? WHOLE_BLOCK : 0);
}

static struct gp_capacity_row *row_add(struct gp_capacity *cap, const char *unit, const char *keys,
	uint64_t needed, uint64_t available)
{
	GP_ASSERT(cap->rows_count < GP_CAPACITY_ROWS_MAX);
	struct gp_capacity_row *r = &cap->rows[cap->rows_count++];
	*r = (struct gp_capacity_row){.unit = unit,
		.keys = keys,
		.needed = needed,
		.available = available,
		.ok = needed <= available};
	cap->ok = cap->ok && r->ok;
	return r;
}

static void row_text(struct gp_capacity_row *r, const char *what, const char *fmt, ...)
	GP_PRINTF(3, 4);

static void row_text(struct gp_capacity_row *r, const char *what, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	vsnprintf(r->formula, sizeof(r->formula), fmt, args);
	va_end(args);
	snprintf(r->what, sizeof(r->what), "%s", what);
}

// Sums over the jobs, one core.
struct totals {
	uint64_t workers;
	uint64_t windows; // workers x window
	uint64_t held;	  // workers x slots: frames in open slots
	uint64_t memory;
	uint64_t image; // of a replica with replica.mode sync, with a new base beside the largest
};

static struct totals totals_of(const struct gp_config *c)
{
	struct totals t = {0};
	uint64_t largest = 0;
	GP_ASSERT(c->jobs_count <= GP_CONFIG_JOBS_MAX);
	for (uint32_t i = 0; i < c->jobs_count; i++) {
		const struct gp_config_job *j = &c->jobs[i];
		t.workers += j->workers;
		t.windows += (uint64_t)j->workers * j->window;
		t.held += (uint64_t)j->workers * j->slots;
		t.memory += j->memory_max;
		uint64_t image = j->memory_max * (j->kind == GP_JOB_EMBED ? 2 : 1);
		t.image += image;
		largest = GP_MAX(largest, image);
	}
	t.image += largest;
	return t;
}

static void sessions_rows(
	const struct gp_config *c, const struct totals *t, struct gp_capacity *cap)
{
	struct gp_capacity_row *r = row_add(
		cap, "sessions", "limits.sessions, jobs[].workers", t->workers, c->limits.sessions);
	row_text(r, "sessions",
		"workers of all jobs %" PRIu64 ", limits.sessions %u; readers use the rest",
		t->workers, c->limits.sessions);
}

static void mtu_rows(const struct gp_config *c, struct gp_capacity *cap)
{
	GP_ASSERT(c->port.driver < GP_ARRAY_SIZE(driver_limits));
	uint32_t max = driver_limits[c->port.driver].mtu_max;
	struct gp_capacity_row *r =
		row_add(cap, "bytes", "port.mtu, port.driver", c->port.mtu, max);
	row_text(r, "MTU of the port", "port.mtu %u, %s carries %u (%s)", c->port.mtu,
		gp_port_driver_name(c->port.driver), max, driver_limits[c->port.driver].why);
	r = row_add(cap, "bytes", "port.mtu", frame_bytes(c), gp_config_mbuf_room(c));
	row_text(r, "mbuf room", "MTU %u + Ethernet %u + VLAN %u + headroom %u; room %u",
		c->port.mtu, ETHER_LEN, VLAN_LEN, GP_CONFIG_HEADROOM, gp_config_mbuf_room(c));
}

static void queue_rows(const struct gp_config *c, const struct totals *t, struct gp_capacity *cap)
{
	uint64_t cores = gp_config_queues_mixed(c) ? c->cores.count : 1;
	uint64_t available = (uint64_t)c->port.rx_descriptors * 3 / 4;
	struct gp_capacity_row *r = row_add(cap, "datagrams", "jobs[].window, port.rx_descriptors",
		t->windows * cores, available);
	row_text(r, "windows on one receive queue",
		"sum of workers x window %" PRIu64 " x %" PRIu64
		" cores that one queue may serve; 3/4 of %u "
		"rx_descriptors = %" PRIu64,
		t->windows, cores, c->port.rx_descriptors, available);
}

static void mbuf_rows(const struct gp_config *c, const struct totals *t, struct gp_capacity *cap)
{
	bool mixed = gp_config_queues_mixed(c);
	uint64_t held = t->held * (mixed ? c->cores.count : 1);
	uint64_t rings = mixed ? (uint64_t)(c->cores.count - 1) * c->cores.ring_size : 0;
	uint64_t needed = (uint64_t)c->port.rx_descriptors + c->port.tx_descriptors + held + rings +
			  (uint64_t)c->cores.burst * 2 + GP_CONFIG_CONTROL_FRAMES;
	struct gp_capacity_row *r = row_add(cap, "frames",
		"port.mbufs, jobs[].slots, port.rx_descriptors, port.tx_descriptors", needed,
		c->port.mbufs);
	row_text(r, "mbufs of one core",
		"rx %u + tx %u + open slots x workers %" PRIu64 " + rings %" PRIu64
		" + 2 bursts %u + control %u",
		c->port.rx_descriptors, c->port.tx_descriptors, held, rings, c->cores.burst * 2,
		GP_CONFIG_CONTROL_FRAMES);
}

static void memory_rows(const struct gp_config *c, const struct totals *t, struct gp_capacity *cap)
{
	uint64_t cores = c->cores.count;
	uint64_t mbuf = gp_config_mbuf_room(c) + MBUF_STRUCT_SIZE + MEMPOOL_OBJECT;
	uint64_t pools = cores * c->port.mbufs * mbuf;
	uint64_t rings = cores * ((uint64_t)c->port.rx_descriptors + c->port.tx_descriptors) *
			 DESCRIPTOR_SIZE;
	struct gp_capacity_row *r = row_add(
		cap, "bytes", "eal.memory, port.mbufs", pools + rings + EAL_BYTES, c->eal.memory);
	row_text(r, "memory of packet buffers (hugepages or --no-huge)",
		"%" PRIu64 " cores x %u mbufs x %" PRIu64 " = %" PRIu64 " + descriptors %" PRIu64
		" + DPDK %" PRIu64 "; eal.memory %" PRIu64,
		cores, c->port.mbufs, mbuf, pools, rings, EAL_BYTES, c->eal.memory);
	uint64_t cells =
		c->recorder.mode == GP_RECORDER_OFF ? 0 : cores * c->recorder.cells * 5 / 4;
	r = row_add(cap, "bytes", "recorder.cells", cells * RECORDER_CELL, GP_CAPACITY_UNLIMITED);
	row_text(r, "memory of the flight recorder",
		"%" PRIu64 " cores x %u cells x %u, and a quarter for heartbeats; recorder.mode %s",
		cores, c->recorder.cells, RECORDER_CELL, gp_recorder_mode_name(c->recorder.mode));
	r = row_add(cap, "bytes", "jobs[].memory_max", t->memory, GP_CAPACITY_UNLIMITED);
	row_text(r, "memory of all jobs",
		"sum of memory_max, taken from the machine when workers register");
	if (c->replica.mode == GP_REPLICA_SYNC) {
		r = row_add(cap, "bytes", "jobs[].memory_max", t->image, GP_CAPACITY_UNLIMITED);
		row_text(r, "the replica's copy of the jobs",
			"at most as much again (of jobs with tables, whose rows it keeps as f32, "
			"twice), and the largest once more while it gets a new base, in plain "
			"memory, while this node is replica");
	}
}

uint32_t gp_config_block_elements(uint32_t mtu)
{
	return (mtu - BLOCK_OVERHEAD) / sizeof(float) / BLOCK_ALIGN * BLOCK_ALIGN;
}

// Tables, and the pushes that wait for their commit.
static void embed_rows(const struct gp_config *c, const struct gp_config_job *j, uint32_t block,
	struct gp_capacity *cap)
{
	uint32_t cores = c->cores.count;
	bool sync = c->replica.mode == GP_REPLICA_SYNC;
	char what[sizeof(cap->rows[0].what)];
	uint64_t places = gp_config_push_places(j, block);
	uint64_t pushes = cores * places * async_block_bytes(j, block), all = pushes;
	for (uint32_t i = 0; i < j->tables_count; i++) {
		const struct gp_config_table *t = &j->tables[i];
		uint64_t bytes = gp_config_table_bytes(j, t, cores, sync);
		struct gp_capacity_row *r = row_add(cap, "bytes",
			"jobs[].tables[].rows_max, jobs[].tables[].kept, jobs[].memory_max", bytes,
			j->memory_max);
		snprintf(what, sizeof(what), "table %s of job %s", t->name, j->name);
		row_text(r, what,
			"%u rows of %u %s with optimizer state and index, %u %% of them kept for "
			"readers",
			t->rows_max, t->dim, t->type == GP_TABLE_BF16 ? "bf16" : "f32", t->kept);
		all += bytes;
	}
	struct gp_capacity_row *r =
		row_add(cap, "bytes", "jobs[].memory_max, jobs[].tables[], jobs[].push_max",
			all + EMBED_BYTES, j->memory_max);
	snprintf(what, sizeof(what), "memory of job %s", j->name);
	row_text(r, what,
		"its tables + %u cores x %u workers x %" PRIu64
		" places of %u bytes in waiting = %" PRIu64 " + %u",
		cores, j->workers, places, block * (uint32_t)sizeof(float), pushes, EMBED_BYTES);
}

static void job_rows(
	const struct gp_config *c, const struct gp_config_job *j, struct gp_capacity *cap)
{
	char what[sizeof(cap->rows[0].what)];
	struct gp_capacity_row *r =
		row_add(cap, "blocks", "jobs[].window, jobs[].slots", j->window, j->slots);
	snprintf(what, sizeof(what), "window of job %s", j->name);
	row_text(r, what, "window %u, slots %u: each datagram in flight may open a block",
		j->window, j->slots);
	uint32_t block = gp_config_block_elements(j->path_mtu_min);
	if (j->kind == GP_JOB_EMBED) {
		embed_rows(c, j, block, cap);
		return;
	}
	uint64_t bytes = gp_config_group_bytes(j, block);
	uint64_t fit = j->memory_max / bytes * GP_CONFIG_GROUP_BLOCKS * block;
	r = row_add(cap, "parameters", "jobs[].memory_max", block, fit);
	snprintf(what, sizeof(what), "parameters of job %s", j->name);
	row_text(r, what,
		"memory_max %" PRIu64 " / (%u blocks of %u with their %u versions%s = %" PRIu64
		" bytes): about %" PRIu64 " parameters fit; at least one block",
		j->memory_max, GP_CONFIG_GROUP_BLOCKS, block, gp_config_group_versions(j),
		async_block_bytes(j, 0) > sizeof(uint32_t) ? ", pushes in waiting" : "", bytes,
		fit);
}

int gp_config_capacity(const struct gp_config *c, struct gp_capacity *out)
{
	GP_ASSERT(c && out);
	struct totals t = totals_of(c);
	memset(out, 0, sizeof(*out));
	out->ok = true;
	sessions_rows(c, &t, out);
	mtu_rows(c, out);
	queue_rows(c, &t, out);
	mbuf_rows(c, &t, out);
	memory_rows(c, &t, out);
	for (uint32_t i = 0; i < c->jobs_count; i++)
		job_rows(c, &c->jobs[i], out);
	return out->ok ? 0 : -ENOSPC;
}

void gp_capacity_print(FILE *f, const struct gp_capacity *cap)
{
	for (uint32_t i = 0; i < cap->rows_count; i++) {
		const struct gp_capacity_row *r = &cap->rows[i];
		fprintf(f, "%-4s  %s: needs %" PRIu64, r->ok ? "ok" : "FAIL", r->what, r->needed);
		if (r->available != GP_CAPACITY_UNLIMITED)
			fprintf(f, " of %" PRIu64, r->available);
		fprintf(f, " %s\n      %s\n", r->unit, r->formula);
		if (!r->ok)
			fprintf(f, "      change %s\n", r->keys);
	}
	fprintf(f, "capacity: %s\n", cap->ok ? "ok" : "does not fit");
}
