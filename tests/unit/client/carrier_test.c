// SPDX-License-Identifier: BSD-3-Clause
//
// Texts that name a transport.
#include <criterion/criterion.h>

#include "gp_carrier.h"

#include <errno.h>
#include <gp_client.h>

static char name[16], text[GP_CARRIER_TEXT_SIZE];

Test(carrier, arguments_are_cut_at_commas)
{
	char buf[16], *key, *value;
	const char *at = "a=1,,bc,d=,key_that_is_too_long=1,e=f=g";
	static const struct {
		const char *key, *value;
	} want[] = {{"a", "1"}, {"", NULL}, {"bc", NULL}, {"d", ""}, {"", NULL}, {"e", "f=g"}};
	for (size_t i = 0; i < GP_ARRAY_SIZE(want); i++) {
		cr_assert(gp_carrier_arg(&at, buf, sizeof(buf), &key, &value));
		cr_assert_str_eq(key, want[i].key);
		cr_assert_eq(value == NULL, want[i].value == NULL, "%zu", i);
		if (value)
			cr_assert_str_eq(value, want[i].value);
	}
	cr_assert_not(gp_carrier_arg(&at, buf, sizeof(buf), &key, &value));
}

Test(carrier, numbers_are_whole)
{
	uint64_t n;
	cr_assert(gp_carrier_number("17", 17, &n));
	cr_assert_eq(n, 17);
	static const char *const wrong[] = {"18", "", "-1", "1x", " 1", "99999999999999999999"};
	for (size_t i = 0; i < GP_ARRAY_SIZE(wrong); i++)
		cr_assert_not(gp_carrier_number(wrong[i], 17, &n), "%s", wrong[i]);
	cr_assert_not(gp_carrier_number(NULL, 17, &n));
}

Test(carrier, nothing_and_udp_are_sockets)
{
	const char *args;
	cr_assert_eq(gp_carrier_find(NULL, name, &args, text), &gp_carrier_udp);
	cr_assert_str_eq(args, "");
	cr_assert_eq(gp_carrier_find("", name, &args, text), &gp_carrier_udp);
	cr_assert_eq(gp_carrier_find("udp:join=no", name, &args, text), &gp_carrier_udp);
	cr_assert_str_eq(args, "join=no");
	cr_assert_str_eq(name, "udp");
	cr_assert_null(gp_carrier_find("udpx", name, &args, text));
	cr_assert_eq(errno, EINVAL);
	cr_assert_null(gp_carrier_find("a name that is much too long:x", name, &args, text));
}

Test(carrier, a_client_says_what_is_wrong_with_its_transport)
{
	static const char *const wrong[] = {"pigeon:x", "udp:join=perhaps", "udp:busy_poll",
		"udp:busy_poll=2000000", "udp:fast=yes"};
	for (size_t i = 0; i < GP_ARRAY_SIZE(wrong); i++) {
		struct gp_client_error err;
		struct gp_client *c;
		const struct gp_client_opts o = {
			.server = "127.0.0.1:9", .job = "j", .world = 1, .transport = wrong[i]};
		cr_assert_eq(gp_client_create(&c, &o, &err), -EINVAL, "%s", wrong[i]);
		cr_assert_null(c);
		cr_assert(strstr(err.text, "transport"), "%s", err.text);
	}
}
