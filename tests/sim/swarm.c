// SPDX-License-Identifier: BSD-3-Clause
//
// Seed -> history. Each fault is in a part of the histories, so that others show alone too.
#include "opts.h"
#include "rng.h"

#include <gp_base.h>
#include <gp_codec.h>
#include <gp_engine.h>

#include <string.h>

#define US		 UINT64_C(1000)
#define MS		 UINT64_C(1000000)
#define SEC		 UINT64_C(1000000000)
#define FAULT_PPM	 220000 // of most faults
#define LONG_EVERY	 997	// seeds between histories that are longer than the oldest copy
#define LONG_DATAGRAMS	 1500000
#define OLD_MAX		 (UINT32_C(1) << 20)
#define ROWS_ELEMS_MAX	 (UINT32_C(6) << 20) // f32 of all generations of a history
#define STEPS_MAX	 20000
#define PAYLOAD_SMALL	 528
#define CODEC_OF_JOB	 0
#define CODEC_AUTO	 255
#define PAYLOAD_ETHERNET 1452
#define PAYLOAD_JUMBO	 8952

static const char *const fault_names[] = {
#define X(id, name) [FAULT_##id] = name,
	SIM_FAULTS(X)
#undef X
};

// The properties that are drawn, so that each has a hash of its own.
enum draw {
	D_WORKERS,
	D_WORKERS_MIN,
	D_CORES,
	D_READERS,
	D_RING,
	D_FRAMES,
	D_GRAIN,
	D_KIND,
	D_MEAN,
	D_ATOMICITY,
	D_CODEC,
	D_NONFINITE,
	D_TENSORS,
	D_ELEMS,
	D_PAYLOAD,
	D_SLOTS,
	D_WINDOW,
	D_CUT,
	D_TIMEOUT,
	D_RESTORED,
	D_STEP,
	D_DECISION,
	D_DATAGRAMS,
	D_COMPUTE,
	D_EVENT,
	D_CALM,
	D_MODE,
	D_BOUND,
	D_QUORUM,
	D_CUTS,
	D_FAULT, // and those that follow: whether fault i is there
	D_FAULT_HOW = D_FAULT + 64,
	D_EMBED = D_FAULT_HOW + 64,
	D_WHOLE = D_EMBED + 128,
	D_RESULTS = D_WHOLE + 64, // and that of each host
	D_MIXED = D_RESULTS + 128,
	D_IN_PLACE,
	D_TENSOR_CODEC = D_MIXED + 64, // of each rank and tensor
};

static uint64_t draw(const struct sim_opts *o, uint32_t what)
{
	return rng_mix(rng_mix(o->seed * 2 + 1) ^ rng_mix(what));
}

static uint32_t below(const struct sim_opts *o, uint32_t what, uint32_t bound)
{
	return (uint32_t)rng_scale(draw(o, what), bound);
}

static uint64_t spread(const struct sim_opts *o, uint32_t what, uint64_t low, uint64_t high)
{
	return rng_spread(draw(o, what), low, high);
}

static uint32_t listed(
	const struct sim_opts *o, uint32_t what, const struct sim_list *l, uint32_t otherwise)
{
	return l->count ? l->values[below(o, what, l->count)] : otherwise;
}

static void faults_choose(struct sim_opts *o, const struct sim_limits *l)
{
	bool calm = below(o, D_CALM, 32) == 0;
	for (uint32_t f = 0; f < FAULT_COUNT && !calm; f++) {
		uint32_t ppm = f == FAULT_UNDETECTED ? FAULT_PPM / 10 : FAULT_PPM;
		if (below(o, D_FAULT + f, PPM) < ppm)
			o->faults |= UINT32_C(1) << f;
	}
	o->faults &= l->faults;
}

static void cluster_choose(struct sim_opts *o, const struct sim_limits *l)
{
	// Few workers most of the time: more histories for the same datagrams.
	uint32_t high = below(o, D_WORKERS, 8) == 0 ? SIM_WORKERS_MAX : 8;
	o->workers = listed(o, D_WORKERS, &l->workers,
		(uint32_t)rng_spread(rng_mix(draw(o, D_WORKERS)), 1, high));
	o->workers_min = o->workers;
	if (below(o, D_WORKERS_MIN, 2))
		o->workers_min = 1 + below(o, D_WORKERS_MIN + 64, o->workers);
	o->cores = listed(o, D_CORES, &l->cores, 1 + below(o, D_CORES, SIM_CORES_MAX));
	o->readers =
		below(o, D_READERS, 3) == 0 ? 1 + below(o, D_READERS + 64, SIM_READERS_MAX) : 0;
	o->readers = GP_MIN(o->readers, l->readers);
	o->ring_size = 64u << below(o, D_RING, 3);
	o->grain_ns = (uint32_t)spread(o, D_GRAIN, 500, 50 * US);
}

