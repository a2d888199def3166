// SPDX-License-Identifier: BSD-3-Clause
//
// The record of a job: which ranks were summed in each step (jobs[].views_log). The control thread
// writes what home decided, in order; docs/operations.md has the format.
#include "gradplaned.h"

#include <gp_log.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

// Names of ranks or numbers of units: "0-3,7".
struct list {
	FILE *file;
	bool begun;
	uint32_t first, last;
};

static void list_run_print(struct list *l, const char *before)
{
	fprintf(l->file, l->first == l->last ? "%s%u" : "%s%u-%u", before, l->first, l->last);
}

static void list_add(struct list *l, uint32_t number)
{
	if (l->begun && number == l->last + 1) {
		l->last = number;
		return;
	}
	if (l->begun)
		list_run_print(l, "");
	if (l->begun)
		putc(',', l->file);
	l->begun = true;
	l->first = l->last = number;
}

static void list_end(struct list *l)
{
	if (l->begun)
		list_run_print(l, "");
}

static void set_print(FILE *f, const char *name, const struct gp_ranks *ranks)
{
	struct list l = {.file = f};
	fprintf(f, " %s ", name);
	gp_ranks_foreach(r, ranks) list_add(&l, r);
	list_end(&l);
}

static void ranks_print(FILE *f, const struct gp_ranks *ranks)
{
	set_print(f, "ranks", ranks);
	putc('\n', f);
}

static bool unit_has(const struct views_job *j, uint32_t unit)
{
	return j->units[unit / 64] >> (unit % 64) & 1;
}

// Whole steps that one view committed and that no line has named yet.
static void steps_write(struct views_job *j)
{
	if (!j->steps_due)
		return;
	fprintf(j->file, "steps %u-%u view %u", j->first, j->last, j->view);
	ranks_print(j->file, &j->members);
	j->steps_due = false;
}

// The units of the step in hand that this view committed, beside others that another one did.
static void part_write(struct views_job *j)
{
	struct list l = {.file = j->file};
	fprintf(j->file, "part %u view %u units ", j->step, j->view);
	for (uint32_t u = 0; u < j->units_count; u++)
		if (unit_has(j, u))
			list_add(&l, u);
	list_end(&l);
	ranks_print(j->file, &j->members);
	j->units_before += j->units_here;
}

static void units_clear(struct views_job *j)
{
	memset(j->units, 0, sizeof(j->units[0]) * gp_div_up(j->units_count, 64));
	j->units_here = 0;
}

static void commit_note(struct views_job *j, const struct gp_decision *d)
{
	GP_ASSERT(d->unit < j->units_count && !unit_has(j, d->unit));
	j->step = d->step;
	j->units[d->unit / 64] |= UINT64_C(1) << (d->unit % 64);
	if (j->units_before + ++j->units_here < j->units_count)
		return;
	if (j->units_before > 0) {
		part_write(j);
	} else {
		j->first = j->steps_due ? j->first : j->step;
		j->last = j->step;
		j->steps_due = true;
	}
	units_clear(j);
	j->units_before = 0;
}

static bool any(const struct gp_ranks *ranks)
{
	return gp_ranks_next(ranks, 0) < GP_RANKS_MAX;
}

// Asynchronous jobs: what is committed together says whose it is.
static void commit_write(struct views_job *j, const struct gp_decision *d)
{
	steps_write(j);
	fprintf(j->file, "commit %u view %u", d->step, d->view);
	if (any(&d->others))
		set_print(j->file, "late", &d->others);
	ranks_print(j->file, &d->members);
}

static void view_note(struct views_job *j, const struct gp_decision *d)
{
	steps_write(j);
	if (j->units_here > 0) {
		part_write(j);
		units_clear(j);
	}
	j->view = d->view;
	j->members = d->members;
	fprintf(j->file, "view %u step %u", j->view, d->step);
	ranks_print(j->file, &j->members);
}

