// SPDX-License-Identifier: BSD-3-Clause
//
// How contributions are encoded: which codec a tensor has, how much of it a sparse one keeps in
// this step, error feedback and momentum correction.
//
// Momentum correction and momentum factor masking: Lin et al. 2018, "Deep Gradient Compression",
// 3.2 and algorithm 4: u = m u + g; v = v + u; what is sent of v is cleared in both. The warm-up of
// the ratio is theirs as well (3.3): 25 %, 6.25 %, 1.6 %, 0.4 %, each for a quarter of the steps.
#include "ccore_priv.h"

#include <stdio.h>

#define WARMUP_STAGES	4
#define WARMUP_FIRST	0.25	  // share kept in the first stage, to the power of the stage
#define AUTO_STEPS	8	  // after which `auto` no longer changes
#define AUTO_NS_F32	(50 * US) // transfer time of f32 below which nothing is compressed
#define AUTO_NS_BF16	(1 * MS)
#define AUTO_ELEMS_F32	4096u // the same where the choice must not depend on time
#define AUTO_ELEMS_BF16 65536u
#define BANDWIDTH_NONE	0

bool cc_codec_fault(const struct gp_client_compress *x, char text[CC_FAULT_SIZE])
{
	uint32_t codec = (uint32_t)x->codec;
	int n = 0;
	if (codec >= GP_CODEC_COUNT && codec != GP_CLIENT_AUTO)
		n = snprintf(text, CC_FAULT_SIZE, "codec: %u is unknown", codec);
	else if (codec == GP_CLIENT_AUTO || !gp_codec_is_topk((uint8_t)codec))
		return false;
	else if (x->topk_count == 0 && !(x->topk_ratio > 0 && x->topk_ratio <= 1))
		n = snprintf(text, CC_FAULT_SIZE, "topk_ratio: %g is out of range, above 0 to 1",
			(double)x->topk_ratio);
	else if (!(x->topk_momentum >= 0 && x->topk_momentum < 1))
		n = snprintf(text, CC_FAULT_SIZE, "topk_momentum: %g is out of range, 0 to below 1",
			(double)x->topk_momentum);
	return n > 0;
}

// ---- which codec

static bool is_lossy(uint8_t codec)
{
	return codec != GP_CODEC_F32;
}

static uint8_t codec_by_ns(uint64_t ns)
{
	if (ns < AUTO_NS_F32)
		return GP_CODEC_F32;
	return ns < AUTO_NS_BF16 ? GP_CODEC_BF16 : GP_CODEC_INT8;
}

static uint8_t codec_by_size(uint64_t elems)
{
	if (elems < AUTO_ELEMS_F32)
		return GP_CODEC_F32;
	return elems < AUTO_ELEMS_BF16 ? GP_CODEC_BF16 : GP_CODEC_INT8;
}

uint64_t cc_bandwidth(const struct gp_ccore *c)
{
	uint64_t sum = 0;
	for (uint32_t i = 0; i < c->lanes_count; i++)
		sum += c->lanes[i].rate;
	return sum;
}

// By size until there is a measurement, and always where runs must repeat.
static uint8_t codec_auto(const struct gp_ccore *c, const struct cc_tensor *t)
{
	uint64_t rate = cc_bandwidth(c);
	if (rate == BANDWIDTH_NONE || (c->w.flags & GP_WELCOME_DETERMINISTIC))
		return codec_by_size(t->elems);
	return codec_by_ns((uint64_t)((double)t->elems * sizeof(float) * 1e9 / (double)rate));
}

// What the configuration of the job says about this tensor, as LAYOUT brings it.
static struct gp_client_compress hint_read(uint32_t hint)
{
	return (struct gp_client_compress){
		.codec = (enum gp_client_codec)(hint & 0xff),
		.topk_ratio = (float)((double)(hint >> 8) / GP_WIRE_RATIO_ONE),
	};
}

void cc_codec_choose(struct gp_ccore *c, struct cc_tensor *t, uint32_t hint)
{
	bool by_caller = t->d.compress.by_caller;
	t->how = t->d.compress;
	if (t->how.codec == 0) {
		t->how = c->cfg.compress;
		by_caller |= c->cfg.compress.by_caller;
	}
	if (t->how.codec == 0)
		t->how = hint_read(hint);
	t->how.by_caller = by_caller;
	// A server of a later version may know more codecs.
	if (t->how.codec != GP_CLIENT_AUTO && t->how.codec >= (int)GP_CODEC_COUNT)
		t->how.codec = GP_CLIENT_F32;
	if (t->how.codec == 0)
		t->how.codec = GP_CLIENT_F32;
	bool fixed = t->how.codec != GP_CLIENT_AUTO;
	t->codec = fixed ? (uint8_t)t->how.codec : codec_auto(c, t);
	if (!gp_codec_is_topk(t->codec))
		t->how.topk_sampled = false, t->how.topk_momentum = 0;
	if (by_caller) // who corrects momentum as well
		t->how.topk_momentum = 0;
}

