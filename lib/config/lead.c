// SPDX-License-Identifier: BSD-3-Clause
//
// What the keys of leadership, of the link of a pair and of a witness must agree on.
#include "config_priv.h"

#include <errno.h>
#include <stdio.h>

#define REFUSE(k, path, ...)                                                                       \
	gp_config_refuse((k)->l, (k)->scope, gp_config_row_of(path), __VA_ARGS__)

bool gp_config_is_witness(const struct gp_config *c)
{
	return c->witness.listen.port != 0;
}

static bool row_of_witness(const struct row *r)
{
	return strcmp(r->path, "node") == 0 || strcmp(r->path, "node.name") == 0 ||
	       strcmp(r->path, "node.log_level") == 0 || strncmp(r->path, "witness", 7) == 0;
}

// Whether a key that may be absent is there, or one of a group's.
static bool row_present(const struct gp_config *c, const struct row *r)
{
	char text[GP_CONFIG_WHY_SIZE];
	size_t len = strlen(r->path);
	bool any = false;
	for (uint32_t i = 0; i < gp_config_rows_count; i++) {
		const struct row *m = &gp_config_rows[i];
		if (m->type != VALUE_GROUP && strncmp(m->path, r->path, len) == 0)
			any |= gp_config_value_format(m, (const uint8_t *)c + m->offset, text);
	}
	return any;
}

bool gp_config_row_applies(const struct gp_config *c, const struct row *r)
{
	enum gp_leadership kind = c->leadership.kind;
	if (gp_config_is_witness(c) ? !row_of_witness(r) : strncmp(r->path, "witness", 7) == 0)
		return false;
	if (strncmp(r->path, "leadership.", 11) == 0 && strcmp(r->path, "leadership.kind") != 0 &&
		kind == GP_LEADERSHIP_NONE)
		return false;
	if (strcmp(r->path, "replica.timeout") == 0)
		return c->replica.mode == GP_REPLICA_SYNC;
	if (strcmp(r->path, "leadership.directory") == 0)
		return kind == GP_LEADERSHIP_MANUAL;
	bool optional_group = r->type == VALUE_GROUP && (r->flags & ROW_OPTIONAL);
	return !optional_group || row_present(c, r);
}

// All three files or none. `need_name`: and a name.
static int tls_check(
	const struct check *k, const char *group, const struct gp_config_tls *tls, bool need_name)
{
	const struct {
		const char *key, *value;
	} files[] = {{"cert", tls->cert}, {"key", tls->key}, {"ca", tls->ca},
		{"peer_name", need_name ? tls->peer_name : "-"}};
	char path[64];
	if (!gp_config_given(k, group))
		return 0;
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(files); i++) {
		if (files[i].value[0])
			continue;
		snprintf(path, sizeof(path), "%s.%s", group, files[i].key);
		return REFUSE(k, path, "is missing; TLS needs cert, key and ca%s",
			need_name ? ", and the name of the peer" : "");
	}
	return 0;
}

static int none_check(const struct check *k)
{
	static const char *const keys[] = {"leadership.key", "leadership.endpoints[]",
		"leadership.directory", "leadership.timeout", "leadership.poll", "leadership.tls"};
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(keys); i++)
		if (gp_config_given(k, keys[i]))
			return REFUSE(k, keys[i], "is given, but leadership.kind is none");
	return 0;
}

static int kind_check(const struct check *k)
{
	const struct gp_config_leadership *l = &k->c->leadership;
	bool manual = l->kind == GP_LEADERSHIP_MANUAL;
	if (manual && gp_config_given(k, "leadership.endpoints[]"))
		return REFUSE(
			k, "leadership.endpoints[]", "is for etcd and witness; the kind is manual");
	if (manual && gp_config_given(k, "leadership.tls"))
		return REFUSE(k, "leadership.tls", "is for etcd and witness; the kind is manual");
	if (!manual && gp_config_given(k, "leadership.directory"))
		return REFUSE(k, "leadership.directory", "is for manual; the kind is another");
	if (!manual && l->endpoints_count == 0)
		return REFUSE(k, "leadership.endpoints[]", "is missing; the kind needs it");
	if (l->kind == GP_LEADERSHIP_WITNESS && l->endpoints_count != 1)
		return REFUSE(k, "leadership.endpoints[]",
			"has %u items: several witnesses would be several registers; name one",
			l->endpoints_count);
	return tls_check(k, "leadership.tls", &l->tls, false);
}

int gp_config_leadership_check(const struct check *k)
{
	enum gp_leadership kind = k->c->leadership.kind;
	int rc = kind == GP_LEADERSHIP_NONE ? none_check(k) : kind_check(k);
	if (rc != 0)
		return rc;
	if (k->c->replica.on_loss == GP_ON_LOSS_ALONE &&
		(kind == GP_LEADERSHIP_NONE || kind == GP_LEADERSHIP_MANUAL))
		return REFUSE(k, "replica.on_loss",
			"is alone: only safe where a register decides, leadership.kind etcd or "
			"witness");
	const char *service = k->c->address.service_ipv4.present ? "address.service_ipv4"
								 : "address.service_ipv6";
	if (kind == GP_LEADERSHIP_NONE && gp_config_given(k, service))
		return REFUSE(k, service, "is given, but leadership.kind is none");
	if (gp_config_given(k, "replica.tls") && k->c->replica.mode == GP_REPLICA_NONE)
		return REFUSE(k, "replica.tls", "is given, but replica.mode is none");
	return tls_check(k, "replica.tls", &k->c->replica.tls, true);
}

int gp_config_witness_check(const struct check *k)
{
	for (uint32_t i = 0; i < gp_config_rows_count; i++) {
		const struct row *r = &gp_config_rows[i];
		if (!row_of_witness(r) && k->l->marks[0][i].line)
			return gp_config_refuse(
				k->l, 0, (int)i, "is for servers; this file configures a witness");
	}
	static const char *const needed[] = {"node.name", "witness.listen", "witness.directory"};
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(needed); i++)
		if (!gp_config_given(k, needed[i]))
			return REFUSE(k, needed[i], "is missing; a witness needs it");
	return tls_check(k, "witness.tls", &k->c->witness.tls, true);
}
