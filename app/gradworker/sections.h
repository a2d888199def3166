// SPDX-License-Identifier: BSD-3-Clause
//
// The task `sections`: which section of the Debian archive a package belongs to, from the words of
// its name and its one-line description. Multinomial logistic regression over hashed words: a row
// of weights, one for each section, for each word (Weinberger et al. 2009, "Feature Hashing for
// Large Scale Multitask Learning").
//
// Data: a text file, one package a line: section, tab, name, tab, description; lines that begin
// with # are passed over. scripts/sections-data makes it from `apt-cache dumpavail`. Every tenth
// package, by a hash of its name, is held out.
//
// Memory: what the file needs, taken by gw_sections_load. Threads: no state.
#ifndef GW_SECTIONS_H
#define GW_SECTIONS_H

#include "error.h"

#include <stdbool.h>
#include <stdint.h>

#define GW_SECTIONS_MAX	    64u // and the length of a row
#define GW_SECTION_NAME_MAX 32u

struct gw_sections {
	uint32_t count; // packages
	uint32_t classes;
	char names[GW_SECTIONS_MAX][GW_SECTION_NAME_MAX]; // in the order of their names
	uint8_t *label;					  // [count]
	uint32_t *first;				  // [count + 1], into words
	uint32_t *words; // hashed, of each package in increasing order, each once
	uint32_t *train; // packages to learn from
	uint32_t train_count;
	uint32_t *held; // those held out
	uint32_t held_count;
};

// Words are hashed to `bits` bits; word 1 << bits is in every package. -EINVAL with what is wrong
// and where, -ENOMEM, or why the file cannot be read.
int gw_sections_load(struct gw_sections *s, const char *path, uint32_t bits, struct gw_error *err);
void gw_sections_free(struct gw_sections *s);

// The different words of some packages, numbered as they come.
struct gw_words {
	uint32_t *place; // [(1 << bits) + 1]: number + 1 of a word, 0 = not there
	uint64_t *ids;	 // [max]
	uint32_t count;
	uint32_t max;
};

int gw_words_init(struct gw_words *w, uint32_t bits, uint32_t max, struct gw_error *err);
void gw_words_free(struct gw_words *w);
// False: more than max.
bool gw_words_gather(
	struct gw_words *w, const struct gw_sections *s, const uint32_t *packages, uint32_t n);

// Mean loss of these packages under rows[word's number][GW_SECTIONS_MAX], its gradient in `grad`
// (likewise; NULL: not wanted), and how many are told right.
double gw_sections_gradient(const struct gw_sections *s, const struct gw_words *w,
	const uint32_t *packages, uint32_t n, const float *rows, float *grad, uint32_t *right);

#endif
