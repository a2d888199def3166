// SPDX-License-Identifier: BSD-3-Clause
//
// libgradplane: a worker's side of gradplane.
//
// One client is one rank (or one reader) of one job. A training loop is
//
//	gp_client_create, gp_client_register,
//	gp_client_init_params (train jobs: every rank calls it; what the server already has wins,
//	else the values of the lowest rank), then for each step
//	gp_client_push_pull of each tensor and gp_client_wait; at the end gp_client_destroy
//
// Overlap with computing: push a tensor as soon as back-propagation has its gradient, and let the
// next forward pass wait for one tensor at a time (gp_client_wait_tensor), in the order in which it
// needs them; gp_client_wait ends the step. With forward order as priority what is needed first
// overtakes what has been pushed before and is not sent yet. That takes a server that holds as many
// blocks open as the job has (jobs[].slots, docs/operations.md); where it holds fewer, give
// priority in the order of the pushes, since what is too far behind the first missing block has to
// wait.
//
// Every contribution is encoded at the call (the gradient may be overwritten when the call returns,
// unless it is borrowed) and kept until the server's decision says that the unit is committed; it
// is then applied exactly once, whatever the network did. gp_client_wait returns only when
// everything asked for in this step is committed and has been written to the outputs; then the
// client's step goes up by one.
//
// Borrowed gradients. With GP_CLIENT_BORROW a contribution of codec f32 is not copied: it stays
// where `grad` is, and goes from there whenever it is sent, to another server too. So from the push
// on the caller leaves grad as it is, until gp_client_wait of the step returns 0 (not only
// gp_client_wait_tensor), a call returns -GP_ROLLED_BACK or another error that ends the session, or
// gp_client_destroy returns. After -ETIMEDOUT the step may go on: leave grad as it is. No `out` of
// the step may be there; `out` in grad of the same push is refused (-EINVAL). Who changes grad
// nevertheless has either value, or parts of both, in the sum, block by block, once, and the same
// sum in all ranks' results; runs and takeovers then no longer repeat byte for byte. Other codecs
// and rows (gp_client_push_rows), and what the caller has encoded (gp_client_encoded.h), are copied
// as ever. A reader cannot lend.
//
// In asynchronous jobs (ssp, asp, quorum, adaptive) results are those of a generation that holds
// this rank's contribution and what others have contributed by then; ssp waits for ranks that are
// too far behind. Where a quorum closed steps without this rank, its step goes up by more than one:
// gp_client_step tells.
//
// Threads: one call at a time, from whichever thread. I/O happens inside push, pull, wait and poll:
// call gp_client_poll between pieces of long computation so that transfers overlap with it and
// heartbeats are sent. Or call gp_client_background once: a thread then does the I/O between calls,
// and sleeps while there is nothing to do. Over memif and dpdk those of DPDK's environment come
// beside it; they sleep.
//
// A server that goes away ends the session: every call then returns an error. With reconnect_ms the
// client looks for the next leader at the addresses it was given, and joins and registers again as
// a new incarnation of its rank, inside whatever call it notices in.
//   Where the leader has everything that this rank knows to be committed (synchronous replication
// promises that), the call goes on and returns as if nothing had happened: what is in
// hand is sent again, byte for byte, and what was committed meanwhile counts. `takeovers` counts.
//   Else, as after a snapshot, or where the new leader of an embed job has another number of cores,
// the call returns -GP_ROLLED_BACK, and the text names the step to go on with: nothing of the step
// in hand counts, and some steps before it may be lost. Call gp_client_init_params, then go on with
// step gp_client_step(). What error feedback had kept back is lost.
//   -ENOTCONN: no server was found, or the session ended for good; destroy the client.
//
// Memory: bounded by the registered tensors (one encoded copy of each; none in reduce jobs where
// all are borrowed) plus the transport's frames.
#ifndef GP_CLIENT_H
#define GP_CLIENT_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GP_CLIENT_API	   __attribute__((visibility("default")))
#define GP_ERROR_TEXT_SIZE 256
// The job went back to an earlier step, or on without this rank.
#define GP_ROLLED_BACK ESTALE

// What went wrong, for a person: what was expected, what was seen, where, what to do.
struct gp_client_error {
	int code; // -errno
	char text[GP_ERROR_TEXT_SIZE];
};

