// SPDX-License-Identifier: BSD-3-Clause
//
// Steps of a client whose tensors lie on a device. A push takes the older of the slots; blocks are
// handed over in the order of the pushes, as far as they have left the device, by whichever call
// comes.
#include "client_cuda_priv.h"

#include <sched.h>
#include <string.h>
#include <time.h>

#define NS_PER_MS     UINT64_C(1000000)
#define ENCODE_MS_MAX 10000 // of one tensor; then the device is taken for stuck

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

// ---- a step that is lost

static int residuals_zero(struct gp_client_cuda *d)
{
	int rc = d->ops->sync(d->dev); // what is being encoded writes them
	for (uint32_t i = 0; i < d->tensors_count && rc == 0; i++)
		if (d->tensors[i].residual)
			rc = d->ops->zero(d->dev, d->tensors[i].residual, d->tensors[i].elems);
	return rc ? rc : d->ops->sync(d->dev);
}

int gp_client_cuda_void(struct gp_client_cuda *d, struct gp_client_error *err)
{
	for (uint32_t i = 0; i < CUDA_SLOTS; i++)
		d->slots[i].blocks = 0;
	for (uint32_t i = 0; i < d->tensors_count; i++)
		d->tensors[i].out = NULL;
	return cuda_check(d, residuals_zero(d), err);
}

// What a call of the client has returned.
static int told(struct gp_client_cuda *d, int rc, struct gp_client_error *err)
{
	if (rc != -GP_ROLLED_BACK)
		return rc;
	int failed = gp_client_cuda_void(d, NULL);
	return failed ? cuda_check(d, failed, err) : rc;
}

// ---- from the device to the client

static int slot_pump(struct gp_client_cuda *d, uint32_t i, struct gp_client_error *err)
{
	struct cuda_slot *s = &d->slots[i];
	uint32_t ready = s->given;
	int rc = cuda_check(d, d->ops->ready(d->dev, i, &ready), err);
	if (rc || ready == s->given)
		return rc;
	rc = gp_client_encoded_ready(d->c, s->tensor, ready, err);
	if (rc)
		return rc;
	s->given = ready;
	if (s->given == s->blocks)
		s->blocks = 0;
	return 0;
}

// Of the older push first.
static int pump(struct gp_client_cuda *d, struct gp_client_error *err)
{
	int rc = 0;
	for (uint32_t k = 0; k < CUDA_SLOTS && rc == 0; k++) {
		uint32_t i = (d->next + k) % CUDA_SLOTS;
		if (d->slots[i].blocks)
			rc = slot_pump(d, i, err);
	}
	return rc;
}

static const struct cuda_slot *slot_under_way(const struct gp_client_cuda *d)
{
	for (uint32_t k = 0; k < CUDA_SLOTS; k++)
		if (d->slots[(d->next + k) % CUDA_SLOTS].blocks)
			return &d->slots[(d->next + k) % CUDA_SLOTS];
	return NULL;
}

// Until the slot, or all where it is NULL, has been handed over.
static int handed_over(struct gp_client_cuda *d, const struct cuda_slot *one, uint64_t end,
	struct gp_client_error *err)
{
	for (;;) {
		int rc = pump(d, err);
		const struct cuda_slot *s = one ? one : slot_under_way(d);
		if (rc || !s || s->blocks == 0)
			return rc;
		if (now_ns() >= end)
			return cuda_refuse(err, -ETIMEDOUT,
				"waited for the device, which has encoded %u of %u blocks of "
				"tensor %u",
				s->given, s->blocks, s->tensor);
		rc = gp_client_poll(d->c, err);
		if (rc)
			return rc;
		(void)sched_yield();
	}
}

// ---- calls

// Another server, joined since, may cut tensors otherwise, or want another codec.
static bool has_room(const struct gp_client_cuda *d, const struct cuda_encode *e)
{
	return e->blocks.count <= d->blocks_max && e->stride * e->blocks.count <= d->staging_size &&
	       (e->residual || e->blocks.codec == GP_CLIENT_F32);
}

static int encoding_begin(struct gp_client_cuda *d, uint32_t tensor, const float *grad,
	float weight, float *host, struct gp_client_error *err)
{
	uint32_t i = d->next % CUDA_SLOTS;
	struct cuda_slot *s = &d->slots[i];
	int rc = handed_over(d, s, now_ns() + ENCODE_MS_MAX * NS_PER_MS, err);
	if (rc)
		return rc;
	struct cuda_encode e = {.grad = grad, .residual = d->tensors[tensor].residual};
	if (gp_client_blocks(d->c, tensor, &e.blocks))
		return cuda_refuse(err, -ENOTCONN, "the client has no session");
	e.stride = gp_align_up(e.blocks.payload_max, CUDA_STRIDE);
	if (!has_room(d, &e))
		return cuda_refuse(err, -EINVAL,
			"tensor %u has %u blocks of at most %u bytes at the server joined now, "
			"which this pairing was not made for: create client and pairing anew",
			tensor, e.blocks.count, e.blocks.payload_max);
	const struct gp_client_encoded how = {
		.codec = e.blocks.codec,
		.payload = d->ops->staging(d->dev, i),
		.stride = e.stride,
		.lens = s->lens,
	};
	// First, since what it refuses must not be encoded: that changes the residual.
	rc = gp_client_push_encoded(d->c, tensor, &how, weight, host, err);
	if (rc)
		return rc;
	(void)!gp_client_blocks(d->c, tensor, &e.blocks); // k may have been of the step before
	rc = cuda_check(d, d->ops->encode(d->dev, i, &e, s->lens), err);
	if (rc)
		return rc;
	s->tensor = tensor;
	s->blocks = e.blocks.count;
	s->given = 0;
	d->next++;
	return pump(d, err);
}

