// SPDX-License-Identifier: BSD-3-Clause
//
// Disks of simulated hosts. A disk is a directory in memory, used by the production code as it is:
// pair_disk.c stands before some functions of the C library. It remembers what was synced, fails
// calls on command, and takes back what was not synced when the power goes:
//
// - a file has the bytes of its last fsync; without one it has some of them, none, zeros, or all;
// - names of a directory are as at its last fsync, or as they were in the end;
// - an fsync that failed has lost what it was to keep, whatever a later one says.
//
// What else a disk has of its machine, pair_machine.h takes away. The root must be on a file system
// that gives no number of a file a second time: tmpfs.
//
// One thread. Directories are at most one level deep.
#ifndef SIM_PAIR_DISK_H
#define SIM_PAIR_DISK_H

#include "rng.h"

#include <limits.h>

struct pair_disk;

enum pair_disk_fault {
	DISK_EIO,    // one call fails
	DISK_ENOSPC, // one call fails
	DISK_SHORT,  // one write writes half
	DISK_BROKEN, // every call fails with EIO until the disk is mended
	DISK_POWER,  // the power goes before that call: nothing changes any more
	DISK_FAULTS,
};

// Once a process, before any disk: where disks are. `root` receives a directory of its own.
bool pair_disks_root(char root[PATH_MAX]);
void pair_disks_remove(const char *root);

// Empty. `name` is its directory in `root`.
struct pair_disk *pair_disk_create(const char *root, const char *name, uint64_t seed);
void pair_disk_destroy(struct pair_disk *d); // takes NULL
const char *pair_disk_path(const struct pair_disk *d);

// Calls from here to pair_disk_done are of that disk.
void pair_disk_use(struct pair_disk *d);
void pair_disk_done(void);
// The n-th call from now on, counted from 1.
void pair_disk_fault(struct pair_disk *d, enum pair_disk_fault kind, uint32_t n);
// That fault has happened. DISK_POWER: whoever uses the disk is dead.
bool pair_disk_failed(const struct pair_disk *d);
// Of a fault that has happened: the power is gone.
bool pair_disk_gone(const struct pair_disk *d);
// Nothing fails any more.
void pair_disk_mend(struct pair_disk *d);
// Nobody may have anything open there. Ends a DISK_POWER.
void pair_disk_power_loss(struct pair_disk *d);

#endif
