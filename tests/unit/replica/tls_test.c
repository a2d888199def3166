// SPDX-License-Identifier: BSD-3-Clause
//
// The replica link over TLS: who is let in, what the other is told, renewed certificates.
#include "rig.h"

#include <criterion/criterion.h>

#include <event2/event.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static struct rig rig;
static char ca[64], other[64]; // folders of two authorities

struct files {
	char cert[128], key[128], ca[128];
};

static void run(const char *fmt, ...) GP_PRINTF(1, 2);

static void run(const char *fmt, ...)
{
	char command[512];
	va_list args;
	va_start(args, fmt);
	vsnprintf(command, sizeof(command), fmt, args);
	va_end(args);
	cr_assert_eq(system(command), 0, "%s", command);
}

static void setup(void)
{
	signal(SIGPIPE, SIG_IGN);
	rig_init(&rig);
	strcpy(ca, "/tmp/gp-ca-XXXXXX");
	strcpy(other, "/tmp/gp-ca-XXXXXX");
	cr_assert(mkdtemp(ca) && mkdtemp(other));
	run("%s %s primary replica expired:late", GP_TEST_CA, ca);
	run("%s %s primary", GP_TEST_CA, other);
}

static void teardown(void)
{
	rig_fini(&rig);
	run("rm -rf %s %s", ca, other);
}

TestSuite(tls, .init = setup, .fini = teardown, .timeout = 100);

static struct gp_replica_tls tls_of(
	struct files *f, const char *folder, const char *name, const char *peer)
{
	snprintf(f->cert, sizeof(f->cert), "%s/%s.pem", folder, name);
	snprintf(f->key, sizeof(f->key), "%s/%s.key", folder, name);
	snprintf(f->ca, sizeof(f->ca), "%s/ca.pem", ca);
	return (struct gp_replica_tls){
		.cert = f->cert, .key = f->key, .ca = f->ca, .peer_name = peer};
}

// `peer`: the name that the replica wants of the primary; NULL: no TLS at the replica.
static void replica_start(const char *peer)
{
	struct files f;
	struct gp_replica_tls tls = tls_of(&f, ca, "replica", peer);
	rig_receiver_tls(&rig, peer ? &tls : NULL);
}

static void primary_start(const char *folder, const char *name, const char *peer)
{
	struct files f;
	struct gp_replica_tls tls = tls_of(&f, folder, name, peer);
	rig_sender_tls(&rig, &tls);
}

static struct gp_replica_receiver_status replica_status(void)
{
	struct gp_replica_receiver_status st;
	gp_replica_receiver_status(rig.receiver, &st);
	return st;
}

// Until both ends have said why, the sender `at_primary`, the receiver `at_replica` ("": nothing).
static void expect_refused(const char *at_primary, const char *at_replica)
{
	rig_ship(&rig, "a", 1, 5);
	rig_until(&rig, strstr(rig_status(&rig, NULL).last_error, at_primary) &&
				strstr(replica_status().last_error, at_replica));
	cr_assert_not(rig_status(&rig, "a").verified);
	cr_assert_eq(rig.snapshots, 0u);
	cr_assert_eq(rig_replica_count(&rig), 0u);
}

Test(tls, snapshots_go_through)
{
	replica_start("primary");
	primary_start(ca, "primary", "replica");
	rig_ship(&rig, "big", 1, 200000);
	rig_until(&rig, rig_status(&rig, "big").verified);
	rig_expect_replica(&rig, "big", 1, 200000);
	rig_ship(&rig, "a", 2, 5);
	rig_until(&rig, rig_status(&rig, "a").verified);
	cr_assert_eq(rig_status(&rig, NULL).failures, 0u, "%s", rig_status(&rig, NULL).last_error);
	cr_assert_eq(replica_status().refused_count, 0u);
}

