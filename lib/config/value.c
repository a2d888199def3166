// SPDX-License-Identifier: BSD-3-Clause
//
// From the text of one scalar to the field of one row. A reader writes its field only when the text
// is right, and says in `why` what it saw and what is allowed.
#include "config_priv.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>

// A scalar under way.
struct input {
	const struct row *row;
	const char *s;
	size_t len;
	void *field;
	char *why;
};

void gp_config_quote(const char *s, size_t len, char *out, size_t size)
{
	GP_ASSERT(size >= 8);
	size_t n = GP_MIN(len, size - 4);
	for (size_t i = 0; i < n; i++)
		out[i] = s[i] >= 0x20 && s[i] < 0x7f ? s[i] : '?';
	memcpy(out + n, n < len ? "..." : "", n < len ? 4 : 1);
}

// `SEEN is not a TYPE (ALLOWED)`.
static int refuse_type(const struct input *in)
{
	char seen[64], allowed[GP_CONFIG_WHY_SIZE];
	gp_config_quote(in->s, in->len, seen, sizeof(seen));
	gp_config_allowed_text(in->row, allowed);
	snprintf(in->why, GP_CONFIG_WHY_SIZE, "%s is not %s (allowed: %.240s)",
		in->len ? seen : "nothing", gp_config_type_name(in->row->type), allowed);
	return -EINVAL;
}

static int refuse_range(const struct input *in)
{
	char seen[64], allowed[GP_CONFIG_WHY_SIZE];
	gp_config_quote(in->s, in->len, seen, sizeof(seen));
	gp_config_allowed_text(in->row, allowed);
	snprintf(in->why, GP_CONFIG_WHY_SIZE, "%s is out of range %.240s", seen, allowed);
	return -EINVAL;
}

static int refuse_text(const struct input *in, const char *text)
{
	char seen[64];
	gp_config_quote(in->s, in->len, seen, sizeof(seen));
	snprintf(in->why, GP_CONFIG_WHY_SIZE, "%s %s", in->len ? seen : "empty text", text);
	return -EINVAL;
}

// Copies text of 1..size-1 printable ASCII characters.
static int text_parse(const struct input *in)
{
	if (in->len == 0)
		return refuse_text(in, "is not allowed here");
	if (in->len >= in->row->size) {
		snprintf(in->why, GP_CONFIG_WHY_SIZE,
			"%zu characters are too many, at most %zu are allowed", in->len,
			in->row->size - 1);
		return -EINVAL;
	}
	for (size_t i = 0; i < in->len; i++) {
		if (in->s[i] < 0x20 || in->s[i] >= 0x7f)
			return refuse_text(in, "holds a character that is not printable ASCII");
	}
	memset(in->field, 0, in->row->size);
	memcpy(in->field, in->s, in->len);
	return 0;
}

static int name_parse(const struct input *in)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._-";
	if (in->len == 0 || strspn(in->s, allowed) != in->len || in->s[0] == '.' || in->s[0] == '-')
		return refuse_text(in,
			"is not a name (letters, digits, '.', '_' and '-'; starts with "
			"a letter, a digit or '_')");
	return text_parse(in);
}

static int path_parse(const struct input *in)
{
	if (in->len < 2 || in->s[0] != '/')
		return refuse_text(in, "is not an absolute path");
	return text_parse(in);
}

// Decimal digits from s on: how many; the value saturates at UINT64_MAX.
static size_t digits_parse(const char *s, uint64_t *value)
{
	size_t n = strspn(s, "0123456789");
	*value = 0;
	for (size_t i = 0; i < n; i++) {
		uint64_t digit = (uint64_t)(s[i] - '0');
		if (*value > (UINT64_MAX - digit) / 10)
			*value = UINT64_MAX;
		else
			*value = *value * 10 + digit;
	}
	return n;
}

static bool in_range(const struct row *r, double v)
{
	return v >= r->min && v <= r->max;
}

static int uint_parse(const struct input *in)
{
	const char *s = in->s;
	bool negative = s[0] == '-';
	uint64_t v;
	size_t n = digits_parse(s + negative, &v);
	if (n == 0 || n + negative != in->len || (n > 1 && s[negative] == '0'))
		return refuse_type(in);
	if ((negative && v > 0) || !in_range(in->row, (double)v))
		return refuse_range(in);
	if ((in->row->flags & ROW_POW2) && (v & (v - 1)) != 0)
		return refuse_text(in, "is not a power of two");
	uint32_t v32 = (uint32_t)v;
	memcpy(in->field, &v32, sizeof(v32));
	return 0;
}

static int bool_parse(const struct input *in)
{
	bool v = strcmp(in->s, "true") == 0;
	if (!v && strcmp(in->s, "false") != 0)
		return refuse_type(in);
	memcpy(in->field, &v, sizeof(v));
	return 0;
}

