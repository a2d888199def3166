// SPDX-License-Identifier: BSD-3-Clause
//
// gradplaned: one node of gradplane.
#include "gradplaned.h"

#include <gp_capacity.h>
#include <gp_log.h>

#include <stdio.h>
#include <stdlib.h>

// 0, or EXIT_CONFIG and the reason is on standard error.
static int config_load(struct node *n, const char *path)
{
	char err[GP_CONFIG_ERROR_SIZE];
	if (gp_config_load(path, &n->cfg, err, sizeof(err)) != 0) {
		fprintf(stderr, "gradplaned: %s\n", err);
		return EXIT_CONFIG;
	}
	if (n->cfg.jobs_count == 0 && !gp_config_is_witness(&n->cfg)) {
		fprintf(stderr,
			"gradplaned: %s: jobs is empty; a replica lists the jobs of its primary "
			"with the same names and ids\n",
			path);
		return EXIT_CONFIG;
	}
	return 0;
}

// Refuses what cannot work; prints everything when that is all that was asked for.
static int capacity_prove(const struct node *n, const char *path, bool print)
{
	struct gp_capacity *proof = calloc(1, sizeof(*proof));
	if (!proof)
		return EXIT_FAILED;
	bool fits = gp_config_capacity(&n->cfg, proof) == 0;
	if (print) {
		gp_config_print(stdout, &n->cfg);
		printf("\n# capacity\n");
	}
	if (print || !fits)
		gp_capacity_print(print ? stdout : stderr, proof);
	if (!fits)
		fprintf(stderr,
			"gradplaned: %s: what is promised does not fit in what is reserved: see "
			"FAIL "
			"above\n",
			path);
	free(proof);
	return fits ? 0 : EXIT_CONFIG;
}

static bool snapshots_are_used(const struct node *n)
{
	for (uint32_t i = 0; i < n->cfg.jobs_count; i++)
		if (n->cfg.jobs[i].kind != GP_JOB_REDUCE)
			return true;
	return n->cfg.node.role == GP_ROLE_REPLICA;
}

static int directory_prepare(struct node *n)
{
	struct gp_snapshot_error err;
	uint32_t removed = 0;
	if (!snapshots_are_used(n))
		return 0;
	int rc = gp_snapshot_dir_prepare(n->cfg.snapshot.directory, &removed, &err);
	if (rc == 0) // until the process ends
		rc = gp_snapshot_dir_lock(
			n->cfg.snapshot.directory, false, &n->snapshots.lock_fd, &err);
	if (rc != 0)
		gp_error("snapshot.directory: %s", err.text);
	if (removed > 0)
		gp_info("removed %u unfinished snapshots of dead writers", removed);
	return rc;
}

// New threads inherit this: signals reach only those that ask for them.
static void signals_block(void)
{
	sigset_t all;
	sigfillset(&all);
	// What a fault raises must not be blocked.
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGILL);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGABRT);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
}

static int node_run(struct node *n)
{
	int status = EXIT_FAILED;
	n->started = clock_now();
	pair_init(n);
	if (!machine_allows(&n->cfg) || directory_prepare(n) != 0 || restore_open(n) != 0 ||
		leader_open(n) != 0 || restore_check(n) != 0 || views_open(n) != 0)
		return status;
	signals_block();
	if (port_up(n) != 0)
		goto views;
	if (node_up(n) != 0)
		goto port;
	if (recorder_start(n) == 0 && control_up(n) == 0 && control_run(n) == 0)
		status = EXIT_OK;
	control_down(n);
	recorder_stop(n);
	if (!node_down(n))
		status = EXIT_FAILED;
	if (n->leader.unfit)
		status = EXIT_UNFIT;
port:
	port_down(n);
views:
	views_close(n);
	return status;
}

// 0, or EXIT_CONFIG and the reason: a file for the other program must not start this one.
static int kind_check(const struct node *n, const struct options *o)
{
	bool witness = gp_config_is_witness(&n->cfg);
	if (witness == o->witness || (witness && o->check_only))
		return 0;
	fprintf(stderr, "gradplaned: %s: configures a %s\n", o->config_path,
		witness ? "witness: gradplaned --witness --config FILE"
			: "server, not a witness (it has no witness.listen)");
	return EXIT_CONFIG;
}

static int witness_begin(const struct node *n, const struct options *o)
{
	if (o->check_only) {
		gp_config_print(stdout, &n->cfg);
		return EXIT_OK;
	}
	gp_log_init("gradplaned", (enum gp_log_level)n->cfg.node.log_level);
	return witness_run(&n->cfg);
}

static int server_begin(struct node *n, const struct options *o)
{
	int rc = capacity_prove(n, o->config_path, o->check_only);
	if (rc != 0 || o->check_only)
		return rc;
	gp_log_init("gradplaned", (enum gp_log_level)n->cfg.node.log_level);
	rc = node_run(n);
	for (uint32_t i = 0; i < n->cfg.jobs_count; i++)
		restore_close(n, i);
	return rc;
}

int main(int argc, char **argv)
{
	struct options o;
	int rc = options_parse(&o, argc, argv);
	if (rc >= 0)
		return rc;
	struct node *n = aligned_alloc(GP_CACHE_LINE, gp_align_up(sizeof(*n), GP_CACHE_LINE));
	if (!n)
		return EXIT_FAILED;
	memset(n, 0, sizeof(*n));
	rc = config_load(n, o.config_path);
	if (rc == 0)
		rc = kind_check(n, &o);
	if (rc == 0)
		rc = gp_config_is_witness(&n->cfg) ? witness_begin(n, &o) : server_begin(n, &o);
	free(n);
	return rc;
}
