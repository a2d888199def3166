// SPDX-License-Identifier: BSD-3-Clause
//
// A real server for tests of the public calls: the engine on a thread of its own, behind plain UDP
// sockets of the loopback interface, one for each core. Everything of it is that thread's; the test
// only starts it, stops it, makes it deaf, and gives it orders that it takes up between two rounds.
#ifndef CLIENT_SERVER_H
#define CLIENT_SERVER_H

#include <gp_engine.h>

#include <pthread.h>

#define SERVER_CORES_MAX 2
#define SERVER_FRAMES	 512
#define SERVER_ROOM	 1472

struct server;

struct server_frame {
	struct gp_frame frame; // first
	uint32_t refs;
	uint8_t buf[SERVER_ROOM];
};

struct server_lane {
	struct gp_xport base; // first
	int fd;
	bool v6;
	struct server_frame *frames;
};

struct server {
	struct gp_engine_config cfg;
	struct gp_job_config job; // to be changed before server_start
	bool v6;
	struct server_lane lanes[SERVER_CORES_MAX];
	struct gp_engine *engine;
	uint16_t port;
	char address[64]; // of core 0
	pthread_t thread;
	const struct gp_restore *restore; // the job goes on from it; NULL: from nothing
	float *values;			  // of the restore, of a successor
	_Atomic bool run;
	_Atomic bool deaf;     // what arrives is lost
	_Atomic bool stopping; // no new step begins
};

// One core, job "job" of kind train: 1 worker, sgd with lr 1, sums.
struct server *server_new(void);
// One that takes over from `old`, not started: its job has a tensor "w" of `elems` values and goes
// on behind step `generation` with `value` everywhere. One at a time.
struct server *server_successor(
	const struct server *old, uint32_t elems, uint32_t generation, float value);
void server_start(struct server *s);
// Nobody reads what comes to its ports any more; they stay taken, so no other test's server
// answers.
void server_stop(struct server *s);
void server_free(struct server *s); // stops it

#endif
