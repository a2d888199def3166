// SPDX-License-Identifier: BSD-3-Clause
//
// The command line, and what a launcher says in the environment.
#ifndef GW_OPTIONS_H
#define GW_OPTIONS_H

#include "error.h"
#include "optimizer.h"

#include <stdbool.h>
#include <stdint.h>

#define GW_WORLD_MAX 256u

#define GW_TASK_BATCH_MAX 4096u // packages of one step

enum gw_task { GW_TASK_IMAGES, GW_TASK_SECTIONS };
enum gw_mode { GW_TRAIN, GW_EVAL, GW_LOCAL };
enum gw_progress_kind { GW_PROGRESS_TEXT, GW_PROGRESS_JSON, GW_PROGRESS_NONE };
enum gw_codec {
	GW_CODEC_SERVER, // as the job's configuration says
	GW_CODEC_F32,
	GW_CODEC_BF16,
	GW_CODEC_F16,
	GW_CODEC_INT8,
	GW_CODEC_SIGN,
	GW_CODEC_TOPK,
	GW_CODEC_TOPK_BF16,
	GW_CODEC_TOPK_F16,
	GW_CODEC_AUTO,
};

struct gw_options {
	enum gw_task task;
	enum gw_mode mode;
	bool score;	       // --local --eval: accuracy of the result as well
	const char *server;    // ADDR:PORT
	const char *transport; // NULL: udp
	const char *job;
	const char *model;
	const char *data;
	const char *dump_path;	// NULL: none
	const char *stop_path;	// NULL: none
	const char *views_path; // NULL: every rank in every step
	uint32_t rank, world;
	uint32_t batch;
	uint32_t steps, epochs;	       // one of them is 0; both: as long as nobody stops it
	struct gw_optimizer optimizer; // --local
	float norm_max;		       // --local; 0: no limit
	uint32_t block;		       // --local: elements of a block, for norm_max
	uint64_t seed;
	enum gw_codec codec;
	float topk_ratio;    // 0: topk_count
	uint64_t topk_count; // elements of each tensor
	bool topk_sampled;
	bool changed; // results may leave out what has not changed
	enum gw_codec results;
	uint32_t topk_warmup;
	float topk_momentum;
	uint32_t mtu; // 0: of the interface
	enum gw_progress_kind progress;
	uint32_t progress_steps; // 0: by time
	bool replace;
	uint64_t previous_incarnation;
	uint32_t timeout_ms;
	uint32_t delay_ms;	// of each step
	uint32_t features_bits; // task sections: words are hashed to so many bits
	bool dense;		// task sections: a tensor of a train job instead of a table
	uint32_t reconnect_ms;
};

// 0; 1 when help or the version was asked for and printed; -EINVAL with the flag and what was
// expected. Rank and world come from --rank and --world, else from RANK and WORLD_SIZE,
// OMPI_COMM_WORLD_RANK and _SIZE, SLURM_PROCID and SLURM_NTASKS; launchers that contradict each
// other are an error.
int gw_options_parse(struct gw_options *o, int argc, char **argv, struct gw_error *err);

#endif