static int enum_parse(const struct input *in)
{
	for (uint32_t i = 0; in->row->names[i]; i++) {
		if (strcmp(in->s, in->row->names[i]) == 0) {
			memcpy(in->field, &i, sizeof(i));
			return 0;
		}
	}
	return refuse_type(in);
}

struct unit {
	const char *suffix;
	uint64_t factor;
};

static const struct unit size_units[] = {{"KiB", 1u << 10}, {"MiB", 1u << 20}, {"GiB", 1u << 30}};
static const struct unit time_units[] = {{"us", 1}, {"ms", 1000}, {"s", 1000000}};
#define UNITS_COUNT 3

// A number with one of three units; the product is in *v.
static int unit_parse(const struct input *in, const struct unit *units, uint64_t *v)
{
	uint64_t number;
	size_t n = digits_parse(in->s, &number);
	if (n > 0 && n == in->len)
		return refuse_text(in,
			units == size_units ? "has no unit: write KiB, MiB or GiB after the number"
					    : "has no unit: write us, ms or s after the number");
	for (uint32_t i = 0; n > 0 && i < UNITS_COUNT; i++) {
		if (strcmp(in->s + n, units[i].suffix) != 0)
			continue;
		*v = number > UINT64_MAX / units[i].factor ? UINT64_MAX : number * units[i].factor;
		return in_range(in->row, (double)*v) ? 0 : refuse_range(in);
	}
	return refuse_type(in);
}

static int size_parse(const struct input *in)
{
	uint64_t v;
	int rc = unit_parse(in, size_units, &v);
	if (rc == 0)
		memcpy(in->field, &v, sizeof(v));
	return rc;
}

static int time_parse(const struct input *in)
{
	uint64_t v;
	int rc = unit_parse(in, time_units, &v);
	if (rc == 0) {
		uint32_t us = (uint32_t)v;
		memcpy(in->field, &us, sizeof(us));
	}
	return rc;
}

static int float_parse(const struct input *in)
{
	char *end;
	if (in->len == 0 || in->len > 32 || strspn(in->s, "0123456789.eE+-") != in->len)
		return refuse_type(in);
	double wide = strtod(in->s, &end);
	if (*end != '\0')
		return refuse_type(in);
	if (!in_range(in->row, wide))
		return refuse_range(in);
	float v = (float)wide;
	v = v == 0.0f ? 0.0f : v; // no minus zero
	memcpy(in->field, &v, sizeof(v));
	return 0;
}

// Bits of the address behind the prefix: all zero, all one, or neither.
static void host_bits(const uint8_t *addr, uint32_t bits, uint32_t prefix, bool *zero, bool *one)
{
	*zero = *one = true;
	for (uint32_t i = prefix; i < bits; i++) {
		bool bit = addr[i / 8] >> (7 - i % 8) & 1;
		*zero = *zero && !bit;
		*one = *one && bit;
	}
}

// `ADDRESS/PREFIX`.
static int ip_parse(const struct input *in, int family)
{
	struct gp_config_ip ip = {.present = true};
	uint32_t bits = family == AF_INET ? 32 : 128;
	uint64_t prefix;
	char host[INET6_ADDRSTRLEN] = "";
	size_t len = strcspn(in->s, "/");
	if (len >= sizeof(host) || in->s[len] != '/')
		return refuse_type(in);
	memcpy(host, in->s, len);
	if (inet_pton(family, host, ip.addr) != 1)
		return refuse_type(in);
	size_t n = digits_parse(in->s + len + 1, &prefix);
	if (n == 0 || n > 3 || len + 1 + n != in->len || prefix == 0 || prefix > bits)
		return refuse_type(in);
	ip.prefix = (uint8_t)prefix;
	bool zero, one;
	host_bits(ip.addr, bits, 0, &zero, &one);
	if (zero || (family == AF_INET ? ip.addr[0] >= 224 : ip.addr[0] == 0xff))
		return refuse_text(in, "is not the address of one host");
	host_bits(ip.addr, bits, ip.prefix, &zero, &one);
	if (family == AF_INET && ip.prefix < 31 && (zero || one))
		return refuse_text(in, "is the address of the whole network, not of one host");
	memcpy(in->field, &ip, sizeof(ip));
	return 0;
}

static int ip4_parse(const struct input *in)
{
	return ip_parse(in, AF_INET);
}

static int ip6_parse(const struct input *in)
{
	return ip_parse(in, AF_INET6);
}

// The host part of `A.B.C.D:PORT` or `[V6]:PORT`; returns what follows the colon, or NULL.
static const char *endpoint_host(const char *s, char *host, size_t size)
{
	bool v6 = s[0] == '[';
	const char *end = strchr(s, v6 ? ']' : ':');
	if (!end || (v6 && end[1] != ':'))
		return NULL;
	size_t len = (size_t)(end - s) - v6;
	uint8_t addr[16];
	if (len >= size)
		return NULL;
	memcpy(host, s + v6, len);
	return inet_pton(v6 ? AF_INET6 : AF_INET, host, addr) == 1 ? end + 1 + v6 : NULL;
}

