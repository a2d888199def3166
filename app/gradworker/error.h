// SPDX-License-Identifier: BSD-3-Clause
//
// The one error that ends a run: its code and a sentence for a person. Filled by whoever noticed,
// printed once by main.
#ifndef GW_ERROR_H
#define GW_ERROR_H

#define GW_ERROR_TEXT_SIZE 512

struct gw_error {
	char text[GW_ERROR_TEXT_SIZE];
};

// Writes the sentence and returns `code` (-errno), so that a caller can end with `return`.
int gw_error_set(struct gw_error *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
