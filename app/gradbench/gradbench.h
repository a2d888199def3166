// SPDX-License-Identifier: BSD-3-Clause
//
// gradbench measures one part of gradplane against the memory of the machine it runs on, in the
// same run. A command prints a table for people or, with --json, one object for programs.
#ifndef GRADBENCH_H
#define GRADBENCH_H

#include <gp_codec.h>

#include <stdio.h>

#define BENCH_REPEATS_MAX 101

enum bench_exit { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_SKIPPED = 77 };

struct command {
	const char *name, *help;
	int (*run)(int argc, char **argv);
};

extern const struct command command_allreduce, command_codec, command_e2e, command_engine,
	command_failover, command_forward, command_machine, command_overlap, command_scale,
	command_replay, command_replication, command_roofline, command_snapshot, command_sockets,
	command_table;

// What one measurement does with the tensor of a device.
enum codec_op { CODEC_COPY, CODEC_ENCODE, CODEC_ENCODE_FEEDBACK, CODEC_DECODE, CODEC_ADD };

struct codec_task {
	uint8_t codec;
	enum codec_op op;
	uint32_t block_elems, k, k_last;
	uint64_t elems;
};

// Where codecs run. open takes all memory and fills the gradient with repetitions of `pattern`;
// time does the task once and says how long it took. Errors: -errno after a line on stderr.
struct codec_device {
	const char *name;
	uint64_t elems_default;
	bool (*has)(enum codec_op op);
	int (*open)(void **state, uint64_t elems, const float *pattern,
		uint32_t pattern_elems) GP_MUST_CHECK;
	const char *(*model)(void *state);
	int (*time)(void *state, const struct codec_task *task, double *us) GP_MUST_CHECK;
	void (*close)(void *state);
};

extern const struct codec_device codec_device_cpu;
#ifdef GRADBENCH_CUDA
extern const struct codec_device codec_device_cuda;
#endif

#endif
