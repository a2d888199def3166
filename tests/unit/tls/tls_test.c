// SPDX-License-Identifier: BSD-3-Clause
//
// Files that make no identity; versions. What happens on connections is in the tests of
// lib/replica.
#include <criterion/criterion.h>

#include <errno.h>
#include <gp_tls.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];

static void setup(void)
{
	char command[256];
	strcpy(dir, "/tmp/gp-tls-XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
	snprintf(command, sizeof(command), "%s %s a b expired:c", GP_TEST_CA, dir);
	cr_assert_eq(system(command), 0);
}

static void teardown(void)
{
	char command[128];
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	cr_assert_eq(system(command), 0);
}

TestSuite(tls, .init = setup, .fini = teardown, .timeout = 60);

static int create(const char *cert, const char *key, const char *ca, struct gp_tls_error *err)
{
	char paths[3][128];
	struct gp_tls *t;
	snprintf(paths[0], sizeof(paths[0]), "%s/%s", dir, cert);
	snprintf(paths[1], sizeof(paths[1]), "%s/%s", dir, key);
	snprintf(paths[2], sizeof(paths[2]), "%s/%s", dir, ca);
	const struct gp_tls_opts opts = {.cert = paths[0], .key = paths[1], .ca = paths[2]};
	int rc = gp_tls_create(&opts, &t, err);
	if (rc == 0)
		gp_tls_destroy(t);
	return rc;
}

static void expect(
	int rc, const char *words, const char *cert, const char *key, const char *authority)
{
	struct gp_tls_error err;
	cr_assert_eq(create(cert, key, authority, &err), rc);
	cr_assert(strstr(err.text, words), "%s", err.text);
}

Test(tls, files)
{
	struct gp_tls_error err;
	char key[128];
	cr_assert_eq(create("a.pem", "a.key", "ca.pem", &err), 0, "%s", err.text);
	expect(-ENOENT, "d.pem: No such file", "d.pem", "a.key", "ca.pem");
	expect(-EINVAL, "not the key of", "a.pem", "b.key", "ca.pem");
	expect(-EINVAL, "not a certificate in PEM", "a.key", "a.key", "ca.pem");
	expect(-EINVAL, "no certificates of authorities", "a.pem", "a.key", "a.key");
	expect(-EINVAL, "has expired", "c.pem", "c.key", "ca.pem");
	snprintf(key, sizeof(key), "%s/a.key", dir);
	cr_assert_eq(chmod(key, 0644), 0);
	expect(-EINVAL, "everybody can read this key", "a.pem", "a.key", "ca.pem");
	gp_tls_destroy(NULL);
}
