// SPDX-License-Identifier: BSD-3-Clause
#include "probe.h"

#include "bench.h"

#include <errno.h>
#include <gp_wire_defs.h>
#include <stdio.h>
#include <stdlib.h>

#define LANES_MAX   32
#define AT_TYPE	    1 // of the header, docs/protocol.md 1.1
#define AT_SECTIONS 38
#define MILLION	    1000000

// One lane: what the client sends through.
struct probe_lane {
	struct gp_xport base;
	struct gp_xport *inner;
};

static struct probe {
	struct gp_carrier base;
	struct gp_carrier *inner;
	struct probe_lane lanes[LANES_MAX];
	uint32_t loss; // of a million
	uint64_t random;
	uint64_t lost;
	bool recording;
	uint64_t *sent_ns; // of each block, 0 = not under way
	uint32_t blocks_max;
	uint32_t *samples;
	uint32_t samples_max, samples_count;
} probe;

// ---- loss

static bool is_lost(void)
{
	if (probe.loss == 0)
		return false;
	probe.random ^= probe.random << 13;
	probe.random ^= probe.random >> 7;
	probe.random ^= probe.random << 17;
	bool lost = (probe.random >> 16) % MILLION < probe.loss;
	probe.lost += lost;
	return lost;
}

// ---- times

static void block_note(uint8_t type, uint32_t block)
{
	if (block >= probe.blocks_max)
		return;
	uint64_t *sent = &probe.sent_ns[block];
	if (type == GP_WIRE_PUSH) {
		if (*sent == 0)
			*sent = bench_wall_ns();
	} else if (*sent != 0 && probe.samples_count < probe.samples_max) {
		uint64_t ns = bench_wall_ns() - *sent;
		probe.samples[probe.samples_count++] = (uint32_t)GP_MIN(ns, UINT32_MAX);
		*sent = 0;
	}
}

static void frame_note(const struct gp_frame *f, uint8_t type)
{
	if (f->len < GP_WIRE_HEADER_SIZE || f->data[AT_TYPE] != type)
		return;
	uint32_t sections = f->data[AT_SECTIONS];
	for (uint32_t i = 0; i < sections; i++) {
		uint32_t at = GP_WIRE_HEADER_SIZE + i * GP_WIRE_SECTION_SIZE;
		if (at + GP_WIRE_SECTION_SIZE <= f->len)
			block_note(type, gp_load32(f->data + at));
	}
}

// ---- a lane

static struct gp_frame *lane_alloc(struct gp_xport *x)
{
	struct gp_xport *inner = ((struct probe_lane *)x)->inner;
	return inner->ops->alloc(inner);
}

static void lane_hold(struct gp_xport *x, struct gp_frame *f)
{
	struct gp_xport *inner = ((struct probe_lane *)x)->inner;
	inner->ops->hold(inner, f);
}

static void lane_release(struct gp_xport *x, struct gp_frame *f)
{
	struct gp_xport *inner = ((struct probe_lane *)x)->inner;
	inner->ops->release(inner, f);
}

static void lane_send(struct gp_xport *x, struct gp_frame *f)
{
	struct gp_xport *inner = ((struct probe_lane *)x)->inner;
	if (probe.recording)
		frame_note(f, GP_WIRE_PUSH);
	if (!is_lost()) {
		inner->ops->send(inner, f);
		return;
	}
	if (f->tail_hold)
		f->tail_hold->count--;
	inner->ops->release(inner, f);
}

static const struct gp_xport_ops lane_ops = {
	.alloc = lane_alloc, .hold = lane_hold, .release = lane_release, .send = lane_send};

// ---- the carrier

static int probe_open(struct gp_carrier **out, const struct gp_carrier_opts *opts,
	char text[GP_CARRIER_TEXT_SIZE])
{
	char name[16];
	struct gp_carrier_opts o = *opts;
	const struct gp_carrier_ops *ops = gp_carrier_find(opts->args, name, &o.args, text);
	o.name = name;
	if (!ops)
		return -errno;
	int rc = ops->open(&probe.inner, &o, text);
	if (rc)
		return rc;
	probe.base.ops = &probe_ops;
	*out = &probe.base;
	return 0;
}

