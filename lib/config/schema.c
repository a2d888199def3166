// SPDX-License-Identifier: BSD-3-Clause
//
// The one table of every configuration key.
#include "config_priv.h"

static const char *const role_names[] = {"primary", "replica", NULL};
static const char *const log_names[] = {"error", "warn", "info", "debug", NULL};
static const char *const hugepages_names[] = {"auto", "on", "off", NULL};
static const char *const driver_names[] = {"tap", "af_packet", "af_xdp", "memif", "pci", NULL};
static const char *const steering_names[] = {"auto", "off", NULL};
static const char *const udp_checksum_names[] = {"required", "optional", NULL};
static const char *const poll_names[] = {"busy", "adaptive", NULL};
static const char *const compression_names[] = {"none", "zstd", NULL};
static const char *const recorder_names[] = {"off", "headers", "payloads", NULL};
static const char *const on_full_names[] = {"throttle", "abort", NULL};
static const char *const mode_names[] = {"none", "snapshots", "sync", NULL};
static const char *const leadership_names[] = {"none", "manual", "witness", "etcd", NULL};
static const char *const on_loss_names[] = {"wait", "alone", NULL};
static const char *const kind_names[] = {"reduce", "train", "embed", NULL};
static const char *const type_names[] = {"f32", "bf16", NULL};
static const char *const initial_names[] = {"zeros", "uniform", "normal", NULL};
static const char *const eviction_names[] = {"none", "age", "step", NULL};
static const char *const atomicity_names[] = {"block", "tensor", "step", NULL};
static const char *const consistency_names[] = {"bsp", "ssp", "asp", "quorum", "adaptive", NULL};
static const char *const policy_names[] = {"hold", "scale", "refuse", NULL};
static const char *const nonfinite_names[] = {"refuse", "drop_worker", "zero", NULL};
// As lib/codec and gradworker call them.
static const char *const codec_names[] = {
	"f32", "bf16", "f16", "int8", "sign", "topk", "topk_bf16", "topk_f16", "auto", NULL};
static const char *const optimizer_names[] = {"sgd", "momentum", "nesterov", "adagrad", "adam",
	"adamw", "ftrl", "rowwise_adagrad", "lamb", NULL};
static const char *const table_optimizer_names[] = {"job", "sgd", "momentum", "nesterov", "adagrad",
	"adam", "adamw", "ftrl", "rowwise_adagrad", NULL};
static const char *const schedule_names[] = {"constant", "step", "cosine", NULL};

#define KIB 1024.0
#define MIB (1024.0 * KIB)
#define GIB (1024.0 * MIB)
#define MS  1e3
#define SEC 1e6

#define AT(member)                                                                                 \
	.offset = offsetof(struct gp_config, member),                                              \
	.size = sizeof(((struct gp_config *)0)->member)
