// SPDX-License-Identifier: BSD-3-Clause
//
// What the registrar tells the control thread: as log lines (events.c) and as the record of a job's
// views (views.c). The control thread's, where nothing else is said.
#ifndef EVENTS_H
#define EVENTS_H

#include <gp_engine.h>

#include <stdio.h>

struct node;

// ---- events.c

struct events {
	uint64_t second;
	uint32_t lines;
	uint64_t left_out;
};

void events_connect(struct node *n);

// ---- views.c

struct views_job {
	FILE *file; // NULL: not recorded, or no more
	int fd;	    // the same file; -1: none. Read by the snapshot thread
	uint32_t units_count;
	uint64_t *units;       // a bit a unit: of the step in hand, committed in this view
	uint32_t units_here;   // of these
	uint32_t units_before; // of the step in hand, committed in earlier views
	uint32_t step;	       // in hand
	uint32_t view;
	struct gp_ranks members;
	bool steps_due; // first..last are whole and not yet written
	uint32_t first;
	uint32_t last;
};

int views_open(struct node *n) GP_MUST_CHECK; // what is wrong is in the log
void views_layout(struct node *n, uint32_t job_idx, const struct gp_job_view *v);
void views_decided(struct node *n, uint32_t job_idx, const struct gp_decision *d);
void views_flush(struct node *n);
// What was flushed is on disk. By the snapshot thread: a snapshot rests on the record before it.
void views_sync(struct node *n, uint32_t job_idx);
void views_close(struct node *n);

#endif
