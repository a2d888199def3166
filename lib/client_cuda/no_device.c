// SPDX-License-Identifier: BSD-3-Clause
//
// Where the CUDA Toolkit was not found when this was built.
#include "client_cuda_priv.h"

#include <stdio.h>

static bool none_available(char *why, size_t size)
{
	(void)snprintf(
		why, size, "this build has no CUDA: the toolkit, 12 or later, was not found");
	return false;
}

static int none_open(void **dev, const struct gp_client_cuda_opts *opts, size_t staging_size,
	char *why, size_t size)
{
	(void)dev, (void)opts, (void)staging_size;
	(void)none_available(why, size);
	return -ENODEV;
}

static void none_close(void *dev)
{
	GP_ASSERT(!dev);
}

// Nothing else is asked of what cannot be opened.
const struct cuda_device_ops cuda_device = {
	.available = none_available, .open = none_open, .close = none_close};
