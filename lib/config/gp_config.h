// SPDX-License-Identifier: BSD-3-Clause
//
// The configuration of one node: a YAML file read once at start into one plain struct.
//
// Every key comes from one schema table (schema.c): path, type, default, range, unit, help.
// Loading, printing and docs/configuration.md all walk that table, so they cannot disagree. What
// the table does not know is an error, never ignored. Sizes in the file carry KiB, MiB or GiB and
// times carry us, ms or s; in the struct they are bytes and microseconds.
//
// Errors name the place, what was seen and what is allowed:
//	node.yaml:14:7: jobs[0].workers: 0 is out of range 1..256
//
// Memory: everything is inside struct gp_config (about 16 KiB: give it static or heap memory);
// nothing stays allocated after a call. Threads: no state; calls are independent.
#ifndef GP_CONFIG_H
#define GP_CONFIG_H

#include <gp_base.h>
#include <gp_config_lead.h>
#include <gp_config_optimizer.h>
#include <gp_config_tables.h>
#include <gp_optim.h>

#include <stdio.h>

#define GP_CONFIG_ERROR_SIZE	512
#define GP_CONFIG_FILE_SIZE_MAX (1u << 20)
#define GP_CONFIG_DEPTH_MAX	16
#define GP_CONFIG_JOBS_MAX	64
#define GP_CONFIG_CORES_MAX	32
#define GP_CONFIG_LINKS_MAX	32
#define GP_CONFIG_SESSIONS_MAX	1024
#define GP_CONFIG_IPV6_MAX	4
#define GP_CONFIG_ARGS_MAX	16
#define GP_CONFIG_TEXT_SIZE	256
#define GP_CONFIG_PATH_SIZE	256
// A number that the file gives as a word (auto, none).
#define GP_CONFIG_UNSET UINT32_MAX

// The first value of each is its zero; the order is that of the names in the file.
enum gp_role { GP_ROLE_PRIMARY, GP_ROLE_REPLICA };
enum gp_hugepages { GP_HUGEPAGES_AUTO, GP_HUGEPAGES_ON, GP_HUGEPAGES_OFF };
enum gp_port_driver {
	GP_PORT_TAP,
	GP_PORT_AF_PACKET,
	GP_PORT_AF_XDP,
	GP_PORT_MEMIF,
	GP_PORT_PCI,
};
enum gp_steering { GP_STEERING_AUTO, GP_STEERING_OFF };
enum gp_poll { GP_POLL_BUSY, GP_POLL_ADAPTIVE };
enum gp_config_restore { GP_RESTORE_LATEST, GP_RESTORE_NONE, GP_RESTORE_PATH };
enum gp_compression { GP_COMPRESSION_NONE, GP_COMPRESSION_ZSTD };
enum gp_recorder_mode { GP_RECORDER_OFF, GP_RECORDER_HEADERS, GP_RECORDER_PAYLOADS };
enum gp_on_full { GP_ON_FULL_THROTTLE, GP_ON_FULL_ABORT };
enum gp_job_kind { GP_JOB_REDUCE, GP_JOB_TRAIN, GP_JOB_EMBED };
enum gp_atomicity { GP_ATOMICITY_BLOCK, GP_ATOMICITY_TENSOR, GP_ATOMICITY_STEP };
enum gp_consistency {
	GP_CONSISTENCY_BSP,
	GP_CONSISTENCY_SSP,
	GP_CONSISTENCY_ASP,
	GP_CONSISTENCY_QUORUM,
	GP_CONSISTENCY_ADAPTIVE,
};
enum gp_staleness_policy { GP_STALENESS_HOLD, GP_STALENESS_SCALE, GP_STALENESS_REFUSE };
enum gp_nonfinite { GP_NONFINITE_REFUSE, GP_NONFINITE_DROP_WORKER, GP_NONFINITE_ZERO };
enum gp_config_codec {
	GP_CONFIG_CODEC_F32,
	GP_CONFIG_CODEC_BF16,
	GP_CONFIG_CODEC_F16,
	GP_CONFIG_CODEC_INT8,
	GP_CONFIG_CODEC_SIGN,
	GP_CONFIG_CODEC_TOPK,
	GP_CONFIG_CODEC_TOPK_BF16,
	GP_CONFIG_CODEC_TOPK_F16,
	GP_CONFIG_CODEC_AUTO,
};

