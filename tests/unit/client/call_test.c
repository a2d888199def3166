// SPDX-License-Identifier: BSD-3-Clause
//
// What the public calls refuse without a server, and what they say when nobody answers.
#include <criterion/criterion.h>
#include <errno.h>
#include <gp_client.h>
#include <string.h>

static void refused(const struct gp_client_opts *o, int code, const char *part)
{
	struct gp_client *c = NULL;
	struct gp_client_error err;
	cr_assert_eq(gp_client_create(&c, o, &err), code, "%s", err.text);
	cr_assert_null(c);
	cr_assert_eq(err.code, code);
	cr_assert_not_null(strstr(err.text, part), "'%s' is not in '%s'", part, err.text);
}

Test(call, options_out_of_range_are_named)
{
	struct gp_client_opts o = {.server = "127.0.0.1:9", .job = "j", .world = 2, .rank = 2};
	refused(&o, -EINVAL, "rank: 2 is out of range 0..1");
	o.rank = 0;
	o.world = 0;
	refused(&o, -EINVAL, "world: 0");
	o.world = 1;
	o.job = "";
	refused(&o, -EINVAL, "job:");
	o.job = "j";
	o.server = "localhost:9";
	refused(&o, -EINVAL, "'localhost:9' is not an address");
	o.server = "127.0.0.1:9";
	o.path_mtu = 576;
	refused(&o, -EINVAL, "path_mtu: 576");
	o.path_mtu = 0;
	o.flags = GP_CLIENT_READER | GP_CLIENT_BORROW;
	refused(&o, -EINVAL, "a reader contributes nothing");
	o.flags = 0;
	o.compress.codec = GP_CLIENT_TOPK;
	refused(&o, -EINVAL, "topk_ratio");
	o.compress.codec = GP_CLIENT_TOPK_F16;
	refused(&o, -EINVAL, "topk_ratio");
	o.compress.codec = (enum gp_client_codec)(GP_CLIENT_TOPK_F16 + 1);
	refused(&o, -EINVAL, "codec: 9 is unknown");
}

Test(call, nobody_at_the_port_is_said)
{
	const struct gp_client_opts o = {
		.server = "127.0.0.1:9", .job = "j", .world = 1, .join_timeout_ms = 200};
	refused(&o, -ETIMEDOUT, "nobody listens");
}

Test(call, version_is_the_projects)
{
	cr_assert_not_null(strchr(gp_client_version(), '.'));
	gp_client_destroy(NULL);
}