#define LIST(member, n)                                                                            \
	.offset = offsetof(struct gp_config, member),                                              \
	.size = sizeof(((struct gp_config *)0)->member[0]),                                        \
	.count_offset = offsetof(struct gp_config, member##_count), .count_max = (n)
#define JOB(member) .flags = ROW_JOB, JOB_AT(member)
#define JOB_AT(member)                                                                             \
	.offset = offsetof(struct gp_config_job, member),                                          \
	.size = sizeof(((struct gp_config_job *)0)->member)

#define TABLE(member) .flags = ROW_TABLE, TABLE_AT(member)
#define TABLE_AT(member)                                                                           \
	.offset = offsetof(struct gp_config_table, member),                                        \
	.size = sizeof(((struct gp_config_table *)0)->member)

// The same keys wherever nodes talk over TLS.
#define TLS_FILE(path, member) path, VALUE_PATH, .flags = ROW_OPTIONAL, AT(member)
#define TLS_ROWS(group, member, text)                                                              \
	{group ".tls", VALUE_GROUP, .flags = ROW_OPTIONAL, .help = text},                          \
		{TLS_FILE(group ".tls.cert", member.cert),                                         \
			.help = "Our certificate and its chain, PEM."},                            \
		{TLS_FILE(group ".tls.key", member.key),                                           \
			.help = "Its key, PEM, not readable by all."},                             \
		{TLS_FILE(group ".tls.ca", member.ca),                                             \
			.help = "Certificates of the authorities that sign for the peer, PEM."},   \
	{                                                                                          \
		group ".tls.peer_name", VALUE_TEXT,                                                \
			.flags = ROW_OPTIONAL, AT(member.peer_name),                               \
			.help = "Name or address that the peer's certificate must carry."          \
	}

// clang-format off
const struct row gp_config_rows[] = {
	{"node", VALUE_GROUP, .help = "Who this node is."},
	{"node.name", VALUE_NAME, .flags = ROW_REQUIRED, AT(node.name),
	 .help = "Name of this node in logs, metrics and manifests."},
	{"node.id", VALUE_UINT, AT(node.id), .def = "0", .min = 0, .max = 1,
	 .help = "Which of the pair this node is; the two nodes of a pair have different ids."},
	{"node.role", VALUE_ENUM, AT(node.role), .def = "primary", .names = role_names,
	 .help = "`primary` serves workers; `replica` receives, loads and verifies snapshots."},
	{"node.insecure", VALUE_BOOL, .flags = ROW_REQUIRED, AT(node.insecure),
	 .help = "Must be `true`: packet authentication is not available yet, so whoever reaches the "
		 "port can take part. Only for networks where every sender is trusted."},
	{"node.log_level", VALUE_ENUM, AT(node.log_level), .def = "info", .names = log_names,
	 .help = "Lines less important than this are not written."},

	{"eal", VALUE_GROUP, .help = "What DPDK is given at start."},
	{"eal.hugepages", VALUE_ENUM, AT(eal.hugepages), .def = "auto", .names = hugepages_names,
	 .help = "`auto` uses reserved huge pages, else runs with `--no-huge` and says so; `on` refuses "
		 "to start without them; `off` never uses them."},
	{"eal.memory", VALUE_SIZE, AT(eal.memory), .def = "256MiB", .min = 32 * MIB, .max = 1024 * GIB,
	 .help = "Memory for packet buffers and queues, whole MiB."},
	{"eal.lcores", VALUE_TEXT, .flags = ROW_OPTIONAL, AT(eal.lcores),
	 .def_doc = "one lcore a polled core",
	 .help = "Placement of lcores on CPUs as in DPDK's `--lcores`, for example `0@0,1@0,2@1`; lcore "
		 "0 is the control thread."},
	{"eal.file_prefix", VALUE_NAME, AT(eal.file_prefix), .def = "gradplane",
	 .help = "DPDK's `--file-prefix`; different for each process on one machine."},
	{"eal.extra_args[]", VALUE_TEXT, LIST(eal.extra_args, GP_CONFIG_ARGS_MAX),
	 .help = "Further EAL arguments, passed as they are."},

	{"port", VALUE_GROUP, .help = "The network port."},
	{"port.driver", VALUE_ENUM, .flags = ROW_REQUIRED, AT(port.driver), .names = driver_names,
	 .help = "`tap` makes a kernel interface (needs no NIC, for tests and demonstrations); "
		 "`af_packet` and `af_xdp` use an interface of the kernel; `memif` is shared memory; `pci` "
		 "is a NIC bound to a driver for user space."},
	{"port.device", VALUE_TEXT, .flags = ROW_REQUIRED, AT(port.device),
	 .help = "tap: name of the interface to make; af_packet, af_xdp: name of an interface; memif: "
		 "path of the socket; pci: address such as `0000:3b:00.0`."},
	{"port.devargs", VALUE_TEXT, .flags = ROW_OPTIONAL, AT(port.devargs),
	 .help = "Appended to the device's arguments, for example `remote=eth1` for tap."},
	{"port.mtu", VALUE_UINT, AT(port.mtu), .def = "1500", .min = 576, .max = 9216,
	 .help = "IP MTU of the port. Workers probe the path themselves."},
	{"port.rx_descriptors", VALUE_UINT, AT(port.rx_descriptors), .def = "1024", .min = 64,
	 .max = 32768, .help = "Receive descriptors of each queue."},
	{"port.tx_descriptors", VALUE_UINT, AT(port.tx_descriptors), .def = "1024", .min = 64,
	 .max = 32768, .help = "Transmit descriptors of each queue."},
	{"port.mbufs", VALUE_UINT, AT(port.mbufs), .def = "4096", .min = 512, .max = 1048576,
	 .help = "Packet buffers of each polled core. Small pools stay in the cache."},
	{"port.links", VALUE_UINT, AT(port.links), .def = "1", .min = 1, .max = GP_CONFIG_LINKS_MAX,
	 .help = "memif: how many workers on this host connect, each to an `id` of its own from 0 on."},
	{"port.steering", VALUE_ENUM, AT(port.steering), .def = "auto", .names = steering_names,
	 .help = "`auto` asks the NIC to bring each core its own UDP port and falls back to rings "
		 "between cores; `off` always uses rings."},
	{"port.udp_checksum", VALUE_ENUM, AT(port.udp_checksum), .def = "required",
	 .names = udp_checksum_names,
	 .help = "`required` refuses datagrams without a UDP checksum. `optional`, memif over IPv4 only, "
		 "takes them from workers with `checksum=none` (docs/transports.md) and answers these "
		 "without one: bytes that stay in one machine's memory are not summed up four times."},
	{"port.mac", VALUE_MAC, .flags = ROW_OPTIONAL, .offset = offsetof(struct gp_config, port),
	 .def_doc = "the device's own", .help = "Ethernet address of the port."},

	{"address", VALUE_GROUP, .help = "IP addresses; at least one."},
	{"address.ipv4", VALUE_IP4, .flags = ROW_OPTIONAL, AT(address.ipv4),
	 .help = "IPv4 address with prefix."},
	{"address.ipv6[]", VALUE_IP6, LIST(address.ipv6, GP_CONFIG_IPV6_MAX),
	 .help = "IPv6 addresses with prefix."},
	{"address.service_ipv4", VALUE_IP4, .flags = ROW_OPTIONAL, AT(address.service_ipv4),
	 .help = "Address of the pair, the same on both nodes: whoever leads has it, and announces it when "
		 "it takes over. Workers then use this one and no other. Needs `leadership`."},
	{"address.service_ipv6", VALUE_IP6, .flags = ROW_OPTIONAL, AT(address.service_ipv6),
	 .help = "The same, IPv6."},

	{"cores", VALUE_GROUP, .help = "The polled cores."},
	{"cores.count", VALUE_UINT, AT(cores.count), .def = "1", .min = 1, .max = GP_CONFIG_CORES_MAX,
	 .help = "Number of polled cores."},
	{"cores.udp_port", VALUE_UINT, AT(cores.udp_port), .def = "9700", .min = 1024, .max = 65535,
	 .help = "Core i is reached at UDP port `udp_port` + i."},
	{"cores.poll", VALUE_ENUM, AT(cores.poll), .def = "adaptive", .names = poll_names,
	 .help = "`busy` never sleeps; `adaptive` sleeps when idle."},
	{"cores.burst", VALUE_UINT, AT(cores.burst), .def = "32", .min = 8, .max = 64,
	 .help = "Most frames taken at once."},
	{"cores.idle_sleep_max", VALUE_TIME, AT(cores.idle_sleep_max_us), .def = "20us", .min = 0,
	 .max = 1 * MS, .help = "Longest sleep of an idle core under `adaptive` while a worker has a session; 0: never "
		 "sleeps."},
	{"cores.ring_size", VALUE_UINT, .flags = ROW_POW2, AT(cores.ring_size), .def = "256", .min = 64,
	 .max = 16384, .help = "Frames or commands that wait between two cores."},

	{"control", VALUE_GROUP, .help = "How operators reach the node."},
	{"control.socket", VALUE_PATH, AT(control.socket), .def = "/run/gradplane/control.sock",
	 .help = "Unix socket for `gradctl`."},
	{"control.http", VALUE_ENDPOINT, .flags = ROW_OFF, AT(control.http), .def = "127.0.0.1:9790",
	 .help = "Where metrics are served over HTTP, or `off`."},

	{"snapshot", VALUE_GROUP, .help = "Snapshots on disk."},
	{"snapshot.directory", VALUE_PATH, AT(snapshot.directory),
	 .def = "/var/lib/gradplane/snapshots", .help = "Directory that holds the snapshots."},
	{"snapshot.interval_steps", VALUE_UINT, AT(snapshot.interval_steps), .def = "0", .min = 0,
	 .max = 1000000000, .help = "Steps between snapshots (asynchronous jobs: of the slowest worker); 0: only on "
		 "request and at shutdown."},
	{"snapshot.keep", VALUE_UINT, AT(snapshot.keep), .def = "4", .min = 1, .max = 1000,
	 .help = "Snapshots kept for each job; older ones are removed unless these build on them."},
	{"snapshot.full_every", VALUE_UINT, AT(snapshot.full_every), .def = "8", .min = 1, .max = 100,
	 .help = "At least every so many snapshots of a job one is full; others hold only the blocks "
		 "that changed, if that is at most half of them. 1: all are full."},
	{"snapshot.compression", VALUE_ENUM, AT(snapshot.compression), .def = "none",
	 .names = compression_names,
	 .help = "`none`: other programs read the files as they are; `zstd`: after `zstd -d`."},
	{"snapshot.compression_level", VALUE_UINT, AT(snapshot.compression_level), .def = "3",
	 .min = 1, .max = 19, .help = "Of zstd."},
	{"snapshot.memory_max", VALUE_UINT, AT(snapshot.memory_max), .def = "100", .min = 1,
	 .max = 100,
	 .help = "Memory for what changes while a snapshot is read, in percent of the parameters and "
		 "optimizer state of each `bsp` job. 100 always suffices; less leaves more of "
		 "`jobs[].memory_max`."},
	{"snapshot.on_full", VALUE_ENUM, AT(snapshot.on_full), .def = "throttle",
	 .names = on_full_names,
	 .help = "When that runs out: `throttle` lets workers wait until the snapshot is read, `abort` "
		 "gives it up and tries again."},
	{"snapshot.restore", VALUE_RESTORE, .offset = offsetof(struct gp_config, snapshot),
	 .def = "latest", .help = "What to start from."},

	{"replica", VALUE_GROUP, .help = "The link between primary and replica."},
	{"replica.mode", VALUE_ENUM, AT(replica.mode), .def = "none", .names = mode_names,
	 .help = "`snapshots`: each snapshot is shipped to the replica, which loads and verifies it; a "
		 "takeover goes back to it. `sync`: no commit is out before the replica holds it; a "
		 "takeover loses nothing and happens by itself (a quorum with "
		 "`staleness.policy: refuse`; needs `leadership`)."},
	{"replica.listen", VALUE_ENDPOINT, .flags = ROW_OPTIONAL, AT(replica.listen),
	 .help = "`snapshots`: role replica; `sync`: one node of the pair, whoever leads: TCP address "
		 "to listen on."},
	{"replica.peer", VALUE_ENDPOINT, .flags = ROW_OPTIONAL, AT(replica.peer),
	 .help = "`snapshots`: role primary; `sync`: the other node: TCP address of the one that "
		 "listens."},
	{"replica.timeout", VALUE_TIME, AT(replica.timeout_us), .def = "200ms", .min = 5 * MS,
	 .max = 60 * SEC,
	 .help = "`sync`: a peer from which nothing came for so long is taken for dead: the replica takes "
		 "over, or the primary does as `on_loss` says. 5ms on isolated CPUs, 200ms on shared "
		 "ones."},
	{"replica.lag_max", VALUE_UINT, AT(replica.lag_max), .def = "0", .min = 0, .max = 1000000,
		.help = "`snapshots`, role primary: steps that are begun beyond what the replica has "
			"verified, 0 = any number. So many can be lost with the primary; at least "
			"snapshot.interval_steps. All jobs have to be bsp."},
	{"replica.on_loss", VALUE_ENUM, AT(replica.on_loss), .def = "wait", .names = on_loss_names,
	 .help = "`sync`: a primary that has lost its replica: `wait` for it, or go on `alone` once the "
		 "register says so (leadership.kind etcd or witness)."},
	TLS_ROWS("replica", replica.tls, "TLS 1.3 on the link, both ends or neither."),

	{"leadership", VALUE_GROUP, .help = "Who leads the pair, and where that is written."},
	{"leadership.kind", VALUE_ENUM, AT(leadership.kind), .def = "none", .names = leadership_names,
	 .help = "Where the record {epoch, primary, backup} is kept: in `etcd`, at a `witness`, in a file "
		 "of this node (`manual`: changes only by `gradctl leader promote`), or nowhere (`none`: "
		 "the configuration says who is primary)."},
	{"leadership.key", VALUE_NAME, AT(leadership.key), .def = "gradplane",
	 .help = "Name of the pair's record; different for each pair of one register."},
	{"leadership.endpoints[]", VALUE_ENDPOINT,
	 LIST(leadership.endpoints, GP_CONFIG_LEAD_ENDPOINTS_MAX),
	 .help = "etcd: client addresses of its members; witness: its address."},
	{"leadership.directory", VALUE_PATH, AT(leadership.directory),
	 .def = "/var/lib/gradplane/leadership", .help = "manual: where this node keeps its record."},
	{"leadership.timeout", VALUE_TIME, AT(leadership.timeout_us), .def = "200ms", .min = 10 * MS,
	 .max = 10 * SEC, .help = "How long one endpoint may take to answer."},
	{"leadership.poll", VALUE_TIME, AT(leadership.poll_us), .def = "1s", .min = 10 * MS,
	 .max = 60 * SEC, .help = "How often the record is read when nothing happens."},
	TLS_ROWS("leadership", leadership.tls, "TLS 1.3 with the register."),

	{"witness", VALUE_GROUP, .flags = ROW_OPTIONAL,
	 .help = "Only in the file of a witness (`gradplaned --witness`), with `node.name` and nothing "
		 "else."},
	{"witness.listen", VALUE_ENDPOINT, .flags = ROW_OPTIONAL, AT(witness.listen),
	 .help = "TCP address to listen on."},
	{"witness.directory", VALUE_PATH, .flags = ROW_OPTIONAL, AT(witness.directory),
	 .help = "Directory of the records, on a disk that keeps what it was told."},
	TLS_ROWS("witness", witness.tls, "TLS 1.3 with the nodes."),

	{"recorder", VALUE_GROUP, .help = "The flight recorder: the last things that reached each core."},
	{"recorder.mode", VALUE_ENUM, AT(recorder.mode), .def = "headers", .names = recorder_names,
	 .help = "What is kept of a datagram: `headers` with sections and verdict, or `payloads` too, so "
		 "that a replay gives the same bytes."},
	{"recorder.cells", VALUE_UINT, .flags = ROW_POW2, AT(recorder.cells), .def = "4096", .min = 256,
	 .max = 1048576, .help = "Cells of 128 bytes of each polled core: a header takes one or two, a "
		 "whole datagram of 1500 bytes 13."},
	{"recorder.directory", VALUE_PATH, AT(recorder.directory), .def = "/var/lib/gradplane/records",
	 .help = "Where it is dumped to on SIGUSR1, on a failed assertion, and by `gradctl record dump`."},

	{"limits", VALUE_GROUP, .help = "Sizes of fixed tables."},
	{"limits.sessions", VALUE_UINT, AT(limits.sessions), .def = "256", .min = 1,
	 .max = GP_CONFIG_SESSIONS_MAX, .help = "Workers and readers connected at once, all jobs."},

	{"jobs[]", VALUE_GROUP, .count_max = GP_CONFIG_JOBS_MAX,
	 .count_offset = offsetof(struct gp_config, jobs_count),
	 .offset = offsetof(struct gp_config, jobs), .size = sizeof(struct gp_config_job),
	 .help = "The training runs served here; at least one on a primary."},
	{"jobs[].name", VALUE_NAME, .flags = ROW_JOB | ROW_REQUIRED, JOB_AT(name),
	 .help = "Name that workers join by."},
	{"jobs[].id", VALUE_UINT, .flags = ROW_JOB | ROW_REQUIRED, JOB_AT(id), .min = 1, .max = 64,
	 .help = "Number of the job on the wire."},
	{"jobs[].kind", VALUE_ENUM, .flags = ROW_JOB | ROW_REQUIRED, JOB_AT(kind), .names = kind_names,
	 .help = "`reduce` returns sums or means; `train` keeps parameters and optimizer here; `embed` keeps "
		 "tables of sparse rows."},
	{"jobs[].workers", VALUE_UINT, .flags = ROW_JOB | ROW_REQUIRED, JOB_AT(workers),
	 .min = 1, .max = 256, .help = "Ranks of the job."},
	{"jobs[].workers_min", VALUE_UINT, JOB(workers_min), .def = "1", .min = 1, .max = 256,
	 .help = "With fewer live ranks the job waits. In asynchronous jobs ranks end at different times: "
		 "leave it below `workers` there, or the last one waits for the others."},
	{"jobs[].mean", VALUE_BOOL, JOB(mean), .def = "true",
	 .help = "Divide each sum by the sum of the weights in it."},
	{"jobs[].atomicity", VALUE_ENUM, JOB(atomicity), .def = "tensor", .names = atomicity_names,
	 .def_doc = "tensor for reduce, step for train, quorum and embed, block for ssp, asp and adaptive",
	 .help = "What commits together: every block of it sums the same ranks."},
	{"jobs[].consistency", VALUE_ENUM, JOB(consistency), .def = "bsp", .names = consistency_names,
	 .help = "When a rank goes on: `bsp` with every live rank; `ssp` while it is at most "
		 "`staleness.bound` steps ahead of the slowest; `asp` at once; `quorum` with `quorum.min` "
		 "ranks; `adaptive`: as ssp, with a bound that follows the measured waiting. A job of kind "
		 "embed is not bsp: give ssp, asp or adaptive."},
	{"jobs[].deterministic", VALUE_BOOL, JOB(deterministic), .def = "true",
	 .def_doc = "true; false for all but bsp", .help = "Sum in rank order: the same gradients give the "
		 "same bytes. Only for bsp."},
	{"jobs[].nonfinite", VALUE_ENUM, JOB(nonfinite), .def = "refuse", .names = nonfinite_names,
	 .help = "A contribution that holds NaN or infinity: `refuse` it and tell the worker, which stops; "
		 "`drop_worker` also ends its session, so that the others go on; `zero` counts its block "
		 "as zeros."},
	{"jobs[].codec", VALUE_ENUM, JOB(codec), .def = "f32", .names = codec_names,
	 .help = "How workers encode contributions when they choose no codec themselves. `auto`: f32, bf16 "
		 "or int8, for each tensor by its size and, unless `deterministic`, the measured "
		 "bandwidth."},
	{"jobs[].topk_ratio", VALUE_FLOAT, JOB(topk_ratio), .def = "0.01", .min = 1e-6, .max = 1,
	 .help = "Share of elements that a top-k `codec` sends."},
	{"jobs[].sparse_max", VALUE_UINT, JOB(sparse_max), .def = "50", .min = 0, .max = 100,
	 .help = "Where all contributions to a block were top-k, its result is sent as the elements that "
		 "are not zero (reduce) or have changed (train, to workers that asked for it), up to so "
		 "many percent of the dense size; 0: always dense."},
	{"jobs[].norm_max", VALUE_FLOAT, JOB(norm_max), .def = "0", .min = 0, .max = 1e30,
	 .help = "A contribution whose L2 norm over a block is larger counts scaled down to it; 0: no "
		 "limit. Counted as `gradplane_core_blocks_clamped_total`."},
	{"jobs[].memory_max", VALUE_SIZE, JOB(memory_max), .def = "256MiB", .min = 1 * MIB,
	 .max = 1024 * GIB, .help = "Memory for parameters, optimizer state and all their versions."},
	{"jobs[].slots", VALUE_UINT, .flags = ROW_JOB | ROW_POW2, JOB_AT(slots), .def = "64",
	 .min = 2, .max = 131072, .help = "Blocks that a core holds open at once. Where it is the job's number "
		 "of blocks or more, workers may send last layers first (docs/operations.md)."},
	{"jobs[].window", VALUE_UINT, JOB(window), .def = "32", .min = 1, .max = 1024,
	 .help = "Datagrams that a worker may have in flight to one core."},
	{"jobs[].worker_timeout", VALUE_TIME, JOB(worker_timeout_us), .def = "500ms", .min = 10 * MS,
	 .max = 3600 * SEC, .help = "A rank silent for this long counts as dead."},
	{"jobs[].path_mtu_min", VALUE_UINT, .flags = ROW_JOB | ROW_OPTIONAL, JOB_AT(path_mtu_min),
	 .min = 576, .max = 9216, .def_doc = "port.mtu",
	 .help = "Blocks are sized for this IP MTU; a worker with a smaller path is refused."},
	{"jobs[].tensors_max", VALUE_UINT, JOB(tensors_max), .def = "1024", .min = 1, .max = 131072,
	 .help = "Tensors that workers may register."},
	{"jobs[].views_log", VALUE_PATH, .flags = ROW_JOB | ROW_OPTIONAL, JOB_AT(views_log),
	 .help = "File to which the ranks of every step are appended (docs/operations.md); `gradworker "
		 "--local --views` replays it. Only a node that starts as leader writes it."},
	{"jobs[].staleness", VALUE_GROUP, .flags = ROW_JOB,
	 .help = "How far ranks may drift apart; not for bsp."},
	{"jobs[].staleness.bound", VALUE_UINT, JOB(staleness.bound), .def = "2", .min = 0, .max = 65535,
	 .def_doc = "2; 8 for adaptive", .help = "ssp: steps that a rank may be ahead of the slowest "
		 "when it reads; adaptive: the largest bound."},
	{"jobs[].staleness.bound_min", VALUE_UINT, JOB(staleness.bound_min), .def = "0", .min = 0,
	 .max = 65535, .help = "adaptive: the smallest bound, with which it begins."},
	{"jobs[].staleness.max", VALUE_UINT, .flags = ROW_JOB | ROW_NONE, JOB_AT(staleness.max),
	 .def = "none", .min = 0, .max = 1e9,
	 .help = "ssp, asp, adaptive: a contribution more steps behind the fastest rank is stale."},
	{"jobs[].staleness.policy", VALUE_ENUM, JOB(staleness.policy), .def = "hold",
	 .names = policy_names,
	 .help = "A stale contribution (quorum: one to a closed step): `hold` counts it whole (quorum: in "
		 "the next step); `scale` counts it times 1 / (1 + steps late); `refuse` drops it and tells "
		 "the worker."},
	{"jobs[].staleness.lr", VALUE_BOOL, JOB(staleness.lr), .def = "false",
	 .help = "ssp, asp, adaptive: divide the learning rate by 1 + the steps that a contribution is "
		 "behind the fastest rank."},
	{"jobs[].quorum", VALUE_GROUP, .flags = ROW_JOB, .help = "Only for consistency quorum."},
	{"jobs[].quorum.min", VALUE_UINT, JOB(quorum.min), .def = "0", .min = 0, .max = 256,
	 .def_doc = "none: required for quorum",
	 .help = "Ranks whose contributions close a step; at least `workers_min`."},
	{"jobs[].quorum.wait", VALUE_TIME, .flags = ROW_JOB | ROW_AUTO, JOB_AT(quorum.wait_us),
	 .def = "auto", .min = 0, .max = 60 * SEC,
	 .help = "How long a step then stays open for the others; `auto`: twice the time that the quorum "
		 "itself usually needs from its first to its last."},
	{"jobs[].cuts", VALUE_GROUP, .flags = ROW_JOB,
	 .help = "Generations kept whole for those who read; not for bsp."},
	{"jobs[].cuts.max", VALUE_UINT, JOB(cuts.max), .def = "4", .min = 3, .max = 8,
	 .help = "At once; each takes one more version of every block."},
	{"jobs[].cuts.age", VALUE_TIME, JOB(cuts.age_us), .def = "1ms", .min = 0, .max = 10 * SEC,
	 .help = "A read may join a generation that old, if it has all that the reader must see."},
	{"jobs[].transport", VALUE_GROUP, .flags = ROW_JOB, .help = "What workers are told."},
	{"jobs[].transport.rto_min", VALUE_TIME, JOB(transport.rto_min_us), .def = "0us", .min = 0,
	 .max = 10 * SEC, .help = "Shortest retransmission time-out; 0: the client's own, 5 ms."},
	{"jobs[].transport.rto_max", VALUE_TIME, JOB(transport.rto_max_us), .def = "0us", .min = 0,
	 .max = 60 * SEC, .help = "Longest; 0: the client's own, 200 ms."},
	{"jobs[].push_max", VALUE_SIZE, JOB(push_max), .def = "256KiB", .min = KIB, .max = 64 * MIB,
	 .help = "Only for kind embed: bytes of rows that one push may bring to one core, and one pull get "
		 "from it. Each worker's push waits in memory of that size at each core."},
	{"jobs[].optimizer", VALUE_GROUP, .flags = ROW_JOB, .help = "Only for jobs of kind train, and embed: there for the rows of all "
		 "tables."},
	{"jobs[].optimizer.name", VALUE_ENUM, JOB(optimizer.name), .def = "sgd",
	 .names = optimizer_names, .help = "The rule that turns gradients into updates; `rowwise_adagrad` "
		 "keeps one number for a row and is for embed; `lamb` needs all of a step and is for train "
		 "jobs of consistency bsp and atomicity step."},
	{"jobs[].optimizer.lr", VALUE_FLOAT, JOB(optimizer.lr), .def = "0", .min = 0, .max = 1000,
	 .def_doc = "none: required for train and embed", .help = "Learning rate."},
	{"jobs[].optimizer.momentum", VALUE_FLOAT, JOB(optimizer.momentum), .def = "0", .min = 0,
	 .max = 0.9999, .def_doc = "0.9 for momentum and nesterov",
	 .help = "Share of the last update that is kept; not for sgd."},
	{"jobs[].optimizer.weight_decay", VALUE_FLOAT, JOB(optimizer.weight_decay), .def = "0",
	 .def_doc = "0; 0.01 for adamw and lamb", .min = 0, .max = 1,
	 .help = "Share of the parameter added to its gradient, with lamb to its update; with adamw, times the learning rate, taken "
		 "from the parameter itself."},
	{"jobs[].optimizer.beta1", VALUE_FLOAT, JOB(optimizer.beta1), .def = "0.9", .min = 0,
	 .max = 0.99999, .help = "Share kept of adam's and lamb's mean of gradients."},
	{"jobs[].optimizer.beta2", VALUE_FLOAT, JOB(optimizer.beta2), .def = "0.999", .min = 0,
	 .max = 0.9999999, .help = "Share kept of adam's and lamb's mean of their squares."},
	{"jobs[].optimizer.epsilon", VALUE_FLOAT, JOB(optimizer.epsilon), .def = "1e-08", .min = 1e-30,
	 .max = 1, .def_doc = "1e-08; 1e-10 for adagrad, 1e-06 for lamb",
	 .help = "Added to the root that adagrad, adam and lamb divide by."},
	{"jobs[].optimizer.initial_accumulator", VALUE_FLOAT, JOB(optimizer.initial_accumulator),
	 .def = "0", .min = 0, .max = 1e6,
	 .help = "What the sum of squares of adagrad and ftrl begins as."},
	{"jobs[].optimizer.ftrl_beta", VALUE_FLOAT, JOB(optimizer.ftrl_beta), .def = "1", .min = 0,
	 .max = 1e6, .help = "Beta of ftrl-proximal; its alpha is `lr`."},
	{"jobs[].optimizer.l1", VALUE_FLOAT, JOB(optimizer.l1), .def = "0", .min = 0, .max = 1e6,
	 .help = "L1 regularization of ftrl: parameters within it are exactly 0."},
	{"jobs[].optimizer.l2", VALUE_FLOAT, JOB(optimizer.l2), .def = "0", .min = 0, .max = 1e6,
	 .help = "L2 regularization of ftrl."},
	{"jobs[].optimizer.delay_compensation", VALUE_FLOAT, JOB(optimizer.delay_compensation),
	 .def = "0", .min = 0, .max = 1000,
	 .help = "Lambda of DC-ASGD, in asynchronous jobs: g + lambda g g (w now - w when it was read)."},
	{"jobs[].optimizer.clip_norm", VALUE_FLOAT, JOB(optimizer.clip_norm), .def = "0", .min = 0,
	 .max = 1e30, .help = "Train jobs of consistency bsp or quorum and atomicity step: a step's gradient, mean or sum, "
		 "whose L2 norm over all tensors is larger counts scaled down to it; 0: no limit. Results of a "
		 "bsp job's step then come when all of it is there."},
	{"jobs[].optimizer.schedule", VALUE_ENUM, JOB(optimizer.schedule), .def = "constant",
	 .names = schedule_names,
	 .help = "Learning rate by step: `constant`; `step`: times `gamma` every `schedule_steps`; "
		 "`cosine`: down to `lr_min` in `schedule_steps`."},
	{"jobs[].optimizer.warmup_steps", VALUE_UINT, JOB(optimizer.warmup_steps), .def = "0", .min = 0,
	 .max = 1e9, .help = "Steps over which the rate grows to `lr` in equal parts; the schedule begins "
		 "after them."},
	{"jobs[].optimizer.schedule_steps", VALUE_UINT, JOB(optimizer.schedule_steps), .def = "0",
	 .min = 0, .max = 1e9, .def_doc = "none: required for step and cosine",
	 .help = "Steps between two reductions (`step`), or of the whole way (`cosine`)."},
	{"jobs[].optimizer.gamma", VALUE_FLOAT, JOB(optimizer.gamma), .def = "0.1", .min = 1e-6,
	 .max = 1, .help = "What the schedule `step` multiplies the rate by."},
	{"jobs[].optimizer.lr_min", VALUE_FLOAT, JOB(optimizer.lr_min), .def = "0", .min = 0,
	 .max = 1000, .help = "Where the schedule `cosine` ends; at most `lr`."},
	{"jobs[].tables[]", VALUE_GROUP, .flags = ROW_JOB, .count_max = GP_CONFIG_TABLES_MAX,
	 .count_offset = offsetof(struct gp_config_job, tables_count),
	 .offset = offsetof(struct gp_config_job, tables), .size = sizeof(struct gp_config_table),
	 .help = "Only for kind embed, at least one: tables of rows, number -> values, made when they are "
		 "first pushed."},
	{"jobs[].tables[].name", VALUE_NAME, .flags = ROW_TABLE | ROW_REQUIRED, TABLE_AT(name),
	 .help = "Name that workers register."},
	{"jobs[].tables[].dim", VALUE_UINT, .flags = ROW_TABLE | ROW_REQUIRED, TABLE_AT(dim), .min = 1,
	 .max = 2304, .help = "Values of a row. A row must fit a datagram of the smallest path: 332 at MTU "
		 "1500, 2204 at 9000; (MTU - 156) / 64, rounded down, x 16 - 4."},
	{"jobs[].tables[].type", VALUE_ENUM, TABLE(type), .def = "f32", .names = type_names,
	 .help = "How values are kept; optimizer state is f32 always."},
	{"jobs[].tables[].rows_max", VALUE_UINT, .flags = ROW_TABLE | ROW_REQUIRED, TABLE_AT(rows_max),
	 .min = 1, .max = 4e9, .help = "Rows that it may hold, on all cores together. A push that might make more is "
		 "refused, or waits where `eviction` is step; rows that pushes in waiting may make count too, so "
		 "leave room for a push of each worker."},
	{"jobs[].tables[].initial", VALUE_ENUM, TABLE(initial), .def = "zeros", .names = initial_names,
	 .help = "What a row begins as; depends on `seed` and its number alone. `uniform`: in "
		 "[-initial_scale, initial_scale); `normal`: with that deviation."},
	{"jobs[].tables[].initial_scale", VALUE_FLOAT, TABLE(initial_scale), .def = "0.01", .min = 0,
	 .max = 1000, .help = "Of uniform and normal."},
	{"jobs[].tables[].seed", VALUE_UINT, TABLE(seed), .def = "1", .min = 0, .max = 4294967295.0,
	 .help = "Of uniform and normal."},
	{"jobs[].tables[].eviction", VALUE_ENUM, TABLE(eviction), .def = "none", .names = eviction_names,
	 .help = "Which rows are dropped: `none`; `age`: those not written for `evict_after` commits; "
		 "`step`: those not written for longest, while the table is more than 15/16 full. With "
		 "`step` one push may have 1/16 of a core's rows, divided by the workers."},
	{"jobs[].tables[].evict_after", VALUE_UINT, TABLE(evict_after), .def = "0", .min = 0, .max = 1e9,
	 .def_doc = "none: required for eviction age",
	 .help = "Commits, of all workers, since the row's last write."},
	{"jobs[].tables[].evict_reads", VALUE_BOOL, TABLE(evict_reads), .def = "false",
	 .help = "A pull of a row counts for eviction as a write does; 8 bytes a row. Snapshots have it; a replica "
		 "with replica.mode sync hears of it as docs/replication.md says."},
	{"jobs[].tables[].optimizer", VALUE_ENUM, TABLE(optimizer), .def = "job",
	 .names = table_optimizer_names, .help = "Of this table's rows; `job`: `jobs[].optimizer`. Another one has its own "
		 "defaults, and the schedule of the job's."},
	{"jobs[].tables[].lr", VALUE_FLOAT, TABLE(lr), .def = "0", .min = 0, .max = 1000,
	 .def_doc = "that of `jobs[].optimizer`", .help = "Learning rate of this table's rows."},
	{"jobs[].tables[].kept", VALUE_UINT, TABLE(kept), .def = "25", .min = 1, .max = 400,
	 .help = "Memory for what rows were in generations that are being read, in percent of `rows_max`. "
		 "When it runs out the oldest of these generations are gone, and who reads them begins anew; "
		 "pushes wait for a snapshot, see `snapshot.on_full`."},
};
// clang-format on

const uint32_t gp_config_rows_count = GP_ARRAY_SIZE(gp_config_rows);
_Static_assert(GP_ARRAY_SIZE(gp_config_rows) <= GP_CONFIG_ROWS_MAX, "marks have one place a row");

int gp_config_row_find(const char *path)
{
	for (uint32_t i = 0; i < gp_config_rows_count; i++) {
		if (strcmp(gp_config_rows[i].path, path) == 0)
			return (int)i;
	}
	return -1;
}

const char *gp_config_row_key(const struct row *r, size_t *len)
{
	const char *dot = strrchr(r->path, '.');
	const char *key = dot ? dot + 1 : r->path;
	*len = strcspn(key, "[");
	return key;
}

int gp_config_row_parent(const struct row *r)
{
	char path[64];
	const char *dot = strrchr(r->path, '.');
	if (!dot)
		return -1;
	size_t len = (size_t)(dot - r->path);
	GP_ASSERT(len < sizeof(path));
	memcpy(path, r->path, len);
	path[len] = '\0';
	return gp_config_row_find(path);
}

const char *gp_role_name(enum gp_role v)
{
	GP_ASSERT(v <= GP_ROLE_REPLICA);
	return role_names[v];
}

const char *gp_leadership_name(enum gp_leadership v)
{
	GP_ASSERT(v <= GP_LEADERSHIP_ETCD);
	return leadership_names[v];
}

const char *gp_port_driver_name(enum gp_port_driver v)
{
	GP_ASSERT(v <= GP_PORT_PCI);
	return driver_names[v];
}

const char *gp_job_kind_name(enum gp_job_kind v)
{
	GP_ASSERT(v <= GP_JOB_EMBED);
	return kind_names[v];
}

const char *gp_atomicity_name(enum gp_atomicity v)
{
	GP_ASSERT(v <= GP_ATOMICITY_STEP);
	return atomicity_names[v];
}

const char *gp_recorder_mode_name(enum gp_recorder_mode v)
{
	GP_ASSERT(v <= GP_RECORDER_PAYLOADS);
	return recorder_names[v];
}

const char *gp_consistency_name(enum gp_consistency v)
{
	GP_ASSERT(v <= GP_CONSISTENCY_ADAPTIVE);
	return consistency_names[v];
}

const char *gp_optimizer_name(enum gp_optimizer v)
{
	GP_ASSERT(v < GP_OPTIMIZER_COUNT);
	return optimizer_names[v];
}

const char *gp_schedule_name(enum gp_schedule v)
{
	GP_ASSERT(v <= GP_SCHEDULE_COSINE);
	return schedule_names[v];
}