// As on the wire (docs/protocol.md).
enum gp_client_codec {
	GP_CLIENT_F32 = 1,
	GP_CLIENT_BF16 = 2,
	GP_CLIENT_TOPK = 3, // the largest elements only
	GP_CLIENT_F16 = 4,
	GP_CLIENT_INT8 = 5, // and one scale a block
	GP_CLIENT_SIGN = 6, // one bit an element, and one scale a block
	GP_CLIENT_TOPK_BF16 = 7,
	GP_CLIENT_TOPK_F16 = 8,
	GP_CLIENT_AUTO = 255, // f32, bf16 or int8, by the tensor's size and the measured bandwidth
};

// How the contributions to a tensor are compressed. What a lossy codec keeps back is sent later
// (error feedback). All zero: as the job's configuration on the server says, else f32.
//
// Top-k sends the largest elements of gradient + what was kept back: topk_ratio of each tensor (or
// topk_count of its elements, if not 0), chosen in each block exactly, at least one; or, with
// topk_sampled, those of the whole tensor above a threshold that is taken from a sample of it, so
// that a block may send many or nothing: the share sent has a standard deviation of 1/16 of what
// was asked for (gp_codec.h). In the first topk_warmup_steps steps of the job more is sent: 25 %,
// 6.25 %, 1.6 %, 0.4 %, each for a quarter of them, never less than the ratio. topk_momentum is m
// of momentum correction with factor masking (Lin et al. 2018): what is sent are accumulated u = m
// u + g instead of g; the server's optimizer must then have no momentum of its own (sgd).
//
// auto: in a deterministic job by size alone: below 4096 elements f32, below 65536 bf16, else int8.
// In others, once the bandwidth has been measured, by the time that f32 would take: below 50 us
// f32, below 1 ms bf16, else int8; decided anew in each of the first 8 steps, then for good.
// gp_client_codec tells what was chosen.
struct gp_client_compress {
	enum gp_client_codec codec;
	float topk_ratio; // above 0 to 1
	uint64_t topk_count;
	uint32_t topk_warmup_steps;
	float topk_momentum; // 0: none; below 1
	bool topk_sampled;
	bool by_caller; // who pushes has encoded already (gp_client_encoded.h)
};

enum gp_client_flags {
	GP_CLIENT_READER = 1 << 0,  // pulls only, is in no view
	GP_CLIENT_REPLACE = 1 << 1, // take the rank over from a live holder
	// bsp train jobs: `out` of push_pull holds what the step before has written there (or
	// gp_client_init_params), so that the server may leave out what has not changed.
	GP_CLIENT_CHANGED = 1 << 2,
	GP_CLIENT_BORROW = 1 << 3, // gradients are not copied: "Borrowed gradients" above
};

struct gp_client_opts {
	const char *server; // "10.99.0.1:9700" or "[fd00::1]:9700", numeric; several: "A,B"
	const char *job;
	uint32_t rank;	// 0 .. world-1
	uint32_t world; // must equal the job's number of workers
	uint32_t flags;
	uint64_t previous_incarnation; // 0 = none; that life of this rank ends at once
	uint32_t join_timeout_ms;      // 0 = 2000
	uint32_t path_mtu;	       // IP MTU to probe with; 0 = of the interface to the server
	uint32_t reconnect_ms; // how long to look for a server when the one joined is gone; 0: not
	struct gp_client_compress compress; // of tensors that say nothing themselves
	// How datagrams travel: "udp" (NULL), "udp:busy_poll=50", "memif:/run/x.sock,id=0",
	// "dpdk:net_af_xdp0,iface=eth1,ip=10.99.0.10" (docs/transports.md). Only used by the call.
	const char *transport;
	// Asked while a server is looked for, several times a second; not 0: the call returns
	// -EINTR, and the session has ended. NULL: nobody is asked.
	int (*stop_wanted)(void *arg);
	void *stop_arg;
	enum gp_client_codec results; // how results come: 0 or f32, bf16, f16, int8
};

#define GP_TENSOR_NAME_SIZE 64
#define GP_TENSOR_DIMS_MAX  8

