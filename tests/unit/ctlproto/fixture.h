// SPDX-License-Identifier: BSD-3-Clause
//
// A real server in this thread's event loop, on a socket in a directory of its own.
#ifndef CTLPROTO_FIXTURE_H
#define CTLPROTO_FIXTURE_H

#include <gp_ctlproto.h>

#include <event2/event.h>

#define DEADLINE_S 10

struct fixture {
	struct event_base *base;
	struct gp_ctl_server *server;
	struct gp_ctl_request *kept[GP_CTL_DEFERRED_MAX]; // by the command `later`
	size_t kept_count;
	char dir[64];
	char path[96];
};

// Commands: echo (gives args back), later (kept until fixture_finish), refuse, fail (no text), big
// (a result of args.size bytes), and whatever `commands` names instead when it is not NULL.
void fixture_init(struct fixture *f, const struct gp_ctl_command *commands);
void fixture_fini(struct fixture *f);
int fixture_listen(struct fixture *f, struct gp_ctl_server **out, struct gp_ctl_error *err);
// Turns the loop once without blocking; fails the test after `end`.
void fixture_turn(struct fixture *f, time_t end);
int fixture_connect(const struct fixture *f);
void fixture_send(int fd, const char *text);
// Turns the loop until `fd` gave a line (true) or ended (false).
bool fixture_line(struct fixture *f, int fd, char *line, size_t size);
// Runs the loop in a child process, for callers that block. Ends with the child's id.
int fixture_serve(struct fixture *f);
void fixture_serve_end(int pid);

#endif
