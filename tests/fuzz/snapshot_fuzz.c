// SPDX-License-Identifier: BSD-3-Clause
//
// libFuzzer target for what a snapshot says about itself: manifest.json and the
// header of a safetensors file. Input: u32 length of the manifest text, the
// text, then the safetensors file. A manifest rarely survives its own checksum,
// so the header is also checked against fixed tensors. The file is also taken
// for blocks.safetensors and for a frame of zstd.
#include <snapshot_priv.h>

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void header_try(
	const struct gp_snapshot_meta *meta, uint32_t idx, const uint8_t *data, size_t size)
{
	struct gp_snapshot_error err = {0};
	uint64_t data_start;
	const struct safetensors_file f = {
		.name = "input", .idx = idx, .bytes = data, .len = size, .size = size};
	if (safetensors_check(meta, &f, &data_start, &err) == 0)
		GP_ASSERT(data_start >= 8 && data_start <= size && data_start % 4 == 0);
	else
		GP_ASSERT(err.code < 0 && err.text[0] != 0);
}

static void index_try(const struct manifest *m, const uint8_t *file, size_t len)
{
	struct gp_snapshot_error err = {0};
	struct index x = {.files_count = m->files_count,
		.blocks_count = m->form.blocks_count,
		.present_count = m->form.present_count,
		.incremental = m->form.depth > 0,
		.zstd = m->form.zstd};
	// As it is mapped.
	void *aligned = aligned_alloc(64, gp_align_up(len + 1, 64));
	if (!aligned)
		return;
	memcpy(aligned, file, len);
	if (blocks_index_attach(&x, aligned, len, &err) == 0)
		for (uint32_t i = 0; i < x.present_count; i++)
			GP_ASSERT(blocks_index_block(&x, i) < x.blocks_count);
	else
		GP_ASSERT(err.code < 0 && err.text[0] != 0);
	free(aligned);
}

static void frame_try(const uint8_t *file, size_t len)
{
	uint8_t out[512];
	uint64_t size = zstd_frame_content(file, len);
	if (size <= sizeof(out))
		(void)!zstd_frame_open(out, size, file, len);
	GP_ASSERT(!zstd_frame_open(out, sizeof(out), file, len) || size == sizeof(out));
}

// The text with a checksum that agrees, so that what comes after the checksum
// is reached.
static char *text_seal(const uint8_t *text, size_t len)
{
	uint64_t checksum;
	char hex[17];
	json_t *root = json_loadb((const char *)text, len, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(root)) {
		json_decref(root);
		return NULL;
	}
	json_object_del(root, "checksum");
	GP_ASSERT(manifest_checksum(root, &checksum) == 0);
	for (int i = 0; i < 16; i++)
		hex[i] = "0123456789abcdef"[checksum >> (60 - 4 * i) & 15];
	hex[16] = 0;
	json_object_set_new(root, "checksum", json_string(hex));
	char *sealed = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	return sealed;
}

// Where the blocks of each file lie: one after the other, none outside.
static void grid_try(const struct gp_snapshot_meta *meta)
{
	struct gp_snapshot_error err = {0};
	struct grid g;
	if (grid_init(&g, meta, &err) != 0) {
		GP_ASSERT(err.code < 0 && err.text[0] != 0);
		return;
	}
	for (uint32_t f = 0; f < g.files_count; f++) {
		uint64_t at = 0;
		for (uint32_t b = 0; b < GP_MIN(g.blocks_count, 1000u); b++) {
			struct grid_block x = grid_block(&g, f, b);
			GP_ASSERT(x.word == at && x.words <= g.block_words);
			at += x.words;
		}
		GP_ASSERT(at <= grid_words(&g, f));
		GP_ASSERT(g.blocks_count > 1000 || at == grid_words(&g, f));
	}
	grid_fini(&g);
}

static void manifest_try(const char *text, size_t text_len, const uint8_t *file, size_t file_len)
{
	struct gp_snapshot_error err = {0};
	struct manifest m;
	if (manifest_parse(text, text_len, &m, &err) != 0) {
		GP_ASSERT(err.code < 0 && err.text[0] != 0);
		return;
	}
	GP_ASSERT(m.meta.tensors_count > 0 && m.meta.tensors_count <= GP_SNAPSHOT_TENSORS_MAX);
	GP_ASSERT(m.files_count == snapshot_files_count(&m.meta));
	GP_ASSERT(gp_snapshot_job_valid(m.meta.job));
	GP_ASSERT(m.form.depth < GP_SNAPSHOT_CHAIN_MAX &&
		  (m.form.depth > 0) == (m.form.base[0] != 0));
	GP_ASSERT(m.form.present_count <= m.form.blocks_count);
	for (uint32_t i = 0; i < m.files_count; i++)
		header_try(&m.meta, i, file, file_len);
	grid_try(&m.meta);
	index_try(&m, file, file_len);
	manifest_fini(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct gp_snapshot_tensor tensors[] = {{"a", 1, {4}, 4}, {"b", 2, {1, 2}, 2}};
	static const struct gp_snapshot_meta meta = {.tensors_count = 2, .tensors = tensors};
	if (size < 4)
		return 0;
	size_t text_len = GP_MIN(gp_load32(data), size - 4);
	const uint8_t *text = data + 4, *file = text + text_len;
	size_t file_len = size - 4 - text_len;
	manifest_try((const char *)text, text_len, file, file_len);
	char *sealed = text_seal(text, text_len);
	if (sealed)
		manifest_try(sealed, strlen(sealed), file, file_len);
	free(sealed);
	header_try(&meta, 0, file, file_len);
	frame_try(file, file_len);
	return 0;
}
