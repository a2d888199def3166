// SPDX-License-Identifier: BSD-3-Clause
#include "progress.h"

#include "trainer.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

#define TTY_PERIOD_NS 500000000u
#define LOG_PERIOD_NS 2000000000u

void gw_progress_init(struct gw_progress *p, const struct gw_options *opts, uint32_t step)
{
	*p = (struct gw_progress){
		.kind = opts->progress,
		.is_tty = isatty(STDERR_FILENO),
		.rank = opts->rank,
		.batch = opts->batch * (opts->mode == GW_LOCAL ? opts->world : 1),
		.every = opts->progress_steps,
		.last_ns = gw_now_ns(),
		.last_step = step,
	};
}

static void json_print(
	const struct gw_progress *p, const struct gw_progress_now *now, double samples, double mbit)
{
	char loss[32] = "null"; // JSON has no word for what a diverged model gives

	if (isfinite(now->loss))
		snprintf(loss, sizeof(loss), "%.6g", now->loss);
	fprintf(stderr,
		"{\"rank\": %u, \"step\": %u, \"loss\": %s, \"samples_per_s\": %.0f, "
		"\"mbit_per_s\": %.1f, \"retransmits\": %llu}\n",
		p->rank, now->step, loss, samples, mbit, (unsigned long long)now->retransmits);
}

static void text_print(
	struct gw_progress *p, const struct gw_progress_now *now, double samples, double mbit)
{
	char end[16] = "";

	if (now->steps_end != UINT32_MAX)
		snprintf(end, sizeof(end), "/%u", now->steps_end);
	fprintf(stderr,
		"%srank %u  step %u%s  loss %.4f  %.0f samples/s  %.1f Mbit/s  retransmits %llu%s",
		p->is_tty ? "\r\033[K" : "", p->rank, now->step, end, now->loss, samples, mbit,
		(unsigned long long)now->retransmits, p->is_tty ? "" : "\n");
	p->is_open = p->is_tty;
	fflush(stderr);
}

// Whether a line is due `span_ns` after the one before.
static bool is_due(const struct gw_progress *p, const struct gw_progress_now *now, uint64_t span_ns)
{
	bool rewrites = p->is_tty && p->kind == GW_PROGRESS_TEXT;

	if (now->step == now->steps_end)
		return true;
	if (p->every > 0)
		return now->step - p->last_step >= p->every;
	return span_ns >= (rewrites ? TTY_PERIOD_NS : LOG_PERIOD_NS);
}

void gw_progress_step(struct gw_progress *p, const struct gw_progress_now *now)
{
	uint64_t time_ns, span_ns;
	double seconds, samples, mbit;

	if (p->kind == GW_PROGRESS_NONE)
		return;
	time_ns = gw_now_ns();
	span_ns = time_ns - p->last_ns;
	if (!is_due(p, now, span_ns))
		return;
	seconds = (double)span_ns * 1e-9;
	samples = (double)(now->step - p->last_step) * p->batch / seconds;
	mbit = (double)(now->bytes - p->last_bytes) * 8e-6 / seconds;
	if (p->kind == GW_PROGRESS_JSON)
		json_print(p, now, samples, mbit);
	else
		text_print(p, now, samples, mbit);
	p->last_ns = time_ns;
	p->last_step = now->step;
	p->last_bytes = now->bytes;
}

void gw_progress_fini(struct gw_progress *p)
{
	if (p->is_open)
		fputc('\n', stderr);
	p->is_open = false;
}

void gw_idle_tell(const struct gw_options *opts, uint32_t own_steps, uint32_t step)
{
	if (own_steps == 0 && !gw_stop_wanted(opts))
		fprintf(stderr,
			"gradworker: rank %u did nothing: the job has done %u steps, and --steps "
			"or --epochs, which count from the job's beginning, end at or before "
			"that\n",
			opts->rank, step);
}
