// SPDX-License-Identifier: BSD-3-Clause
//
// The text of a transport: keys of ours are taken out, all others are the driver's.
#include "client_dpdk_priv.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define MTU_MIN		 1280
#define MTU_MAX		 9216
#define FRAMES_MIN	 256
#define FRAMES_MAX	 65536
#define MEMORY_MIN	 32
#define MEMORY_MAX	 65536
#define FRAMES		 4096 // af_xdp keeps 2048 of them
#define MEMORY		 64
#define MEMORY_LONG	 96 // MTU above 1500
#define MTU		 1500
#define MEMIF_RING	 9 // log2 of descriptors: frames of small rings stay in the cache
#define MEMIF_RING_JUMBO 8 // MTU above 1500
#define MEMIF_IDS	 (253 * 254)
#define FRAME_EXTRA	 64 // Ethernet, VLAN, and some

static int complain(char *text, const char *fmt, ...) GP_PRINTF(2, 3);

static int complain(char *text, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	(void)vsnprintf(text, GP_CARRIER_TEXT_SIZE, fmt, args);
	va_end(args);
	return -EINVAL;
}

static bool append(struct cd_args *a, const char *fmt, ...) GP_PRINTF(2, 3);

static bool append(struct cd_args *a, const char *fmt, ...)
{
	size_t len = strlen(a->devargs);
	va_list args;
	va_start(args, fmt);
	int n = vsnprintf(a->devargs + len, sizeof(a->devargs) - len, fmt, args);
	va_end(args);
	return n >= 0 && (size_t)n < sizeof(a->devargs) - len;
}

// An IP address, without a port.
static bool ip_parse(const char *value, struct gp_addr *out)
{
	char whole[GP_ADDR_TEXT_SIZE];
	bool v6 = strchr(value, ':') != NULL;
	int n = snprintf(whole, sizeof(whole), v6 ? "[%s]:1" : "%s:1", value);
	bool ok = n > 0 && n < (int)sizeof(whole) && gp_addr_parse(whole, out) == 0;
	out->port = 0;
	return ok;
}

static bool mac_parse(const char *text, uint8_t mac[6])
{
	for (uint32_t i = 0; i < 6; i++) {
		char *end;
		unsigned long v = strtoul(text, &end, 16);
		bool digits = isxdigit((unsigned char)text[0]) && end - text <= 2;
		if (!digits || *end != (i < 5 ? ':' : '\0'))
			return false;
		mac[i] = (uint8_t)v;
		text = end + 1;
	}
	return true;
}

static bool number_parse(const char *value, uint32_t min, uint32_t max, uint32_t *out)
{
	uint64_t n = 0;
	bool ok = gp_carrier_number(value, max, &n) && n >= min;
	*out = (uint32_t)n;
	return ok;
}

static bool huge_parse(const char *value, enum cd_huge *out)
{
	static const char *const names[] = {"auto", "on", "off"};
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(names); i++) {
		if (strcmp(value, names[i]) != 0)
			continue;
		*out = (enum cd_huge)i;
		return true;
	}
	return false;
}

static bool yes_parse(const char *value, bool *out)
{
	*out = strcmp(value, "yes") == 0;
	return *out || strcmp(value, "no") == 0;
}

static bool checksum_parse(const char *value, bool *none)
{
	*none = strcmp(value, "none") == 0;
	return *none || strcmp(value, "udp") == 0;
}

// Keys of ours. False when `key` is none; *ok says whether the value is right.
static bool own_key(struct cd_args *a, const char *key, const char *value, bool *ok)
{
	if (strcmp(key, "ip") == 0)
		*ok = ip_parse(value, &a->ip);
	else if (strcmp(key, "gateway") == 0)
		*ok = a->has_gateway = ip_parse(value, &a->gateway);
	else if (strcmp(key, "server_mac") == 0)
		*ok = a->has_server_mac = mac_parse(value, a->server_mac);
	else if (strcmp(key, "mtu") == 0)
		*ok = number_parse(value, MTU_MIN, MTU_MAX, &a->mtu);
	else if (strcmp(key, "port") == 0)
		*ok = number_parse(value, 1024, UINT16_MAX - GP_DPDK_CORES_MAX, &a->port);
	else if (strcmp(key, "frames") == 0)
		*ok = number_parse(value, FRAMES_MIN, FRAMES_MAX, &a->frames);
	else if (strcmp(key, "memory") == 0)
		*ok = number_parse(value, MEMORY_MIN, MEMORY_MAX, &a->memory_mib);
	else if (strcmp(key, "vlan") == 0)
		*ok = number_parse(value, 1, 4094, &a->vlan);
	else if (strcmp(key, "huge") == 0)
		*ok = huge_parse(value, &a->huge);
	else if (strcmp(key, "zero-copy") == 0 && a->sharer[0])
		*ok = yes_parse(value, &a->zero_copy);
	else if (strcmp(key, "checksum") == 0)
		*ok = checksum_parse(value, &a->no_checksum);
	else
		return false;
	return true;
}