static void job_choose(struct sim_opts *o, const struct sim_limits *l)
{
	static const uint32_t payloads[] = {PAYLOAD_SMALL, PAYLOAD_SMALL, PAYLOAD_SMALL,
		PAYLOAD_SMALL, PAYLOAD_SMALL, PAYLOAD_SMALL, PAYLOAD_SMALL, PAYLOAD_SMALL,
		PAYLOAD_SMALL, PAYLOAD_SMALL, PAYLOAD_SMALL, PAYLOAD_SMALL, PAYLOAD_ETHERNET,
		PAYLOAD_ETHERNET, PAYLOAD_ETHERNET, PAYLOAD_JUMBO};
	o->payload_max = payloads[below(o, D_PAYLOAD, GP_ARRAY_SIZE(payloads))];
	o->train = below(o, D_KIND, 3) != 0;
	o->mean = below(o, D_MEAN, 2);
	o->atomicity = (uint8_t)(GP_ATOM_BLOCK + below(o, D_ATOMICITY, 3));
	o->codec = GP_CODEC_F32;
	if (below(o, D_CODEC, 3) == 0)
		o->codec = (uint8_t)(GP_CODEC_BF16 +
				     below(o, D_CODEC + 64, GP_CODEC_COUNT - GP_CODEC_BF16));
	o->nonfinite = (uint8_t)below(o, D_NONFINITE, 3);
	o->tensors = 1 + below(o, D_TENSORS, 8);
	if (l->tensors)
		o->tensors = GP_MIN(o->tensors, l->tensors);
	// Some have more blocks than a core takes commands in one turn.
	uint32_t most = below(o, D_ELEMS + 64, 8) == 0 ? 8 : 2;
	o->elems_max =
		(uint32_t)spread(o, D_ELEMS, most > 2 ? o->payload_max : 8, o->payload_max * most);
	o->slots = 1u << below(o, D_SLOTS, 7);
	o->window = (uint32_t)spread(o, D_WINDOW, 1, 64);
	o->cut_interval = o->train && below(o, D_CUT, 3) == 0 ? 1 + below(o, D_CUT + 64, 4) : 0;
	o->timeout_ns = spread(o, D_TIMEOUT, 100 * MS, SEC);
	o->compute_ns = spread(o, D_COMPUTE, US, MS);
	o->restored = o->train && below(o, D_RESTORED, 4) == 0;
	if (o->restored) {
		// Steps are numbers below 2^32 - 1; half of them cross the sign of a difference.
		uint32_t edge = below(o, D_STEP, 2) ? UINT32_MAX - STEPS_MAX - 8 : INT32_MAX;
		o->first_step = edge - below(o, D_STEP + 64, 100);
		o->first_decision = UINT32_MAX - below(o, D_DECISION, 1000);
	}
}

// A third of those that an embed job may be. It has tables from the beginning, and no step 0.
static void embed_choose(struct sim_opts *o, const struct sim_limits *l)
{
	bool may = o->consistency != GP_CONSIST_QUORUM && !(l->modes & ~(UINT32_C(1) << SIM_EMBED));
	bool must = l->modes == UINT32_C(1) << SIM_EMBED;
	if (!may || !(must || below(o, D_EMBED, 3) == 0))
		return;
	o->embed = true;
	o->train = false;
	o->mean = false;
	o->cut_interval = below(o, D_EMBED + 96, 3) == 0 ? 1 + below(o, D_EMBED + 97, 4) : 0;
	o->atomicity = GP_ATOM_STEP;
	o->tensors = GP_MIN(o->tensors, 3);
	o->elems_max = GP_MIN(o->elems_max, 2000);
	o->nonfinite = GP_MIN(o->nonfinite, GP_NONFINITE_DROPS_RANK);
	o->kept_percent = below(o, D_EMBED + 64, 4) == 0 ? 20 : 400;
}

