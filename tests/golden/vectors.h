// SPDX-License-Identifier: BSD-3-Clause
//
// The golden vectors of tests/golden/vectors, read into heap blocks of their exact size so that the
// address sanitizer sees a read one byte too far. A vector that cannot be read ends the program.
#ifndef VECTORS_H
#define VECTORS_H

#include <stddef.h>
#include <stdint.h>

struct vector {
	uint8_t *data;
	uint32_t len;
};

extern const char *const vector_names[];
extern const size_t vector_count;

// The bytes of `name`; free(3) gives them back.
struct vector vector_load(const char *name);
// The same bytes cut or extended with zeros to `len`.
struct vector vector_copy(const struct vector *v, uint32_t len);

#endif
