// SPDX-License-Identifier: BSD-3-Clause
//
// Public calls for contributions that the caller encodes.
#include "client_priv.h"

int gp_client_blocks(const struct gp_client *c, uint32_t tensor, struct gp_client_blocks *blocks)
{
	struct client_background *held CLIENT_LEAVES = client_enter(c);
	return c->core ? gp_ccore_blocks(c->core, tensor, blocks) : -EINVAL;
}

int gp_client_push_encoded(struct gp_client *c, uint32_t tensor,
	const struct gp_client_encoded *encoded, float weight, float *out,
	struct gp_client_error *err)
{
	struct client_background *held CLIENT_LEAVES = client_enter(c);
	int rc = client_ended(c, err);
	if (rc)
		return rc;
	rc = gp_ccore_push_encoded(c->core, tensor, encoded, weight, out);
	if (rc)
		return client_result(c, rc, err);
	(void)client_turn(c);
	return client_ended(c, err);
}

// What was taken goes out even where a later block is refused.
int gp_client_encoded_ready(
	struct gp_client *c, uint32_t tensor, uint32_t blocks, struct gp_client_error *err)
{
	struct client_background *held CLIENT_LEAVES = client_enter(c);
	int rc = client_ended(c, err);
	if (rc)
		return rc;
	int taken = client_result(c, gp_ccore_encoded_ready(c->core, tensor, blocks), err);
	(void)client_turn(c);
	rc = client_ended(c, err);
	return rc ? rc : taken;
}
