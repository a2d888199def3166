// SPDX-License-Identifier: BSD-3-Clause
//
// Shared by the commands that read a directory of snapshots themselves: which directory, and which
// snapshot a word on the command line means.
#ifndef SNAPSHOTS_H
#define SNAPSHOTS_H

#include "gradctl.h"

#include <gp_snapshot_dir.h>

#include <limits.h>

#define SNAPSHOT_FLAGS (1u << FLAG_DIR | 1u << FLAG_JOB)

// The directory of --dir, else that of the server that answers. 0 or the exit status, said.
int snapshots_dir(const struct options *o, char dir[PATH_MAX]);
// Those of --job, which must have some, else of all jobs. 0 or the exit status, said. The caller
// frees the list.
int snapshots_list(const struct options *o, const char *dir, struct gp_snapshot_list *list);
// What `word` means: a name, a step, a path or "latest". 0 with the directory and its entry, or the
// exit status, said.
int snapshots_find(const struct options *o, const char *word, char dir[PATH_MAX],
	struct gp_snapshot_entry *out);
// dir/name
const char *snapshots_path(char out[PATH_MAX], const char *dir, const char *name);
// Says what went wrong; EXIT_REFUSED.
int snapshots_refuse(const struct command *k, const struct gp_snapshot_error *err);

#endif
