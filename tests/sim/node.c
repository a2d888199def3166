// SPDX-License-Identifier: BSD-3-Clause
//
// What workers and readers have in common: a life of a client core, from the join to an error or
// the end.
#include "sim.h"
#include "sent.h"

#include <errno.h>

#define AGAIN_NS   (800 * MS) // at most, before a program that failed is started again
#define PATIENT_NS (50 * MS)

uint64_t node_clock(const struct sim *s, const struct sim_node *n)
{
	return s->now + n->ahead;
}

void node_wake(struct sim *s, struct sim_node *n)
{
	n->wake_at = GP_MIN(n->wake_at, s->now + (uint64_t)s->o->grain_ns * n->slow);
}

static void node_end(struct sim *s, struct sim_node *n)
{
	struct gp_client_stats st;
	gp_ccore_stats(n->core, &st);
	s->stats.retransmits += st.retransmits;
	s->stats.aborts += st.aborts;
	gp_ccore_destroy(n->core);
	n->core = NULL;
	wire_host_start(&s->wire, n->host, false);
}

void node_kill(struct sim *s, struct sim_node *n, uint64_t down_ns)
{
	if (n->core)
		node_end(s, n);
	n->phase = NODE_DOWN;
	n->next_at = s->now + down_ns;
	n->wake_at = n->next_at;
}

void node_check(
	struct sim *s, const struct sim_node *n, uint32_t step, uint64_t skip, const char *who)
{
	s->oracle.given = n->results;
	oracle_check(&s->oracle, n->params, step, skip, who, n->idx);
	s->oracle.given = 0;
}

void node_check_mixed(struct sim *s, const struct sim_node *n, uint32_t step, const char *who)
{
	s->oracle.given = n->results;
	oracle_check_mixed(&s->oracle, n->params, step, who, n->idx);
	s->oracle.given = 0;
}

void node_leave(struct sim_node *n)
{
	gp_ccore_leave(n->core);
	n->phase = NODE_LEAVE;
}

// Replaces the life before, says which one it was, or waits until that is taken for dead.
static void join_how(struct sim *s, const struct sim_node *n, struct gp_ccore_config *cfg)
{
	if (n->reader)
		cfg->flags = GP_CLIENT_READER;
	if (n->lives == 0 || n->reader)
		return;
	switch (rng_below(&s->rng, 4)) {
	case 0:
		return;
	case 1:
		cfg->previous = n->life;
		return;
	default:
		cfg->flags |= GP_CLIENT_REPLACE;
	}
}

// An embed job's rows come in bf16 to who pushes so, else in f32; the numbers that are pushed lose
// nothing in either 16-bit codec.
static void codecs_choose(const struct sim *s, struct sim_node *n, struct gp_ccore_config *cfg)
{
	uint8_t codec = sim_results(s->o, n->host);
	bool rows = codec == GP_CLIENT_BF16 || codec == GP_CLIENT_F16;
	n->results = codec;
	if (s->o->mixed) // each tensor has its own
		cfg->compress = (struct gp_client_compress){0};
	if (!s->o->embed) {
		cfg->results = codec;
		return;
	}
	cfg->compress.codec = rows ? (enum gp_client_codec)codec : GP_CLIENT_F32;
	n->results = codec == GP_CLIENT_BF16 ? codec : GP_CLIENT_F32;
}

void node_start(struct sim *s, struct sim_node *n)
{
	struct gp_ccore_config cfg = {
		.job = "sim",
		.server = "server",
		.v4 = true,
		.rank = (uint16_t)n->idx,
		.world = (uint16_t)s->o->workers,
		.incarnation = rng_next(&s->rng) | 1,
		.nonce = rng_next(&s->rng),
		.compress = {.codec = (enum gp_client_codec)s->o->codec,
			.topk_ratio = SENT_TOPK_RATIO},
		.take = sim_take,
		.give = sim_give,
		.mem_arg = s,
	};
	join_how(s, n, &cfg);
	codecs_choose(s, n, &cfg);
	// The server may leave out what has not changed; instead of int8 that goes as it is.
	n->changed = n->idx % 2 && n->results != GP_CLIENT_INT8;
	if (n->changed)
		cfg.flags |= GP_CLIENT_CHANGED;
	n->lends = !n->reader &&
		   rng_mix(s->o->seed ^ UINT64_C(0x6c656e64) ^ (uint64_t)n->idx << 32) & 1;
	if (n->lends)
		cfg.flags |= GP_CLIENT_BORROW;
	wire_host_start(&s->wire, n->host, n->lives > 0 && rng_next(&s->rng) & 1);
	n->lives++;
	n->life = cfg.incarnation;
	n->phase = NODE_JOIN;
	n->attached = 1;
	n->poisoned = false;
	n->timer_at = 0;
	n->next_at = 0;
	memset(n->residual, 0, sizeof(float) * s->model.elems_total);
	if (gp_ccore_create(&n->core, &cfg, wire_xport(&s->wire, n->host, 0)) != 0)
		sim_broken(s, "client %u: no memory", n->host);
}

