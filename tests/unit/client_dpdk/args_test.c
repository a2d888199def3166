// SPDX-License-Identifier: BSD-3-Clause
//
// What the text of a transport means.
#include <criterion/criterion.h>

#include "client_dpdk_priv.h"

#include <errno.h>

static struct cd_args a;
static char text[GP_CARRIER_TEXT_SIZE];

static int parse(const char *name, const char *args, uint32_t path_mtu)
{
	const struct gp_carrier_opts o = {.name = name, .args = args, .path_mtu = path_mtu};
	text[0] = '\0';
	return cd_args_parse(&a, &o, 3, text);
}

static void expect_address(const struct gp_addr *seen, const char *want)
{
	char format[GP_ADDR_TEXT_SIZE];
	gp_addr_format(seen, format);
	cr_assert_str_eq(format, want);
}

Test(args, memif_has_all_it_needs_by_default)
{
	cr_assert_eq(parse("memif", "/run/x.sock", 0), 0, "%s", text);
	cr_assert_str_eq(a.devargs, "net_memif3,role=client,socket-abstract=no,socket=/run/x.sock,"
				    "bsize=1600,rsize=9");
	cr_assert_str_eq(a.name, "net_memif3");
	cr_assert(a.zero_copy);
	cr_assert(a.is_virtual);
	cr_assert_eq(a.mtu, 1500);
	expect_address(&a.ip, "169.254.1.1:0");
	expect_address(&a.ip6, "[fe80::101]:0");
}

Test(args, memif_links_have_addresses_of_their_own)
{
	cr_assert_eq(parse("memif", "/run/x.sock,id=7", 0), 0);
	expect_address(&a.ip, "169.254.1.8:0");
	cr_assert_eq(parse("memif", "/run/x.sock,id=600", 0), 0);
	expect_address(&a.ip, "169.254.3.95:0");
	cr_assert_eq(parse("memif", "/run/x.sock,id=7,ip=10.9.8.7", 0), 0);
	cr_assert_str_eq(a.devargs, "net_memif3,role=client,socket-abstract=no,socket=/run/x.sock,"
				    "id=7,bsize=1600,rsize=9");
	expect_address(&a.ip, "10.9.8.7:0");
}

Test(args, only_a_memif_leaves_checksums_out)
{
	cr_assert_eq(parse("memif", "/s", 0), 0);
	cr_assert_not(a.no_checksum);
	cr_assert_eq(parse("memif", "/s,checksum=none", 0), 0);
	cr_assert(a.no_checksum);
	cr_assert_null(strstr(a.devargs, "checksum"), "%s", a.devargs);
	cr_assert_eq(parse("memif", "/s,checksum=udp", 0), 0);
	cr_assert_not(a.no_checksum);
	cr_assert_eq(parse("memif", "/s,checksum=some", 0), -EINVAL);
	cr_assert(strstr(text, "checksum=some"), "%s", text);
	cr_assert_eq(parse("dpdk", "net_af_xdp0,iface=x,ip=10.0.0.2,checksum=none", 0), -EINVAL);
	cr_assert(strstr(text, "checksum=none is for memif"), "%s", text);
	cr_assert_eq(
		parse("dpdk", "net_af_xdp0,iface=x,ip=10.0.0.2,checksum=udp", 0), 0, "%s", text);
}

Test(args, what_is_said_is_not_said_twice)
{
	cr_assert_eq(parse("memif", "/s,zero-copy=no,bsize=2048,rsize=8,mtu=9000", 1500), 0);
	cr_assert_str_eq(a.devargs, "net_memif3,role=client,socket-abstract=no,socket=/s,"
				    "bsize=2048,rsize=8");
	cr_assert_not(a.zero_copy);
	cr_assert_eq(a.mtu, 9000);
	cr_assert_eq(parse("memif", "/s", 9000), 0);
	cr_assert_eq(a.mtu, 9000, "of the client's path_mtu");
	cr_assert(strstr(a.devargs, "bsize=9088,rsize=8"), "%s", a.devargs);
}

Test(args, keys_of_ours_are_taken_and_others_passed_on)
{
	cr_assert_eq(parse("dpdk",
			     "net_af_xdp0,iface=eth1,ip=fd00::5,queue_count=1,gateway=fd00::1,"
			     "server_mac=02:00:00:00:00:0a,mtu=3000,port=4000,frames=512,memory=33,"
			     "vlan=7,huge=off,flag",
			     0),
		0, "%s", text);
	cr_assert_str_eq(a.devargs, "net_af_xdp0,iface=eth1,queue_count=1,flag");
	cr_assert_str_eq(a.name, "net_af_xdp0");
	expect_address(&a.ip, "[fd00::5]:0");
	expect_address(&a.gateway, "[fd00::1]:0");
	cr_assert(a.has_gateway && a.has_server_mac);
	cr_assert_eq(a.server_mac[5], 10);
	cr_assert_eq(a.mtu, 3000);
	cr_assert_eq(a.port, 4000);
	cr_assert_eq(a.frames, 512);
	cr_assert_eq(a.memory_mib, 33);
	cr_assert_eq(a.vlan, 7);
	cr_assert_eq(a.huge, CD_HUGE_OFF);
	cr_assert_eq(parse("dpdk", "0000:3b:00.0,ip=10.0.0.5", 9000), 0);
	cr_assert_not(a.is_virtual);
	cr_assert_eq(a.mtu, 9000);
}

Test(args, what_cannot_work_is_refused_by_name)
{
	static const struct {
		const char *name, *args, *says;
	} wrong[] = {
		{"memif", "", "path of the server's socket"},
		{"memif", "run/x.sock", "path of the server's socket"},
		{"memif", "/s,,id=1", "empty"},
		{"memif", "/s,mtu=100", "mtu=100"},
		{"memif", "/s,zero-copy=1", "zero-copy=1"},
		{"dpdk", "", "device"},
		{"dpdk", "net_null0", "ip=ADDRESS is missing"},
		{"dpdk", "net_null0,ip=nowhere", "ip=nowhere"},
		{"dpdk", "net_null0,ip=1.2.3.4,gateway=", "gateway="},
		{"dpdk", "net_null0,ip=1.2.3.4,server_mac=1:2", "server_mac=1:2"},
		{"dpdk", "net_null0,ip=1.2.3.4,port=80", "port=80"},
		{"dpdk", "net_null0,ip=1.2.3.4,vlan=4095", "vlan=4095"},
		{"dpdk", "net_null0,ip=1.2.3.4,huge=yes", "huge=yes"},
		{"dpdk", "net_null0,ip=1.2.3.4,frames=-1", "frames=-1"},
	};
	for (size_t i = 0; i < GP_ARRAY_SIZE(wrong); i++) {
		cr_assert_eq(parse(wrong[i].name, wrong[i].args, 0), -EINVAL, "%s", wrong[i].args);
		cr_assert(strstr(text, wrong[i].says), "'%s' is not in '%s'", wrong[i].says, text);
	}
	static char longer[2 * CD_DEVARGS_SIZE];
	memset(longer, 'x', sizeof(longer) - 1);
	longer[0] = '/';
	cr_assert_eq(parse("memif", longer, 0), -EINVAL);
	cr_assert_eq(parse("dpdk", longer, 0), -EINVAL);
}
