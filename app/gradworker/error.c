// SPDX-License-Identifier: BSD-3-Clause
#include "error.h"

#include <stdarg.h>
#include <stdio.h>

int gw_error_set(struct gw_error *err, int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(err->text, sizeof(err->text), format, args);
	va_end(args);
	return code;
}
