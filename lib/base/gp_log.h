// SPDX-License-Identifier: BSD-3-Clause
//
// Log lines of the cold path: `2026-01-31T12:00:00.123Z gradplaned[12] warn text` on standard
// error. Never called per packet. Safe from any thread; one write(2) a line.
#ifndef GP_LOG_H
#define GP_LOG_H

#include <gp_base.h>

enum gp_log_level { GP_LOG_ERROR, GP_LOG_WARN, GP_LOG_INFO, GP_LOG_DEBUG };

// Once, at start, before other threads exist. `program` must outlive the process.
void gp_log_init(const char *program, enum gp_log_level level);
void gp_log(enum gp_log_level level, const char *fmt, ...) GP_PRINTF(2, 3);
// -1 when the name is none of error, warn, info, debug.
int gp_log_level_parse(const char *name) GP_MUST_CHECK;

#define gp_error(...) gp_log(GP_LOG_ERROR, __VA_ARGS__)
#define gp_warn(...)  gp_log(GP_LOG_WARN, __VA_ARGS__)
#define gp_info(...)  gp_log(GP_LOG_INFO, __VA_ARGS__)
#define gp_debug(...) gp_log(GP_LOG_DEBUG, __VA_ARGS__)

#endif