// A record with a gap would be read as if it had none: after an error nothing more is written.
static void job_flush(struct node *n, uint32_t job_idx)
{
	struct views_job *j = &n->views[job_idx];
	if (!j->file)
		return;
	steps_write(j);
	if (fflush(j->file) == 0 && !ferror(j->file))
		return;
	gp_error("job %s: views_log %s ends here: %s; training goes on", n->cfg.jobs[job_idx].name,
		n->cfg.jobs[job_idx].views_log, strerror(errno));
	fclose(j->file);
	j->file = NULL;
}

// A server that was killed may have left half a line.
static bool half_line_cut(int fd)
{
	off_t size = lseek(fd, 0, SEEK_END), whole = size;
	char last = '\n';
	while (whole > 0 && pread(fd, &last, 1, whole - 1) == 1 && last != '\n')
		whole--;
	return whole == size || ftruncate(fd, whole) == 0;
}

static void job_open(struct node *n, uint32_t job_idx, const char *path)
{
	// Closed by views_close; the snapshot thread syncs it.
	n->views[job_idx].fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (n->views[job_idx].fd < 0 || !half_line_cut(n->views[job_idx].fd))
		return;
	int own = dup(n->views[job_idx].fd);
	n->views[job_idx].file = own < 0 ? NULL : fdopen(own, "a");
	if (!n->views[job_idx].file && own >= 0)
		close(own);
}

int views_open(struct node *n)
{
	for (uint32_t i = 0; i < n->cfg.jobs_count; i++) {
		const char *path = n->cfg.jobs[i].views_log;
		n->views[i].fd = -1;
		if (path[0] == '\0' || n->cfg.node.role != GP_ROLE_PRIMARY)
			continue;
		machine_directory_make(path);
		job_open(n, i, path);
		if (!n->views[i].file) {
			int error = errno;
			gp_error("jobs[%u].views_log: %s: %s", i, path, strerror(error));
			return -error;
		}
	}
	return 0;
}

void views_layout(struct node *n, uint32_t job_idx, const struct gp_job_view *v)
{
	struct views_job *j = &n->views[job_idx];
	if (!j->file)
		return;
	j->units_count = v->units_count;
	j->units = calloc(gp_div_up(v->units_count, 64), sizeof(j->units[0]));
	const struct gp_config_job *job = &n->cfg.jobs[job_idx];
	bool bsp = job->consistency == GP_CONSISTENCY_BSP;
	enum gp_atomicity atomicity = bsp ? job->atomicity : GP_ATOMICITY_STEP; // a whole push
	char from[16] = "none";
	if (v->initialised || v->generation != UINT32_MAX)
		snprintf(from, sizeof(from), "%u", v->generation);
	fprintf(j->file, "start %s epoch %u workers %u atomicity %s units %u elems %u\n", from,
		n->epoch, v->workers, gp_atomicity_name(atomicity), v->units_count, v->block_elems);
	if (j->units)
		return;
	gp_error("job %s: no memory for its views_log", v->name);
	fclose(j->file);
	j->file = NULL;
}

void views_decided(struct node *n, uint32_t job_idx, const struct gp_decision *d)
{
	struct views_job *j = &n->views[job_idx];
	if (!j->file)
		return;
	if (d->kind == GP_DECIDED_COMMIT && any(&d->members))
		commit_write(j, d);
	else if (d->kind == GP_DECIDED_COMMIT)
		commit_note(j, d);
	if (d->kind != GP_DECIDED_VIEW)
		return;
	view_note(j, d);
	job_flush(n, job_idx);
}

void views_flush(struct node *n)
{
	for (uint32_t i = 0; i < n->cfg.jobs_count; i++)
		job_flush(n, i);
}

void views_sync(struct node *n, uint32_t job_idx)
{
	if (n->views[job_idx].fd >= 0)
		(void)fdatasync(n->views[job_idx].fd); // an error was, or will be, that of a write
}

void views_close(struct node *n)
{
	views_flush(n);
	for (uint32_t i = 0; i < n->cfg.jobs_count; i++) {
		struct views_job *j = &n->views[i];
		if (j->file)
			fclose(j->file);
		if (j->fd >= 0)
			close(j->fd);
		free(j->units);
	}
}
