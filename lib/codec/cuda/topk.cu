// SPDX-License-Identifier: BSD-3-Clause
//
// Top-k: the exact choice of the k largest elements of a block, and the scatter of what was chosen.
#include "block.cuh"

// Which elements a top-k keeps: those with key > above, and of those with key == above the first.
struct cut {
	uint32_t above, equals;
};

// The search compares keys very often and looks at signs never: the sign is turned to the lowest
// bit, so that an unsigned comparison with 2 * above + 1 compares keys alone.
static __device__ __forceinline__ uint32_t turned(float v)
{
	return __funnelshift_l(bits_of(v), bits_of(v), 1);
}

static __device__ __forceinline__ float turned_back(float v)
{
	return float_of(__funnelshift_r(bits_of(v), bits_of(v), 1));
}

template <class HOLD>
static __device__ __forceinline__ uint32_t count_above(
	const HOLD &acc, uint32_t elems, uint32_t above)
{
	uint32_t n = 0, limit = 2 * above + 1;
#pragma unroll
	for (uint32_t j = 0; j < acc.items(elems); j++)
		n += bits_of(acc.get(j)) > limit;
	return __reduce_add_sync(ALL, n);
}

// Keys order like magnitudes, so this is a search over integers, as in lib/codec/topk.c: down from
// the largest key in growing strides until too many lie above, then bisection, which ends as soon
// as exactly k lie above. `high` has at most k above it, `low` has more, or is -1; known_low is
// such a one, or -1.
template <class HOLD>
static __device__ __forceinline__ cut cut_find(
	const HOLD &acc, uint32_t elems, uint32_t k, int64_t known_low)
{
	uint32_t max = 0, above_high = 0;
#pragma unroll
	for (uint32_t j = 0; j < acc.items(elems); j++)
		max = ::max(max, bits_of(acc.get(j)));
	int64_t high = __reduce_max_sync(ALL, max) >> 1, low = high;
	if (known_low >= 0)
		low = known_low;
	for (int64_t stride = 1 << 23; low == high && above_high != k; stride *= 2) {
		low = high - stride;
		if (low < 0) {
			low = -1;
			break;
		}
		uint32_t n = count_above(acc, elems, (uint32_t)low);
		if (n <= k) {
			high = low;
			above_high = n;
		}
	}
	while (above_high != k && high - low > 1) {
		int64_t mid = low + (high - low) / 2;
		uint32_t n = count_above(acc, elems, (uint32_t)mid);
		if (n > k) {
			low = mid;
		} else {
			high = mid;
			above_high = n;
		}
	}
	return cut{(uint32_t)high, k - above_high};
}

static __host__ __device__ __forceinline__ uint32_t value_size(uint32_t codec)
{
	return codec == CODEC_CUDA_TOPK ? 4 : 2;
}

template <class HALF>
static __device__ __forceinline__ float half_put(uint8_t *value, uint32_t n, float acc)
{
	uint16_t half = HALF::round(acc);
	reinterpret_cast<uint16_t *>(value)[n] = half;
	return rest_of(acc, HALF::value(half));
}

// Stores the n-th value and returns what error feedback keeps of it.
static __device__ __forceinline__ float value_put(
	uint32_t codec, uint8_t *value, uint32_t n, float acc)
{
	if (codec == CODEC_CUDA_TOPK_BF16)
		return half_put<bf16>(value, n, acc);
	if (codec == CODEC_CUDA_TOPK_F16)
		return half_put<f16>(value, n, acc);
	reinterpret_cast<float *>(value)[n] = acc;
	return 0;
}

static __device__ __forceinline__ float value_get(uint32_t codec, const uint8_t *value, uint32_t n)
{
	if (codec == CODEC_CUDA_TOPK_BF16)
		return bf16::value(reinterpret_cast<const uint16_t *>(value)[n]);
	if (codec == CODEC_CUDA_TOPK_F16)
		return f16::value(reinterpret_cast<const uint16_t *>(value)[n]);
	return reinterpret_cast<const float *>(value)[n];
}