static void probe_close(struct gp_carrier *c)
{
	(void)c;
	probe.inner->ops->close(probe.inner);
}

static struct gp_xport *probe_lane_open(struct gp_carrier *c, uint32_t lane,
	const struct gp_addr *server, char text[GP_CARRIER_TEXT_SIZE])
{
	(void)c;
	GP_ASSERT(lane < LANES_MAX);
	struct gp_xport *inner = probe.inner->ops->lane_open(probe.inner, lane, server, text);
	if (!inner)
		return NULL;
	struct probe_lane *l = &probe.lanes[lane];
	*l = (struct probe_lane){.base = {.ops = &lane_ops, .mtu = inner->mtu}, .inner = inner};
	return &l->base;
}

static void probe_lanes_close(struct gp_carrier *c)
{
	(void)c;
	probe.inner->ops->lanes_close(probe.inner);
}

static uint32_t probe_poll(
	struct gp_carrier *c, uint32_t lane, struct gp_frame **frames, uint32_t max)
{
	(void)c;
	uint32_t n = probe.inner->ops->poll(probe.inner, lane, frames, max);
	if (probe.loss == 0 && !probe.recording)
		return n;
	uint32_t kept = 0;
	for (uint32_t i = 0; i < n; i++) {
		if (is_lost()) {
			lane_release(&probe.lanes[lane].base, frames[i]);
			continue;
		}
		if (probe.recording)
			frame_note(frames[i], GP_WIRE_RESULT);
		frames[kept++] = frames[i];
	}
	return kept;
}

static uint32_t probe_flush(struct gp_carrier *c, uint32_t lane)
{
	(void)c;
	return probe.inner->ops->flush(probe.inner, lane);
}

static uint32_t probe_fds(struct gp_carrier *c, struct pollfd *fds, uint64_t *ns)
{
	(void)c;
	return probe.inner->ops->fds(probe.inner, fds, ns);
}

static bool probe_trouble(const struct gp_carrier *c, char text[GP_CARRIER_TEXT_SIZE])
{
	(void)c;
	return probe.inner->ops->trouble(probe.inner, text);
}

const struct gp_carrier_ops probe_ops = {
	.open = probe_open,
	.close = probe_close,
	.lane_open = probe_lane_open,
	.lanes_close = probe_lanes_close,
	.poll = probe_poll,
	.flush = probe_flush,
	.fds = probe_fds,
	.trouble = probe_trouble,
};

// ---- what the bench tells and asks

bool probe_take(uint32_t blocks, uint32_t samples, uint64_t seed)
{
	probe.random = seed * 2 + 1;
	probe.blocks_max = blocks;
	probe.samples_max = samples;
	probe.sent_ns = calloc(blocks, sizeof(*probe.sent_ns));
	probe.samples = calloc(samples, sizeof(*probe.samples));
	return probe.sent_ns && probe.samples;
}

void probe_give(void)
{
	free(probe.sent_ns);
	free(probe.samples);
}

void probe_loss(uint32_t per_million)
{
	probe.loss = per_million;
}

uint64_t probe_lost(void)
{
	return probe.lost;
}

void probe_record(bool on)
{
	if (on) {
		memset(probe.sent_ns, 0, probe.blocks_max * sizeof(*probe.sent_ns));
		probe.samples_count = 0;
	}
	probe.recording = on;
}

static int sample_compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

double probe_quantile(double q)
{
	if (probe.samples_count == 0)
		return 0;
	qsort(probe.samples, probe.samples_count, sizeof(*probe.samples), sample_compare);
	uint32_t at = (uint32_t)(q * (double)probe.samples_count);
	return (double)probe.samples[GP_MIN(at, probe.samples_count - 1)];
}

uint32_t probe_samples(void)
{
	return probe.samples_count;
}
