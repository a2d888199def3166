// SPDX-License-Identifier: BSD-3-Clause
//
// From the field of one row to its text in a file, and what a row allows, in words.
#include "config_priv.h"

#include <arpa/inet.h>
#include <stdlib.h>

static const char *const type_names[VALUE_TYPES] = {
	[VALUE_GROUP] = "a mapping",
	[VALUE_NAME] = "a name",
	[VALUE_TEXT] = "text",
	[VALUE_PATH] = "an absolute path",
	[VALUE_UINT] = "an integer",
	[VALUE_BOOL] = "a boolean",
	[VALUE_ENUM] = "one of the words",
	[VALUE_SIZE] = "a size in KiB, MiB or GiB",
	[VALUE_TIME] = "a time in us, ms or s",
	[VALUE_FLOAT] = "a number",
	[VALUE_IP4] = "an IPv4 address with prefix",
	[VALUE_IP6] = "an IPv6 address with prefix",
	[VALUE_ENDPOINT] = "an address with port",
	[VALUE_MAC] = "an Ethernet address",
	[VALUE_RESTORE] = "a choice of snapshot",
};

static const char *const allowed_names[VALUE_TYPES] = {
	[VALUE_NAME] = "letters, digits, '.', '_' and '-'",
	[VALUE_TEXT] = "printable ASCII",
	[VALUE_PATH] = "/a/path",
	[VALUE_BOOL] = "true, false",
	[VALUE_IP4] = "a.b.c.d/prefix",
	[VALUE_IP6] = "a:b::c/prefix",
	[VALUE_ENDPOINT] = "a.b.c.d:port, [a:b::c]:port",
	[VALUE_MAC] = "aa:bb:cc:dd:ee:ff",
	[VALUE_RESTORE] = "latest, none, /path/of/a/snapshot",
};

const char *gp_config_type_name(enum value_type type)
{
	GP_ASSERT(type < VALUE_TYPES);
	return type_names[type];
}

static void size_text(uint64_t v, char *out, size_t size)
{
	if (v >= UINT64_C(1) << 30 && v % (UINT64_C(1) << 30) == 0)
		snprintf(out, size, "%lluGiB", (unsigned long long)(v >> 30));
	else if (v >= UINT64_C(1) << 20 && v % (UINT64_C(1) << 20) == 0)
		snprintf(out, size, "%lluMiB", (unsigned long long)(v >> 20));
	else
		snprintf(out, size, "%lluKiB", (unsigned long long)(v >> 10));
}

static void time_text(uint64_t us, char *out, size_t size)
{
	if (us >= 1000000 && us % 1000000 == 0)
		snprintf(out, size, "%llus", (unsigned long long)(us / 1000000));
	else if (us >= 1000 && us % 1000 == 0)
		snprintf(out, size, "%llums", (unsigned long long)(us / 1000));
	else
		snprintf(out, size, "%lluus", (unsigned long long)us);
}

// The shortest decimal that reads back as v.
static void float_text(float v, char *out, size_t size)
{
	for (int digits = 1; digits <= 9; digits++) {
		snprintf(out, size, "%.*g", digits, (double)v);
		if (strtof(out, NULL) == v)
			return;
	}
}

static void range_text(const struct row *r, char out[GP_CONFIG_WHY_SIZE])
{
	char low[32], high[32];
	switch (r->type) {
	case VALUE_SIZE:
		size_text((uint64_t)r->min, low, sizeof(low));
		size_text((uint64_t)r->max, high, sizeof(high));
		break;
	case VALUE_TIME:
		time_text((uint64_t)r->min, low, sizeof(low));
		time_text((uint64_t)r->max, high, sizeof(high));
		break;
	default:
		snprintf(low, sizeof(low), "%.10g", r->min);
		snprintf(high, sizeof(high), "%.10g", r->max);
	}
	snprintf(out, GP_CONFIG_WHY_SIZE, "%s..%s%s", low, high,
		r->flags & ROW_POW2 ? ", a power of two" : "");
}

void gp_config_allowed_text(const struct row *r, char out[GP_CONFIG_WHY_SIZE])
{
	size_t len = 0;
	if (r->type == VALUE_ENUM) {
		for (uint32_t i = 0; r->names[i]; i++)
			len += (size_t)snprintf(out + len, GP_CONFIG_WHY_SIZE - len, "%s%s",
				i ? ", " : "", r->names[i]);
		GP_ASSERT(len < GP_CONFIG_WHY_SIZE);
	} else if (allowed_names[r->type]) {
		snprintf(out, GP_CONFIG_WHY_SIZE, "%s%s", allowed_names[r->type],
			r->flags & ROW_OFF ? ", off" : "");
	} else {
		range_text(r, out);
		const char *word = gp_config_unset_word(r);
		size_t at = strlen(out);
		if (word)
			snprintf(out + at, GP_CONFIG_WHY_SIZE - at, ", %s", word);
	}
}

