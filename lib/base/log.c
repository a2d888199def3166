// SPDX-License-Identifier: BSD-3-Clause
#include <gp_log.h>

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define LINE_SIZE_MAX 1024

static const char *const level_names[] = {"error", "warn", "info", "debug"};
static const char *program_name = "gradplane";
static enum gp_log_level level_max = GP_LOG_INFO;

void gp_log_init(const char *program, enum gp_log_level level)
{
	program_name = program;
	level_max = level;
}

int gp_log_level_parse(const char *name)
{
	for (size_t i = 0; i < GP_ARRAY_SIZE(level_names); i++)
		if (strcmp(name, level_names[i]) == 0)
			return (int)i;
	return -1;
}

void gp_log(enum gp_log_level level, const char *fmt, ...)
{
	if (level > level_max)
		return;

	struct timespec ts;
	struct tm tm;
	char line[LINE_SIZE_MAX];
	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	size_t len = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &tm);
	len += (size_t)snprintf(line + len, sizeof(line) - len, ".%03ldZ %s[%d] %s ",
		ts.tv_nsec / 1000000, program_name, (int)getpid(), level_names[level]);

	va_list args;
	va_start(args, fmt);
	int n = vsnprintf(line + len, sizeof(line) - len - 1, fmt, args);
	va_end(args);
	if (n > 0)
		len = GP_MIN(len + (size_t)n, sizeof(line) - 2);
	line[len++] = '\n';
	// A log line that cannot be written has nowhere to be reported.
	(void)!write(STDERR_FILENO, line, len);
}
