// SPDX-License-Identifier: BSD-3-Clause
#include <criterion/criterion.h>

#include <gp_xport.h>

#include <errno.h>

Test(addr, text_and_back)
{
	static const char *const texts[] = {"10.0.0.1:9700", "255.255.255.255:0", "[fe80::1]:65535",
		"[2001:db8::a]:1", "[::]:9700"};
	for (size_t i = 0; i < GP_ARRAY_SIZE(texts); i++) {
		struct gp_addr a;
		char text[GP_ADDR_TEXT_SIZE];
		cr_assert_eq(gp_addr_parse(texts[i], &a), 0, "%s", texts[i]);
		gp_addr_format(&a, text);
		cr_assert_str_eq(text, texts[i]);
		cr_assert_eq(gp_addr_is_v4(&a), texts[i][0] != '[');
	}
}

Test(addr, what_is_no_address_is_refused)
{
	static const char *const texts[] = {"", ":", "10.0.0.1", "10.0.0.1:", "10.0.0.1:65536",
		"10.0.0.1:000001", "10.0.0.1:-1", "10.0.0.1:9x", "10.0.0:1", "host:9700",
		"fe80::1:9700", "[fe80::1]", "[fe80::1]9700", "[10.0.0.1]:9700",
		"[fe80::1]:", "[]:1", "1111111111111111111111111111111111111111111111111111:1"};
	struct gp_addr a = {.port = 7};
	for (size_t i = 0; i < GP_ARRAY_SIZE(texts); i++)
		cr_assert_eq(gp_addr_parse(texts[i], &a), -EINVAL, "%s", texts[i]);
	cr_assert_eq(a.port, 7, "a failed parse leaves the output alone");
}

Test(addr, equality_is_ip_port_and_vlan)
{
	struct gp_addr a, b;
	cr_assert_eq(gp_addr_parse("10.0.0.1:9700", &a), 0);
	b = a;
	b.mac[0] = 2;
	cr_assert(gp_addr_equal(&a, &b));
	b.vlan = 5;
	cr_assert(!gp_addr_equal(&a, &b));
}