// The bandwidth may be known better than at the last step.
void cc_codecs_step(struct gp_ccore *c)
{
	if (c->auto_steps >= AUTO_STEPS)
		return;
	c->auto_steps++;
	for (uint32_t i = 0; i < c->tensors_count; i++) {
		struct cc_tensor *t = &c->tensors[i];
		if (t->how.codec != GP_CLIENT_AUTO)
			continue;
		uint8_t codec = codec_auto(c, t);
		// f32 would not send what was kept back before.
		if (is_lossy(t->codec) && !is_lossy(codec))
			codec = GP_CODEC_BF16;
		t->codec = codec;
	}
}

// ---- how much of it

static double ratio_final(const struct cc_tensor *t)
{
	if (t->how.topk_count == 0)
		return (double)t->how.topk_ratio;
	return GP_MIN((double)t->how.topk_count / (double)t->elems, 1.0);
}

double cc_codec_ratio(const struct cc_tensor *t, uint32_t step)
{
	double ratio = ratio_final(t), now = WARMUP_FIRST;
	uint32_t steps = t->how.topk_warmup_steps;
	if (step == 0 || step > steps)
		return ratio;
	uint64_t stage = (uint64_t)(step - 1) * WARMUP_STAGES / steps;
	for (uint64_t i = 0; i < stage; i++)
		now *= WARMUP_FIRST;
	return GP_MAX(now, ratio);
}

static double ratio_largest(const struct cc_tensor *t)
{
	return t->how.topk_warmup_steps > 0 ? GP_MAX(WARMUP_FIRST, ratio_final(t)) : ratio_final(t);
}

// So many of a block that its payload is not longer than `size`.
static uint32_t count_fitting(uint8_t codec, uint32_t elems, size_t size)
{
	uint32_t low = 0, high = elems;
	while (low < high) {
		uint32_t mid = low + (high - low + 1) / 2;
		if (gp_codec_size_max(codec, elems, mid) <= size)
			low = mid;
		else
			high = mid - 1;
	}
	return low;
}

size_t cc_codec_block_size(const struct gp_ccore *c, const struct cc_tensor *t)
{
	uint32_t elems = c->layout.block_elems;
	if (t->how.codec == GP_CLIENT_AUTO)
		return sizeof(float) * elems;
	uint32_t k = gp_codec_topk_count(ratio_largest(t), elems);
	if (t->how.topk_sampled)
		k = count_fitting(t->codec, elems, sizeof(float) * elems);
	return gp_codec_size_max(t->codec, elems, k);
}

static uint64_t keep_count(const struct cc_tensor *t, double ratio)
{
	uint64_t keep = (uint64_t)(ratio * (double)t->elems + 0.5);
	return GP_MIN(GP_MAX(keep, 1), t->elems);
}

static uint32_t samples_count(const struct cc_tensor *t, double ratio)
{
	return gp_codec_sample_count(t->elems, keep_count(t, ratio));
}

// ---- memory, once the codecs are known

static bool loses(const struct cc_tensor *t)
{
	return t->how.codec == GP_CLIENT_AUTO || is_lossy(t->codec);
}

static bool has_residual(const struct cc_tensor *t)
{
	return loses(t) && !t->how.by_caller;
}

static size_t floats_wanted(const struct gp_ccore *c, uint32_t *samples)
{
	size_t floats = 0;
	for (uint32_t i = 0; i < c->tensors_count; i++) {
		const struct cc_tensor *t = &c->tensors[i];
		if (has_residual(t))
			floats += t->elems;
		if (t->how.topk_momentum > 0)
			floats += t->elems;
		if (t->how.topk_sampled && !t->how.by_caller)
			*samples = GP_MAX(*samples, samples_count(t, ratio_final(t)));
	}
	return floats;
}

int cc_codec_memory(struct gp_ccore *c)
{
	uint32_t samples = 0;
	size_t floats = floats_wanted(c, &samples);
	if (floats + samples == 0)
		return 0;
	float *at = c->cfg.take(c->cfg.mem_arg, sizeof(float) * (floats + samples));
	c->feedback = at;
	if (!at)
		return -ENOMEM;
	for (uint32_t i = 0; i < c->tensors_count; i++) {
		struct cc_tensor *t = &c->tensors[i];
		if (has_residual(t)) {
			t->residual = at;
			at += t->elems;
		}
		if (t->how.topk_momentum > 0) {
			t->velocity = at;
			at += t->elems;
		}
	}
	c->sample = at;
	return 0;
}

// ---- a contribution

static void velocity_step(struct cc_tensor *t, const float *grad)
{
	float m = t->how.topk_momentum;
	for (uint64_t i = 0; i < t->elems; i++)
		t->velocity[i] = m * t->velocity[i] + grad[i];
}