// Which errors a program must expect when there are faults: it starts again.
static bool error_is_expected(const struct sim *s, const struct sim_node *n, int code)
{
	switch (code) {
	case -ECONNRESET:
	case -ETIMEDOUT:
	case -EEXIST:
	case -EMSGSIZE: // the probes of the larger size were all lost
		return true;
	case -EDOM:
		return n->poisoned || sim_has(s->o, FAULT_UNDETECTED);
	case -ENOMEM: // dead readers keep their places for 30 s
		return n->reader;
	case -EBADMSG:
		return sim_has(s->o, FAULT_MALFORMED) || sim_has(s->o, FAULT_UNDETECTED);
	default:
		return sim_has(s->o, FAULT_UNDETECTED);
	}
}

static bool error_seen(struct sim *s, struct sim_node *n)
{
	const struct gp_client_error *e = gp_ccore_error(n->core);
	if (!e)
		return false;
	if (n->phase == NODE_LEAVE) {
		node_end(s, n);
		n->phase = NODE_GONE;
		return true;
	}
	if (!error_is_expected(s, n, e->code))
		sim_broken(s, "%s %u: %s", n->reader ? "reader" : "worker", n->idx, e->text);
	if (s->wire.log)
		printf("%12.6f host %u: %s\n", (double)s->now * 1e-6, n->host, e->text);
	s->stats.errors++;
	node_kill(s, n, rng_below(&s->rng, AGAIN_NS));
	return true;
}

static void tensor_codec(
	const struct sim *s, const struct sim_node *n, uint32_t t, struct gp_client_compress *x)
{
	bool exact = s->model.exact;
	if (!s->o->mixed || n->reader)
		return;
	x->codec = (enum gp_client_codec)sim_codec(s->o, n->idx, n->lives, t);
	x->topk_ratio = exact ? SENT_TOPK_RATIO_EXACT : SENT_TOPK_RATIO;
}

static bool node_register(struct sim *s, struct sim_node *n)
{
	struct gp_client_tensor d[MODEL_TENSORS_MAX] = {0};
	uint32_t count = s->model.tensors_count;
	for (uint32_t t = 0; t < count; t++) {
		(void)snprintf(d[t].name, sizeof(d[t].name), "t%u", t);
		d[t].dims_count = 1;
		d[t].dims[0] = s->o->embed ? s->model.dim[t] : s->model.elems[t];
		d[t].priority = count - t;
		tensor_codec(s, n, t, &d[t].compress);
	}
	return gp_ccore_register(n->core, d, count) == 0;
}

static void node_join(struct sim *s, struct sim_node *n)
{
	if (gp_ccore_phase(n->core) == GP_CCORE_PORTS)
		for (; n->attached < gp_ccore_lanes(n->core); n->attached++)
			gp_ccore_attach(
				n->core, n->attached, wire_xport(&s->wire, n->host, n->attached));
	if (gp_ccore_phase(n->core) != GP_CCORE_JOINED)
		return;
	if (!node_register(s, n))
		sim_broken(s, "client %u: register: %s", n->host, gp_ccore_last(n->core)->text);
	n->phase = NODE_REGISTER;
}

// Everything that came, then time, then what the program does with it.
static void node_turn(struct sim *s, struct sim_node *n)
{
	struct gp_frame *frames[SIM_BURST];
	uint32_t got;
	for (uint32_t k = 0; k < n->attached; k++)
		while ((got = wire_take(&s->wire.endpoints[n->host][k], frames, SIM_BURST)) > 0) {
			gp_ccore_rx(n->core, k, frames, got, node_clock(s, n));
			gp_ccore_send(n->core, k, node_clock(s, n));
		}
	n->timer_at = gp_ccore_tick(n->core, node_clock(s, n));
	tap_node(s, n);
	if (error_seen(s, n))
		return;
	if (n->phase == NODE_JOIN)
		node_join(s, n);
	if (n->phase == NODE_LEAVE && gp_ccore_phase(n->core) == GP_CCORE_LEFT) {
		node_end(s, n);
		n->phase = NODE_GONE;
		return;
	}
	if (n->reader)
		reader_advance(s, n);
	else
		worker_advance(s, n);
}

// When it looks again: what its core asks for, and what the program has to do by then.
static void node_plan(struct sim *s, struct sim_node *n)
{
	if (n->phase == NODE_GONE) {
		n->wake_at = WIRE_NEVER;
		return;
	}
	if (!n->core) {
		n->wake_at = n->next_at;
		return;
	}
	n->timer_at = gp_ccore_tick(n->core, node_clock(s, n));
	uint64_t at = n->timer_at == GP_CCORE_NEVER ? WIRE_NEVER : n->timer_at - n->ahead;
	at = GP_MIN(at, s->now + PATIENT_NS);
	if (n->next_at > s->now)
		at = GP_MIN(at, n->next_at);
	n->wake_at = GP_MAX(at, s->now + (uint64_t)s->o->grain_ns * n->slow);
}

void node_run(struct sim *s, struct sim_node *n)
{
	n->wake_at = WIRE_NEVER;
	if (n->phase == NODE_DOWN && s->now >= n->next_at)
		node_start(s, n);
	if (n->core)
		node_turn(s, n);
	node_plan(s, n);
}
