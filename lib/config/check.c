// SPDX-License-Identifier: BSD-3-Clause
//
// Defaults, and what keys must agree on among themselves.
#include "config_priv.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>

#define DEVICE_KERNEL_LEN_MAX 15 // IFNAMSIZ - 1
#define MTU_IPV6_MIN	      1280

static void defaults_set(void *base, uint32_t job_flag)
{
	char why[GP_CONFIG_WHY_SIZE];
	for (uint32_t i = 0; i < gp_config_rows_count; i++) {
		const struct row *r = &gp_config_rows[i];
		if (!r->def || (r->flags & (ROW_JOB | ROW_TABLE)) != job_flag)
			continue;
		void *field = (uint8_t *)base + r->offset;
		GP_ASSERT(gp_config_value_parse(r, r->def, strlen(r->def), true, field, why) == 0);
	}
}

void gp_config_init(struct gp_config *c)
{
	memset(c, 0, sizeof(*c));
	defaults_set(c, 0);
}

void gp_config_job_init(struct gp_config_job *j, enum gp_job_kind kind)
{
	memset(j, 0, sizeof(*j));
	defaults_set(j, ROW_JOB);
	j->kind = kind;
	j->atomicity = kind == GP_JOB_REDUCE ? GP_ATOMICITY_TENSOR : GP_ATOMICITY_STEP;
}

int gp_config_row_of(const char *path)
{
	int index = gp_config_row_find(path);
	GP_ASSERT(index >= 0);
	return index;
}

bool gp_config_given(const struct check *k, const char *path)
{
	return k->l->marks[k->scope][gp_config_row_of(path)].line != 0;
}

int gp_config_required_check(const struct check *k, uint32_t flag)
{
	for (uint32_t i = 0; i < gp_config_rows_count; i++) {
		const struct row *r = &gp_config_rows[i];
		char allowed[GP_CONFIG_WHY_SIZE];
		if (!(r->flags & ROW_REQUIRED) || (r->flags & (ROW_JOB | ROW_TABLE)) != flag ||
			k->l->marks[k->scope][i].line != 0)
			continue;
		gp_config_allowed_text(r, allowed);
		return gp_config_refuse(
			k->l, k->scope, (int)i, "is missing (allowed: %.200s)", allowed);
	}
	return 0;
}

static int required_check(const struct check *k)
{
	return gp_config_required_check(k, k->job ? ROW_JOB : 0);
}

static int node_check(const struct check *k)
{
	if (!k->c->node.insecure)
		return REFUSE(k, "node.insecure",
			"is false (allowed: true): packet authentication is not available yet: say "
			"true on a network where every sender is trusted, else do not run this "
			"node");
	if (k->c->eal.memory % (1u << 20) != 0)
		return REFUSE(k, "eal.memory", "is not a whole number of MiB");
	if (k->c->cores.udp_port + k->c->cores.count - 1 > 65535)
		return REFUSE(k, "cores.udp_port", "%u with %u cores ends above 65535",
			k->c->cores.udp_port, k->c->cores.count);
	return 0;
}

// dddd:dd:dd.d
static bool pci_address(const char *s)
{
	static const char shape[] = "xxxx:xx:xx.x";
	for (size_t i = 0; i < sizeof(shape) - 1; i++) {
		bool fits = shape[i] == 'x' ? isxdigit((unsigned char)s[i]) != 0 : s[i] == shape[i];
		if (!fits)
			return false;
	}
	return s[sizeof(shape) - 1] == '\0';
}

