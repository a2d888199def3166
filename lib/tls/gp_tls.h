// SPDX-License-Identifier: BSD-3-Clause
//
// TLS 1.3 with certificates on both sides, for the connections between nodes: replication, the
// leadership register, the witness.
//
// An identity is three PEM files: our certificate (with its chain), its key, and the certificates
// of the authorities that we trust. A peer must present a certificate that one of them signed, for
// the right purpose, in time, and that carries the name that we expect; TLS below 1.3 is refused.
// The files are looked at again for each new connection and loaded when they have changed, so
// renewed certificates count from the next connection on; files that do not load leave the old ones
// in use, with a warning.
//
// Owner and threads: an identity and its connections belong to the thread of their event loop.
// Memory: on the heap, a few KiB an identity, some 50 KiB a connection. SIGPIPE must be ignored.
//
// Errors: 0 or -errno with a text that says what to do. What a handshake failed of is told by
// gp_tls_reason.
#ifndef GP_TLS_H
#define GP_TLS_H

#include <gp_base.h>

#define GP_TLS_TEXT_SIZE 512

struct bufferevent;
struct event_base;
struct gp_tls;

struct gp_tls_error {
	int code; // -errno
	char text[GP_TLS_TEXT_SIZE];
};

enum gp_tls_side {
	GP_TLS_CLIENT, // connects
	GP_TLS_SERVER, // accepts
};

struct gp_tls_opts {
	enum gp_tls_side side;
	const char *cert, *key, *ca; // paths
	const char *peer_name; // DNS name or address in the peer's certificate; NULL: the caller
			       // names it for each connection, else whoever an authority has signed
			       // is accepted
};

// -ENOENT, -EACCES: a file; -EINVAL: not PEM, key and certificate do not belong together, expired,
// the key is readable by all; -ENOMEM.
int gp_tls_create(const struct gp_tls_opts *opts, struct gp_tls **out,
	struct gp_tls_error *err) GP_MUST_CHECK;
// Takes NULL. Connections go on.
void gp_tls_destroy(struct gp_tls *t);
// A connection over `fd` (accepted), or over a socket that bufferevent_socket_connect will make
// (-1). `peer_name` (may be NULL) goes before that of the options. BEV_EVENT_CONNECTED comes when
// the peer is proved; nothing is read or written before. The descriptor is closed with it, on an
// error it stays open. 0, -ENOMEM, or -EINVAL for a name that is none.
int gp_tls_connection(struct gp_tls *t, struct event_base *base, int fd, const char *peer_name,
	struct bufferevent **out) GP_MUST_CHECK;
// After BEV_EVENT_ERROR: why, in words for an operator; false and "" when it was not TLS (then the
// socket's errno tells). Also for a bufferevent without TLS.
bool gp_tls_reason(struct bufferevent *bev, char text[GP_TLS_TEXT_SIZE]);

#endif