// Where an element is in the block, for the whole block and for a list of candidates.
struct place_striped {
	uint32_t elems;
	__device__ __forceinline__ uint32_t index(uint32_t j, uint32_t lane) const
	{
		return striped::index(j, lane);
	}
	__device__ __forceinline__ bool exists(uint32_t j, uint32_t lane) const
	{
		return index(j, lane) < elems;
	}
};

static constexpr uint32_t LIST = 2 * WARP; // candidates that the fast way takes

struct place_list {
	const uint16_t *list;
	uint32_t count;
	__device__ __forceinline__ uint32_t index(uint32_t j, uint32_t lane) const
	{
		return list[j * WARP + lane];
	}
	__device__ __forceinline__ bool exists(uint32_t j, uint32_t lane) const
	{
		return j * WARP + lane < count;
	}
};

// Indices and values in the order of the elements; positions come from the lanes' votes. With error
// feedback the residual of what is sent is what the rounding leaves.
template <class HOLD, class PLACE, bool FEEDBACK>
static __device__ __forceinline__ void kept_write(
	const span &s, const HOLD &acc, const PLACE &place, cut c, uint32_t lane)
{
	uint16_t *index = reinterpret_cast<uint16_t *>(s.out + 2);
	uint8_t *value = s.out + topk_values_offset(s.k);
	uint32_t before = (1u << lane) - 1, kept = 0, limit = 2 * c.above + 1;
#pragma unroll
	for (uint32_t j = 0; j < acc.items(s.elems); j++) {
		uint32_t u = bits_of(acc.get(j));
		bool keep = u > limit;
		if (c.equals) {
			bool equal = place.exists(j, lane) && u >> 1 == c.above;
			uint32_t votes = __ballot_sync(ALL, equal);
			keep |= equal && __popc(votes & before) < c.equals;
			c.equals -= min(c.equals, (uint32_t)__popc(votes));
		}
		uint32_t votes = __ballot_sync(ALL, keep);
		if (keep) {
			uint32_t at = kept + __popc(votes & before), i = place.index(j, lane);
			index[at] = (uint16_t)i;
			float rest = value_put(s.codec, value, at, turned_back(acc.get(j)));
			if (FEEDBACK)
				s.residual[i] = rest;
		}
		kept += __popc(votes);
	}
}

// A key below which nothing is kept, though more than k are not below it: each lane's largest key
// is an element of its own, so the (k + 1)-th largest of them is such a one. 0 when k is too large.
template <class HOLD>
static __device__ __forceinline__ uint32_t floor_find(
	const HOLD &acc, uint32_t elems, uint32_t k, uint32_t lane)
{
	uint32_t mine = 0, rank = 0;
	if (k >= WARP)
		return 0;
#pragma unroll
	for (uint32_t j = 0; j < acc.items(elems); j++)
		mine = max(mine, bits_of(acc.get(j)));
	mine >>= 1;
#pragma unroll
	for (uint32_t other = 0; other < WARP; other++) {
		uint32_t key = __shfl_sync(ALL, mine, other);
		rank += key > mine || (key == mine && other < lane);
	}
	return __shfl_sync(ALL, mine, __ffs(__ballot_sync(ALL, rank == k)) - 1);
}

// Lists the elements whose key is not below `floor`, in their order. Returns how many there are;
// only the first LIST of them are listed.
template <class HOLD>
static __device__ __forceinline__ uint32_t list_make(const HOLD &acc, uint32_t elems,
	uint32_t floor, uint32_t *values, uint16_t *indices, uint32_t lane)
{
	uint32_t before = (1u << lane) - 1, count = 0, limit = 2 * floor;
#pragma unroll
	for (uint32_t j = 0; j < acc.items(elems); j++) {
		uint32_t u = bits_of(acc.get(j));
		uint32_t votes = __ballot_sync(ALL, u >= limit);
		if (!votes)
			continue;
		uint32_t at = count + __popc(votes & before);
		if (u >= limit && at < LIST) {
			values[at] = u;
			indices[at] = (uint16_t)striped::index(j, lane);
		}
		count += __popc(votes);
	}
	__syncwarp();
	return count;
}

