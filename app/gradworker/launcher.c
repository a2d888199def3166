// SPDX-License-Identifier: BSD-3-Clause
#include "launcher.h"

#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#define SOURCES_COUNT 3

// One thing that every launcher tells under a name of its own.
struct variable {
	const char *names[SOURCES_COUNT];
	uint32_t low, high;
};

static const struct variable RANK = {
	{"RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID"}, 0, GW_WORLD_MAX - 1};
static const struct variable WORLD = {
	{"WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_NTASKS"}, 1, GW_WORLD_MAX};

int gw_launcher_number(const char *text, uint64_t low, uint64_t high, uint64_t *value)
{
	char *end;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	*value = strtoull(text, &end, text[0] == '0' && (text[1] | 32) == 'x' ? 16 : 10);
	if (errno || *end || *value < low || *value > high)
		return -EINVAL;
	return 0;
}

// The value on which all names that are set agree.
static int variable_read(
	const struct variable *v, bool *found, uint32_t *value, struct gw_error *err)
{
	const char *first = NULL;

	for (int i = 0; i < SOURCES_COUNT; i++) {
		const char *text = getenv(v->names[i]);
		uint64_t number;

		if (!text)
			continue;
		if (gw_launcher_number(text, v->low, v->high, &number))
			return gw_error_set(err, -EINVAL, "%s='%s' is not a number in %u..%u",
				v->names[i], text, v->low, v->high);
		if (first && number != *value)
			return gw_error_set(err, -EINVAL,
				"launchers disagree: %s=%u but %s=%u; give --rank and --world",
				first, *value, v->names[i], (uint32_t)number);
		first = first ? first : v->names[i];
		*value = (uint32_t)number;
		*found = true;
	}
	return 0;
}

int gw_launcher_resolve(struct gw_launch *out, const struct gw_launch *flags, struct gw_error *err)
{
	int rc = 0;

	*out = *flags;
	if (!flags->has_rank)
		rc = variable_read(&RANK, &out->has_rank, &out->rank, err);
	if (!rc && !flags->has_world)
		rc = variable_read(&WORLD, &out->has_world, &out->world, err);
	if (rc)
		return rc;
	if (!out->has_rank || !out->has_world)
		return gw_error_set(err, -EINVAL,
			"%s is missing: give --rank and --world, or start by torchrun, mpirun or "
			"srun "
			"(RANK/WORLD_SIZE, OMPI_COMM_WORLD_RANK/SIZE, SLURM_PROCID/NTASKS)",
			out->has_rank ? "world size" : "rank");
	if (out->rank >= out->world)
		return gw_error_set(err, -EINVAL, "rank %u is out of range 0..%u for world size %u",
			out->rank, out->world - 1, out->world);
	return 0;
}
