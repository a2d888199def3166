// SPDX-License-Identifier: BSD-3-Clause
//
// From OpenSSL's codes to what an operator can do something about.
#include "tls_priv.h"

#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <stdarg.h>
#include <stdio.h>

int tls_fail(struct gp_tls_error *err, int code, const char *fmt, ...)
{
	va_list args;
	GP_ASSERT(code < 0);
	va_start(args, fmt);
	err->code = code;
	vsnprintf(err->text, sizeof(err->text), fmt, args);
	va_end(args);
	return code;
}

const char *tls_last_error(void)
{
	const char *text = ERR_reason_error_string(ERR_peek_last_error());
	ERR_clear_error();
	return text ? text : "unknown error";
}

static const struct {
	int reason;
	const char *text;
} reasons[] = {
	{SSL_R_WRONG_VERSION_NUMBER, "the peer does not speak TLS: configure it on both ends"},
	{SSL_R_HTTP_REQUEST, "the peer does not speak TLS: configure it on both ends"},
	{SSL_R_UNSUPPORTED_PROTOCOL, "the peer does not speak TLS 1.3"},
	{SSL_R_NO_PROTOCOLS_AVAILABLE, "the peer does not speak TLS 1.3"},
	{SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, "the peer does not speak TLS 1.3"},
	{SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, "the peer has no certificate"},
	{SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED, "the peer wants a certificate from us"},
	{SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE, "the peer refused the handshake"},
	{SSL_R_TLSV1_ALERT_UNKNOWN_CA,
		"the peer does not trust the authority that signed our certificate"},
	{SSL_R_SSLV3_ALERT_BAD_CERTIFICATE,
		"the peer refused our certificate: it expects another name or purpose"},
	{SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED, "the peer refused our certificate: it has expired"},
	{SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED, "the peer refused our certificate: it is revoked"},
	{SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN, "the peer refused our certificate"},
	{SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE,
		"the peer refused our certificate: it is for another purpose"},
};

static const char *reason_text(unsigned long e)
{
	for (size_t i = 0; i < GP_ARRAY_SIZE(reasons); i++)
		if (ERR_GET_LIB(e) == ERR_LIB_SSL && ERR_GET_REASON(e) == reasons[i].reason)
			return reasons[i].text;
	return NULL;
}

// What to do about a certificate that does not verify.
static const char *verify_hint(long result)
{
	switch (result) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
		return "; renew it (and compare the clocks)";
	case X509_V_ERR_CERT_NOT_YET_VALID:
		return "; compare the clocks";
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_CERT_SIGNATURE_FAILURE:
		return "; it is not signed by an authority in our `ca` file";
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		return "; it carries another name than we expect of the peer";
	default:
		return "";
	}
}

bool gp_tls_reason(struct bufferevent *bev, char text[GP_TLS_TEXT_SIZE])
{
	SSL *ssl = bufferevent_openssl_get_ssl(bev);
	unsigned long e, known = 0, any = 0;
	text[0] = 0;
	if (!ssl)
		return false;
	while ((e = bufferevent_get_openssl_error(bev)) != 0) {
		any = e;
		if (reason_text(e))
			known = e;
	}
	long result = SSL_get_verify_result(ssl);
	if (known && reason_text(known)) {
		snprintf(text, GP_TLS_TEXT_SIZE, "TLS: %s", reason_text(known));
	} else if (result != X509_V_OK) {
		snprintf(text, GP_TLS_TEXT_SIZE, "TLS: the peer's certificate is refused: %s%s",
			X509_verify_cert_error_string(result), verify_hint(result));
	} else if (any) {
		const char *why = ERR_reason_error_string(any);
		snprintf(text, GP_TLS_TEXT_SIZE, "TLS: %s", why ? why : "unknown error");
	}
	return text[0] != 0;
}