static int tensor_check(
	const struct gp_client_cuda *d, uint32_t tensor, struct gp_client_error *err)
{
	if (tensor < d->tensors_count)
		return 0;
	return cuda_refuse(
		err, -EINVAL, "tensor %u is outside 0..%u", tensor, d->tensors_count - 1);
}

int gp_client_cuda_push(struct gp_client_cuda *d, uint32_t tensor, const float *grad, float weight,
	float *out, struct gp_client_error *err)
{
	int rc = tensor_check(d, tensor, err);
	if (rc)
		return rc;
	float *host = out ? d->tensors[tensor].host : NULL;
	if (grad)
		rc = encoding_begin(d, tensor, grad, weight, host, err);
	else if (host)
		rc = gp_client_push_pull(d->c, tensor, NULL, weight, host, err);
	else
		rc = gp_client_push(d->c, tensor, NULL, weight, err);
	if (rc == 0)
		d->tensors[tensor].out = out;
	return told(d, rc, err);
}

int gp_client_cuda_poll(struct gp_client_cuda *d, struct gp_client_error *err)
{
	int rc = pump(d, err);
	if (rc == 0)
		rc = gp_client_poll(d->c, err);
	return told(d, rc, err);
}

static int result_take(struct gp_client_cuda *d, struct cuda_tensor *t)
{
	float *out = t->out;
	t->out = NULL;
	return out ? d->ops->copy(d->dev, out, t->host, t->elems * sizeof(float)) : 0;
}

static uint32_t ms_until(uint64_t end)
{
	uint64_t now = now_ns();
	return end > now ? (uint32_t)((end - now) / NS_PER_MS) : 0;
}

int gp_client_cuda_wait_tensor(
	struct gp_client_cuda *d, uint32_t tensor, uint32_t timeout_ms, struct gp_client_error *err)
{
	uint64_t end = now_ns() + timeout_ms * NS_PER_MS;
	int rc = tensor_check(d, tensor, err);
	if (!rc)
		rc = handed_over(d, NULL, end, err);
	if (!rc)
		rc = gp_client_wait_tensor(d->c, tensor, ms_until(end), err);
	if (rc)
		return told(d, rc, err);
	rc = result_take(d, &d->tensors[tensor]);
	return cuda_check(d, rc ? rc : d->ops->sync(d->dev), err);
}

int gp_client_cuda_wait(struct gp_client_cuda *d, uint32_t timeout_ms, struct gp_client_error *err)
{
	uint64_t end = now_ns() + timeout_ms * NS_PER_MS;
	int rc = handed_over(d, NULL, end, err);
	if (!rc)
		rc = gp_client_wait(d->c, ms_until(end), err);
	if (rc)
		return told(d, rc, err);
	for (uint32_t i = 0; i < d->tensors_count && rc == 0; i++)
		rc = result_take(d, &d->tensors[i]);
	return cuda_check(d, rc ? rc : d->ops->sync(d->dev), err);
}

// ---- all tensors at once

static int hosts_copy(struct gp_client_cuda *d, float *const *values, bool to_host)
{
	int rc = 0;
	for (uint32_t i = 0; i < d->tensors_count && rc == 0; i++) {
		float *host = d->tensors[i].host;
		rc = d->ops->copy(d->dev, to_host ? host : values[i], to_host ? values[i] : host,
			d->tensors[i].elems * sizeof(float));
	}
	return rc ? rc : d->ops->sync(d->dev);
}

int gp_client_cuda_init_params(struct gp_client_cuda *d, float *const *params, uint32_t timeout_ms,
	struct gp_client_error *err)
{
	int rc = cuda_check(d, hosts_copy(d, params, true), err);
	if (rc)
		return rc;
	rc = gp_client_init_params(d->c, d->hosts, timeout_ms, err);
	return rc ? told(d, rc, err) : cuda_check(d, hosts_copy(d, params, false), err);
}

int gp_client_cuda_pull_all(struct gp_client_cuda *d, float *const *out, uint32_t *generation,
	uint32_t timeout_ms, struct gp_client_error *err)
{
	int rc = gp_client_pull_all(d->c, d->hosts, generation, timeout_ms, err);
	return rc ? told(d, rc, err) : cuda_check(d, hosts_copy(d, out, false), err);
}

// The client keeps none of these tensors, so that it only says whether it is between steps.
static int residual_check(struct gp_client_cuda *d, uint32_t tensor, struct gp_client_error *err)
{
	int rc = tensor_check(d, tensor, err);
	return rc ? rc : told(d, gp_client_residual_get(d->c, tensor, NULL, err), err);
}

int gp_client_cuda_residual_get(
	struct gp_client_cuda *d, uint32_t tensor, float *values, struct gp_client_error *err)
{
	int rc = residual_check(d, tensor, err);
	if (rc)
		return rc;
	const struct cuda_tensor *t = &d->tensors[tensor];
	if (t->residual)
		rc = d->ops->copy(d->dev, values, t->residual, t->elems * sizeof(float));
	else
		memset(values, 0, t->elems * sizeof(float));
	return cuda_check(d, rc ? rc : d->ops->sync(d->dev), err);
}

int gp_client_cuda_residual_put(
	struct gp_client_cuda *d, uint32_t tensor, const float *values, struct gp_client_error *err)
{
	int rc = residual_check(d, tensor, err);
	if (rc)
		return rc;
	const struct cuda_tensor *t = &d->tensors[tensor];
	if (t->residual)
		rc = d->ops->copy(d->dev, t->residual, values, t->elems * sizeof(float));
	return cuda_check(d, rc ? rc : d->ops->sync(d->dev), err);
}