struct gp_client_tensor {
	char name[GP_TENSOR_NAME_SIZE]; // unique in the job
	uint32_t dims_count;
	uint64_t dims[GP_TENSOR_DIMS_MAX];
	uint32_t priority; // lower is transferred first; forward order is a good choice
	struct gp_client_compress compress; // codec 0: that of the client
};

// What is in force for a tensor, in the step that comes next.
struct gp_client_codec_state {
	enum gp_client_codec codec; // never auto
	bool automatic;		    // chosen by auto
	float topk_ratio;	    // of this step; 0: not top-k
	uint64_t bandwidth;	    // of contributions as measured, bytes/s; 0: not yet
	uint64_t residual_elems;    // floats that gp_client_residual_get writes
};

struct gp_client_stats {
	uint64_t tx_datagrams, tx_bytes, rx_datagrams, rx_bytes;
	uint64_t pushed_bytes;	 // encoded payload of first transmissions
	uint64_t retransmits;	 // datagrams sent again (contribution or query)
	uint64_t rx_rejected;	 // datagrams refused by the validator or of another session
	uint64_t duplicates;	 // results received again
	uint64_t aborts;	 // units sent again in a new view
	uint64_t too_stale;	 // contributions that the server dropped because they came too late
	uint64_t reconnects;	 // sessions had again
	uint64_t residuals_lost; // of these, with what error feedback had kept back
	uint64_t takeovers;	 // of these, where nothing was lost
	uint32_t srtt_us;
};

struct gp_client;

// Joins the job. 0, or -errno with `err` filled: -ETIMEDOUT (no server answered), -EPROTO
// (version), -EMSGSIZE (MTU probe), -ENOENT (unknown job), -EEXIST (rank taken), -EINVAL (wrong
// world size, bad option), -EBUSY. Takes at most join_timeout_ms.
GP_CLIENT_API int gp_client_create(
	struct gp_client **out, const struct gp_client_opts *opts, struct gp_client_error *err);
// Leaves the job if the connection still stands (best effort, <= 200 ms), frees. Takes NULL.
GP_CLIENT_API void gp_client_destroy(struct gp_client *c);

// Registers `count` tensors (f32), whose indices 0..count-1 name them from then on. Returns when
// all ranks of the job have registered and the server has agreed. -EINVAL: another rank registered
// a different shape (the text names tensor, expected, seen); -ENOMEM: over the job's memory_max.
GP_CLIENT_API int gp_client_register(struct gp_client *c, const struct gp_client_tensor *tensors,
	uint32_t count, uint32_t timeout_ms, struct gp_client_error *err);

// Train jobs: `params[i]` holds tensor i's initial values on entry (rank 0's are used unless the
// server restored a snapshot) and the server's current values on return. A reader passes buffers to
// fill only.
GP_CLIENT_API int gp_client_init_params(struct gp_client *c, float *const *params,
	uint32_t timeout_ms, struct gp_client_error *err);

// The step that the next push belongs to; the first after joining is the server's next step.
GP_CLIENT_API uint32_t gp_client_step(const struct gp_client *c);

// Contribute `grad` (dims' product elements) of this step and ask for the result: the sum or mean
// (reduce) or the parameters after this step (train), written to `out` before gp_client_wait
// returns. `out` may be `grad` if that is not borrowed. Once per tensor and step. `grad` NULL: this
// rank passes the tensor in this step: it is in no sum, and its weight (which is not looked at) in
// no mean.
GP_CLIENT_API int gp_client_push_pull(struct gp_client *c, uint32_t tensor, const float *grad,
	float weight, float *out, struct gp_client_error *err);
// Contribute (or pass) without asking for the result.
GP_CLIENT_API int gp_client_push(struct gp_client *c, uint32_t tensor, const float *grad,
	float weight, struct gp_client_error *err);
// Readers, and workers that pull apart from pushing: the newest committed generation of all
// tensors, one generation over all of them; *generation is its number. Blocks at most timeout_ms.
GP_CLIENT_API int gp_client_pull_all(struct gp_client *c, float *const *out, uint32_t *generation,
	uint32_t timeout_ms, struct gp_client_error *err);

