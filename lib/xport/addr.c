// SPDX-License-Identifier: BSD-3-Clause
#include <gp_xport.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

void gp_addr_format(const struct gp_addr *a, char text[GP_ADDR_TEXT_SIZE])
{
	char ip[INET6_ADDRSTRLEN] = "?";
	bool v4 = gp_addr_is_v4(a);
	inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? a->ip + 12 : a->ip, ip, sizeof(ip));
	snprintf(text, GP_ADDR_TEXT_SIZE, v4 ? "%s:%u" : "[%s]:%u", ip, a->port);
}

// 1 to 5 digits, at most 65535, nothing after them.
static int port_parse(const char *text, uint16_t *port)
{
	uint32_t value = 0;
	size_t len = strlen(text);
	if (len == 0 || len > 5)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -EINVAL;
		value = value * 10 + (uint32_t)(text[i] - '0');
	}
	if (value > UINT16_MAX)
		return -EINVAL;
	*port = (uint16_t)value;
	return 0;
}

static int ip_parse(const char *text, bool v4, uint8_t ip[16])
{
	if (!v4)
		return inet_pton(AF_INET6, text, ip) == 1 ? 0 : -EINVAL;
	memset(ip, 0, 10);
	memset(ip + 10, 0xff, 2);
	return inet_pton(AF_INET, text, ip + 12) == 1 ? 0 : -EINVAL;
}

int gp_addr_parse(const char *text, struct gp_addr *a)
{
	struct gp_addr parsed = {0};
	bool v4 = text[0] != '[';
	const char *start = v4 ? text : text + 1;
	const char *end = v4 ? strrchr(text, ':') : strstr(text, "]:");
	if (!end)
		return -EINVAL;

	char ip[INET6_ADDRSTRLEN];
	size_t ip_len = (size_t)(end - start);
	if (ip_len >= sizeof(ip))
		return -EINVAL;
	memcpy(ip, start, ip_len);
	ip[ip_len] = '\0';
	if (ip_parse(ip, v4, parsed.ip) || port_parse(end + (v4 ? 1 : 2), &parsed.port))
		return -EINVAL;
	*a = parsed;
	return 0;
}
