// SPDX-License-Identifier: BSD-3-Clause
//
// The public client: the sans-I/O core, a carrier with a lane for each core of the server, a clock.
#ifndef CLIENT_PRIV_H
#define CLIENT_PRIV_H

#include "gp_carrier.h"
#include "gp_ccore.h"

#include <errno.h>
#include <poll.h>

#define NS_PER_MS UINT64_C(1000000)

#define SERVERS_MAX 8

struct gp_client {
	struct gp_ccore *core; // NULL: the session was lost for good
	struct gp_client_opts opts;
	char job[GP_WIRE_JOB_NAME_SIZE];
	struct gp_addr servers[SERVERS_MAX];
	uint32_t servers_count;
	uint32_t server_at;
	uint32_t epoch;	       // highest that a session was with, 0 = none yet
	uint64_t waited_ns;    // spent in having sessions again
	uint64_t refusals;     // of client_refusals, already looked at
	struct gp_addr server; // servers[server_at]
	char server_text[GP_ADDR_TEXT_SIZE];
	uint32_t path_mtu;
	uint64_t incarnation;
	uint32_t lanes_count;
	struct gp_xport *lanes[GP_CCORE_LANES_MAX]; // the carrier's
	struct gp_carrier *carrier;
	struct gp_client_tensor *tensors; // registered, for the next server
	uint32_t tensors_count;
	struct gp_client_stats before;	      // of earlier sessions
	bool again;			      // a lost session is being had again
	bool lost;			      // ... in vain
	struct client_background *background; // NULL: no thread
};

// client.c: one session with c->server, which must say something within `answer_ms`. What is left
// of a failed one is the next client_connect's, or client_disconnect's.
int client_connect(
	struct gp_client *c, uint32_t answer_ms, uint32_t timeout_ms, struct gp_client_error *err);
// Forgets the session, and what was in hand.
void client_disconnect(struct gp_client *c);

// client_again.c
// A session with one of the servers, tried in turn.
int client_find(struct gp_client *c, uint32_t timeout_ms, struct gp_client_error *err);
// 0: the session stands, or was had again and nothing was lost. -ESTALE: it was had again. Others:
// it has ended.
int client_ended(struct gp_client *c, struct gp_client_error *err);

// client_io.c
uint64_t client_now(void);
// 0 or -errno of the carrier, with a text.
int client_lane_open(struct gp_client *c, uint32_t lane, uint16_t port,
	char text[GP_CARRIER_TEXT_SIZE]) GP_MUST_CHECK;
void client_lanes_close(struct gp_client *c);
// Takes what has arrived, sends what is due. Returns when to come back at the latest.
uint64_t client_turn(struct gp_client *c);
// Until a datagram arrives, or a queue that was full has room, or `until`; not at all when received
// datagrams wait.
void client_sleep(struct gp_client *c, uint64_t until);
// What client_sleep waits for; `fds` has room for all lanes. *until becomes 0 where something has
// been read and not been taken.
uint32_t client_fds(struct gp_client *c, struct pollfd *fds, uint64_t *until);
void client_pause(uint64_t ns);
// How often the network said that nobody listens, in this session.
uint64_t client_refusals(const struct gp_client *c);

// client_background.c
// Every public call that touches the client is inside: `struct client_background *held
// CLIENT_LEAVES = client_enter(c)` makes the client the caller's until the function returns.
#define CLIENT_LEAVES __attribute__((cleanup(client_leave), unused))
struct client_background *client_enter(const struct gp_client *c);
void client_leave(struct client_background **held);
void client_background_end(struct gp_client *c);

// client_call.c
int client_timed_out(struct gp_client *c, uint32_t timeout_ms, struct gp_client_error *err);
void client_stats(const struct gp_client *c, struct gp_client_stats *stats);
int client_error(struct gp_client_error *err, int code, const char *fmt, ...) GP_PRINTF(3, 4);
// Turns until `done`, the session's end, or the time-out.
int client_await(struct gp_client *c, bool (*done)(const struct gp_ccore *core),
	uint32_t timeout_ms, struct gp_client_error *err);
// Of a call of the core that returned `rc`.
int client_result(struct gp_client *c, int rc, struct gp_client_error *err);

#endif