// Asynchronous jobs: contributions are whole numbers as f32 (ledger.h), none is poisoned.
static void mode_choose(struct sim_opts *o, const struct sim_limits *l)
{
	uint32_t modes[GP_CONSIST_ADAPTIVE], n = 0;
	for (uint32_t m = GP_CONSIST_BSP; m <= GP_CONSIST_ADAPTIVE; m++)
		if (!l->modes || (l->modes >> m & 1) ||
			(l->modes >> SIM_EMBED & 1 && m != GP_CONSIST_BSP &&
				m != GP_CONSIST_QUORUM))
			modes[n++] = m;
	bool bsp = !l->modes && below(o, D_MODE + 64, 2);
	o->consistency = (uint8_t)(bsp ? GP_CONSIST_BSP : modes[below(o, D_MODE, n)]);
	if (o->consistency == GP_CONSIST_BSP)
		return;
	bool quorum = o->consistency == GP_CONSIST_QUORUM;
	o->train = o->train || !quorum;
	o->mean = o->mean && !quorum;
	o->restored = o->restored && o->train;
	o->atomicity = quorum || below(o, D_ATOMICITY, 2) ? GP_ATOM_STEP : GP_ATOM_BLOCK;
	o->codec = GP_CODEC_F32;
	o->faults &= ~(UINT32_C(1) << FAULT_NAN);
	o->workers_min = 1;
	o->stale = below(o, D_QUORUM + 64, 2) ? GP_STALE_HOLD : GP_STALE_REFUSE;
	if (!quorum)
		o->stale = GP_STALE_HOLD;
	o->bound = below(o, D_BOUND, 5);
	o->quorum_min = 1 + below(o, D_QUORUM, o->workers);
	o->quorum_wait_ns = below(o, D_QUORUM + 128, 3) == 0
				    ? UINT64_MAX
				    : spread(o, D_QUORUM + 128, US, 20 * MS);
	o->cut_age_ns = below(o, D_CUTS, 2) ? 0 : spread(o, D_CUTS + 64, US, 50 * MS);
	o->cuts_max = 4 + below(o, D_CUTS + 128, 5);
	embed_choose(o, l);
}

// Of those jobs that may: updates that need the gradient of the whole step.
static void whole_choose(struct sim_opts *o)
{
	bool bsp = o->consistency == GP_CONSIST_BSP;
	bool meet = bsp || o->consistency == GP_CONSIST_QUORUM;
	if (!meet || !o->train || o->atomicity != GP_ATOM_STEP)
		return;
	o->lamb = bsp && below(o, D_WHOLE, 3) == 0;
	o->clip_percent = below(o, D_WHOLE + 1, 2) ? (uint32_t)spread(o, D_WHOLE + 2, 30, 150) : 0;
}

// In a third of the histories clients ask for results in other codecs, each in its own.
static void results_choose(struct sim_opts *o, const struct sim_limits *l)
{
	o->results = !l->results_f32 && below(o, D_RESULTS, 3) == 0;
}

uint8_t sim_results(const struct sim_opts *o, uint32_t host)
{
	static const uint8_t codecs[] = {GP_CODEC_F32, GP_CODEC_BF16, GP_CODEC_F16, GP_CODEC_INT8};
	return o->results ? codecs[below(o, D_RESULTS + 1 + host, GP_ARRAY_SIZE(codecs))]
			  : codecs[0];
}

// In a third of the histories ranks contribute in different codecs, and to each tensor in another.
// Tables have theirs by host (sim_results).
static void codecs_mix(struct sim_opts *o, const struct sim_limits *l)
{
	o->mixed = !o->embed && !l->codecs_one && below(o, D_MIXED, 3) == 0;
	o->in_place = o->consistency == GP_CONSIST_BSP && below(o, D_IN_PLACE, 2);
}

