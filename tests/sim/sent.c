// SPDX-License-Identifier: BSD-3-Clause
#include "sent.h"

#include <math.h>
#include <string.h>

#define LANES 16

enum { BF16 = 2, TOPK = 3, F16 = 4, INT8 = SENT_INT8, SIGN = 6, TOPK_BF16 = 7, TOPK_F16 = 8 };

uint32_t sent_block_elems(uint32_t payload_max)
{
	return 16 * ((payload_max - 108) / 64);
}

static float nearest_bf16(float x)
{
	uint32_t u;
	memcpy(&u, &x, sizeof(u));
	u = (u + 0x7fff + (u >> 16 & 1)) & 0xffff0000;
	memcpy(&x, &u, sizeof(u));
	return x;
}

// 11 bits of precision, or multiples of 2^-24.
static float nearest_f16(float x)
{
	int exponent = x != 0 ? ilogbf(x) : 0;
	double unit = ldexp(1, exponent < -14 ? -24 : exponent - 10);
	double y = rint(x / unit) * unit; // ties to even; all of it exact
	return fabs(y) >= 65536 ? copysignf(INFINITY, x) : (float)y;
}

static float nearest(uint8_t codec, float x)
{
	if (codec == BF16 || codec == TOPK_BF16)
		return nearest_bf16(x);
	return codec == TOPK ? x : nearest_f16(x);
}

static void send_int8(float *x, uint32_t elems)
{
	float m = 0;
	for (uint32_t i = 0; i < elems; i++)
		m = fmaxf(m, fabsf(x[i]));
	float scale = m / 127;
	for (uint32_t i = 0; i < elems; i++) {
		float q = scale > 0 ? rintf(x[i] / scale) : 0;
		int whole = (int)fminf(127, fmaxf(-127, q));
		x[i] = (float)whole * scale;
	}
}

static void send_sign(float *x, uint32_t elems)
{
	float lane[LANES] = {0};
	for (uint32_t i = 0; i < elems; i++)
		lane[i % LANES] += fabsf(x[i]);
	for (uint32_t half = LANES / 2; half > 0; half /= 2)
		for (uint32_t j = 0; j < half; j++)
			lane[j] += lane[j + half];
	float scale = lane[0] / (float)elems;
	for (uint32_t i = 0; i < elems; i++)
		x[i] = signbit(x[i]) ? -scale : scale;
}

// Picks the largest that is left, the first among equals, as often as the ratio says.
static void send_topk(uint8_t codec, double ratio, float *x, uint32_t elems)
{
	uint32_t count = (uint32_t)ceil(ratio * elems);
	bool kept[16384] = {false};
	for (uint32_t n = 0; n < count; n++) {
		uint32_t best = elems;
		for (uint32_t i = 0; i < elems; i++)
			if (!kept[i] && (best == elems || fabsf(x[i]) > fabsf(x[best])))
				best = i;
		kept[best] = true;
	}
	for (uint32_t i = 0; i < elems; i++)
		x[i] = kept[i] ? nearest(codec, x[i]) : 0;
}

bool sent_is_topk(uint8_t codec)
{
	return codec == TOPK || codec == TOPK_BF16 || codec == TOPK_F16;
}

void sent_result(uint8_t codec, float *values, uint32_t elems)
{
	if (codec == INT8)
		send_int8(values, elems);
	for (uint32_t i = 0; i < elems && (codec == BF16 || codec == F16); i++)
		values[i] = nearest(codec, values[i]);
}

void sent_block(uint8_t codec, double ratio, float *grad, float *residual, uint32_t elems)
{
	for (uint32_t i = 0; i < elems; i++)
		grad[i] = residual[i] = grad[i] + residual[i];
	if (codec == INT8)
		send_int8(grad, elems);
	else if (codec == SIGN)
		send_sign(grad, elems);
	else if (codec == BF16 || codec == F16)
		for (uint32_t i = 0; i < elems; i++)
			grad[i] = nearest(codec, grad[i]);
	else
		send_topk(codec, ratio, grad, elems);
	for (uint32_t i = 0; i < elems; i++)
		residual[i] = residual[i] - grad[i];
}