static int port_check(const struct check *k)
{
	const struct gp_config_port *p = &k->c->port;
	if (p->links > 1 && p->driver != GP_PORT_MEMIF)
		return REFUSE(k, "port.links", "is for driver memif");
	if (p->udp_checksum == GP_UDP_CHECKSUM_OPTIONAL && p->driver != GP_PORT_MEMIF)
		return REFUSE(k, "port.udp_checksum",
			"optional is for driver memif: over a wire nothing else would notice "
			"damaged bytes");
	switch (p->driver) {
	case GP_PORT_PCI:
		if (!pci_address(p->device))
			return REFUSE(k, "port.device",
				"%.60s is not a PCI address such as 0000:3b:00.0", p->device);
		return 0;
	case GP_PORT_MEMIF:
		if (p->device[0] != '/')
			return REFUSE(k, "port.device",
				"%.60s is not the absolute path of a memif socket", p->device);
		return 0;
	default:
		if (strlen(p->device) > DEVICE_KERNEL_LEN_MAX || strpbrk(p->device, "/ ,:"))
			return REFUSE(k, "port.device",
				"%.60s is not a name of a kernel interface (at most %u characters)",
				p->device, DEVICE_KERNEL_LEN_MAX);
		return 0;
	}
}

static int address_check(const struct check *k)
{
	const struct gp_config_address *a = &k->c->address;
	if (!a->ipv4.present && a->ipv6_count == 0)
		return REFUSE(k, "address", "has neither ipv4 nor ipv6; one is needed");
	if (a->ipv6_count > 0 && k->c->port.mtu < MTU_IPV6_MIN)
		return REFUSE(k, "port.mtu", "%u is below %u, the least that IPv6 allows",
			k->c->port.mtu, MTU_IPV6_MIN);
	return 0;
}

static int sync_jobs_check(const struct check *k)
{
	for (uint32_t i = 0; i < k->c->jobs_count; i++) {
		const struct gp_config_job *j = &k->c->jobs[i];
		bool late = j->consistency == GP_CONSISTENCY_QUORUM &&
			    j->staleness.policy != GP_STALENESS_REFUSE;
		if (late)
			return gp_config_refuse(k->l, i + 1,
				gp_config_row_of("jobs[].staleness.policy"),
				"is not refuse, which a quorum needs with replica.mode sync: a "
				"worker "
				"is done with a late contribution before the replica holds it");
	}
	return 0;
}

// Both nodes of a pair are configured alike, whoever leads.
static int sync_check(const struct check *k)
{
	const struct gp_config_replica *r = &k->c->replica;
	if (!r->listen.port == !r->peer.port)
		return REFUSE(k, r->listen.port ? "replica.peer" : "replica.listen",
			r->listen.port
				? "is given beside replica.listen; with mode sync one node of "
				  "the pair listens and the other has its address as peer"
				: "is missing, and replica.peer as well; with mode sync one "
				  "node of the pair listens and the other has its address as "
				  "peer");
	if (k->c->leadership.kind == GP_LEADERSHIP_NONE)
		return REFUSE(k, "replica.mode",
			"is sync, but leadership.kind is none: something has to say who leads");
	if (r->lag_max > 0)
		return REFUSE(k, "replica.lag_max", "is for mode snapshots; sync has no lag");
	return sync_jobs_check(k);
}

// A generation of an asynchronous job is no step of its ranks, so nothing would hold them back.
static int lag_jobs_check(const struct check *k)
{
	for (uint32_t i = 0; i < k->c->jobs_count; i++) {
		const struct gp_config_job *j = &k->c->jobs[i];
		if (j->consistency != GP_CONSISTENCY_BSP)
			return gp_config_refuse(k->l, i + 1, gp_config_row_of("jobs[].consistency"),
				"is %s, and replica.lag_max bounds what bsp jobs can lose: leave "
				"lag_max out, or serve this job from another node",
				gp_consistency_name(j->consistency));
	}
	return 0;
}

static bool ip_is(const struct gp_config_ip *ip, const char *host)
{
	uint8_t addr[16];
	return ip->present && inet_pton(AF_INET, host, addr) == 1 && !memcmp(addr, ip->addr, 4);
}

static bool ip6_is(const struct gp_config_ip *ip, const char *host)
{
	uint8_t addr[16];
	return ip->present && inet_pton(AF_INET6, host, addr) == 1 && !memcmp(addr, ip->addr, 16);
}