const float *cc_codec_begin(struct gp_ccore *c, struct cc_tensor *t, const float *grad)
{
	t->ratio = 0;
	t->threshold = 0;
	if (!gp_codec_is_topk(t->codec))
		return grad;
	t->ratio = cc_codec_ratio(t, c->step);
	const float *values = grad;
	if (t->velocity) {
		velocity_step(t, grad);
		values = t->velocity;
	}
	if (t->how.topk_sampled) {
		uint32_t tensor = (uint32_t)(t - c->tensors);
		t->threshold = gp_codec_threshold(values, t->residual, t->elems,
			keep_count(t, t->ratio), samples_count(t, t->ratio),
			(uint64_t)tensor << 32 | c->step, c->sample);
	}
	return values;
}

// Momentum factor masking: what was sent gives no more push in its old direction.
static void velocity_mask(float *velocity, const uint8_t *payload)
{
	uint32_t count = gp_load16(payload);
	for (uint32_t i = 0; i < count; i++)
		velocity[gp_load16(payload + 2 + 2 * i)] = 0;
}

void cc_codec_block(
	struct gp_ccore *c, struct cc_tensor *t, uint32_t i, uint8_t codec, const float *values)
{
	uint32_t block = t->first_block + i;
	struct cc_block *b = &c->blocks[block];
	size_t at = (size_t)i * c->layout.block_elems;
	bool topk = gp_codec_is_topk(codec);
	bool keeps = t->residual && codec != GP_CODEC_F32;
	struct gp_codec_src src = {
		.grad = values + at,
		.residual = keeps ? t->residual + at : NULL,
		.elems = b->elems,
	};
	if (topk && t->threshold > 0) {
		src.k = count_fitting(codec, b->elems, c->kept_stride);
		src.threshold = t->threshold;
	} else if (topk) {
		src.k = gp_codec_topk_count(t->ratio, b->elems);
	}
	uint8_t *payload = c->kept + (size_t)block * c->kept_stride;
	b->codec = codec;
	b->len = gp_codec_encode(codec, &src, payload);
	GP_ASSERT(b->len <= c->kept_stride);
	if (topk && t->velocity)
		velocity_mask(t->velocity + at, payload);
	if (topk && gp_load16(payload) == 0)
		cc_codec_empty(b); // it takes a place in a run instead of a payload
}

void cc_codec_empty(struct cc_block *b)
{
	b->codec = GP_CODEC_NONE;
	b->len = 0;
}

// ---- what the caller sees and keeps

int gp_ccore_codec(const struct gp_ccore *c, uint32_t tensor, struct gp_client_codec_state *state)
{
	if (!c->laid_out || tensor >= c->tensors_count)
		return -EINVAL;
	const struct cc_tensor *t = &c->tensors[tensor];
	*state = (struct gp_client_codec_state){
		.codec = (enum gp_client_codec)t->codec,
		.automatic = t->how.codec == GP_CLIENT_AUTO,
		.topk_ratio = gp_codec_is_topk(t->codec) ? (float)cc_codec_ratio(t, c->step) : 0,
		.bandwidth = cc_bandwidth(c),
		.residual_elems = (t->residual ? t->elems : 0) + (t->velocity ? t->elems : 0),
	};
	return 0;
}

static int residual_check(struct gp_ccore *c, uint32_t tensor)
{
	if (c->error.code)
		return c->error.code;
	if (!c->laid_out || tensor >= c->tensors_count)
		return cc_refuse_call(c, -EINVAL,
			"residuals exist after registration, of tensors 0..%u",
			c->tensors_count ? c->tensors_count - 1 : 0);
	if (c->pushed > 0)
		return cc_refuse_call(
			c, -EBUSY, "residuals can be read and written between steps only");
	return 0;
}

int gp_ccore_residual_get(struct gp_ccore *c, uint32_t tensor, float *values)
{
	int rc = residual_check(c, tensor);
	if (rc)
		return rc;
	const struct cc_tensor *t = &c->tensors[tensor];
	if (t->residual)
		memcpy(values, t->residual, sizeof(float) * t->elems);
	if (t->velocity)
		memcpy(values + t->elems, t->velocity, sizeof(float) * t->elems);
	return 0;
}

int gp_ccore_residual_put(struct gp_ccore *c, uint32_t tensor, const float *values)
{
	int rc = residual_check(c, tensor);
	if (rc)
		return rc;
	const struct cc_tensor *t = &c->tensors[tensor];
	if (t->residual)
		memcpy(t->residual, values, sizeof(float) * t->elems);
	if (t->velocity)
		memcpy(t->velocity, values + t->elems, sizeof(float) * t->elems);
	return 0;
}

void cc_residuals_clear(struct gp_ccore *c)
{
	for (uint32_t i = 0; i < c->tensors_count; i++) {
		const struct cc_tensor *t = &c->tensors[i];
		if (t->residual)
			memset(t->residual, 0, sizeof(float) * t->elems);
		if (t->velocity)
			memset(t->velocity, 0, sizeof(float) * t->elems);
	}
}

bool gp_ccore_has_residuals(const struct gp_ccore *c)
{
	bool any = c->feedback != NULL;
	for (uint32_t i = 0; i < c->tensors_count && !any; i++)
		any = c->tensors[i].how.by_caller && loses(&c->tensors[i]);
	return any;
}
