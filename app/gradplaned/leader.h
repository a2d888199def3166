// SPDX-License-Identifier: BSD-3-Clause
//
// The node's place in the leadership of its pair. Control thread.
//
// leader_open waits until the register has said who leads, and refuses to start a primary that is
// none; from then on the record is read every leadership.poll, and a primary that is no longer
// named ends at once. What the rules decide is handed on in one place, leader_turn.
#ifndef LEADER_H
#define LEADER_H

#include <gp_ctlproto.h>
#include <gp_lead_rules.h>
#include <gp_metrics.h>

struct event;
struct event_base;
struct node;

enum leader_promotion { PROMOTION_NONE, PROMOTION_ASKED, PROMOTION_READS, PROMOTION_SWAPS };

struct leader {
	bool used; // leadership.kind is not none
	struct gp_lead *lead;
	struct gp_lead_rules rules;
	struct event *poll;
	bool read_due, swap_due;
	bool went_away; // said in the log
	bool deposed;
	bool unfit; // was to lead and cannot
	enum leader_promotion promotion;
	struct gp_ctl_request *req; // of the promotion
};

int leader_open(struct node *n) GP_MUST_CHECK; // before the engine: sets the node's epoch
int leader_start(struct node *n) GP_MUST_CHECK;
// Something that the rules have to know happened; reads and swaps follow by themselves.
struct gp_lead_todo leader_event(struct node *n, const struct gp_lead_event *ev);
void leader_stop(struct node *n);
// null without leadership
json_t *leader_json(const struct node *n);
void leader_metrics_write(struct gp_metrics_writer *w, const struct node *n);

int ctl_leader_show(struct gp_ctl_request *req, const json_t *args, json_t **result,
	struct gp_ctl_error *err) GP_MUST_CHECK;
int ctl_leader_promote(struct gp_ctl_request *req, const json_t *args, json_t **result,
	struct gp_ctl_error *err) GP_MUST_CHECK;

// witness.c: runs until SIGTERM or SIGINT; the exit status.
struct gp_config;
int witness_run(const struct gp_config *c);

#endif