// In double quotes; what a file may hold is printable ASCII, so two escapes are all.
static bool quoted_text(const char *s, char out[GP_CONFIG_WHY_SIZE])
{
	size_t n = 0;
	out[n++] = '"';
	for (; *s; s++) {
		GP_ASSERT(n + 4 < GP_CONFIG_WHY_SIZE);
		if (*s == '"' || *s == '\\')
			out[n++] = '\\';
		out[n++] = *s;
	}
	out[n++] = '"';
	out[n] = '\0';
	return n > 2;
}

static bool ip_text(int family, const struct gp_config_ip *ip, char *out)
{
	char host[INET6_ADDRSTRLEN];
	if (!ip->present)
		return false;
	GP_ASSERT(inet_ntop(family, ip->addr, host, sizeof(host)));
	snprintf(out, GP_CONFIG_WHY_SIZE, "\"%s/%u\"", host, ip->prefix);
	return true;
}

static bool endpoint_text(const struct row *r, const struct gp_config_endpoint *e, char *out)
{
	if (e->port == 0) {
		snprintf(out, GP_CONFIG_WHY_SIZE, "off");
		return r->flags & ROW_OFF;
	}
	bool v6 = strchr(e->host, ':') != NULL;
	snprintf(out, GP_CONFIG_WHY_SIZE, "\"%s%s%s:%u\"", v6 ? "[" : "", e->host, v6 ? "]" : "",
		e->port);
	return true;
}

static bool mac_text(const struct gp_config_port *port, char *out)
{
	const uint8_t *m = port->mac;
	snprintf(out, GP_CONFIG_WHY_SIZE, "\"%02x:%02x:%02x:%02x:%02x:%02x\"", m[0], m[1], m[2],
		m[3], m[4], m[5]);
	return port->mac_present;
}

static bool restore_text(const struct gp_config_snapshot *s, char *out)
{
	if (s->restore == GP_RESTORE_PATH)
		return quoted_text(s->restore_path, out);
	snprintf(out, GP_CONFIG_WHY_SIZE, s->restore == GP_RESTORE_NONE ? "none" : "latest");
	return true;
}

// Numbers, words and switches: loaded from their field by width.
static bool scalar_text(const struct row *r, const void *field, char *out)
{
	uint64_t v = 0;
	float real;
	memcpy(&v, field, r->size);
	const char *word = gp_config_unset_word(r);
	if (word && v == GP_CONFIG_UNSET) {
		snprintf(out, GP_CONFIG_WHY_SIZE, "%s", word);
		return true;
	}
	switch (r->type) {
	case VALUE_BOOL:
		snprintf(out, GP_CONFIG_WHY_SIZE, v ? "true" : "false");
		return true;
	case VALUE_ENUM:
		snprintf(out, GP_CONFIG_WHY_SIZE, "%s", r->names[v]);
		return true;
	case VALUE_SIZE:
		size_text(v, out, GP_CONFIG_WHY_SIZE);
		return true;
	case VALUE_TIME:
		time_text(v, out, GP_CONFIG_WHY_SIZE);
		return true;
	case VALUE_FLOAT:
		memcpy(&real, field, sizeof(real));
		float_text(real, out, GP_CONFIG_WHY_SIZE);
		return true;
	default:
		GP_ASSERT(r->type == VALUE_UINT);
		snprintf(out, GP_CONFIG_WHY_SIZE, "%llu", (unsigned long long)v);
		return v != 0 || !(r->flags & ROW_OPTIONAL);
	}
}

bool gp_config_value_format(const struct row *r, const void *field, char out[GP_CONFIG_WHY_SIZE])
{
	switch (r->type) {
	case VALUE_NAME:
	case VALUE_TEXT:
	case VALUE_PATH:
		return quoted_text(field, out);
	case VALUE_IP4:
	case VALUE_IP6:
		return ip_text(r->type == VALUE_IP4 ? AF_INET : AF_INET6, field, out);
	case VALUE_ENDPOINT:
		return endpoint_text(r, field, out);
	case VALUE_MAC:
		return mac_text(field, out);
	case VALUE_RESTORE:
		return restore_text(field, out);
	default:
		return scalar_text(r, field, out);
	}
}
