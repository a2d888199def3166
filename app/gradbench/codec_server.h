// SPDX-License-Identifier: BSD-3-Clause
#ifndef GRADBENCH_CODEC_SERVER_H
#define GRADBENCH_CODEC_SERVER_H

#include <stdbool.h>
#include <stdint.h>

// Measures and prints; 0, or -1 after a line on stderr.
int codec_server_run(uint32_t block_elems, uint32_t rounds, bool json);
// When sparse results pay; the same, text only.
int codec_results_run(uint32_t block_elems);

#endif