uint8_t sim_codec(const struct sim_opts *o, uint32_t rank, uint32_t life, uint32_t tensor)
{
	static const uint8_t any[] = {GP_CODEC_F32, GP_CODEC_BF16, GP_CODEC_TOPK, GP_CODEC_F16,
		GP_CODEC_INT8, GP_CODEC_SIGN, GP_CODEC_TOPK_BF16, GP_CODEC_TOPK_F16, CODEC_AUTO,
		CODEC_OF_JOB};
	static const uint8_t exact[] = {GP_CODEC_F32, GP_CODEC_BF16, GP_CODEC_F16, GP_CODEC_TOPK,
		GP_CODEC_TOPK_BF16, GP_CODEC_TOPK_F16};
	uint64_t how = rng_mix(draw(o, D_TENSOR_CODEC + 8 * rank + tensor) ^ rng_mix(life));
	if (!o->mixed)
		return o->codec;
	if (o->consistency == GP_CONSIST_BSP)
		return any[rng_scale(how, GP_ARRAY_SIZE(any))];
	// Whole numbers in every n-th element of n workers: a top-k that keeps more of them.
	return exact[rng_scale(how, o->workers > 1 ? GP_ARRAY_SIZE(exact) : 3)];
}

static void length_choose(struct sim_opts *o, const struct sim_limits *l)
{
	o->steps = l->steps ? l->steps : STEPS_MAX;
	o->datagrams = (uint32_t)spread(o, D_DATAGRAMS, 4000, 120000);
	o->faults_ns = 60 * SEC;
	if (o->seed % LONG_EVERY == 0 && !l->datagrams) {
		o->datagrams = LONG_DATAGRAMS;
		o->elems_max = GP_MIN(o->elems_max, 200);
		o->faults |= UINT32_C(1) << FAULT_OLD & l->faults;
		o->faults_ns = 600 * SEC;
	}
	if (l->datagrams)
		o->datagrams = l->datagrams;
	uint32_t rows = ROWS_ELEMS_MAX / (o->tensors * o->elems_max);
	o->steps = GP_MIN(o->steps, GP_MIN(rows, STEPS_MAX));
}

static uint32_t ppm_of(const struct sim_opts *o, enum sim_fault f, uint32_t low, uint32_t high)
{
	return sim_has(o, f) ? (uint32_t)spread(o, D_FAULT_HOW + f, low, high) : 0;
}

static void faults_measure(struct sim_opts *o)
{
	o->loss_ppm = ppm_of(o, FAULT_LOSS, 2000, 500000);
	o->burst_ppm = ppm_of(o, FAULT_BURST, 100, 20000);
	o->dup_ppm = ppm_of(o, FAULT_DUP, 2000, 500000);
	o->old_ppm = ppm_of(o, FAULT_OLD, 500, 20000);
	o->reorder_ppm = ppm_of(o, FAULT_REORDER, 2000, 500000);
	o->corrupt_ppm = ppm_of(o, FAULT_CORRUPT, 1000, 100000);
	o->malformed_ppm = ppm_of(o, FAULT_MALFORMED, 100, 5000);
	o->nan_ppm = ppm_of(o, FAULT_NAN, 1000, 50000);
	o->stranger_ppm = ppm_of(o, FAULT_STRANGER, 1000, 50000);
	o->quiet_ppm = ppm_of(o, FAULT_PULLS, 20000, 300000);
	o->preempt_ppm = ppm_of(o, FAULT_PREEMPT, 2000, 200000);
	o->pull_ppm = ppm_of(o, FAULT_PULLS, 20000, 300000);
	if (sim_has(o, FAULT_UNDETECTED)) {
		o->corrupt_ppm = GP_MAX(o->corrupt_ppm, 5000);
		o->undetected_ppm = 200000;
	}
	o->old_max = OLD_MAX;
	o->delay_min_ns = 2 * US;
	o->delay_max_ns = 50 * US;
	if (sim_has(o, FAULT_DELAY)) {
		uint64_t high = draw(o, D_FAULT_HOW + FAULT_DELAY) % 8 ? 100 * MS : 10 * SEC;
		o->delay_max_ns = spread(o, D_FAULT_HOW + FAULT_DELAY, 50 * US, high);
		o->delay_min_ns = o->delay_max_ns / 4;
	}
	o->reorder_ns = spread(o, D_FAULT_HOW + FAULT_REORDER, 50 * US, 50 * MS);
	o->dup_ns = spread(o, D_FAULT_HOW + FAULT_DUP, US, 20 * MS);
	o->event_ns = spread(o, D_EVENT, 10 * MS, 4 * SEC);
	o->slow_max = sim_has(o, FAULT_SLOW) ? 100 : 1;
	// Frames of the server: what slots can hold, and some for the traffic, or hardly any.
	uint32_t held = o->cores * o->slots * o->workers;
	o->frames = held + 2048;
	if (sim_has(o, FAULT_FRAMES))
		o->frames = held + 4 + below(o, D_FRAMES, 60);
	o->client_frames = sim_has(o, FAULT_CLIENTFRAMES) ? 2 + below(o, D_FRAMES + 64, 8) : 512;
}

