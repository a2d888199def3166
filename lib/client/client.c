// SPDX-License-Identifier: BSD-3-Clause
//
// A client's life: options, joining, leaving.
#include "ccore_priv.h"
#include "client_priv.h"

#include <gp_client_version.h>

#include <assert.h>
#include <gp_codec.h>
#include <gp_xport_udp.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#define JOIN_TIMEOUT_MS	 2000
#define LEAVE_TIMEOUT_MS 200
#define PATH_MTU_MIN	 1280
#define RANDOM_TRIES	 8
// Silence after which a client that may join again looks for the server, if its job's worker
// time-out is not longer.
#define RECONNECT_SILENCE_NS (500 * NS_PER_MS)

static void *heap_take(void *arg, size_t size)
{
	(void)arg;
	if (size > SIZE_MAX - GP_CACHE_LINE)
		return NULL;
	size = gp_align_up(size, GP_CACHE_LINE);
	void *mem = aligned_alloc(GP_CACHE_LINE, size);
	return mem ? memset(mem, 0, size) : NULL;
}

static void heap_give(void *arg, void *mem)
{
	(void)arg;
	free(mem);
}

// 0 when the kernel gives no random bytes.
static uint64_t random_nonzero(void)
{
	uint64_t v = 0;
	for (uint32_t i = 0; i < RANDOM_TRIES && v == 0; i++)
		if (getrandom(&v, sizeof(v), 0) != (ssize_t)sizeof(v))
			v = 0;
	return v;
}

// ---- options

static int rank_check(const struct gp_client_opts *o, struct gp_client_error *err)
{
	if (o->flags & GP_CLIENT_READER)
		return 0;
	if (o->world < 1 || o->world > GP_RANKS_MAX)
		return client_error(
			err, -EINVAL, "world: %u is out of range 1..%u", o->world, GP_RANKS_MAX);
	if (o->rank >= o->world)
		return client_error(
			err, -EINVAL, "rank: %u is out of range 0..%u", o->rank, o->world - 1);
	return 0;
}

static_assert(GP_CLIENT_F32 == (int)GP_CODEC_F32 && GP_CLIENT_BF16 == (int)GP_CODEC_BF16 &&
		      GP_CLIENT_TOPK == (int)GP_CODEC_TOPK && GP_CLIENT_F16 == (int)GP_CODEC_F16 &&
		      GP_CLIENT_INT8 == (int)GP_CODEC_INT8 &&
		      GP_CLIENT_SIGN == (int)GP_CODEC_SIGN &&
		      GP_CLIENT_TOPK_BF16 == (int)GP_CODEC_TOPK_BF16 &&
		      GP_CLIENT_TOPK_F16 == (int)GP_CODEC_TOPK_F16,
	"codecs have one number");

static int opts_check(const struct gp_client_opts *o, struct gp_client_error *err)
{
	const uint32_t known =
		GP_CLIENT_READER | GP_CLIENT_REPLACE | GP_CLIENT_CHANGED | GP_CLIENT_BORROW;
	const uint32_t lends = GP_CLIENT_READER | GP_CLIENT_BORROW;
	size_t len = o->job ? strnlen(o->job, GP_WIRE_JOB_NAME_SIZE) : 0;
	if (len == 0 || len >= GP_WIRE_JOB_NAME_SIZE)
		return client_error(err, -EINVAL, "job: a name of 1..%u bytes is needed",
			GP_WIRE_JOB_NAME_SIZE - 1);
	if (o->flags & ~known)
		return client_error(err, -EINVAL, "flags: 0x%x is unknown", o->flags & ~known);
	if ((o->flags & lends) == lends)
		return client_error(err, -EINVAL,
			"flags: a reader contributes nothing that could be borrowed "
			"(GP_CLIENT_READER and GP_CLIENT_BORROW)");
	if (o->path_mtu && (o->path_mtu < PATH_MTU_MIN || o->path_mtu > GP_XPORT_UDP_IP_MTU_MAX))
		return client_error(err, -EINVAL, "path_mtu: %u is out of range %u..%u",
			o->path_mtu, PATH_MTU_MIN, GP_XPORT_UDP_IP_MTU_MAX);
	int rc = rank_check(o, err);
	char fault[CC_FAULT_SIZE];
	if (rc == 0 && o->results != 0 && o->results != GP_CLIENT_F32 &&
		o->results != GP_CLIENT_BF16 && o->results != GP_CLIENT_F16 &&
		o->results != GP_CLIENT_INT8)
		return client_error(err, -EINVAL, "results: codec %u is not f32, bf16, f16 or int8",
			(uint32_t)o->results);
	if (rc == 0 && cc_codec_fault(&o->compress, fault))
		return client_error(err, -EINVAL, "%s", fault);
	return rc;
}

