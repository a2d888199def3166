// SPDX-License-Identifier: BSD-3-Clause
//
// The updates for AVX2, eight elements at a time.
#include "optim_vec.h"

OPTIM_KERNELS(optim_kernels_avx2)