// An address of the port is DPDK's: the kernel, which the link goes through, cannot reach it, and
// it is this node's own.
static int peer_check(const struct check *k)
{
	const struct gp_config_address *a = &k->c->address;
	const char *host = k->c->replica.peer.host;
	bool own = ip_is(&a->ipv4, host) || ip_is(&a->service_ipv4, host) ||
		   ip6_is(&a->service_ipv6, host);
	for (uint32_t i = 0; i < a->ipv6_count; i++)
		own |= ip6_is(&a->ipv6[i], host);
	if (own)
		return REFUSE(k, "replica.peer",
			"%s is an address of this node's own port: name the address that the other "
			"node has as replica.listen",
			host);
	return 0;
}

static int replica_check(const struct check *k)
{
	const struct gp_config_replica *r = &k->c->replica;
	bool replica = k->c->node.role == GP_ROLE_REPLICA;
	int rc = r->peer.port ? peer_check(k) : 0;
	if (rc != 0)
		return rc;
	if (r->mode == GP_REPLICA_SYNC)
		return sync_check(k);
	if (gp_config_given(k, "replica.timeout"))
		return REFUSE(k, "replica.timeout", "is for mode sync");
	if (replica && r->peer.port)
		return REFUSE(
			k, "replica.peer", "is for role primary; role replica has replica.listen");
	if (!replica && r->listen.port)
		return REFUSE(
			k, "replica.listen", "is for role replica; role primary has replica.peer");
	if (replica && r->mode == GP_REPLICA_NONE)
		return REFUSE(
			k, "replica.mode", "is none, but role replica needs snapshots or sync");
	if (replica && !r->listen.port)
		return REFUSE(k, "replica.listen", "is missing; role replica needs it");
	if (!replica && r->mode == GP_REPLICA_SNAPSHOTS && !r->peer.port)
		return REFUSE(k, "replica.peer", "is missing; mode snapshots needs it");
	if (!replica && r->mode == GP_REPLICA_NONE && r->peer.port)
		return REFUSE(k, "replica.peer", "is given, but replica.mode is none");
	if (r->lag_max > 0 && r->mode == GP_REPLICA_NONE)
		return REFUSE(k, "replica.lag_max", "is given, but replica.mode is none");
	uint32_t interval = k->c->snapshot.interval_steps;
	if (!replica && r->lag_max > 0 && (interval == 0 || r->lag_max < interval))
		return REFUSE(k, "replica.lag_max",
			"%u is less than the steps between two snapshots (snapshot.interval_steps: "
			"%u): the job would stand still",
			r->lag_max, interval);
	rc = r->lag_max > 0 ? lag_jobs_check(k) : 0;
	if (rc != 0)
		return rc;
	if (!replica && k->c->jobs_count == 0)
		return gp_config_refuse(
			k->l, 0, gp_config_row_of("jobs[]"), "is empty; role primary needs a job");
	return 0;
}

// No key stands where it would mean nothing; the one that a schedule cannot do without is there.
static int optimizer_keys_check(const struct check *k, const struct gp_config_optimizer *o)
{
	char why[GP_CONFIG_WHY_SIZE];
	for (uint32_t i = 0; i < gp_config_rows_count; i++) {
		bool there = k->l->marks[k->scope][i].line != 0;
		if (there && !gp_config_optimizer_takes(o, &gp_config_rows[i], why))
			return gp_config_refuse(k->l, k->scope, (int)i, "%.200s", why);
	}
	if (o->schedule != GP_SCHEDULE_CONSTANT && o->schedule_steps == 0)
		return REFUSE(k, "jobs[].optimizer.schedule_steps",
			"is missing; the schedule %s needs it", gp_schedule_name(o->schedule));
	return 0;
}

