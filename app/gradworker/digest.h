// SPDX-License-Identifier: BSD-3-Clause
//
// The name of a set of parameters: XXH3-64 over the little-endian f32 bytes of all tensors in
// registration order, with -0 as +0. Unlike the server's digest of a job it does not know blocks,
// so it is the same at every MTU and every number of cores.
#ifndef GW_DIGEST_H
#define GW_DIGEST_H

#include <stddef.h>
#include <stdint.h>

uint64_t gw_digest(const float *values, size_t count);

#endif