// Address with prefix length. Not given: present is false, all bytes 0. IPv4 uses addr[0..4).
struct gp_config_ip {
	uint8_t addr[16];
	uint8_t prefix; // bits of the network part
	bool present;
};

struct gp_config_node {
	char name[GP_CONFIG_NAME_SIZE];
	uint32_t id; // 0 or 1: which of the pair; epoch mod 2 = id of its leader
	enum gp_role role;
	bool insecure;	    // always true as yet: loading refuses false
	uint32_t log_level; // enum gp_log_level
};

struct gp_config_eal {
	enum gp_hugepages hugepages;	  // auto: use reserved ones, else --no-huge and say so
	uint64_t memory;		  // bytes, a multiple of 1 MiB; -m
	char lcores[GP_CONFIG_TEXT_SIZE]; // --lcores; empty: the caller chooses by cores.count
	char file_prefix[GP_CONFIG_NAME_SIZE];
	uint32_t extra_args_count;
	char extra_args[GP_CONFIG_ARGS_MAX][GP_CONFIG_TEXT_SIZE];
};

enum gp_udp_checksum { GP_UDP_CHECKSUM_REQUIRED, GP_UDP_CHECKSUM_OPTIONAL };

struct gp_config_port {
	enum gp_port_driver driver;
	char device[108]; // tap: interface to make; af_*: interface; memif: socket path; pci: BDF
	char devargs[GP_CONFIG_TEXT_SIZE];	 // appended to the device's arguments
	uint32_t mtu;				 // IP MTU
	uint32_t rx_descriptors, tx_descriptors; // per queue
	uint32_t mbufs, links; // per polled core; memif: workers' ends, ids 0..links-1
	enum gp_steering steering;
	enum gp_udp_checksum udp_checksum; // optional: memif over IPv4 only
	bool mac_present;
	uint8_t mac[6];
};

struct gp_config_address {
	struct gp_config_ip ipv4;
	struct gp_config_ip service_ipv4; // ours only while this node leads
	struct gp_config_ip service_ipv6;
	uint32_t ipv6_count;
	struct gp_config_ip ipv6[GP_CONFIG_IPV6_MAX];
};

struct gp_config_cores {
	uint32_t count;
	uint32_t udp_port; // core i listens on udp_port + i
	enum gp_poll poll;
	uint32_t burst;
	uint32_t idle_sleep_max_us; // adaptive polling sleeps at most this long
	uint32_t ring_size;	    // frames or commands per ring between two cores; power of two
};

struct gp_config_control {
	char socket[108]; // fits sockaddr_un.sun_path
	struct gp_config_endpoint http;
};

struct gp_config_snapshot {
	char directory[GP_CONFIG_PATH_SIZE];
	uint32_t interval_steps; // 0 = only on request and at shutdown
	uint32_t keep;
	uint32_t full_every; // 1 = all are full
	enum gp_compression compression;
	uint32_t compression_level;
	uint32_t memory_max; // percent of a job's parameters and optimizer state
	enum gp_on_full on_full;
	enum gp_config_restore restore;
	char restore_path[GP_CONFIG_PATH_SIZE]; // GP_RESTORE_PATH
};

struct gp_config_recorder {
	enum gp_recorder_mode mode;
	uint32_t cells; // of each polled core; power of two
	char directory[GP_CONFIG_PATH_SIZE];
};

struct gp_config_limits {
	uint32_t sessions;
};

// Of asynchronous jobs: how far ranks may drift apart, and what becomes of what is late.
struct gp_config_staleness {
	uint32_t bound;	    // ssp; adaptive: the largest
	uint32_t bound_min; // adaptive
	uint32_t max;	    // steps behind the fastest from which on `policy` applies; UNSET: none
	enum gp_staleness_policy policy;
	bool lr; // learning rate / (1 + staleness)
};

struct gp_config_quorum {
	uint32_t min;	  // contributions that close a step
	uint32_t wait_us; // for the others then; UNSET: from measured arrivals
};

struct gp_config_cuts {
	uint32_t max; // generations kept for readers at once
	uint32_t age_us;
};

struct gp_config_transport {
	uint32_t rto_min_us; // of the workers' time-out; 0: their own
	uint32_t rto_max_us;
};