static int endpoint_parse(const struct input *in)
{
	struct gp_config_endpoint e = {0};
	uint64_t port = 0;
	if ((in->row->flags & ROW_OFF) && strcmp(in->s, "off") == 0) {
		memcpy(in->field, &e, sizeof(e));
		return 0;
	}
	const char *text = endpoint_host(in->s, e.host, sizeof(e.host));
	if (!text)
		return refuse_type(in);
	size_t n = digits_parse(text, &port);
	if (n == 0 || text + n != in->s + in->len || text[0] == '0' || port > 65535)
		return refuse_type(in);
	e.port = (uint16_t)port;
	memcpy(in->field, &e, sizeof(e));
	return 0;
}

static int mac_parse(const struct input *in)
{
	struct gp_config_port *port = in->field;
	uint8_t mac[6];
	static const char hex[] = "0123456789abcdefABCDEF";
	if (in->len != 17)
		return refuse_type(in);
	for (uint32_t i = 0; i < 6; i++) {
		const char *s = in->s + i * 3;
		if (strspn(s, hex) < 2 || (i < 5 && s[2] != ':'))
			return refuse_type(in);
		mac[i] = (uint8_t)strtoul(s, NULL, 16);
	}
	if ((mac[0] & 1) || memcmp(mac, "\0\0\0\0\0", 6) == 0)
		return refuse_text(in, "is not the address of one host");
	memcpy(port->mac, mac, sizeof(mac));
	port->mac_present = true;
	return 0;
}

static int restore_parse(const struct input *in)
{
	struct gp_config_snapshot *snapshot = in->field;
	memset(snapshot->restore_path, 0, sizeof(snapshot->restore_path));
	if (strcmp(in->s, "latest") == 0) {
		snapshot->restore = GP_RESTORE_LATEST;
		return 0;
	}
	if (strcmp(in->s, "none") == 0) {
		snapshot->restore = GP_RESTORE_NONE;
		return 0;
	}
	if (in->s[0] != '/')
		return refuse_type(in);
	struct row path = {.path = in->row->path, .size = sizeof(snapshot->restore_path)};
	struct input text = *in;
	text.row = &path;
	text.field = snapshot->restore_path;
	snapshot->restore = GP_RESTORE_PATH;
	return path_parse(&text);
}

struct value_reader {
	int (*parse)(const struct input *in);
	bool plain_only; // quoted text is a string, so not this type
};

static const struct value_reader readers[VALUE_TYPES] = {
	[VALUE_NAME] = {name_parse, false},
	[VALUE_TEXT] = {text_parse, false},
	[VALUE_PATH] = {path_parse, false},
	[VALUE_UINT] = {uint_parse, true},
	[VALUE_BOOL] = {bool_parse, true},
	[VALUE_ENUM] = {enum_parse, false},
	[VALUE_SIZE] = {size_parse, false},
	[VALUE_TIME] = {time_parse, false},
	[VALUE_FLOAT] = {float_parse, true},
	[VALUE_IP4] = {ip4_parse, false},
	[VALUE_IP6] = {ip6_parse, false},
	[VALUE_ENDPOINT] = {endpoint_parse, false},
	[VALUE_MAC] = {mac_parse, false},
	[VALUE_RESTORE] = {restore_parse, false},
};

int gp_config_value_parse(const struct row *r, const char *s, size_t len, bool plain, void *field,
	char why[GP_CONFIG_WHY_SIZE])
{
	GP_ASSERT(r->type < VALUE_TYPES && readers[r->type].parse);
	GP_ASSERT(s[len] == '\0');
	struct input in = {.row = r, .s = s, .len = len, .field = field, .why = why};
	if (strlen(s) != len)
		return refuse_text(&in, "holds a zero byte");
	if (plain && (len == 0 || strcmp(s, "~") == 0 || strcmp(s, "null") == 0)) {
		char allowed[GP_CONFIG_WHY_SIZE];
		gp_config_allowed_text(r, allowed);
		snprintf(why, GP_CONFIG_WHY_SIZE, "has no value (allowed: %.240s)", allowed);
		return -EINVAL;
	}
	const char *word = gp_config_unset_word(r);
	if (word && strcmp(s, word) == 0) {
		const uint32_t unset = GP_CONFIG_UNSET;
		memcpy(field, &unset, sizeof(unset));
		return 0;
	}
	if (!plain && readers[r->type].plain_only) {
		char seen[64];
		gp_config_quote(s, len, seen, sizeof(seen));
		snprintf(why, GP_CONFIG_WHY_SIZE, "\"%s\" is a string, not %s", seen,
			gp_config_type_name(r->type));
		return -EINVAL;
	}
	return readers[r->type].parse(&in);
}
