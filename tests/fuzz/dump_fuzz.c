// SPDX-License-Identifier: BSD-3-Clause
//
// A dump of the flight recorder that somebody has forged, through a replay: it ends, with a text
// where it cannot go on, and all memory comes back. The first byte chooses how the job is
// consistent; the checksum is put right first.
#include <gp_replay.h>

#include <errno.h>
#include <stdlib.h>
#include <xxhash.h>

#define ROUNDS_MAX 4096
#define MEMORY_MAX (UINT64_C(64) << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t memory_used;

static void *take(void *arg, size_t size)
{
	(void)arg;
	size_t whole = gp_align_up(size, GP_CACHE_LINE) + GP_CACHE_LINE;
	if (size > MEMORY_MAX || memory_used + whole > MEMORY_MAX)
		return NULL;
	uint8_t *p = aligned_alloc(GP_CACHE_LINE, whole);
	if (!p)
		return NULL;
	memset(p, 0, whole);
	gp_store64(p, whole);
	memory_used += whole;
	return p + GP_CACHE_LINE;
}

static void give(void *arg, void *mem)
{
	(void)arg;
	if (!mem)
		return;
	uint8_t *p = (uint8_t *)mem - GP_CACHE_LINE;
	memory_used -= gp_load64(p);
	free(p);
}

static struct gp_job_config job_of(uint8_t how)
{
	static const uint8_t modes[] = {
		GP_CONSIST_BSP, GP_CONSIST_SSP, GP_CONSIST_ASP, GP_CONSIST_QUORUM};
	uint8_t mode = modes[how % GP_ARRAY_SIZE(modes)];
	bool direct = mode == GP_CONSIST_SSP || how & 4;
	return (struct gp_job_config){.name = "job",
		.id = 1,
		.kind = GP_KIND_TRAIN,
		.atomicity = direct && mode != GP_CONSIST_QUORUM ? GP_ATOM_BLOCK : GP_ATOM_STEP,
		.consistency = mode,
		.workers = 3,
		.workers_min = 1,
		.bound = 1,
		.stale_max = UINT32_MAX,
		.quorum_min = 2,
		.cuts_max = 4,
		.slots = 16,
		.window = 64,
		.tensors_max = 16,
		.payload_max = 1152,
		.memory_max = 1 << 20,
		.timeout_ns = 500000000,
		.optim = {.kind = GP_OPTIM_MOMENTUM, .lr = 0.1f, .momentum = 0.9f}};
}

static void replay(const struct gp_flight_file *f, uint8_t how)
{
	char err[GP_REPLAY_TEXT_SIZE] = "";
	struct gp_replay *r;
	struct gp_job_config job = job_of(how);
	const struct gp_engine_config cfg = {
		.jobs_count = 1, .jobs = &job, .take = take, .give = give};
	int rc = gp_replay_create(&r, f, &cfg, err);
	GP_ASSERT(rc == 0 || err[0] != '\0' || rc == -ENOMEM);
	if (rc != 0)
		return;
	for (uint32_t i = 0; i < ROUNDS_MAX && gp_replay_round(r); i++)
		;
	const struct gp_replay_result *x = gp_replay_result(r);
	GP_ASSERT(!x->differs || x->text[0] != '\0');
	GP_ASSERT(!x->fails || x->differs);
	gp_replay_destroy(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char err[GP_FLIGHT_ERROR_SIZE] = "";
	struct gp_flight_file f;
	if (size < 9)
		return 0;
	uint8_t how = data[0];
	data++;
	size--;
	uint8_t *copy = aligned_alloc(GP_CACHE_LINE, gp_align_up(size + 1, GP_CACHE_LINE));
	if (!copy)
		return 0;
	memcpy(copy, data, size);
	gp_store64(copy + (size - 8), XXH3_64bits(copy, size - 8));
	if (gp_flight_open(&f, copy, size, err) == 0)
		replay(&f, how);
	GP_ASSERT(memory_used == 0);
	free(copy);
	return 0;
}