void sim_limits_none(struct sim_limits *l)
{
	*l = (struct sim_limits){.faults = UINT32_MAX, .readers = SIM_READERS_MAX};
}

void sim_opts_of_seed(struct sim_opts *o, uint64_t seed, const struct sim_limits *l)
{
	*o = (struct sim_opts){.seed = seed};
	faults_choose(o, l);
	cluster_choose(o, l);
	job_choose(o, l);
	mode_choose(o, l);
	whole_choose(o);
	results_choose(o, l);
	codecs_mix(o, l);
	length_choose(o, l);
	faults_measure(o);
}

// ---- text

bool sim_faults_parse(const char *text, uint32_t *set)
{
	*set = 0;
	if (strcmp(text, "all") == 0)
		*set = UINT32_MAX;
	if (strcmp(text, "all") == 0 || strcmp(text, "none") == 0)
		return true;
	for (size_t len; *text; text += len + (text[len] == ',')) {
		len = strcspn(text, ",");
		uint32_t f = 0;
		while (f < FAULT_COUNT &&
			(strlen(fault_names[f]) != len || strncmp(fault_names[f], text, len) != 0))
			f++;
		if (f == FAULT_COUNT)
			return false;
		*set |= UINT32_C(1) << f;
	}
	return true;
}

void sim_faults_print(FILE *f, uint32_t set)
{
	const char *sep = "";
	if (!(set & ((UINT32_C(1) << FAULT_COUNT) - 1)))
		fprintf(f, "none");
	for (uint32_t i = 0; i < FAULT_COUNT; i++)
		if (set >> i & 1) {
			fprintf(f, "%s%s", sep, fault_names[i]);
			sep = ",";
		}
}

const char *sim_mode_name(uint32_t consistency)
{
	static const char *const modes[] = {
		"?", "bsp", "ssp", "asp", "quorum", "adaptive", "embed"};
	return consistency < GP_ARRAY_SIZE(modes) ? modes[consistency] : modes[0];
}

void sim_opts_print(FILE *f, const struct sim_opts *o)
{
	static const char *const atoms[] = {"?", "block", "tensor", "step"};
	fprintf(f,
		"seed %llu: %s %s %s, %u workers (at least %u), %u readers%s, %u cores, %u tensors "
		"of "
		"%u, payload %u,\n  codec %s%s%s, %s, slots %u, window %u, ring %u, cut every %u, "
		"time-out "
		"%llu ms, first step %u%s, clipped at %u %%\n  %u datagrams, %u steps, ppm: loss "
		"%u burst %u dup %u "
		"old %u reorder %u corrupt %u malformed %u nan %u, delay to %llu us, event %llu "
		"us\n"
		"  faults: ",
		(unsigned long long)o->seed, sim_mode_name(o->consistency),
		o->embed   ? "embed"
		: o->train ? "train"
			   : "reduce",
		atoms[o->atomicity], o->workers, o->workers_min, o->readers,
		o->results ? ", results in codecs" : "", o->cores, o->tensors, o->elems_max,
		o->payload_max, gp_codec_name(o->codec), o->mixed ? " and others" : "",
		o->in_place ? ", in place" : "", o->mean ? "mean" : "sum", o->slots, o->window,
		o->ring_size, o->cut_interval, (unsigned long long)(o->timeout_ns / MS),
		o->first_step, o->lamb ? ", lamb" : "", o->clip_percent, o->datagrams, o->steps,
		o->loss_ppm, o->burst_ppm, o->dup_ppm, o->old_ppm, o->reorder_ppm, o->corrupt_ppm,
		o->malformed_ppm, o->nan_ppm, (unsigned long long)(o->delay_max_ns / US),
		(unsigned long long)(o->event_ns / US));
	sim_faults_print(f, o->faults);
	fprintf(f, "\n");
}
