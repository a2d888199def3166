// SPDX-License-Identifier: BSD-3-Clause
//
// Codecs whose elements do not know of each other: one thread takes eight neighbours of the tensor
// with 16-byte accesses, or a single element where blocks or pointers are not aligned for that.
#include "codec_value.cuh"

#include <cuda_runtime.h>

static constexpr uint32_t THREADS = 256;
static constexpr uint32_t WIDTH = 8;

static __device__ __forceinline__ void load8(float *v, const float *src)
{
	float4 a = reinterpret_cast<const float4 *>(src)[0];
	float4 b = reinterpret_cast<const float4 *>(src)[1];
	v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w;
	v[4] = b.x, v[5] = b.y, v[6] = b.z, v[7] = b.w;
}

static __device__ __forceinline__ void store8(float *dst, const float *v)
{
	reinterpret_cast<float4 *>(dst)[0] = make_float4(v[0], v[1], v[2], v[3]);
	reinterpret_cast<float4 *>(dst)[1] = make_float4(v[4], v[5], v[6], v[7]);
}

template <class HALF, bool FEEDBACK>
static __device__ __forceinline__ void half_encode(
	const struct codec_cuda_work &w, uint64_t at, uint16_t *out)
{
	float acc = w.grad[at];
	if (FEEDBACK)
		acc = add_as_cpu(acc, w.residual[at]);
	uint16_t half = HALF::round(acc);
	*out = half;
	if (FEEDBACK)
		w.residual[at] = rest_of(acc, HALF::value(half));
}

template <class HALF, bool FEEDBACK>
static __device__ __forceinline__ void half_encode8(
	const struct codec_cuda_work &w, uint64_t at, uint16_t *out)
{
	float acc[WIDTH], rest[WIDTH];
	uint32_t pair[WIDTH / 2] = {};
	load8(acc, w.grad + at);
	if (FEEDBACK)
		load8(rest, w.residual + at);
#pragma unroll
	for (uint32_t i = 0; i < WIDTH; i++) {
		if (FEEDBACK)
			acc[i] = add_as_cpu(acc[i], rest[i]);
		uint16_t half = HALF::round(acc[i]);
		pair[i / 2] |= (uint32_t)half << 16 * (i % 2);
		if (FEEDBACK)
			rest[i] = rest_of(acc[i], HALF::value(half));
	}
	*reinterpret_cast<uint4 *>(out) = make_uint4(pair[0], pair[1], pair[2], pair[3]);
	if (FEEDBACK)
		store8(w.residual + at, rest);
}

template <class HALF, bool FEEDBACK, bool WIDE>
static __global__ void __launch_bounds__(THREADS) half_encode_kernel(struct codec_cuda_work w)
{
	uint32_t width = WIDE ? WIDTH : 1;
	uint64_t item = (uint64_t)blockIdx.x * THREADS + threadIdx.x, at = item * width;
	if (at >= w.elems)
		return;
	uint64_t block = WIDE ? (uint32_t)item / (w.block_elems / WIDTH) : item / w.block_elems;
	uint16_t *out = reinterpret_cast<uint16_t *>(w.payload + block * w.stride) +
			(at - block * w.block_elems);
	if (WIDE && at + WIDTH <= w.elems) {
		half_encode8<HALF, FEEDBACK>(w, at, out);
		return;
	}
	for (uint32_t i = 0; i < width && at + i < w.elems; i++)
		half_encode<HALF, FEEDBACK>(w, at + i, out + i);
}

// Decoders: the value of element i of a payload, and of eight from i on.
template <class HALF> struct half_reader {
	static __device__ __forceinline__ float one(const uint8_t *p, uint32_t i)
	{
		return HALF::value(reinterpret_cast<const uint16_t *>(p)[i]);
	}

	static __device__ __forceinline__ void eight(float *v, const uint8_t *p, uint32_t i)
	{
		uint4 q = *reinterpret_cast<const uint4 *>(p + 2 * i);
		uint32_t pair[WIDTH / 2] = {q.x, q.y, q.z, q.w};
#pragma unroll
		for (uint32_t j = 0; j < WIDTH; j++)
			v[j] = HALF::value((uint16_t)(pair[j / 2] >> 16 * (j % 2)));
	}
};

struct int8_reader {
	static __device__ __forceinline__ float one(const uint8_t *p, uint32_t i)
	{
		float scale = *reinterpret_cast<const float *>(p);
		return int8_value(reinterpret_cast<const int8_t *>(p + 4)[i], scale);
	}

	static __device__ __forceinline__ void eight(float *v, const uint8_t *p, uint32_t i)
	{
		float scale = *reinterpret_cast<const float *>(p);
		const uint32_t *four = reinterpret_cast<const uint32_t *>(p + 4 + i);
		uint32_t q[2] = {four[0], four[1]};
#pragma unroll
		for (uint32_t j = 0; j < WIDTH; j++)
			v[j] = int8_value((int8_t)(q[j / 4] >> 8 * (j % 4)), scale);
	}
};

struct sign_reader {
	static __device__ __forceinline__ float one(const uint8_t *p, uint32_t i)
	{
		float scale = *reinterpret_cast<const float *>(p);
		return sign_value(p[4 + i / 8] >> i % 8 & 1, scale);
	}

