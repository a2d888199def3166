// SPDX-License-Identifier: BSD-3-Clause
#include "gradctl.h"

#include <math.h>

void text_clean(char *text)
{
	for (unsigned char *p = (unsigned char *)text; *p; p++) {
		if (*p < 0x20 || *p == 0x7f)
			*p = '?';
		else if (p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0)
			p[0] = p[1] = '?';
	}
}

static void count_format(double value, char out[FIELD_SIZE])
{
	char digits[64];
	size_t len = (size_t)snprintf(digits, sizeof(digits), "%.0f", value);
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		if (i > 0 && (len - i) % 3 == 0)
			out[n++] = ',';
		out[n++] = digits[i];
	}
	out[n] = '\0';
}

static void bytes_format(double value, char out[FIELD_SIZE])
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
	size_t i = 0;

	while (value >= 1024 && i + 1 < GP_ARRAY_SIZE(units)) {
		value /= 1024;
		i++;
	}
	snprintf(out, FIELD_SIZE, i == 0 ? "%.0f %s" : "%.1f %s", value, units[i]);
}

static void time_format(double us, char out[FIELD_SIZE])
{
	if (us < 1000)
		snprintf(out, FIELD_SIZE, "%.0f us", us);
	else if (us < 1e6)
		snprintf(out, FIELD_SIZE, "%.1f ms", us / 1e3);
	else
		snprintf(out, FIELD_SIZE, "%.1f s", us / 1e6);
}

static void uptime_format(double seconds, char out[FIELD_SIZE])
{
	unsigned long long s = (unsigned long long)seconds;
	unsigned long long days = s / 86400;
	size_t len = 0;

	if (days)
		len = (size_t)snprintf(out, FIELD_SIZE, "%llu d ", days);
	snprintf(out + len, FIELD_SIZE - len, "%02llu:%02llu:%02llu", s / 3600 % 24, s / 60 % 60,
		s % 60);
}

static void number_format(double value, enum form form, char out[FIELD_SIZE])
{
	// Beyond this no figure is one that a server means; it also bounds the digits.
	if (!(value >= 0 && value < 1e18))
		snprintf(out, FIELD_SIZE, "-");
	else if (form == FORM_COUNT)
		count_format(value, out);
	else if (form == FORM_BYTES)
		bytes_format(value, out);
	else if (form == FORM_PERCENT)
		snprintf(out, FIELD_SIZE, "%.1f %%", value);
	else if (form == FORM_UPTIME)
		uptime_format(value, out);
	else
		time_format(form == FORM_MS ? value * 1000 : value, out);
}

static void plain_format(const json_t *value, char out[FIELD_SIZE])
{
	if (json_is_string(value) && json_string_length(value) > 0)
		snprintf(out, FIELD_SIZE, "%s", json_string_value(value));
	else if (json_is_integer(value))
		snprintf(out, FIELD_SIZE, "%lld", (long long)json_integer_value(value));
	else if (json_is_real(value))
		snprintf(out, FIELD_SIZE, "%g", json_real_value(value));
	else if (json_is_boolean(value))
		snprintf(out, FIELD_SIZE, "%s", json_is_true(value) ? "yes" : "no");
	else
		snprintf(out, FIELD_SIZE, "-");
	text_clean(out);
}

static void dims_format(const json_t *value, char out[FIELD_SIZE])
{
	size_t len = 0;

	snprintf(out, FIELD_SIZE, "-");
	for (size_t i = 0; i < json_array_size(value) && len < FIELD_SIZE - 1; i++) {
		long long dim = (long long)json_integer_value(json_array_get(value, i));
		int n = snprintf(out + len, FIELD_SIZE - len, "%s%lld", i ? "x" : "", dim);

		len += (size_t)GP_MAX(n, 0);
	}
}

const char *field_format(
	const json_t *object, const char *key, enum form form, char out[FIELD_SIZE])
{
	const json_t *value = json_object_get(object, key);

	if (form == FORM_DIMS && json_is_array(value))
		dims_format(value, out);
	else if (form == FORM_PLAIN)
		plain_format(value, out);
	else if (json_is_number(value))
		number_format(json_number_value(value), form, out);
	else
		snprintf(out, FIELD_SIZE, "-");
	return out;
}
