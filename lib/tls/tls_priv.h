// SPDX-License-Identifier: BSD-3-Clause
//
// Inside lib/tls: errors with text.
#ifndef TLS_PRIV_H
#define TLS_PRIV_H

#include <gp_tls.h>

int tls_fail(struct gp_tls_error *err, int code, const char *fmt, ...) GP_PRINTF(3, 4);
// The last error of OpenSSL in words; empties its queue.
const char *tls_last_error(void);

#endif
