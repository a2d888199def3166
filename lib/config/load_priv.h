// SPDX-License-Identifier: BSD-3-Clause
//
// What to say about a key that the schema does not know.
#ifndef GP_CONFIG_LOAD_PRIV_H
#define GP_CONFIG_LOAD_PRIV_H

#include "config_priv.h"

// `did you mean mtu?`, `that key is port.mtu`, or `allowed: a, b, c`. `group` is the row of the
// mapping that holds the key, -1 for the top.
void gp_config_hint(int group, const char *key, char out[GP_CONFIG_WHY_SIZE]);

#endif