struct gp_config_job {
	char name[GP_CONFIG_NAME_SIZE];
	uint32_t id; // 1..64, as on the wire
	enum gp_job_kind kind;
	uint32_t workers;
	uint32_t workers_min; // with fewer live ranks the job waits
	bool mean;	      // divide by the sum of weights
	enum gp_atomicity atomicity;
	enum gp_consistency consistency;
	struct gp_config_staleness staleness;
	struct gp_config_quorum quorum;
	struct gp_config_cuts cuts;
	struct gp_config_transport transport;
	bool deterministic;
	enum gp_nonfinite nonfinite;	      // what becomes of a contribution with NaN or infinity
	enum gp_config_codec codec;	      // that workers use when they choose none
	float topk_ratio;		      // of it, where it is top-k
	uint32_t sparse_max;		      // percent of dense up to which results go sparse
	float norm_max;			      // of a contribution to a block; 0: no limit
	struct gp_config_optimizer optimizer; // kinds train and embed
	uint64_t memory_max;		      // bytes, parameters and all their versions
	uint32_t slots;			      // open blocks per core; power of two
	uint32_t window;		      // datagrams in flight per worker and core (credit)
	uint32_t worker_timeout_us;	      // silence after which a rank counts as dead
	uint32_t path_mtu_min;		      // blocks fit this IP MTU; not given = port.mtu
	uint32_t tensors_max;
	char views_log[GP_CONFIG_PATH_SIZE]; // empty: none
	uint64_t push_max;		     // bytes of one push to a core; kind embed
	uint32_t tables_count;		     // kind embed
	struct gp_config_table tables[GP_CONFIG_TABLES_MAX];
};

struct gp_config {
	struct gp_config_node node;
	struct gp_config_eal eal;
	struct gp_config_port port;
	struct gp_config_address address;
	struct gp_config_cores cores;
	struct gp_config_control control;
	struct gp_config_snapshot snapshot;
	struct gp_config_replica replica;
	struct gp_config_leadership leadership;
	struct gp_config_witness witness;
	struct gp_config_recorder recorder;
	struct gp_config_limits limits;
	uint32_t jobs_count;
	struct gp_config_job jobs[GP_CONFIG_JOBS_MAX];
};

// A file for `gradplaned --witness`: only node and witness are used.
bool gp_config_is_witness(const struct gp_config *c);
// Every field with a default gets it; no jobs. gp_config_job_init: one job of `kind` with defaults.
void gp_config_init(struct gp_config *c);
void gp_config_job_init(struct gp_config_job *j, enum gp_job_kind kind);

// 0; -EINVAL with `err` filled (the file is wrong); another -errno with `err` filled (cannot be
// read). `c` is complete on 0 and must not be used otherwise. `err_size` of GP_CONFIG_ERROR_SIZE is
// enough for every text; shorter ones are cut.
int gp_config_load(const char *path, struct gp_config *c, char *err, size_t err_size) GP_MUST_CHECK;
// The same from memory; `name` stands for the file in errors. `text` needs no terminator.
int gp_config_parse(const char *name, const char *text, size_t len, struct gp_config *c, char *err,
	size_t err_size) GP_MUST_CHECK;

// The effective configuration as YAML that loads to the same struct. Failures to write stay in the
// stream's error flag.
void gp_config_print(FILE *f, const struct gp_config *c);
// docs/configuration.md.
void gp_config_doc(FILE *f);

// Names as in the file.
const char *gp_role_name(enum gp_role v);
const char *gp_leadership_name(enum gp_leadership v);
const char *gp_port_driver_name(enum gp_port_driver v);
const char *gp_job_kind_name(enum gp_job_kind v);
const char *gp_atomicity_name(enum gp_atomicity v);
const char *gp_consistency_name(enum gp_consistency v);
const char *gp_optimizer_name(enum gp_optimizer v);
const char *gp_schedule_name(enum gp_schedule v);
const char *gp_recorder_mode_name(enum gp_recorder_mode v);

// The optimizer of a job that was loaded, as lib/optim takes it.
struct gp_optim_params gp_config_optim(const struct gp_config_optimizer *o);
// The same of one table of an embed job.
struct gp_optim_params gp_config_table_optim(
	const struct gp_config_job *j, const struct gp_config_table *t);

#endif
