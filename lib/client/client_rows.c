// SPDX-License-Identifier: BSD-3-Clause
//
// The calls of a client of an embed job.
#include "client_priv.h"

int gp_client_push_rows(struct gp_client *c, const struct gp_client_rows *rows, uint32_t count,
	struct gp_client_error *err)
{
	struct client_background *held CLIENT_LEAVES = client_enter(c);
	int rc = client_ended(c, err);
	return rc ? rc : client_result(c, gp_ccore_push_rows(c->core, rows, count), err);
}

int gp_client_pull_rows(struct gp_client *c, const struct gp_client_rows *rows, uint32_t count,
	uint32_t *generation, uint32_t timeout_ms, struct gp_client_error *err)
{
	struct client_background *held CLIENT_LEAVES = client_enter(c);
	int rc = client_ended(c, err);
	if (rc)
		return rc;
	rc = gp_ccore_pull_rows(c->core, rows, count);
	if (rc)
		return client_result(c, rc, err);
	rc = client_await(c, gp_ccore_done, timeout_ms, err);
	uint32_t got = c->core ? gp_ccore_pull_end(c->core) : 0;
	if (!rc && generation)
		*generation = got;
	return rc;
}
