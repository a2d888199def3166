// SPDX-License-Identifier: BSD-3-Clause
//
// The register of a node by itself: a file.
#include "lead_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static int manual_create(
	struct gp_lead *l, const struct gp_lead_opts *opts, struct gp_lead_error *err)
{
	struct lead_manual *m = calloc(1, sizeof(*m));
	if (!m)
		return lead_fail(err, -ENOMEM, "out of memory for the register");
	if (!opts->directory) {
		free(m);
		return lead_fail(err, -EINVAL, "manual: it needs a directory");
	}
	int rc = lead_dir_open(opts->directory, &m->dir, err);
	if (rc != 0) {
		free(m);
		return rc;
	}
	lead_state_set(l, m);
	return 0;
}

static void manual_destroy(struct gp_lead *l)
{
	struct lead_manual *m = lead_state(l);
	close(m->dir);
	free(m);
}

enum lead_outcome lead_manual_answer(struct lead_manual *m, const char *key,
	const struct lead_question *q, struct gp_lead_held *held, struct gp_lead_error *err)
{
	int rc = m->broken ? lead_fail(err, -EIO, "the disk failed: restart this node")
			   : lead_file_load(m->dir, key, held, err);
	bool same = rc == 0 && held->exists == q->from.exists && held->version == q->from.version;
	bool ours = rc == 0 && held->exists && held->record.nonce == q->to.nonce;
	if (rc == 0 && q->swap && same && !ours) {
		*held = (struct gp_lead_held){
			.exists = true, .version = held->version + 1, .record = q->to};
		rc = lead_file_store(m->dir, key, held, err);
		m->broken = rc == -ESTALE;
	}
	if (rc != 0)
		return LEAD_FAILED;
	if (!q->swap)
		return LEAD_IS;
	return same || ours ? LEAD_DONE : LEAD_NOT;
}

static void manual_ask(struct gp_lead *l, const struct lead_question *q)
{
	struct gp_lead_error err;
	struct gp_lead_held held;
	enum lead_outcome outcome = lead_manual_answer(lead_state(l), lead_key(l), q, &held, &err);
	bool known = outcome != LEAD_FAILED;
	lead_answer(l, outcome, known ? &held : NULL, known ? NULL : err.text);
}

static void manual_drop(struct gp_lead *l)
{
	(void)l;
}

const struct lead_kind lead_kind_manual = {
	.name = "manual",
	.create = manual_create,
	.destroy = manual_destroy,
	.ask = manual_ask,
	.drop = manual_drop,
};