// How the tensor's next contribution will be encoded; after gp_client_register. 0 or -EINVAL.
GP_CLIENT_API int gp_client_codec(
	const struct gp_client *c, uint32_t tensor, struct gp_client_codec_state *state);
// What error feedback keeps back of a tensor, residual_elems floats, belongs to a worker's own
// checkpoint: get it between steps, put it back after registration. A client that joins again
// (-ESTALE) begins with zeros, which residuals_lost counts; who has it from the step that is gone
// on with can put it. -EINVAL, -EBUSY within a step.
GP_CLIENT_API int gp_client_residual_get(
	struct gp_client *c, uint32_t tensor, float *values, struct gp_client_error *err);
GP_CLIENT_API int gp_client_residual_put(
	struct gp_client *c, uint32_t tensor, const float *values, struct gp_client_error *err);

// Rows of one table of an embed job: ids[count], values[count][dim] with dim the table's dimension
// as registered (gp_client_register with the table's name and dims {dim}, for all of the job's
// tables). Push: gradients, which are only read; pull: where the rows are written.
struct gp_client_rows {
	uint32_t table; // index as registered
	uint32_t count;
	const uint64_t *ids; // any order, perhaps some several times
	float *values;
};

// Embed jobs (ssp, asp, adaptive; codec f32, bf16 or f16): adds the gradients of rows to this
// step's push, as often as wanted; several of one row are summed. `rows` is read before the call
// returns. gp_client_wait sends the push and returns when it is committed; a push of no rows (count
// 0) is one too. -ENOSPC: more than the job's push_max; nothing of this call is in the push then. A
// table that is full refuses the push, and the session ends with -ENOMEM and its name.
GP_CLIENT_API int gp_client_push_rows(struct gp_client *c, const struct gp_client_rows *rows,
	uint32_t count, struct gp_client_error *err);
// Embed jobs, between steps: the rows as of one generation over all tables and cores, which holds
// this rank's own pushes and what else the job's consistency demands; *generation (may be NULL) is
// its number. Rows that were never pushed read as their initial values. -ENOSPC: too many at once.
GP_CLIENT_API int gp_client_pull_rows(struct gp_client *c, const struct gp_client_rows *rows,
	uint32_t count, uint32_t *generation, uint32_t timeout_ms, struct gp_client_error *err);

// Until everything of this step is committed. -ETIMEDOUT: the text says what was missing.
GP_CLIENT_API int gp_client_wait(
	struct gp_client *c, uint32_t timeout_ms, struct gp_client_error *err);
// Until this tensor, pushed in this step, is committed and written to its output. How soon depends
// on the job's atomicity (block, tensor: when its last block is; step: with the whole step) and, in
// asynchronous jobs, is when gp_client_wait would return. It does not end the step.
GP_CLIENT_API int gp_client_wait_tensor(
	struct gp_client *c, uint32_t tensor, uint32_t timeout_ms, struct gp_client_error *err);
// A thread of the library does the client's I/O between calls from now on, until
// gp_client_destroy. Outputs may then be written at any time between push and wait.
GP_CLIENT_API int gp_client_background(struct gp_client *c, struct gp_client_error *err);
// Does what I/O is due and returns at once; 0 or -errno when the session has ended.
GP_CLIENT_API int gp_client_poll(struct gp_client *c, struct gp_client_error *err);
// All ranks of the job meet at `name` (a number agreed by the program): nobody passes before all
// who are in the job have come, also when its server is lost meanwhile. A name may be used again; a
// worker that dies and begins anew passes where the others have passed before, so where that may
// happen let names differ (the number of the step). -GP_ROLLED_BACK: the step is lost; meet again.
GP_CLIENT_API int gp_client_barrier(
	struct gp_client *c, uint32_t name, uint32_t timeout_ms, struct gp_client_error *err);

GP_CLIENT_API void gp_client_stats(const struct gp_client *c, struct gp_client_stats *stats);
GP_CLIENT_API uint64_t gp_client_incarnation(const struct gp_client *c);
// Address and leadership's number of the server joined last.
GP_CLIENT_API const char *gp_client_server(const struct gp_client *c);
GP_CLIENT_API uint32_t gp_client_epoch(const struct gp_client *c);
GP_CLIENT_API const char *gp_client_version(void);

#ifdef __cplusplus
}
#endif
#endif
