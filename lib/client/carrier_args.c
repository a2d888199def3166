// SPDX-License-Identifier: BSD-3-Clause
//
// The arguments of carriers; apart from the rest because libgradplane_dpdk has a copy.
#include "gp_carrier.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

bool gp_carrier_arg(const char **at, char *buf, uint32_t size, char **key, char **value)
{
	if (**at == '\0')
		return false;
	size_t len = strcspn(*at, ",");
	(void)snprintf(buf, size, "%.*s", len < size ? (int)len : 0, *at);
	*at += len + ((*at)[len] == ',');
	*key = buf;
	*value = strchr(buf, '=');
	if (*value)
		*(*value)++ = '\0';
	return true;
}

bool gp_carrier_number(const char *text, uint64_t max, uint64_t *out)
{
	char *end;
	if (!text || text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	*out = strtoull(text, &end, 10);
	return !errno && *end == '\0' && *out <= max;
}