template <class HOLD, bool FEEDBACK>
static __device__ __forceinline__ void choose(const span &s, const HOLD &acc, uint32_t lane)
{
	__shared__ uint32_t lists[WARPS][LIST];
	__shared__ uint16_t indices[WARPS][LIST];
	uint32_t warp = threadIdx.x / WARP, count = LIST + 1;
	uint32_t floor = floor_find(acc, s.elems, s.k, lane);
	if (floor)
		count = list_make(acc, s.elems, floor, lists[warp], indices[warp], lane);
	if (count <= LIST) {
		in_registers<LIST / WARP> few(nullptr, lane);
		for (uint32_t j = 0; j < LIST / WARP; j++) {
			bool exists = j * WARP + lane < count;
			few.set(j, float_of(exists ? lists[warp][j * WARP + lane] : 0));
		}
		cut c = cut_find(few, s.elems, s.k, (int64_t)floor - 1);
		place_list place{indices[warp], count};
		kept_write<decltype(few), place_list, FEEDBACK>(s, few, place, c, lane);
		return;
	}
	cut c = cut_find(acc, s.elems, s.k, -1);
	kept_write<HOLD, place_striped, FEEDBACK>(s, acc, place_striped{s.elems}, c, lane);
}

template <class HOLD, bool FEEDBACK>
static __device__ __forceinline__ void topk_encode(const span &s, float *shared, uint32_t lane)
{
	HOLD acc(shared, lane);
	load<striped, FEEDBACK>(acc, s, lane);
#pragma unroll
	for (uint32_t j = 0; j < acc.items(s.elems); j++) {
		uint32_t i = striped::index(j, lane);
		if (FEEDBACK && i < s.elems)
			s.residual[i] = acc.get(j);
		acc.set(j, float_of(turned(acc.get(j))));
	}
	if (FEEDBACK)
		__syncwarp(); // what is kept writes over it
	if (lane == 0)
		*reinterpret_cast<uint16_t *>(s.out) = (uint16_t)s.k;
	pad(s.out, 2 + 2 * s.k, lane);
	pad(s.out, topk_values_offset(s.k) + value_size(s.codec) * s.k, lane);
	choose<HOLD, FEEDBACK>(s, acc, lane);
}

struct topk_codec {
	template <class HOLD, bool FEEDBACK>
	static __device__ __forceinline__ void encode(const span &s, float *shared, uint32_t lane)
	{
		topk_encode<HOLD, FEEDBACK>(s, shared, lane);
	}
};

// A warp for each block. The result is all zeros when it begins.
static __global__ void __launch_bounds__(WARP *WARPS) scatter_kernel(struct codec_cuda_work w)
{
	uint32_t block = blockIdx.x * WARPS + threadIdx.x / WARP;
	if (block >= w.blocks)
		return;
	const uint8_t *in = w.payload + block * w.stride;
	float *result = w.result + (uint64_t)block * w.block_elems;
	uint32_t elems = block_len(w, block);
	uint32_t most = min(elems, block + 1 == w.blocks ? w.k_last : w.k);
	uint32_t count = min((uint32_t) * reinterpret_cast<const uint16_t *>(in), most);
	const uint16_t *index = reinterpret_cast<const uint16_t *>(in + 2);
	const uint8_t *value = in + topk_values_offset(count);
	for (uint32_t n = threadIdx.x % WARP; n < count; n += WARP) {
		if (index[n] < elems)
			result[index[n]] = value_get(w.codec, value, n);
	}
}

int codec_cuda_topk_encode(const struct codec_cuda_work *w, void *stream)
{
	return launch_same<topk_codec>(*w, (cudaStream_t)stream);
}

int codec_cuda_topk_decode(const struct codec_cuda_work *w, void *stream)
{
	cudaStream_t s = (cudaStream_t)stream;
	uint32_t grid = (w->blocks + WARPS - 1) / WARPS;
	cudaError_t err = cudaMemsetAsync(w->result, 0, w->elems * sizeof(float), s);
	if (err != cudaSuccess)
		return err;
	scatter_kernel<<<grid, WARP * WARPS, 0, s>>>(*w);
	return cudaGetLastError();
}