// "A,B,...": addresses of servers that may lead the job.
static int servers_parse(
	struct gp_client *c, const struct gp_client_opts *o, struct gp_client_error *err)
{
	char one[GP_ADDR_TEXT_SIZE];
	const char *at = o->server ? o->server : "";
	for (size_t len;; at += len + 1) {
		len = strcspn(at, ",");
		bool fits = len < sizeof(one) && c->servers_count < SERVERS_MAX;
		(void)snprintf(one, sizeof(one), "%.*s", (int)GP_MIN(len, sizeof(one) - 1), at);
		struct gp_addr *a = &c->servers[GP_MIN(c->servers_count, SERVERS_MAX - 1)];
		if (!fits || gp_addr_parse(one, a) || a->port == 0)
			return client_error(err, -EINVAL,
				"server: '%s' is not an address like 10.0.0.1:9700 or "
				"[fd00::1]:9700, or up to %u of them with commas between",
				o->server ? o->server : "", SERVERS_MAX);
		c->servers_count++;
		if (at[len] == 0)
			break;
	}
	c->server = c->servers[0];
	gp_addr_format(&c->server, c->server_text);
	c->path_mtu = o->path_mtu;
	return 0;
}

// ---- joining

static int lane0_open(struct gp_client *c, struct gp_client_error *err)
{
	char text[GP_CARRIER_TEXT_SIZE] = "";
	int rc = client_lane_open(c, 0, c->server.port, text);
	if (rc)
		return client_error(err, rc, "server %s: %s", c->server_text, text);
	uint32_t mtu = c->lanes[0]->mtu;
	if (mtu < GP_WIRE_HELLO_SIZE_MIN)
		return client_error(err, -EMSGSIZE,
			"the interface to %s carries only %u bytes in a datagram, %u are needed",
			c->server_text, mtu, GP_WIRE_HELLO_SIZE_MIN);
	return 0;
}

static int no_random(struct gp_client_error *err)
{
	return client_error(err, -EIO, "the kernel gives no random numbers (getrandom)");
}

// The core that has lost its session joins once more.
static int core_again(struct gp_client *c, struct gp_client_error *err)
{
	struct gp_ccore_again how = {
		.v4 = gp_addr_is_v4(&c->server),
		.incarnation = random_nonzero(),
		.nonce = random_nonzero(),
	};
	memcpy(how.server, c->server_text, sizeof(how.server));
	if (how.incarnation == 0 || how.nonce == 0)
		return no_random(err);
	client_lanes_close(c);
	int rc = lane0_open(c, err);
	if (rc)
		return rc;
	c->incarnation = how.incarnation;
	gp_ccore_again(c->core, &how, c->lanes[0]);
	return 0;
}

static int core_open(struct gp_client *c, struct gp_client_error *err)
{
	const struct gp_client_opts *o = &c->opts;
	struct gp_ccore_config cfg = {
		.v4 = gp_addr_is_v4(&c->server),
		.rank = (uint16_t)o->rank,
		.world = (uint16_t)o->world,
		.flags = o->flags,
		.incarnation = random_nonzero(),
		.previous = o->previous_incarnation,
		.nonce = random_nonzero(),
		.compress = o->compress,
		.results = (uint8_t)o->results,
		.take = heap_take,
		.give = heap_give,
		.silence_ns = o->reconnect_ms > 0 ? RECONNECT_SILENCE_NS : 0,
		.epoch_min = c->epoch,
	};
	(void)snprintf(cfg.job, sizeof(cfg.job), "%s", c->job);
	memcpy(cfg.server, c->server_text, sizeof(cfg.server));
	if (cfg.incarnation == 0 || cfg.nonce == 0)
		return no_random(err);
	c->incarnation = cfg.incarnation;
	int rc = lane0_open(c, err);
	if (rc)
		return rc;
	rc = gp_ccore_create(&c->core, &cfg, c->lanes[0]);
	return rc ? client_error(err, rc, "no memory") : 0;
}

static bool has_answered(const struct gp_ccore *core)
{
	return gp_ccore_phase(core) != GP_CCORE_HELLO;
}

static bool wants_ports_or_joined(const struct gp_ccore *core)
{
	enum gp_ccore_phase phase = gp_ccore_phase(core);
	return phase == GP_CCORE_PORTS || phase == GP_CCORE_JOINED;
}

static bool is_joined(const struct gp_ccore *core)
{
	return gp_ccore_phase(core) == GP_CCORE_JOINED;
}

static int lanes_open(struct gp_client *c, struct gp_client_error *err)
{
	uint32_t count = gp_ccore_lanes(c->core);
	for (uint32_t i = 1; i < count; i++) {
		char text[GP_CARRIER_TEXT_SIZE] = "";
		int rc = client_lane_open(c, i, gp_ccore_port(c->core, i), text);
		if (rc)
			return client_error(
				err, rc, "server %s, core %u: %s", c->server_text, i, text);
		gp_ccore_attach(c->core, i, c->lanes[i]);
	}
	return 0;
}

