// SPDX-License-Identifier: BSD-3-Clause
//
// A register client on a loop, a real etcd or witness behind it as a process of its own, and a
// relay between them that loses answers.
#ifndef RIG_H
#define RIG_H

#include <gp_lead.h>

#include <sys/types.h>

#define RIG_WAIT_MS 30000

struct event_base;

enum rig_kind { RIG_ETCD, RIG_WITNESS };

struct rig {
	struct event_base *base;
	struct gp_lead *lead;
	char dir[64]; // data of the server, certificates in DIR/tls
	enum rig_kind kind;
	pid_t server;
	char host[32]; // 127.x.y.1, of this test alone: ports cannot meet
	uint16_t port;
	bool tls;
	bool answered;
	enum gp_lead_answer answer;
	struct gp_lead_held held;
};

// Skips the test when there is no etcd here.
void rig_init(struct rig *r, enum rig_kind kind, bool tls);
void rig_fini(struct rig *r);
void rig_server_start(struct rig *r); // at the same port and with the same data as before
void rig_server_kill(struct rig *r);  // -9
// Of the server's kind and at these ports, 0: none. `tls`: a certificate's name in DIR/tls, NULL:
// plain.
void rig_client(
	struct rig *r, uint16_t port, uint16_t second, uint32_t timeout_ms, const char *tls);
enum gp_lead_answer rig_get(struct rig *r);
enum gp_lead_answer rig_swap(
	struct rig *r, const struct gp_lead_held *from, const struct gp_lead_record *to);
void rig_swap_begin(
	struct rig *r, const struct gp_lead_held *from, const struct gp_lead_record *to);
void rig_until_answered(struct rig *r);
// One turn of the loop, at most some milliseconds.
void rig_turn(struct rig *r);
void rig_turn_short(struct rig *r); // a fraction of a millisecond
uint64_t rig_now_ms(void);
void rig_run(const char *fmt, ...) GP_PRINTF(1, 2);
// The record that follows `held`.
struct gp_lead_record rig_next(const struct gp_lead_held *held, uint64_t nonce);

// A relay to the server. Of the next `lost` connections the answer is swallowed and the connection
// cut when the server has answered; of the next `mute` ones nothing goes through.
struct relay;
struct relay *relay_start(struct rig *r, uint16_t *port);
void relay_stop(struct relay *relay);
void relay_lose(struct relay *relay, uint32_t lost, uint32_t mute);

#endif
