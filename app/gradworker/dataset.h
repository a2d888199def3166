// SPDX-License-Identifier: BSD-3-Clause
//
// Fashion-MNIST in the IDX format (Debian package dataset-fashion-mnist): gzip files of a
// big-endian header and bytes. Images stay bytes in memory; a batch scales them to [0, 1] when it
// is loaded.
#ifndef GW_DATASET_H
#define GW_DATASET_H

#include "error.h"

#include <stdint.h>

#define GW_DATASET_DIR	  "/usr/share/datasets/fashion-mnist"
#define GW_IMAGE_SIDE	  28u
#define GW_IMAGE_PIXELS	  (GW_IMAGE_SIDE * GW_IMAGE_SIDE)
#define GW_CLASSES_COUNT  10u
#define GW_DATASET_IMAGES 100000u // the most a file may hold

struct gw_dataset {
	uint32_t count;
	uint8_t *pixels; // count x GW_IMAGE_PIXELS
	uint8_t *labels; // count, each below GW_CLASSES_COUNT
};

// `split` is "train" or "t10k". 0; -ENOENT with the package to install; -EBADMSG for a file that is
// not what it should be; -ENOMEM.
int gw_dataset_load(
	struct gw_dataset *set, const char *dir, const char *split, struct gw_error *err);
void gw_dataset_fini(struct gw_dataset *set);

#endif