// A time-out of joining is told apart: a rank that stays taken, nobody at the port, silence.
static int join_explain(struct gp_client *c, int rc, uint32_t ms, struct gp_client_error *err)
{
	if (rc != -ETIMEDOUT || gp_ccore_error(c->core))
		return rc;
	if (gp_ccore_last(c->core)->code)
		return client_result(c, gp_ccore_last(c->core)->code, err);
	char trouble[GP_CARRIER_TEXT_SIZE];
	if (c->carrier->ops->trouble(c->carrier, trouble))
		return client_error(err, rc, "no server at %s: %s", c->server_text, trouble);
	char what[128];
	gp_ccore_waiting(c->core, what, sizeof(what));
	return client_error(err, rc,
		"server %s did not answer within %u ms (waited for %s); check the address, that "
		"gradplaned is running, and that the path to it carries at least 1280 bytes",
		c->server_text, ms, what);
}

static uint32_t ms_until(uint64_t end)
{
	uint64_t now = client_now();
	return end > now ? (uint32_t)((end - now) / NS_PER_MS) : 0;
}

static int client_join(
	struct gp_client *c, uint32_t answer_ms, uint32_t timeout_ms, struct gp_client_error *err)
{
	uint64_t end = client_now() + timeout_ms * NS_PER_MS;
	int rc = client_await(c, has_answered, answer_ms, err);
	if (rc)
		return join_explain(c, rc, answer_ms, err);
	rc = client_await(c, wants_ports_or_joined, ms_until(end), err);
	if (!rc && gp_ccore_phase(c->core) == GP_CCORE_PORTS)
		rc = lanes_open(c, err);
	if (rc)
		return join_explain(c, rc, timeout_ms, err);
	return join_explain(c, client_await(c, is_joined, ms_until(end), err), timeout_ms, err);
}

int client_connect(
	struct gp_client *c, uint32_t answer_ms, uint32_t timeout_ms, struct gp_client_error *err)
{
	int rc;
	if (c->core && gp_ccore_can_again(c->core)) {
		rc = core_again(c, err);
	} else {
		client_disconnect(c);
		rc = core_open(c, err);
	}
	return rc ? rc : client_join(c, answer_ms, timeout_ms, err);
}

static void stats_keep(struct gp_client *c)
{
	struct gp_client_stats now;
	client_stats(c, &now);
	c->before = now;
}

void client_disconnect(struct gp_client *c)
{
	if (c->core)
		stats_keep(c);
	gp_ccore_destroy(c->core);
	c->core = NULL;
	client_lanes_close(c);
}

static int carrier_open(
	struct gp_client *c, const struct gp_carrier_ops *ops, struct gp_client_error *err)
{
	char name[16] = "", text[GP_CARRIER_TEXT_SIZE] = "";
	const char *args = c->opts.transport ? c->opts.transport : "";
	if (!ops)
		ops = gp_carrier_find(c->opts.transport, name, &args, text);
	if (!ops)
		return client_error(err, -errno, "%s", text);
	const struct gp_carrier_opts how = {.name = name,
		.args = args,
		.path_mtu = c->path_mtu,
		.lanes_max = GP_CCORE_LANES_MAX};
	int rc = ops->open(&c->carrier, &how, text);
	return rc ? client_error(err, rc, "%s", text) : 0;
}

int gp_client_create(
	struct gp_client **out, const struct gp_client_opts *opts, struct gp_client_error *err)
{
	return gp_client_create_over(out, opts, NULL, err);
}

int gp_client_create_over(struct gp_client **out, const struct gp_client_opts *opts,
	const struct gp_carrier_ops *ops, struct gp_client_error *err)
{
	*out = NULL;
	if (err)
		*err = (struct gp_client_error){0};
	int rc = opts_check(opts, err);
	if (rc)
		return rc;
	struct gp_client *c = calloc(1, sizeof(*c));
	if (!c)
		return client_error(err, -ENOMEM, "no memory");
	c->opts = *opts;
	(void)snprintf(c->job, sizeof(c->job), "%s", opts->job);
	rc = servers_parse(c, opts, err);
	if (!rc)
		rc = carrier_open(c, ops, err);
	if (!rc)
		rc = client_find(
			c, opts->join_timeout_ms ? opts->join_timeout_ms : JOIN_TIMEOUT_MS, err);
	if (rc) {
		gp_client_destroy(c);
		return rc;
	}
	*out = c;
	return 0;
}

// ---- leaving

static bool has_left(const struct gp_ccore *core)
{
	return gp_ccore_phase(core) == GP_CCORE_LEFT;
}

void gp_client_destroy(struct gp_client *c)
{
	if (!c)
		return;
	client_background_end(c);
	c->opts.reconnect_ms = 0; // a server that goes away now is not looked for
	if (c->core && gp_ccore_phase(c->core) == GP_CCORE_JOINED) {
		gp_ccore_leave(c->core);
		(void)client_await(c, has_left, LEAVE_TIMEOUT_MS, NULL);
	}
	client_disconnect(c);
	if (c->carrier)
		c->carrier->ops->close(c->carrier);
	free(c->tensors);
	free(c);
}

uint64_t gp_client_incarnation(const struct gp_client *c)
{
	return c->incarnation;
}

const char *gp_client_server(const struct gp_client *c)
{
	return c->server_text;
}

uint32_t gp_client_epoch(const struct gp_client *c)
{
	return c->epoch;
}

const char *gp_client_version(void)
{
	return GP_CLIENT_VERSION;
}