// After this the defaults that depend on `kind` and `optimizer.name` are in place.
static int optimizer_check(const struct check *k)
{
	struct gp_config_optimizer *o = &k->job->optimizer;
	if (k->job->kind == GP_JOB_REDUCE) {
		if (gp_config_given(k, "jobs[].optimizer"))
			return REFUSE(k, "jobs[].optimizer",
				"is for kinds train and embed; this job is of kind reduce");
		return 0;
	}
	if (!gp_config_given(k, "jobs[].optimizer.lr"))
		return REFUSE(k, "jobs[].optimizer.lr", "is missing; kind %s needs it",
			gp_job_kind_name(k->job->kind));
	int rc = optimizer_keys_check(k, o);
	if (rc != 0)
		return rc;
	bool momentum = o->name == GP_OPTIMIZER_MOMENTUM || o->name == GP_OPTIMIZER_NESTEROV;
	if (momentum && !gp_config_given(k, "jobs[].optimizer.momentum"))
		o->momentum = 0.9f;
	bool adagrad = o->name == GP_OPTIMIZER_ADAGRAD || o->name == GP_OPTIMIZER_ROWWISE_ADAGRAD;
	if (adagrad && !gp_config_given(k, "jobs[].optimizer.epsilon"))
		o->epsilon = 1e-10f;
	bool lamb = o->name == GP_OPTIMIZER_LAMB;
	if (lamb && !gp_config_given(k, "jobs[].optimizer.epsilon"))
		o->epsilon = 1e-6f;
	bool decays = lamb || o->name == GP_OPTIMIZER_ADAMW;
	if (decays && !gp_config_given(k, "jobs[].optimizer.weight_decay"))
		o->weight_decay = 0.01f;
	const struct gp_optim_params p = gp_config_optim(o);
	const char *why;
	if (gp_optim_check(&p, &why) != 0)
		return REFUSE(k, "jobs[].optimizer", "cannot be: %s", why);
	return 0;
}

static int job_unique_check(const struct check *k)
{
	for (uint32_t i = 0; i + 1 < k->scope; i++) {
		const struct gp_config_job *other = &k->c->jobs[i];
		if (strcmp(other->name, k->job->name) == 0)
			return REFUSE(k, "jobs[].name", "%s is also the name of jobs[%u]",
				k->job->name, i);
		if (other->id == k->job->id)
			return REFUSE(
				k, "jobs[].id", "%u is also the id of jobs[%u]", k->job->id, i);
		if (k->job->views_log[0] && strcmp(other->views_log, k->job->views_log) == 0)
			return REFUSE(k, "jobs[].views_log", "%.200s is also that of jobs[%u]",
				k->job->views_log, i);
	}
	return 0;
}

static int job_check(const struct check *k)
{
	struct gp_config_job *j = k->job;
	int rc = required_check(k);
	if (rc == 0)
		rc = job_unique_check(k);
	if (rc == 0)
		rc = optimizer_check(k);
	if (rc == 0)
		rc = gp_config_consistency_check(k);
	if (rc == 0)
		rc = gp_config_embed_check(k);
	if (rc == 0)
		rc = gp_config_whole_check(k);
	if (rc != 0)
		return rc;
	if (j->workers_min > j->workers)
		return REFUSE(k, "jobs[].workers_min", "%u is more than workers, which is %u",
			j->workers_min, j->workers);
	if (!gp_config_given(k, "jobs[].path_mtu_min"))
		j->path_mtu_min = k->c->port.mtu;
	if (j->path_mtu_min > k->c->port.mtu)
		return REFUSE(k, "jobs[].path_mtu_min", "%u is more than port.mtu, which is %u",
			j->path_mtu_min, k->c->port.mtu);
	return 0;
}

int gp_config_check(struct loader *l)
{
	static int (*const checks[])(const struct check *k) = {required_check, node_check,
		port_check, address_check, replica_check, gp_config_leadership_check};
	struct check k = {.l = l, .c = l->config};
	if (gp_config_given(&k, "witness"))
		return gp_config_witness_check(&k);
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(checks); i++) {
		int rc = checks[i](&k);
		if (rc != 0)
			return rc;
	}
	for (uint32_t i = 0; i < l->config->jobs_count; i++) {
		k.job = &l->config->jobs[i];
		k.scope = 1 + i;
		int rc = job_check(&k);
		if (rc != 0)
			return rc;
	}
	return 0;
}
