// SPDX-License-Identifier: BSD-3-Clause
//
// A snapshot on its way to the replica: what lib/replica's sender and receiver do with the files,
// piece by piece in virtual time. The way breaks between any two pieces.
#include "pair.h"

#include <errno.h>
#include <stdlib.h>

#define KEEP	  3
#define PIECE_MIN (20 * US)
#define PIECE_MAX (300 * US)
#define RETRY_MAX (5 * MS)
#define CHUNK_MAX 4000

static struct pair_node *peer_of(struct pair_node *n)
{
	return &n->s->node[1 - n->idx];
}

static bool is_there(struct pair_node *n)
{
	const struct pair_sim *s = n->s;
	const struct pair_node *p = peer_of(n);
	return p->alive && s->now >= p->awake_at && !p->leading && !s->link_cut &&
	       pair_reaches(s, 0, 1) && pair_reaches(s, 1, 0);
}

void pair_ship_break(struct pair_node *n)
{
	struct pair_snaps *x = &n->snaps;
	struct pair_node *p = peer_of(n);
	if (x->snap)
		gp_snapshot_close(x->snap);
	x->waiting |= x->snap != NULL;
	x->snap = NULL;
	x->connected = x->sent = false;
	x->due = n->s->now + rng_below(&n->s->rng, RETRY_MAX);
	if (!p->alive || !p->snaps.in.stage)
		return;
	pair_disk_use(n->s->disk[p->idx]);
	incoming_drop(&p->snaps.in);
	pair_disk_done();
	(void)pair_snaps_survives(p);
}

static void connect_to(struct pair_node *n)
{
	struct pair_snaps *x = &n->snaps;
	const struct pair_snaps *p = &peer_of(n)->snaps;
	x->connected = true;
	x->held_valid = p->holds_valid;
	x->held = p->holds;
	// What it has is asked for again until it has told so to this life of the primary.
	x->waiting = x->newest[0] != 0;
}

// ---- pieces; false: the connection is of no more use

static bool transfer_begin(struct pair_node *n)
{
	struct pair_snaps *x = &n->snaps;
	struct pair_node *p = peer_of(n);
	struct gp_snapshot_error err;
	char path[PATH_MAX];
	pair_disk_use(n->s->disk[n->idx]);
	int rc =
		chain_next(x->newest, x->held_valid && !x->from_full ? &x->held : NULL, path, &err);
	if (rc == 0)
		rc = gp_snapshot_open_alone(path, &x->snap, &err);
	pair_disk_done();
	if (!pair_snaps_survives(n) || rc != 0) {
		x->snap = NULL;
		return false;
	}
	x->waiting = false;
	x->begin = (struct msg_begin){.digest = gp_snapshot_seal(x->snap)->digest,
		.files_count = gp_snapshot_files_count(x->snap)};
	if (!gp_snapshot_name_parse(strrchr(path, '/') + 1, &x->begin.entry))
		pair_broken(n->s, "%s is no name of a snapshot", path);
	for (uint32_t i = 0; i < x->begin.files_count; i++)
		x->begin.files[i] = *gp_snapshot_file(x->snap, i);
	x->file = 0;
	x->offset = 0;
	pair_disk_use(n->s->disk[p->idx]);
	rc = incoming_begin(&p->snaps.in, pair_disk_path(n->s->disk[p->idx]), &x->begin, &err);
	pair_disk_done();
	return pair_snaps_survives(p) && rc == 0;
}

static bool transfer_chunk(struct pair_node *n)
{
	static uint8_t body[CHUNK_HEADER_SIZE + CHUNK_MAX];
	struct pair_snaps *x = &n->snaps;
	struct pair_node *p = peer_of(n);
	struct gp_snapshot_error err;
	uint64_t left = x->begin.files[x->file].size - x->offset;
	size_t len = (size_t)GP_MIN(left, 1 + rng_below(&n->s->rng, CHUNK_MAX));
	const uint8_t *bytes = gp_snapshot_bytes(x->snap, x->file);
	memset(body, 0, CHUNK_HEADER_SIZE);
	gp_store32(body, x->file);
	gp_store64(body + 8, x->offset);
	memcpy(body + CHUNK_HEADER_SIZE, bytes + x->offset, len);
	pair_traced(n->s, body, CHUNK_HEADER_SIZE + len);
	x->offset += len;
	if (x->offset == x->begin.files[x->file].size) {
		x->file++;
		x->offset = 0;
	}
	pair_disk_use(n->s->disk[p->idx]);
	int rc = incoming_chunk(&p->snaps.in, body, CHUNK_HEADER_SIZE + len, &err);
	pair_disk_done();
	return pair_snaps_survives(p) && rc == 0;
}

static bool transfer_end(struct pair_node *n)
{
	struct pair_snaps *x = &n->snaps;
	struct pair_node *p = peer_of(n);
	struct gp_snapshot_error err;
	char path[PATH_MAX];
	const char *dir = pair_disk_path(n->s->disk[p->idx]);
	pair_disk_use(n->s->disk[p->idx]);
	int rc = incoming_end(&p->snaps.in, path, &err);
	if (rc == 0)
		(void)!gp_snapshot_prune(dir, x->begin.entry.job, x->begin.entry.step, KEEP, &err);
	pair_disk_done();
	if (!pair_snaps_survives(p) || rc != 0) {
		x->from_full = true; // it is told that it was refused
		return false;
	}
	p->snaps.holds_valid = true;
	p->snaps.holds = (struct hold){.step = x->begin.entry.step, .digest = x->begin.digest};
	strcpy(p->snaps.holds.job, x->begin.entry.job);
	strcpy(p->snaps.pending, path);
	p->snaps.line = n->s->op.line;
	x->sent = true;
	pair_snaps_load(p); // of which it may die
	return true;
}

static void transfer_answered(struct pair_node *n)
{
	struct pair_snaps *x = &n->snaps;
	uint32_t step = x->begin.entry.step;
	x->sent = x->from_full = false;
	x->held_valid = true;
	x->held = (struct hold){.step = step, .digest = x->begin.digest};
	x->waiting |= step != x->newest_step;
	gp_snapshot_close(x->snap);
	x->snap = NULL;
	n->s->stats.shipped++;
	n->s->op.acked = true;
	n->s->op.acked_step = step;
	gp_registrar_backed(gp_engine_registrar(n->engine), n->s->job.id, step);
}

static bool piece(struct pair_node *n)
{
	struct pair_snaps *x = &n->snaps;
	if (!x->snap)
		return !x->waiting || transfer_begin(n);
	if (x->file < x->begin.files_count)
		return transfer_chunk(n);
	if (!x->sent)
		return transfer_end(n);
	transfer_answered(n);
	return true;
}

void pair_ship_turn(struct pair_node *n)
{
	struct pair_snaps *x = &n->snaps;
	if (x->connected && !is_there(n))
		pair_ship_break(n);
	if (n->s->now < x->due || !is_there(n))
		return;
	if (!x->connected)
		connect_to(n);
	else if (!piece(n) && n->alive)
		pair_ship_break(n);
	x->due = GP_MAX(x->due, n->s->now + PIECE_MIN + rng_below(&n->s->rng, PIECE_MAX));
}
