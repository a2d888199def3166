// SPDX-License-Identifier: BSD-3-Clause
//
// Inside the writer: files on a stage, written through a buffer and hashed on their way.
#ifndef WRITER_PRIV_H
#define WRITER_PRIV_H

#include "snapshot_priv.h"

#define WRITE_BUFFER_SIZE ((size_t)256 << 10)

// Where all files of a snapshot go.
struct writer_dir {
	struct gp_snapshot_stage *stage;
	char dir[PATH_MAX];
	char name[GP_SNAPSHOT_NAME_SIZE];
	uint64_t size;		   // of all files, at most
	uint64_t free;		   // in the file system when it began
	struct zstd_maker *frames; // zstd only
	void *frame;		   // a frame that was made
	size_t frame_size;
};

struct file_out {
	struct writer_dir *to;
	int fd;
	struct gp_snapshot_file info; // name is given, the rest is known at the end
	XXH3_state_t *hash;	      // of the bytes on disk
	uint8_t *buffer;
	size_t buffer_size, buffer_used;
	// Of data files.
	uint64_t elements_left;
	struct summer summer;
	uint64_t *sums;
	uint32_t *frame_sizes; // the next one
};

// After either of the first two, also when they fail, file_out_fini follows.
int file_out_init(struct file_out *f, struct writer_dir *to, size_t buffer_size,
	struct gp_snapshot_error *err) GP_MUST_CHECK;
// `room` bytes are reserved where the file system can.
int file_out_create(struct file_out *f, uint64_t room, struct gp_snapshot_error *err) GP_MUST_CHECK;
int file_out_put(struct file_out *f, const void *data, size_t len,
	struct gp_snapshot_error *err) GP_MUST_CHECK;
// What was put since the last frame, or `data` if it is not NULL, as one frame.
int file_out_frame(struct file_out *f, const void *data, size_t len,
	struct gp_snapshot_error *err) GP_MUST_CHECK;
// Writes the rest, syncs and closes; fills info.
int file_out_settle(struct file_out *f, struct gp_snapshot_error *err) GP_MUST_CHECK;
void file_out_fini(struct file_out *f);

#endif
