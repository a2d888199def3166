// SPDX-License-Identifier: BSD-3-Clause
//
// The client's protocol core, without I/O: fed datagrams and time, it sends through one transport
// for each core of the server. libgradplane drives it with sockets and a clock, the simulator with
// neither.
//
// Life: gp_ccore_create (core 0's transport) -> feed it until gp_ccore_phase is PORTS, then attach
// a transport for each other core (ports base_port + i) -> JOINED -> gp_ccore_register -> rounds:
// gp_ccore_init, steps (gp_ccore_push ... gp_ccore_step_end), gp_ccore_pull -> gp_ccore_leave.
// Between the calls the owner feeds arrivals (gp_ccore_rx) and calls gp_ccore_tick not later than
// the time that the last tick returned.
//
// Threads: one. Memory: taken through cfg.take when the session is opened, when tensors are
// registered and when the layout is known; nothing after that. Errors: a session ends once, with a
// text (gp_ccore_error); from then on every call is harmless and changes nothing, but for
// gp_ccore_again, with which the core joins once more, the round that was in hand included.
#ifndef GP_CCORE_H
#define GP_CCORE_H

#include <gp_client_encoded.h>
#include <gp_wire.h>
#include <gp_xport.h>

#define GP_CCORE_LANES_MAX 32
#define GP_CCORE_NEVER	   UINT64_MAX

struct gp_ccore_config {
	char job[GP_WIRE_JOB_NAME_SIZE];
	char server[GP_ADDR_TEXT_SIZE]; // for texts
	bool v4;
	uint16_t rank; // readers: any
	uint16_t world;
	uint32_t flags; // enum gp_client_flags
	uint64_t incarnation;
	uint64_t previous;
	uint64_t nonce;
	uint64_t silence_ns; // of the server, after which the session has ended; 0: two seconds
	uint32_t epoch_min;  // a server with a lower one is refused; 0: none is
	struct gp_client_compress compress;    // of tensors that say nothing themselves
	uint8_t results;		       // codec in which they come, 0: f32
	void *(*take)(void *arg, size_t size); // zeroed, 64-byte aligned; NULL when there is none
	void (*give)(void *arg, void *mem);
	void *mem_arg;
};

enum gp_ccore_phase {
	GP_CCORE_HELLO,	 // proves address and path MTU
	GP_CCORE_JOIN,	 // asks for the session
	GP_CCORE_PORTS,	 // the owner attaches the other cores' transports
	GP_CCORE_ATTACH, // binds the session to them
	GP_CCORE_JOINED,
	GP_CCORE_LEFT,
	GP_CCORE_FAILED,
};

struct gp_ccore;

// 0 or -ENOMEM. The transport must outlive the core.
int gp_ccore_create(struct gp_ccore **out, const struct gp_ccore_config *cfg,
	struct gp_xport *core0) GP_MUST_CHECK;
void gp_ccore_destroy(struct gp_ccore *c); // takes NULL

// Takes over one reference of each frame, which arrived from core `lane` of the server.
void gp_ccore_rx(
	struct gp_ccore *c, uint32_t lane, struct gp_frame **frames, uint32_t n, uint64_t now);
// Between two bursts of arrivals from `lane`: uses the credit that came back.
void gp_ccore_send(struct gp_ccore *c, uint32_t lane, uint64_t now);
// Only when all that has arrived was fed, since silence is judged here.
// Sends what is due. Returns when it wants to be called again at the latest.
uint64_t gp_ccore_tick(struct gp_ccore *c, uint64_t now);

enum gp_ccore_phase gp_ccore_phase(const struct gp_ccore *c);
// Of the leadership that this session is with; 0 before JOINED.
uint32_t gp_ccore_epoch(const struct gp_ccore *c);
uint32_t gp_ccore_lanes(const struct gp_ccore *c); // 1 until PORTS
uint16_t gp_ccore_port(const struct gp_ccore *c, uint32_t lane);
void gp_ccore_attach(struct gp_ccore *c, uint32_t lane, struct gp_xport *x);

// Copies the descriptions. 0, -EINVAL, -ENOMEM or -EBUSY, with a text in gp_ccore_last.
int gp_ccore_register(
	struct gp_ccore *c, const struct gp_client_tensor *tensors, uint32_t count) GP_MUST_CHECK;
// The layout is known and, for a worker, it is a member of the view.
bool gp_ccore_ready(const struct gp_ccore *c);

// The pointers must stay until gp_ccore_done. Reduce jobs: done at once.
int gp_ccore_init(struct gp_ccore *c, float *const *params) GP_MUST_CHECK;
// `out` NULL: no result is wanted. In pieces, so that what is encoded travels while the rest is
// being encoded: after begin, more encodes so many of its blocks and returns how many are left;
// `grad` must stay until that is 0; where it is borrowed (GP_CLIENT_BORROW) that is so at once, and
// it stays until the step has ended.
int gp_ccore_push_begin(struct gp_ccore *c, uint32_t tensor, const float *grad, float weight,
	float *out) GP_MUST_CHECK;
uint32_t gp_ccore_push_more(struct gp_ccore *c, uint32_t tensor, uint32_t blocks);
int gp_ccore_push(struct gp_ccore *c, uint32_t tensor, const float *grad, float weight,
	float *out) GP_MUST_CHECK;
