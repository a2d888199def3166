// SPDX-License-Identifier: BSD-3-Clause
//
// Embed histories: the model's tensors are tables. Row r of table t holds the elements r * dim ..
// of tensor t, under a number that is a hash; a rank pushes the rows in which it has elements of
// its own (ledger.h), with gradients that are minus what it contributes, so that a row's values are
// the ledger's sums, and some rows in two halves. All rows are pulled at once.
#ifndef SIM_ROWS_H
#define SIM_ROWS_H

#include "sim.h"

struct gp_job;

void rows_job(const struct sim *s, struct gp_job_config *j);
// Bytes that tables and pushes of the job take.
uint64_t rows_memory(const struct sim *s);
// Table t with these values, in what the job is restored from.
void rows_restore(
	const struct sim *s, uint32_t t, const float *values, struct gp_restore_tensor *out);
// The whole step of a worker.
void rows_push(struct sim *s, struct sim_node *n);
// Into n->params; false: the session has ended.
bool rows_pull(struct sim *s, struct sim_node *n);
// What a snapshot would read of the cut: the rows that are there, each once, as the ledger has
// them.
void rows_cut(struct sim *s, uint32_t generation, const char *who);
// At the end: what the cores hold is what the ledger has.
void rows_final(struct sim *s, const struct gp_job *j);

#endif
