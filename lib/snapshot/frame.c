// SPDX-License-Identifier: BSD-3-Clause
//
// zstd, one frame a block: a file of frames is one that `zstd -d` opens, and each is opened alone.
#include "snapshot_priv.h"

#include <stdlib.h>
#include <zstd.h>

struct zstd_maker {
	ZSTD_CCtx *context;
};

size_t zstd_frame_bound(size_t size)
{
	return ZSTD_compressBound(size);
}

struct zstd_maker *zstd_maker_create(uint32_t level)
{
	struct zstd_maker *m = calloc(1, sizeof(*m));
	if (!m)
		return NULL;
	m->context = ZSTD_createCCtx();
	if (m->context && !ZSTD_isError(ZSTD_CCtx_setParameter(
				  m->context, ZSTD_c_compressionLevel, (int)level)))
		return m;
	zstd_maker_destroy(m);
	return NULL;
}

void zstd_maker_destroy(struct zstd_maker *m)
{
	if (!m)
		return;
	ZSTD_freeCCtx(m->context);
	free(m);
}

size_t zstd_frame_make(
	struct zstd_maker *m, void *out, size_t out_size, const void *data, size_t size)
{
	size_t len = ZSTD_compress2(m->context, out, out_size, data, size);
	return ZSTD_isError(len) ? 0 : len;
}

uint64_t zstd_frame_content(const void *frame, size_t frame_len)
{
	unsigned long long size = ZSTD_getFrameContentSize(frame, frame_len);
	return size == ZSTD_CONTENTSIZE_ERROR || size == ZSTD_CONTENTSIZE_UNKNOWN ? 0 : size;
}

bool zstd_frame_open(void *out, size_t size, const void *frame, size_t frame_len)
{
	// Exactly one frame, which says its size: nothing is unpacked that was not announced.
	if (ZSTD_findFrameCompressedSize(frame, frame_len) != frame_len ||
		zstd_frame_content(frame, frame_len) != size)
		return false;
	return ZSTD_decompress(out, size, frame, frame_len) == size;
}
