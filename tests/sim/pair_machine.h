// SPDX-License-Identifier: BSD-3-Clause
//
// What a history must not have from the machine that it runs on. While a disk is in use
// (pair_disk.h) pair_machine.c stands before some functions of the C library:
//
// - the time of day is the history's;
// - temporary directories have the names that the history gives them;
// - directories are read in an order that follows from the disk and the names, by whatever file
//   system they are;
// - a call that fails of itself, for want of room, memory or descriptors, is remembered: what comes
//   after it is not what the seed says.
//
// One thread.
#ifndef SIM_PAIR_MACHINE_H
#define SIM_PAIR_MACHINE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

// The function of the C library that the one of that name below stands before.
#define PAIR_NEXT(name)                                                                            \
	({                                                                                         \
		static __typeof__(&name) next;                                                     \
		if (!next)                                                                         \
			next = (__typeof__(&name))(uintptr_t)dlsym(RTLD_NEXT, #name);              \
		next;                                                                              \
	})

// A history begins: nothing has failed.
void pair_machine_begin(void);
// Virtual time, for the time of day.
void pair_machine_set_now(uint64_t ns);
// From here on, until 0 is given: calls are of the disk that has this number.
void pair_machine_use(uint64_t disk);
// What a real call returned: hands it on, and remembers if the machine was at fault.
ssize_t pair_machine_did(ssize_t rc, const char *call);
// The first that failed of itself, as text; NULL: none.
const char *pair_machine_trouble(void);
// As mkdtemp; `n` says which name.
char *pair_machine_mkdtemp(char *path, uint64_t n);

#endif
