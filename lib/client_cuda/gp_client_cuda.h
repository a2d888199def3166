// SPDX-License-Identifier: BSD-3-Clause
//
// libgradplane_cuda: a worker whose tensors lie on an NVIDIA GPU. It pairs a client (gp_client.h)
// with the encoders of lib/codec/cuda: a gradient is encoded where it lies, payloads cross the bus
// in pieces, and each piece goes out while later ones are being encoded or copied. The server sees
// what it would see of a worker that encodes on its CPU, byte for byte.
//
//	if gp_client_cuda_available: gp_client_create with compress.by_caller, gp_client_register,
//	gp_client_cuda_create, gp_client_cuda_init_params, then for each step gp_client_cuda_push of
//	each tensor and gp_client_cuda_wait; at the end gp_client_destroy, then
//	gp_client_cuda_destroy, since a client writes results until it has left
//
// Where there is no driver or device the program starts all the same, and says why: it then creates
// its client without by_caller and uses gp_client_push_pull.
//
// Order on the device: gradients are read, and results written, on the caller's stream, behind what
// is queued there. Without one, gradients must be complete at the call. A gradient must stay as it
// is until gp_client_cuda_wait has returned 0, or gp_client_cuda_void or _destroy has returned. All
// pointers to gradients, parameters and results are to device memory (or pinned host memory),
// 4-byte aligned.
//
// Results come back as f32 or as opts.results says, are decoded on the CPU into pinned memory, and
// copied to the device by gp_client_cuda_wait.
//
// Error feedback: what a lossy codec keeps back of a tensor lies on the device. After
// -GP_ROLLED_BACK from a call of this library it is zero; the client has counted and told it. Where
// the program hears of it from a call of the client itself, such as gp_client_barrier, it calls
// gp_client_cuda_void. gp_client_cuda_residual_get and _put are for checkpoints.
//
// Threads: one call at a time, of this library and of the client. Calls make their device the
// calling thread's (cudaSetDevice) and take its last error. Blocks are handed over inside
// push, poll and wait only, so call gp_client_cuda_poll between pieces of long computation, also
// with gp_client_background.
//
// Memory, taken by gp_client_cuda_create: on the device a residual for each tensor with a lossy
// codec, and twice the payloads of the largest tensor; pinned the latter as well, and all results.
//
// Errors: as gp_client.h; and -ENODEV no usable device, -EIO the device failed. After -EIO both,
// this and the client, are good for destroy only: a contribution may never become whole.
#ifndef GP_CLIENT_CUDA_H
#define GP_CLIENT_CUDA_H

#include <gp_client_encoded.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gp_client_cuda;

struct gp_client_cuda_opts {
	int device;
	void *stream; // a cudaStream_t; NULL: streams of its own
};

// False and a reason in one line when no device can be used. Any thread, any time.
GP_CLIENT_API bool gp_client_cuda_available(char *why, size_t size);

// After gp_client_register, once in a client's life. -ENODEV, -ENOMEM; -EINVAL: no tensors.
GP_CLIENT_API int gp_client_cuda_create(struct gp_client_cuda **out, struct gp_client *c,
	const struct gp_client_cuda_opts *opts, struct gp_client_error *err);
// After gp_client_destroy, which it has no need of. Waits for what is queued on the device. Takes
// NULL.
GP_CLIENT_API void gp_client_cuda_destroy(struct gp_client_cuda *d);

// gp_client_init_params and gp_client_pull_all, with device memory.
GP_CLIENT_API int gp_client_cuda_init_params(struct gp_client_cuda *d, float *const *params,
	uint32_t timeout_ms, struct gp_client_error *err);
GP_CLIENT_API int gp_client_cuda_pull_all(struct gp_client_cuda *d, float *const *out,
	uint32_t *generation, uint32_t timeout_ms, struct gp_client_error *err);

// gp_client_push_pull, or gp_client_push where `out` is NULL. Returns when the encoding is queued;
// two tensors may be under way, a third waits until the first has left the device (-ETIMEDOUT: not
// in ten seconds).
GP_CLIENT_API int gp_client_cuda_push(struct gp_client_cuda *d, uint32_t tensor, const float *grad,
	float weight, float *out, struct gp_client_error *err);
// Hands over what has left the device, and does what I/O is due.
GP_CLIENT_API int gp_client_cuda_poll(struct gp_client_cuda *d, struct gp_client_error *err);
// gp_client_wait_tensor and gp_client_wait; the results are on the device when they return 0.
GP_CLIENT_API int gp_client_cuda_wait_tensor(struct gp_client_cuda *d, uint32_t tensor,
	uint32_t timeout_ms, struct gp_client_error *err);
GP_CLIENT_API int gp_client_cuda_wait(
	struct gp_client_cuda *d, uint32_t timeout_ms, struct gp_client_error *err);

// What is kept back of a tensor, as many floats as it has elements, in ordinary memory; between
// steps, else -EBUSY. Zeros where the codec loses nothing.
GP_CLIENT_API int gp_client_cuda_residual_get(
	struct gp_client_cuda *d, uint32_t tensor, float *values, struct gp_client_error *err);
GP_CLIENT_API int gp_client_cuda_residual_put(struct gp_client_cuda *d, uint32_t tensor,
	const float *values, struct gp_client_error *err);
// The step in hand is void: nothing is kept back any more, what is being encoded is not sent.
GP_CLIENT_API int gp_client_cuda_void(struct gp_client_cuda *d, struct gp_client_error *err);

#ifdef __cplusplus
}
#endif
#endif