// gp_client_blocks, gp_client_push_encoded and gp_client_encoded_ready.
int gp_ccore_blocks(
	const struct gp_ccore *c, uint32_t tensor, struct gp_client_blocks *blocks) GP_MUST_CHECK;
int gp_ccore_push_encoded(struct gp_ccore *c, uint32_t tensor,
	const struct gp_client_encoded *encoded, float weight, float *out) GP_MUST_CHECK;
int gp_ccore_encoded_ready(struct gp_ccore *c, uint32_t tensor, uint32_t blocks) GP_MUST_CHECK;
// Everything asked for in the round (init, step, pull) is there and committed.
bool gp_ccore_done(const struct gp_ccore *c);
// 0 when the tensor was pushed in this step (asynchronous jobs: all were), else -EINVAL.
int gp_ccore_tensor_pushed(struct gp_ccore *c, uint32_t tensor) GP_MUST_CHECK;
// Its result of this step is there and committed. Asynchronous jobs: as gp_ccore_done.
bool gp_ccore_tensor_done(const struct gp_ccore *c, uint32_t tensor);
// The same; true: the owner uses it from now on, and it is not written again.
bool gp_ccore_tensor_take(struct gp_ccore *c, uint32_t tensor);
// -EINVAL when some tensors, but not all, were pushed in this step.
int gp_ccore_step_whole(struct gp_ccore *c) GP_MUST_CHECK;
// After gp_ccore_done, of a whole step: the next one begins. Nothing pushed: nothing happens.
int gp_ccore_step_end(struct gp_ccore *c) GP_MUST_CHECK;
uint32_t gp_ccore_step(const struct gp_ccore *c);

// The newest generation of all tensors, between steps. The pointers must stay until gp_ccore_done.
int gp_ccore_pull(struct gp_ccore *c, float *const *out) GP_MUST_CHECK;
// Ends a round of init or pull; returns the generation pulled.
uint32_t gp_ccore_pull_end(struct gp_ccore *c);

// gp_client_codec, gp_client_residual_get and _put.
int gp_ccore_codec(const struct gp_ccore *c, uint32_t tensor,
	struct gp_client_codec_state *state) GP_MUST_CHECK;
int gp_ccore_residual_get(struct gp_ccore *c, uint32_t tensor, float *values) GP_MUST_CHECK;
int gp_ccore_residual_put(struct gp_ccore *c, uint32_t tensor, const float *values) GP_MUST_CHECK;
bool gp_ccore_has_residuals(const struct gp_ccore *c);

// Embed jobs, as gp_client_push_rows and gp_client_pull_rows; the latter's pointers must stay until
// gp_ccore_done, then gp_ccore_pull_end. Seal: the step's rows are all there, they go out.
int gp_ccore_push_rows(
	struct gp_ccore *c, const struct gp_client_rows *rows, uint32_t count) GP_MUST_CHECK;
void gp_ccore_rows_seal(struct gp_ccore *c);
int gp_ccore_pull_rows(
	struct gp_ccore *c, const struct gp_client_rows *rows, uint32_t count) GP_MUST_CHECK;

int gp_ccore_barrier(struct gp_ccore *c, uint32_t name) GP_MUST_CHECK;
bool gp_ccore_barrier_done(const struct gp_ccore *c);
void gp_ccore_leave(struct gp_ccore *c);

// How a session that has ended was had again.
struct gp_ccore_again {
	char server[GP_ADDR_TEXT_SIZE];
	bool v4;
	uint64_t incarnation; // a new one
	uint64_t nonce;
};

enum gp_ccore_fate {
	GP_CCORE_FIRST,	      // it is the first session
	GP_CCORE_AGAIN,	      // under way: gp_ccore_ready is false, nothing can be asked for
	GP_CCORE_WENT_ON,     // nothing was lost: what was asked for is done as if nothing happened
	GP_CCORE_ROLLED_BACK, // the step in hand is void: read the parameters, then gp_ccore_step
};

// After the session's end, or while it is being had again: it was of a dense job with a layout, and
// may be had (elsewhere). Where the end is -ESTALE the server has the job in another form: only a
// new core can join it.
bool gp_ccore_can_again(const struct gp_ccore *c);
// Joins anew, over other transports: as after gp_ccore_create, but the tensors are registered by
// the core itself. It may be called again when that fails too. Lets go of the memory of the old
// lanes; the transports before are no longer used.
void gp_ccore_again(struct gp_ccore *c, const struct gp_ccore_again *how, struct gp_xport *core0);
enum gp_ccore_fate gp_ccore_fate(const struct gp_ccore *c);
// The network says that nobody listens at the server: ends a session without a fresh sign of life.
void gp_ccore_unreachable(struct gp_ccore *c);

// Why the session ended, or NULL while it stands.
const struct gp_client_error *gp_ccore_error(const struct gp_ccore *c);
// Text of the last call's -errno.
const struct gp_client_error *gp_ccore_last(const struct gp_ccore *c);
// What is being waited for, for a time-out's text.
void gp_ccore_waiting(const struct gp_ccore *c, char *text, size_t size);
void gp_ccore_stats(const struct gp_ccore *c, struct gp_client_stats *stats);

#endif
