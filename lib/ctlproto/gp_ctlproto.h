// SPDX-License-Identifier: BSD-3-Clause
//
// The control protocol between gradctl and gradplaned: JSON objects, one a line, on a Unix stream
// socket.
//
//	request  {"v":1,"cmd":"job show","args":{"name":"mnist"}}      (args may be left out)
//	reply    {"ok":true,"result":{...}}
//	         {"ok":false,"code":"not_found","error":"no job mnist; this server has: cifar"}
//
// Replies come in the order of the requests, one request of a client is in hand at a time. Codes
// made here: bad_request, version, unknown_command, too_long, busy, internal; handlers add their
// own.
//
// Limits: a request line GP_CTL_LINE_MAX, a reply GP_CTL_REPLY_MAX, GP_CTL_CLIENTS_MAX clients (one
// more is told `busy`), GP_CTL_DEFERRED_MAX unfinished requests, GP_CTL_IDLE_MS without traffic. A
// client that does not read its replies is not read from. The socket is mode 0600: whoever may open
// it may do everything.
//
// Threads: a server belongs to the thread of its event loop, every call of it and of its requests
// is made there. gp_ctl_call blocks and may be called from any thread.
//
// SIGPIPE: creating a server sets it to be ignored when the program has left it at its default.
#ifndef GP_CTLPROTO_H
#define GP_CTLPROTO_H

#include <gp_base.h>

#include <jansson.h>

#define GP_CTL_VERSION	    1
#define GP_CTL_LINE_MAX	    (1u << 20)
#define GP_CTL_REPLY_MAX    (32u << 20)
#define GP_CTL_CLIENTS_MAX  16
#define GP_CTL_DEFERRED_MAX 16
#define GP_CTL_IDLE_MS	    30000
#define GP_CTL_CMD_SIZE	    64
#define GP_CTL_CODE_SIZE    32
#define GP_CTL_TEXT_SIZE    512
#define GP_CTL_PATH_DEFAULT "/run/gradplane/control.sock"

struct event_base;
struct gp_ctl_server;
struct gp_ctl_request;

// What went wrong: a name for programs, a sentence for people.
struct gp_ctl_error {
	char code[GP_CTL_CODE_SIZE];
	char text[GP_CTL_TEXT_SIZE];
};

void gp_ctl_error_set(struct gp_ctl_error *err, const char *code, const char *fmt, ...)
	GP_PRINTF(3, 4);

// The answer of a handler that keeps the request and finishes it later.
#define GP_CTL_LATER 1

struct gp_ctl_command {
	const char *name; // "status", "job show"; the table ends where it is NULL
	// 0: done; *result is a new reference that the library takes (left NULL: {}).
	// -errno: refused; err says why (left empty: code `internal` and strerror).
	// GP_CTL_LATER: exactly one of gp_ctl_reply_ok and gp_ctl_reply_error follows for this
	// request, from inside the handler or later, also when the client or the server is gone by
	// then. `args` is always an object, valid during the call.
	int (*handler)(struct gp_ctl_request *req, const json_t *args, json_t **result,
		struct gp_ctl_error *err);
};

struct gp_ctl_server_config {
	struct event_base *base;
	const char *path;		       // at most 107 bytes
	const struct gp_ctl_command *commands; // must outlive the server
	void *arg;			       // gp_ctl_request_arg gives it to the handlers
	uint32_t idle_ms;		       // 0 = GP_CTL_IDLE_MS
};

// Listens at `path`. The socket file of a server that no longer runs is replaced; a live one is
// refused (-EADDRINUSE, the text names its pid), as is a path that is no socket (-EEXIST), a
// missing directory (-ENOENT), -EACCES, -ENAMETOOLONG, -ENOMEM. 0 or -errno with `err` filled.
int gp_ctl_server_create(struct gp_ctl_server **out, const struct gp_ctl_server_config *config,
	struct gp_ctl_error *err) GP_MUST_CHECK;
// Sends what can be sent without blocking, closes, removes the socket file if it is still the one
// made by this server. Not from inside a handler. Takes NULL.
void gp_ctl_server_destroy(struct gp_ctl_server *s);

void *gp_ctl_request_arg(const struct gp_ctl_request *req);
// The request is gone after either call. `result` is a reference that the library takes; NULL is
// {}.
void gp_ctl_reply_ok(struct gp_ctl_request *req, json_t *result);
void gp_ctl_reply_error(struct gp_ctl_request *req, const struct gp_ctl_error *err);

// One request line without its newline, checked against everything above. Pure.
struct gp_ctl_message {
	char cmd[GP_CTL_CMD_SIZE];
	json_t *args; // an object, the caller's reference
};

// 0, -EPROTO (another version) or -EINVAL, with `err` as the reply that the client gets.
int gp_ctl_message_parse(const char *line, size_t len, struct gp_ctl_message *out,
	struct gp_ctl_error *err) GP_MUST_CHECK;

struct gp_ctl_call {
	const char *path;
	const char *cmd;
	json_t *args;	     // borrowed; NULL is {}
	uint32_t timeout_ms; // for the whole call; 0 = 5000
};

// Asks and waits. 0 with *result a new reference; -EREMOTEIO: the server refused, err is its
// answer; other -errno: no answer (-ENOENT, -ECONNREFUSED, -EACCES, -ETIMEDOUT, -EPROTO, ...), code
// `no_server` or `bad_reply`, and a text that says what to do.
int gp_ctl_call(
	const struct gp_ctl_call *call, json_t **result, struct gp_ctl_error *err) GP_MUST_CHECK;

#endif
