// SPDX-License-Identifier: BSD-3-Clause
//
// What a carrier says when it cannot reach a server. Its datagrams are those of smoke memif and
// worker_dpdk: net_memif does not bear both ends in one process.
#include <criterion/criterion.h>

#include "client_dpdk_priv.h"

#include <errno.h>

static char text[GP_CARRIER_TEXT_SIZE];

static const struct gp_carrier_ops *ops_find(void)
{
	uint32_t abi = 0;
	const struct gp_carrier_ops *ops = gp_carrier_list("memif", &abi);
	cr_assert_eq(abi, GP_CARRIER_ABI);
	cr_assert_not_null(ops);
	cr_assert_null(gp_carrier_list("pigeon", &abi));
	return ops;
}

static struct gp_carrier *carrier_open(const char *name, const char *args)
{
	struct gp_carrier *c;
	const struct gp_carrier_opts o = {.name = name, .args = args, .lanes_max = 1};
	cr_assert_eq(ops_find()->open(&c, &o, text), 0, "%s", text);
	return c;
}

static const struct gp_addr server = {.ip = {[10] = 0xff, 0xff, 10, 0, 0, 1}, .port = 9700};

Test(carrier, trouble_has_a_name)
{
	struct gp_carrier *c = carrier_open("memif", "/nowhere/x.sock,huge=off");
	cr_assert_null(c->ops->lane_open(c, 0, &server, text));
	cr_assert_eq(errno, ECONNREFUSED);
	cr_assert(strstr(text, "/nowhere/x.sock is not connected"), "%s", text);
	c->ops->close(c);

	static const struct gp_addr server6 = {.ip = {0xfd, [15] = 1}, .port = 9700};
	c = carrier_open("memif", "/nowhere/x.sock,huge=off,checksum=none");
	cr_assert_null(c->ops->lane_open(c, 0, &server6, text));
	cr_assert_eq(errno, EAFNOSUPPORT);
	cr_assert(strstr(text, "checksum=none is for IPv4"), "%s", text);
	c->ops->close(c);

	c = carrier_open("dpdk", "net_none0,ip=10.0.0.2");
	cr_assert_null(c->ops->lane_open(c, 0, &server, text));
	cr_assert(strstr(text, "net_none0"), "%s", text);
	c->ops->close(c);

	const struct gp_carrier_opts bad = {.name = "dpdk", .args = "net_none0", .lanes_max = 1};
	cr_assert_eq(ops_find()->open(&c, &bad, text), -EINVAL);

	// A device that nobody answers on, twice.
	c = carrier_open("dpdk", "net_null0,ip=10.0.0.2");
	for (int session = 0; session < 2; session++) {
		cr_assert_not_null(c->ops->lane_open(c, 0, &server, text), "%s", text);
		cr_assert(c->ops->trouble(c, text));
		cr_assert(strstr(text, "10.0.0.1"), "%s", text);
		c->ops->lanes_close(c);
	}
	c->ops->close(c);

	c = carrier_open("dpdk", "net_null0,ip=fd00::2");
	cr_assert_null(c->ops->lane_open(c, 0, &server, text));
	cr_assert(strstr(text, "IPv4"), "%s", text);
	c->ops->close(c);
}
