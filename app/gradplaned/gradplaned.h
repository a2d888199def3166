// SPDX-License-Identifier: BSD-3-Clause
//
// One node, wired together: what the files of gradplaned share.
//
//	polled cores	run lcore.c and nothing else; one struct lcore each
//	control thread	the main thread: everything else in struct node that is not said otherwise
//	snapshot thread	snapshot_write.c; struct snapshots says what it touches
//
// Nothing here is global: every callback carries the node or a part of it. Memory is taken at start
// (and per snapshot by the snapshot thread); polled cores allocate nothing.
#ifndef GRADPLANED_H
#define GRADPLANED_H

#include "events.h"
#include "leader.h"

#include <gp_config.h>
#include <gp_ctlproto.h>
#include <gp_engine.h>
#include <gp_metrics_http.h>
#include <gp_replica.h>
#include <gp_ring.h>
#include <gp_snapshot_dir.h>
#include <gp_xport_dpdk.h>

#include <limits.h>
#include <pthread.h>
#include <signal.h>

#include "pair.h"
#include "snapshots.h"

// EXIT_UNFIT: was to lead and cannot; should not be started again before somebody has looked.
enum exit_code { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_CONFIG = 2, EXIT_UNFIT = 3 };

struct event;
struct event_base;
struct node;

// ---- options.c

struct options {
	const char *config_path;
	bool check_only;
	bool witness;
};

// -1: go on, else the exit status.
int options_parse(struct options *o, int argc, char **argv);

// ---- machine.c: what this machine offers

// Nanoseconds of CLOCK_MONOTONIC: the one clock of the engine.
uint64_t clock_now(void);
// Bytes of huge pages that nobody uses.
uint64_t machine_hugepages_free(void);
// False, and said in the log, when the driver needs a right that this process has not, or the
// interface is not as the driver needs it.
bool machine_allows(const struct gp_config *c);
// A map of lcores for `cores` polled ones on the CPUs of this process: "0@(0,1,2),1@1,2@2".
int machine_lcores(uint32_t cores, char *text, size_t size) GP_MUST_CHECK;
// Makes the last part of the directory of `path` when only that is missing.
void machine_directory_make(const char *path);

// ---- port.c

int port_up(struct node *n) GP_MUST_CHECK; // EAL and the port
void port_down(struct node *n);
void address_map_v4(uint8_t out[16], const struct gp_config_ip *ip); // ::ffff:a.b.c.d

// ---- lcore.c

struct lcore {
	struct node *node;
	uint32_t idx;
	int id; // of the EAL
	uint32_t burst;
	uint64_t sleep_ns_max; // 0: never sleeps
	struct gp_xport_dpdk *xport;
	struct gp_core *core;
	// Written by the core, read by control.
	GP_ALIGNED(GP_CACHE_LINE) struct gp_counter busy_ns; // rounds that found work
	struct gp_counter sleeps;
	_Atomic bool polling; // its first round is over
};

int lcore_run(void *lcore);

// ---- restore.c

struct restored {
	struct gp_snapshot *snapshot; // NULL: none
	struct gp_restore_tensor *tensors;
	uint32_t refused; // snapshots that were looked at and cannot be used
};

// The generation in `s`, as the engine takes it; its pointers lie in `s` and in *tensors, which the
// caller frees. 0, -ENOMEM, or -EINVAL when the snapshot is not of that job.
int restore_fill(const struct gp_snapshot *s, const struct gp_config_job *job,
	struct gp_restore *out, struct gp_restore_tensor **tensors) GP_MUST_CHECK;
// What to do about an error of gp_registrar_restore, in brackets, or "".
const char *restore_advice(int rc);
// The array of the snapshot's optimizer, or NULL.
const float *restore_state_find(const struct gp_snapshot *s, const char *name, uint32_t tensor);
// restore_tables.c: whether the configuration's tables are those of the snapshot; said if not.
bool restore_tables_fit(const struct gp_snapshot_meta *m, const struct gp_config_job *job);
// The table of that name; NULL: there is none.
const struct gp_config_table *restore_table_config(
	const struct gp_config_job *job, const char *name);
