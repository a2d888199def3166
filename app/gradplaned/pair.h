// SPDX-License-Identifier: BSD-3-Clause
//
// Synchronous replication in the daemon (replica.mode: sync). Control thread.
//
// The link to the peer stands whoever leads. Who leads feeds: while the peer is there, or the
// record names it as backup, the gates of all jobs are closed (gp_backup.h), decisions go to the
// feeder, and are released as the rules of leadership allow: without a backup when they are on
// their way, with one when it has acknowledged them in this epoch. Who does not lead follows: it
// keeps an image of the jobs, and goes on from it when it is promoted. What becomes of the role is
// leader.c's; it tells pair_role.
#ifndef PAIR_H
#define PAIR_H

#include <gp_config.h>
#include <gp_ctlproto.h>
#include <gp_link.h>
#include <gp_metrics.h>

struct event;
struct node;

struct pair {
	bool used; // replica.mode is sync
	bool leading;
	struct gp_link *link;
	struct gp_feeder *feeder;      // leading
	struct gp_follower *follower;  // not leading
	struct gp_image *image;	       // not leading
	struct gp_image *image_before; // leading: what is left of it; NULL: nothing
	int wake_fd;		       // written by polled cores
	struct event *wake;
	bool closed;			 // the gates have to be
	bool turned[GP_CONFIG_JOBS_MAX]; // and this one was told
	bool based[GP_CONFIG_JOBS_MAX];	 // a base of this closing came
	bool fed;			 // the feeder is on the link
	bool connected;
	bool connected_said;
	bool diverged; // the peer's copy was not ours, on this connection
	bool offered;  // follower: an offer that the rules have not accepted yet
	struct gp_lead_record offer;
	bool turning; // inside pair_turn
	bool again;
	uint64_t beat_life; // the peer's, to which BEATs go; 0: none
	uint64_t tick_at;
	uint64_t waits_since; // something is not released since then, 0: nothing
	uint64_t stalls;      // that this thread noticed in itself
	uint64_t takeovers;
};

void pair_init(struct node *n); // before leader_open
int pair_start(struct node *n) GP_MUST_CHECK;
void pair_stop(struct node *n);
// Every turn of control.
void pair_tick(struct node *n, uint64_t now);
// The engine goes on from the image, or of jobs that it lacks from this node's disk. Before the
// promotion. -errno, said: a job cannot go on from it, and must not begin without.
int pair_restore(struct node *n) GP_MUST_CHECK;
// Role or record are others than before.
void pair_role(struct node *n);
// A replica that was named backup and is not any more: what it holds is void.
void pair_dropped(struct node *n);
// For status: whether the peer is there, up to which step it holds the jobs.
json_t *pair_json(const struct node *n);
// Leading: the job has a snapshot here, and no backup holds the job yet.
bool pair_lacks(const struct node *n, uint32_t job_idx);
// Both nodes were started again and neither holds what the record promises: only an operator can
// say who leads. Known while the peer is connected.
bool pair_is_headless(const struct node *n);
void pair_metrics_write(struct gp_metrics_writer *w, const struct node *n);
// For `gradctl why`: what commits wait for and since when; false: nothing.
bool pair_waits(const struct node *n, const char **what, uint64_t *since);

// For the link's options, and of each turn with its status.
void pair_beat_opts(struct node *n, struct gp_link_opts *o);
void pair_beat_watch(struct node *n, const struct gp_link_status *st);

// By a polled core, after its tick.
void pair_wake(const struct node *n);

#endif