Test(tls, a_link_is_not_in_plain_text)
{
	uint16_t port;
	replica_start("primary");
	// One changed byte behind the handshake: the transport notices, not our own checksums.
	struct relay *relay = relay_start(&rig, 5000, 1, &port);
	rig.port = port;
	primary_start(ca, "primary", "replica");
	rig.port = gp_replica_receiver_port(rig.receiver);
	rig_ship(&rig, "a", 1, 100000);
	rig_until(&rig, rig_status(&rig, "a").verified);
	cr_assert(relay_hit(relay));
	cr_assert_gt(rig_status(&rig, NULL).failures, 0u);
	cr_assert_eq(replica_status().refused_count, 1u);
	cr_assert_not(
		strstr(replica_status().last_error, "xxh3"), "%s", replica_status().last_error);
	rig_expect_replica(&rig, "a", 1, 100000);
	relay_stop(relay);
}

Test(tls, a_primary_of_another_authority_is_refused)
{
	replica_start("primary");
	primary_start(other, "primary", "replica");
	expect_refused("does not trust the authority", "not signed by an authority");
}

Test(tls, a_replica_of_another_name_is_refused)
{
	replica_start("primary");
	primary_start(ca, "primary", "standby");
	expect_refused("another name than we expect", "");
}

Test(tls, a_primary_of_another_name_is_refused)
{
	replica_start("first");
	primary_start(ca, "primary", "replica");
	expect_refused("refused our certificate", "another name than we expect");
}

Test(tls, a_primary_in_plain_text_is_refused)
{
	replica_start("primary");
	rig_sender_start(&rig, rig.port);
	expect_refused("without TLS", "does not speak TLS");
}

Test(tls, a_replica_in_plain_text_is_refused)
{
	replica_start(NULL);
	primary_start(ca, "primary", "replica");
	expect_refused("does not speak TLS", "the peer speaks TLS");
}

Test(tls, an_expired_certificate_of_our_own_is_refused_at_start)
{
	struct files f;
	struct gp_replica_tls tls = tls_of(&f, ca, "late", "primary");
	struct gp_replica_receiver_opts opts = {
		.listen = "127.0.0.1:0", .dir = rig.to, .product = "0.1.0", .tls = &tls};
	struct gp_snapshot_error err;
	cr_assert_neq(gp_replica_receiver_create(rig.base, &opts, &rig.receiver, &err), 0);
	cr_assert(strstr(err.text, "has expired"), "%s", err.text);
	tls = tls_of(&f, ca, "nobody", "primary");
	cr_assert_neq(gp_replica_receiver_create(rig.base, &opts, &rig.receiver, &err), 0);
	cr_assert(strstr(err.text, "nobody.pem: No such file"), "%s", err.text);
	tls = tls_of(&f, ca, "replica", "primary");
	snprintf(f.key, sizeof(f.key), "%s/primary.key", ca);
	cr_assert_neq(gp_replica_receiver_create(rig.base, &opts, &rig.receiver, &err), 0);
	cr_assert(strstr(err.text, "not the key of"), "%s", err.text);
	rig.receiver = NULL;
}

Test(tls, renewed_certificates_count_from_the_next_connection)
{
	replica_start("primary");
	run("cp %s/primary.pem %s/primary.key %s && mv %s/primary.pem %s/new.pem && "
	    "mv %s/primary.key %s/new.key",
		ca, ca, other, ca, ca, ca, ca);
	run("rm %s/ca.* && %s %s primary", other, GP_TEST_CA, other); // of another authority
	run("cp %s/primary.pem %s/primary.key %s", other, other, ca);
	primary_start(ca, "primary", "replica");
	expect_refused("does not trust the authority", "not signed by an authority");
	run("mv %s/new.pem %s/primary.pem && mv %s/new.key %s/primary.key", ca, ca, ca, ca);
	rig_until(&rig, rig_status(&rig, "a").verified);
	rig_expect_replica(&rig, "a", 1, 5);
}

Test(tls, files_that_do_not_load_leave_the_old_ones_in_use)
{
	replica_start("primary");
	run("echo nonsense >%s/replica.pem", ca);
	primary_start(ca, "primary", "replica");
	rig_ship(&rig, "a", 1, 5);
	rig_until(&rig, rig_status(&rig, "a").verified);
}