// What a driver's argument tells us, beside passing it on.
static void driver_key(const char *key, const char *value, uint32_t *id)
{
	uint64_t n = 0;
	if (strcmp(key, "id") == 0 && gp_carrier_number(value, MEMIF_IDS - 1, &n))
		*id = (uint32_t)n;
}

static int keys_parse(struct cd_args *a, const char *at, uint32_t *id, char *text)
{
	char buf[256], *key, *value;
	while (gp_carrier_arg(&at, buf, sizeof(buf), &key, &value)) {
		bool ok = true;
		if (value && own_key(a, key, value, &ok)) {
			if (!ok)
				return complain(
					text, "transport: %.40s=%.100s is not right", key, value);
			continue;
		}
		driver_key(key, value, id);
		if (key[0] == '\0' || !append(a, value ? ",%s=%s" : ",%s", key, value))
			return complain(text, "transport: '%.100s' is too long or empty", key);
	}
	return 0;
}

// Peers of a memif link see nobody else: an address that only has to differ from other links'.
static void memif_addresses(struct cd_args *a, uint32_t id)
{
	static const struct gp_addr none;
	struct gp_addr v4 = {.ip = {[10] = 0xff, 0xff, 169, 254}};
	v4.ip[14] = (uint8_t)(1 + id / 253);
	v4.ip[15] = (uint8_t)(1 + id % 253);
	a->ip6 = (struct gp_addr){.ip = {0xfe, 0x80}};
	a->ip6.ip[14] = v4.ip[14];
	a->ip6.ip[15] = v4.ip[15];
	if (memcmp(a->ip.ip, none.ip, 16) == 0)
		a->ip = v4;
}

// memif:SOCKET[,id=N]...
static int memif_parse(struct cd_args *a, const char *args, uint32_t number, char *text)
{
	size_t len = strcspn(args, ",");
	uint32_t id = 0;
	if (args[0] != '/' || len >= sizeof(a->sharer))
		return complain(text,
			"transport memif: '%.100s' does not begin with the path of the server's "
			"socket (its port.device)",
			args);
	(void)snprintf(a->sharer, sizeof(a->sharer), "%.*s", (int)len, args);
	(void)snprintf(a->name, sizeof(a->name), "net_memif%u", number);
	a->zero_copy = true;
	if (!append(a, "%s,role=client,socket-abstract=no,socket=%s", a->name, a->sharer))
		return complain(text, "transport memif: the path is too long");
	int rc = keys_parse(a, args + len + (args[len] == ','), &id, text);
	if (rc)
		return rc;
	memif_addresses(a, id);
	uint32_t size = (uint32_t)gp_align_up(a->mtu + FRAME_EXTRA, GP_CACHE_LINE);
	uint32_t ring = a->mtu > MTU ? MEMIF_RING_JUMBO : MEMIF_RING;
	bool ok = strstr(args, "bsize=") || append(a, ",bsize=%u", size);
	ok = ok && (strstr(args, "rsize=") || append(a, ",rsize=%u", ring));
	return ok ? 0 : complain(text, "transport memif: the text is too long");
}

static int device_parse(struct cd_args *a, const char *args, char *text)
{
	static const struct gp_addr none;
	size_t len = strcspn(args, ",");
	uint32_t id = 0;
	if (len == 0 || len >= sizeof(a->name))
		return complain(text,
			"transport dpdk: '%.100s' does not begin with a device such as "
			"net_af_xdp0 or 0000:3b:00.0",
			args);
	(void)snprintf(a->name, sizeof(a->name), "%.*s", (int)len, args);
	a->is_virtual = strncmp(a->name, "net_", 4) == 0;
	if (!append(a, "%s", a->name))
		return complain(text, "transport dpdk: the text is too long");
	int rc = keys_parse(a, args + len + (args[len] == ','), &id, text);
	if (rc == 0 && a->no_checksum)
		return complain(text,
			"transport dpdk: checksum=none is for memif: over a wire nothing else "
			"would notice damaged bytes");
	if (rc == 0 && memcmp(a->ip.ip, none.ip, 16) == 0)
		return complain(text,
			"transport dpdk: ip=ADDRESS is missing: DPDK has the device, so the "
			"worker needs an address of its own on that network");
	return rc;
}

int cd_args_parse(struct cd_args *a, const struct gp_carrier_opts *o, uint32_t number,
	char text[GP_CARRIER_TEXT_SIZE])
{
	*a = (struct cd_args){
		.is_virtual = true, .mtu = o->path_mtu ? o->path_mtu : MTU, .frames = FRAMES};
	bool memif = strcmp(o->name, "memif") == 0;
	int rc = memif ? memif_parse(a, o->args, number, text) : device_parse(a, o->args, text);
	if (a->memory_mib == 0)
		a->memory_mib = a->mtu > MTU ? MEMORY_LONG : MEMORY;
	return rc;
}
