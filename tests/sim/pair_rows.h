// SPDX-License-Identifier: BSD-3-Clause
//
// Pairs with tables: the model's tensors are tables, and row r of table t holds the elements
// r * dim .. of tensor t, under a number that is a hash (rows.h). A rank pushes the rows in which
// it has elements of its own, so that the judge of asynchronous jobs (pair_async.h) knows what each
// row has to be. Where rows are evicted it does not; there the nodes compare their tables at every
// cut, and pushes and generations are judged as everywhere.
#ifndef SIM_PAIR_ROWS_H
#define SIM_PAIR_ROWS_H

#include <stdbool.h>
#include <stdint.h>

struct gp_image_tensor;
struct pair_node;
struct pair_sim;
struct pair_worker;

void pair_rows_choose(struct pair_sim *s);
void pair_rows_job(struct pair_sim *s);
// What the backup needs room for.
void pair_rows_layout(const struct pair_node *n, uint32_t table, struct gp_image_tensor *to);
// A worker's whole step. False: the session has ended.
bool pair_rows_push(struct pair_worker *w, uint32_t step);
bool pair_rows_pull(struct pair_worker *w);
// All values as the image has them, or the engine in that generation. False: they cannot be read.
bool pair_rows_image(const struct pair_node *n, float *to);
bool pair_rows_engine(const struct pair_node *n, uint32_t generation, float *to);

#endif