void restore_table_fill(const struct gp_snapshot *s, uint32_t table,
	const struct gp_config_job *job, struct gp_restore_tensor *out,
	struct gp_restore_rows *rows);
// Finds and proves what each job starts from, as snapshot.restore says; sets the node's epoch.
int restore_open(struct node *n) GP_MUST_CHECK;
// Once it is known who leads: a primary does not begin anew where there are snapshots that cannot
// be used, said.
int restore_check(const struct node *n) GP_MUST_CHECK;
// Gives it to the engine.
int restore_apply(struct node *n) GP_MUST_CHECK;
void restore_close(struct node *n, uint32_t job_idx);

// ---- replica.c

// A standby's generation that waits for the engine.
struct replica_pending {
	bool used;
	bool refused;	   // it could not be loaded, and is tried again
	uint64_t retry_at; // then
	char path[PATH_MAX];
	uint32_t step;
	struct gp_snapshot *snapshot; // NULL: not open
};

struct replica {
	struct gp_replica_sender *sender;
	struct gp_replica_receiver *receiver;
	struct replica_pending pending[GP_CONFIG_JOBS_MAX];
	bool loaded; // the next two are valid
	uint32_t loaded_step;
	uint64_t loaded_count;
	uint64_t refused_count; // verified, but not loaded
};

#define ENDPOINT_SIZE 64
void endpoint_format(const struct gp_config_endpoint *e, char text[ENDPOINT_SIZE]);
// replica.tls; NULL: plain TCP.
const struct gp_replica_tls *replica_tls_fill(const struct node *n, struct gp_replica_tls *out);

int replica_start(struct node *n) GP_MUST_CHECK;
// A replica that leads from now on.
void replica_leads(struct node *n);
void replica_stop(struct node *n);
void replica_ship(struct node *n, const char *path, uint32_t step);
void replica_tick(struct node *n);
void replica_load_all(struct node *n); // whatever was verified, before this node leads
// Then: its next start must not find anything later than what it goes on from. 0 or -errno, said.
int replica_set_aside(struct node *n) GP_MUST_CHECK;
// Every job's newest snapshot has been verified over there (true without a replica).
bool replica_has_all(const struct node *n);
bool replica_is_connected(const struct node *n);
// {"connected":..,"step":..,"verified":..} or null without a replica.
json_t *replica_json(const struct node *n);

// ---- stop.c

enum stop_phase { STOP_NOT, STOP_STEP, STOP_SNAPSHOT, STOP_SHIP, STOP_DONE };

struct stop {
	enum stop_phase phase;
	uint64_t since;	    // of the phase
	uint64_t progress;  // last time that anything moved
	uint64_t last_mark; // what it looked like then
	bool seen[GP_CONFIG_JOBS_MAX];
	uint32_t from[GP_CONFIG_JOBS_MAX]; // generation when the job was first seen stopping
	uint64_t asked;			   // bit per job: a last snapshot
	uint32_t made[GP_CONFIG_JOBS_MAX]; // snapshots of it before
	uint32_t step[GP_CONFIG_JOBS_MAX]; // the least that it shall have
	bool unsaved;			   // a job has none
	struct gp_ctl_request *reqs[GP_CTL_DEFERRED_MAX];
	uint32_t reqs_count;
};

void stop_begin(struct node *n, const char *why);
void stop_tick(struct node *n, uint64_t now);

// ---- metrics.c, metrics_state.c

int metrics_start(struct node *n) GP_MUST_CHECK;
void metrics_stop(struct node *n);
void metrics_state_write(struct gp_metrics_writer *w, const struct node *n);

// ---- recorder.c: the flight recorder on disk

struct recorder {
	char *config; // the effective configuration: what a replay builds its engine from
	char assert_path[PATH_MAX];
};

