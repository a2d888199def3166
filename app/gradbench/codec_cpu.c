// SPDX-License-Identifier: BSD-3-Clause
//
// gradbench codec on one core, with the kernels that the library chooses for this machine.
#include "bench.h"
#include "gradbench.h"

#include <errno.h>
#include <stdlib.h>

struct cpu {
	uint64_t elems;
	float *grad, *residual, *result;
	uint8_t *payload; // block b at b * stride of the task at hand
	bool encoded;	  // payload is what `last` gave
	struct codec_task last;
};

static void cpu_close(void *state)
{
	struct cpu *cpu = state;
	free(cpu->grad);
	free(cpu->residual);
	free(cpu->result);
	free(cpu->payload);
	free(cpu);
}

static bool cpu_has(enum codec_op op)
{
	(void)op;
	return true;
}

static int cpu_open(void **state, uint64_t elems, const float *pattern, uint32_t pattern_elems)
{
	size_t size = elems * sizeof(float);
	struct cpu *cpu = calloc(1, sizeof(*cpu));
	if (!cpu) {
		fprintf(stderr, "gradbench: no memory\n");
		return -ENOMEM;
	}
	cpu->elems = elems;
	cpu->grad = malloc(size);
	cpu->residual = malloc(size);
	cpu->result = calloc(elems, sizeof(float));
	cpu->payload = calloc(elems, 8); // a block of one element has the longest: 8 bytes
	if (!cpu->grad || !cpu->residual || !cpu->result || !cpu->payload) {
		fprintf(stderr, "gradbench: no memory for %zu bytes\n", 5 * size);
		cpu_close(cpu);
		return -ENOMEM;
	}
	for (uint64_t i = 0; i < elems; i++) {
		cpu->grad[i] = pattern[i % pattern_elems];
		cpu->result[i] = 1;
	}
	*state = cpu;
	return 0;
}

static const char *cpu_model(void *state)
{
	(void)state;
	return "cpu, one core";
}

static void blocks_work(struct cpu *cpu, const struct codec_task *t)
{
	size_t stride = gp_codec_size_max(t->codec, t->block_elems, t->k);
	for (uint64_t from = 0, b = 0; from < t->elems; from += t->block_elems, b++) {
		bool last = t->elems - from <= t->block_elems;
		uint32_t elems = last ? (uint32_t)(t->elems - from) : t->block_elems;
		uint32_t k = last ? t->k_last : t->k;
		uint8_t *payload = cpu->payload + b * stride;
		size_t len = gp_codec_size_max(t->codec, elems, k);
		struct gp_codec_src src = {.grad = cpu->grad + from, .elems = elems, .k = k};
		if (t->op == CODEC_ENCODE_FEEDBACK)
			src.residual = cpu->residual + from;
		if (t->op == CODEC_DECODE)
			gp_codec_decode(t->codec, cpu->result + from, payload, len, elems);
		else if (t->op == CODEC_ADD)
			gp_codec_add(t->codec, cpu->result + from, payload, len, elems);
		else
			GP_ASSERT(gp_codec_encode(t->codec, &src, payload) == len);
	}
}

// What the task reads that an earlier one has changed.
static void cpu_prepare(struct cpu *cpu, const struct codec_task *t)
{
	if (t->op == CODEC_ENCODE_FEEDBACK)
		memcpy(cpu->residual, cpu->grad, cpu->elems * sizeof(float));
	bool reads = t->op == CODEC_DECODE || t->op == CODEC_ADD;
	if (reads && !(cpu->encoded && cpu->last.codec == t->codec)) {
		cpu->last = *t;
		cpu->last.op = CODEC_ENCODE;
		blocks_work(cpu, &cpu->last);
		cpu->encoded = true;
	}
}

static int cpu_time(void *state, const struct codec_task *t, double *us)
{
	struct cpu *cpu = state;
	cpu_prepare(cpu, t);
	uint64_t from = bench_cpu_ns();
	if (t->op == CODEC_COPY)
		memcpy(cpu->residual, cpu->grad, t->elems * sizeof(float));
	else
		blocks_work(cpu, t);
	*us = (double)(bench_cpu_ns() - from) * 1e-3;
	if (t->op == CODEC_ENCODE || t->op == CODEC_ENCODE_FEEDBACK)
		cpu->encoded = false;
	return 0;
}

const struct codec_device codec_device_cpu = {
	.name = "cpu",
	.elems_default = 10000000,
	.has = cpu_has,
	.open = cpu_open,
	.model = cpu_model,
	.time = cpu_time,
	.close = cpu_close,
};
