// SPDX-License-Identifier: BSD-3-Clause
//
// Fuzz target of the validator: any bytes; what it accepts is read whole.
#include <gp_wire.h>

#include "../golden/walk.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);
	if (!copy)
		return 0;
	if (size > 0)
		memcpy(copy, data, size);
	struct gp_msg m;
	enum gp_verdict v = gp_wire_parse(copy, (uint32_t)size, &m);
	if (v == GP_VERDICT_OK)
		__asm__ __volatile__("" : : "r"(walk_message(&m))); // read, whatever it is
	else
		GP_ASSERT(v >= GP_VERDICT_BAD_LENGTH && v <= GP_VERDICT_BAD_COUNT);
	free(copy);
	return 0;
}
