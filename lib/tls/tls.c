// SPDX-License-Identifier: BSD-3-Clause
#include "tls_priv.h"

#include <gp_log.h>

#include <arpa/inet.h>
#include <errno.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { FILE_CERT, FILE_KEY, FILE_CA, FILES_COUNT };

// What a file was when it was loaded.
struct stamp {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec changed;
};

struct gp_tls {
	enum gp_tls_side side;
	char *paths[FILES_COUNT];
	char *peer_name; // NULL: none
	SSL_CTX *ctx;
	struct stamp stamps[FILES_COUNT];
};

static int stamps_take(const struct gp_tls *t, struct stamp *out, struct gp_tls_error *err)
{
	memset(out, 0, FILES_COUNT * sizeof(*out));
	for (uint32_t i = 0; i < FILES_COUNT; i++) {
		struct stat st;
		if (stat(t->paths[i], &st) != 0) {
			int e = errno;
			return tls_fail(err, -e, "%.300s: %s", t->paths[i], strerror(e));
		}
		if (i == FILE_KEY && (st.st_mode & S_IROTH))
			return tls_fail(err, -EINVAL,
				"%.300s: everybody can read this key: chmod 600", t->paths[i]);
		out[i] = (struct stamp){
			.dev = st.st_dev,
			.ino = st.st_ino,
			.size = st.st_size,
			.changed = st.st_ctim,
		};
	}
	return 0;
}

static int time_check(SSL_CTX *ctx, const char *path, struct gp_tls_error *err)
{
	const X509 *cert = SSL_CTX_get0_certificate(ctx);
	if (X509_cmp_current_time(X509_get0_notAfter(cert)) < 0)
		return tls_fail(err, -EINVAL, "%.300s: this certificate has expired", path);
	if (X509_cmp_current_time(X509_get0_notBefore(cert)) > 0)
		return tls_fail(err, -EINVAL,
			"%.300s: this certificate is not valid yet (compare the clocks)", path);
	return 0;
}

static int files_load(const struct gp_tls *t, SSL_CTX *ctx, struct gp_tls_error *err)
{
	const char *const *p = (const char *const *)t->paths;
	ERR_clear_error();
	if (SSL_CTX_use_certificate_chain_file(ctx, p[FILE_CERT]) != 1)
		return tls_fail(err, -EINVAL, "%.300s: not a certificate in PEM: %s", p[FILE_CERT],
			tls_last_error());
	if (SSL_CTX_use_PrivateKey_file(ctx, p[FILE_KEY], SSL_FILETYPE_PEM) != 1 ||
		SSL_CTX_check_private_key(ctx) != 1)
		return tls_fail(err, -EINVAL, "%.200s: not the key of %.200s in PEM: %s",
			p[FILE_KEY], p[FILE_CERT], tls_last_error());
	if (SSL_CTX_load_verify_locations(ctx, p[FILE_CA], NULL) != 1)
		return tls_fail(err, -EINVAL, "%.300s: no certificates of authorities in PEM: %s",
			p[FILE_CA], tls_last_error());
	return time_check(ctx, p[FILE_CERT], err);
}

static int ctx_make(const struct gp_tls *t, SSL_CTX **out, struct gp_tls_error *err)
{
	bool client = t->side == GP_TLS_CLIENT;
	SSL_CTX *ctx = SSL_CTX_new(client ? TLS_client_method() : TLS_server_method());
	if (!ctx || SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1) {
		SSL_CTX_free(ctx);
		return tls_fail(err, -ENOMEM, "TLS 1.3 is not available: %s", tls_last_error());
	}
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	// Every connection proves itself anew. Ends are told by frames, not by the transport.
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	(void)SSL_CTX_set_num_tickets(ctx, 0);
	SSL_CTX_set_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
	int rc = files_load(t, ctx, err);
	if (rc != 0) {
		SSL_CTX_free(ctx);
		return rc;
	}
	*out = ctx;
	return 0;
}

static char *text_copy(const char *text)
{
	return text ? strdup(text) : NULL;
}

int gp_tls_create(const struct gp_tls_opts *opts, struct gp_tls **out, struct gp_tls_error *err)
{
	GP_ASSERT(opts->cert && opts->key && opts->ca);
	struct gp_tls *t = calloc(1, sizeof(*t));
	int rc = -ENOMEM;
	if (!t)
		return tls_fail(err, rc, "out of memory for TLS");
	t->side = opts->side;
	t->paths[FILE_CERT] = text_copy(opts->cert);
	t->paths[FILE_KEY] = text_copy(opts->key);
	t->paths[FILE_CA] = text_copy(opts->ca);
	t->peer_name = text_copy(opts->peer_name);
	if (!t->paths[FILE_CERT] || !t->paths[FILE_KEY] || !t->paths[FILE_CA] ||
		(opts->peer_name && !t->peer_name)) {
		tls_fail(err, rc, "out of memory for TLS");
	} else {
		rc = stamps_take(t, t->stamps, err);
		if (rc == 0)
			rc = ctx_make(t, &t->ctx, err);
	}
	if (rc != 0) {
		gp_tls_destroy(t);
		return rc;
	}
	*out = t;
	return 0;
}

void gp_tls_destroy(struct gp_tls *t)
{
	if (!t)
		return;
	SSL_CTX_free(t->ctx);
	for (uint32_t i = 0; i < FILES_COUNT; i++)
		free(t->paths[i]);
	free(t->peer_name);
	free(t);
}

// New files, if there are, or the old ones.
static void ctx_renew(struct gp_tls *t)
{
	struct stamp now[FILES_COUNT];
	struct gp_tls_error err;
	SSL_CTX *ctx;
	int rc = stamps_take(t, now, &err);
	if (rc == 0 && memcmp(now, t->stamps, sizeof(now)) == 0)
		return;
	if (rc == 0)
		rc = ctx_make(t, &ctx, &err);
	if (rc != 0) {
		gp_warn("%s; the certificates loaded before stay in use", err.text);
		return;
	}
	SSL_CTX_free(t->ctx);
	t->ctx = ctx;
	memcpy(t->stamps, now, sizeof(now));
	gp_info("%s: new certificates are in use", t->paths[FILE_CERT]);
}

static bool name_expect(SSL *ssl, const char *name)
{
	uint8_t addr[16];
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
	if (inet_pton(AF_INET, name, addr) == 1 || inet_pton(AF_INET6, name, addr) == 1)
		return X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1;
	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return X509_VERIFY_PARAM_set1_host(param, name, 0) == 1;
}

int gp_tls_connection(struct gp_tls *t, struct event_base *base, int fd, const char *peer_name,
	struct bufferevent **out)
{
	const char *name = peer_name ? peer_name : t->peer_name;
	bool client = t->side == GP_TLS_CLIENT;
	ctx_renew(t);
	SSL *ssl = SSL_new(t->ctx);
	if (!ssl)
		return -ENOMEM;
	if (name && !name_expect(ssl, name)) {
		SSL_free(ssl);
		ERR_clear_error();
		return -EINVAL;
	}
	*out = bufferevent_openssl_socket_new(base, fd, ssl,
		client ? BUFFEREVENT_SSL_CONNECTING : BUFFEREVENT_SSL_ACCEPTING,
		BEV_OPT_CLOSE_ON_FREE);
	if (!*out) // and it has freed ssl
		return -ENOMEM;
	bufferevent_openssl_set_allow_dirty_shutdown(*out, 1);
	return 0;
}