int recorder_start(struct node *n) GP_MUST_CHECK; // before the polled cores
void recorder_stop(struct node *n);
// Writes what it holds to `path`, or where it is NULL to a new file in recorder.directory;
// `path_out` (PATH_MAX) says which. 0 or -errno, -ENOTSUP: it is off; what was begun is removed.
int recorder_dump(struct node *n, const char *path, uint32_t cause, char *path_out) GP_MUST_CHECK;

// ---- control.c

struct control {
	struct event_base *base;
	struct event *tick;
	struct event *grace; // pending while completions wait for grace periods
	struct event *second;
	struct event *signals[5];
	struct gp_ctl_server *server;
	struct gp_metrics_http *http;
	uint64_t second_at;
	uint64_t waits_at; // when waits_seen changed
	uint32_t waits_seen;
	uint64_t busy_seen[GP_DPDK_CORES_MAX];
	uint64_t polls_seen[GP_DPDK_CORES_MAX];
	double busy_ratio[GP_DPDK_CORES_MAX]; // of the last second
	bool stalled[GP_DPDK_CORES_MAX];      // did not poll during the last second
};

int control_up(struct node *n) GP_MUST_CHECK;
int control_run(struct node *n) GP_MUST_CHECK; // until stopped
void control_down(struct node *n);

// ---- ctl_*.c

int ctl_status(struct gp_ctl_request *req, const json_t *args, json_t **result,
	struct gp_ctl_error *err) GP_MUST_CHECK;
int ctl_job_show(struct gp_ctl_request *req, const json_t *args, json_t **result,
	struct gp_ctl_error *err) GP_MUST_CHECK;
int ctl_snapshot_now(struct gp_ctl_request *req, const json_t *args, json_t **result,
	struct gp_ctl_error *err) GP_MUST_CHECK;
int ctl_snapshot_restore(struct gp_ctl_request *req, const json_t *args, json_t **result,
	struct gp_ctl_error *err) GP_MUST_CHECK;
int ctl_why(struct gp_ctl_request *req, const json_t *args, json_t **result,
	struct gp_ctl_error *err) GP_MUST_CHECK;
int ctl_record_dump(struct gp_ctl_request *req, const json_t *args, json_t **result,
	struct gp_ctl_error *err) GP_MUST_CHECK;
int ctl_stop(struct gp_ctl_request *req, const json_t *args, json_t **result,
	struct gp_ctl_error *err) GP_MUST_CHECK;
const char *job_state_name(const struct gp_job_view *v);
json_t *job_step_json(const struct gp_job_view *v); // null before there is one, like the next
json_t *job_generation_json(const struct gp_job_view *v);

// ---- node.c

struct node {
	struct gp_config cfg;
	uint64_t started; // ns
	uint32_t epoch;
	uint32_t sessions_open;
	bool huge; // EAL has huge pages
	struct gp_dpdk_port *port;
	struct gp_dpdk_port_info port_info;
	struct gp_engine *engine;
	struct gp_registrar *registrar;
	uint32_t lcores_running;
	_Atomic bool run;	    // written by control, read by the polled cores
	_Atomic bool serving;	    // somebody has a session; likewise
	_Atomic uint32_t announces; // addresses were taken over so often; likewise
	struct restored restored[GP_CONFIG_JOBS_MAX];
	struct snapshots snapshots;
	struct replica replica;
	struct pair pair;
	struct leader leader;
	struct recorder recorder;
	struct stop stop;
	struct views_job views[GP_CONFIG_JOBS_MAX];
	struct events events;
	struct control control;
	struct lcore lcores[GP_DPDK_CORES_MAX];
};

// Engine and polled cores; the port is up.
int node_up(struct node *n) GP_MUST_CHECK;
// The port too: queued frames refer to the engine's tables. False: what was counted does not add
// up.
bool node_down(struct node *n);
// Index of a job by its number on the wire.
uint32_t node_job_idx(const struct node *n, uint16_t id);

#endif
