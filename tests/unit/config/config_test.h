// SPDX-License-Identifier: BSD-3-Clause
//
// A right configuration to vary, and its loading, shared by the tests of lib/config.
#ifndef GP_CONFIG_TEST_H
#define GP_CONFIG_TEST_H

#include <gp_config.h>

// Line 1 begins `node:`; every part closes with a newline, so that a test can put its own between.
#define NODE_OK	   "node: {name: a, insecure: true}\n"
#define PORT_OK	   "port: {driver: tap, device: gp0}\n"
#define ADDRESS_OK "address: {ipv4: 10.0.0.1/24}\n"
#define JOBS_OK	   "jobs:\n  - {name: j, id: 1, kind: reduce, workers: 2}\n"
#define ALL_OK	   NODE_OK PORT_OK ADDRESS_OK JOBS_OK

static inline int text_parse(const char *text, struct gp_config *c, char err[GP_CONFIG_ERROR_SIZE])
{
	return gp_config_parse("t.yaml", text, strlen(text), c, err, GP_CONFIG_ERROR_SIZE);
}

#endif