	static __device__ __forceinline__ void eight(float *v, const uint8_t *p, uint32_t i)
	{
		float scale = *reinterpret_cast<const float *>(p);
		uint32_t eight = p[4 + i / 8];
#pragma unroll
		for (uint32_t j = 0; j < WIDTH; j++)
			v[j] = sign_value(eight >> j & 1, scale);
	}
};

template <class READER, bool WIDE>
static __global__ void __launch_bounds__(THREADS) decode_kernel(struct codec_cuda_work w)
{
	uint32_t width = WIDE ? WIDTH : 1;
	uint64_t item = (uint64_t)blockIdx.x * THREADS + threadIdx.x, at = item * width;
	if (at >= w.elems)
		return;
	uint64_t block = WIDE ? (uint32_t)item / (w.block_elems / WIDTH) : item / w.block_elems;
	const uint8_t *in = w.payload + block * w.stride;
	uint32_t i = (uint32_t)(at - block * w.block_elems);
	if (WIDE && at + WIDTH <= w.elems) {
		float v[WIDTH];
		READER::eight(v, in, i);
		store8(w.result + at, v);
		return;
	}
	for (uint32_t j = 0; j < width && at + j < w.elems; j++)
		w.result[at + j] = READER::one(in, i + j);
}

static bool wide_fits(const struct codec_cuda_work &w, const void *a, const void *b)
{
	uintptr_t low = (uintptr_t)a | (uintptr_t)b;
	return w.block_elems % WIDTH == 0 && low % 16 == 0;
}

static uint32_t grid_of(const struct codec_cuda_work &w, bool wide)
{
	uint64_t width = wide ? WIDTH : 1;
	return (uint32_t)((w.elems + width * THREADS - 1) / (width * THREADS));
}

template <class HALF>
static void half_encode_launch(const struct codec_cuda_work &w, cudaStream_t s)
{
	bool wide = wide_fits(w, w.grad, w.residual);
	uint32_t grid = grid_of(w, wide);
	if (w.residual && wide)
		half_encode_kernel<HALF, true, true><<<grid, THREADS, 0, s>>>(w);
	else if (w.residual)
		half_encode_kernel<HALF, true, false><<<grid, THREADS, 0, s>>>(w);
	else if (wide)
		half_encode_kernel<HALF, false, true><<<grid, THREADS, 0, s>>>(w);
	else
		half_encode_kernel<HALF, false, false><<<grid, THREADS, 0, s>>>(w);
}

template <class READER> static void decode_launch(const struct codec_cuda_work &w, cudaStream_t s)
{
	bool wide = wide_fits(w, w.result, nullptr);
	uint32_t grid = grid_of(w, wide);
	if (wide)
		decode_kernel<READER, true><<<grid, THREADS, 0, s>>>(w);
	else
		decode_kernel<READER, false><<<grid, THREADS, 0, s>>>(w);
}

// The same rows of bytes, packed on one side and `stride` apart on the other.
static cudaError_t f32_copy(const struct codec_cuda_work &w, bool encode, cudaStream_t s)
{
	size_t row = (size_t)w.block_elems * 4, whole = w.elems / w.block_elems;
	size_t tail = (w.elems - whole * w.block_elems) * 4;
	uint8_t *dst = encode ? w.payload : (uint8_t *)w.result;
	const uint8_t *src = encode ? (const uint8_t *)w.grad : w.payload;
	size_t dst_step = encode ? w.stride : row, src_step = encode ? row : w.stride;
	if (w.stride == row)
		return cudaMemcpyAsync(dst, src, w.elems * 4, cudaMemcpyDefault, s);
	cudaError_t err = cudaSuccess;
	if (whole)
		err = cudaMemcpy2DAsync(
			dst, dst_step, src, src_step, row, whole, cudaMemcpyDefault, s);
	if (err == cudaSuccess && tail)
		err = cudaMemcpyAsync(
			dst + whole * dst_step, src + whole * src_step, tail, cudaMemcpyDefault, s);
	return err;
}

int codec_cuda_flat_encode(const struct codec_cuda_work *w, void *stream)
{
	cudaStream_t s = (cudaStream_t)stream;
	if (w->codec == CODEC_CUDA_F32)
		return f32_copy(*w, true, s);
	if (w->codec == CODEC_CUDA_BF16)
		half_encode_launch<bf16>(*w, s);
	else if (w->codec == CODEC_CUDA_F16)
		half_encode_launch<f16>(*w, s);
	else
		return cudaErrorInvalidValue;
	return cudaGetLastError();
}

int codec_cuda_flat_decode(const struct codec_cuda_work *w, void *stream)
{
	cudaStream_t s = (cudaStream_t)stream;
	if (w->codec == CODEC_CUDA_F32)
		return f32_copy(*w, false, s);
	if (w->codec == CODEC_CUDA_BF16)
		decode_launch<half_reader<bf16>>(*w, s);
	else if (w->codec == CODEC_CUDA_F16)
		decode_launch<half_reader<f16>>(*w, s);
	else if (w->codec == CODEC_CUDA_INT8)
		decode_launch<int8_reader>(*w, s);
	else if (w->codec == CODEC_CUDA_SIGN)
		decode_launch<sign_reader>(*w, s);
	else
		return cudaErrorInvalidValue;
	return cudaGetLastError();
}
