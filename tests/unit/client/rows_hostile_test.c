// SPDX-License-Identifier: BSD-3-Clause
//
// Embed jobs of a server that says what cannot be, and without memory at the Nth request, for
// every N.
#include "fixture.h"

#include <ccore_rows.h>
#include <criterion/criterion.h>
#include <errno.h>

static struct fx f;

struct layout {
	uint32_t block_elems, blocks_count, units_count;
	uint32_t numbers[2], first_block, dim;
};
static const struct layout good = {
	.block_elems = 16, .blocks_count = 4, .units_count = 1, .numbers = {1, 0}, .dim = 10};

static void layout_feed(const struct layout *l)
{
	uint8_t body[128];
	const struct gp_layout x = {.registered = 2,
		.state = 1,
		.block_elems = l->block_elems,
		.blocks_count = l->blocks_count,
		.units_count = l->units_count,
		.next_step = 1,
		.n = 2,
		.missing_rank = GP_WIRE_RANK_NONE};
	struct gp_header h = {.type = GP_WIRE_LAYOUT, .session = SESSION};
	uint32_t len = gp_wire_put_layout(body, &x);
	for (uint32_t i = 0; i < 2; i++) {
		const struct gp_layout_entry e = {
			.tensor = l->numbers[i], .first_block = l->first_block};
		len += gp_wire_put_layout_entry(body + len, &e);
	}
	fx_feed(&f, &h, NULL, NULL, body, len);
}

// Up to the layout; what ended it, or 0.
static int begin(const struct layout *l, uint32_t takes)
{
	const struct gp_client_tensor t[] = {{.name = "a", .dims_count = 1, .dims = {3}},
		{.name = "b", .dims_count = 1, .dims = {l->dim}}};
	fx_how.takes = takes;
	fx_open(&f, 1472);
	if (!f.core)
		return -ENOMEM;
	f.w.kind = GP_KIND_EMBED;
	f.w.consistency = GP_CONSIST_ASP;
	f.w.atomicity = GP_ATOM_STEP;
	fx_tick(&f, 0);
	fx_hello_reply(&f, f.base.mtu, GP_WIRE_VERSION);
	fx_tick(&f, 0);
	fx_welcome(&f);
	if (!gp_ccore_error(f.core) && gp_ccore_register(f.core, t, 2) != 0)
		return gp_ccore_last(f.core)->code;
	fx_tick(&f, 0);
	if (!gp_ccore_error(f.core))
		layout_feed(l);
	return gp_ccore_error(f.core) ? gp_ccore_error(f.core)->code : 0;
}

static void ended(const struct layout *l, const char *part)
{
	cr_assert_eq(begin(l, UINT32_MAX), -EPROTO, "'%s' was expected", part);
	const struct gp_client_error *e = gp_ccore_error(f.core);
	cr_assert(strstr(e->text, part), "'%s' is not in '%s'", part, e->text);
	fx_close(&f);
}

Test(rows_hostile, layouts_that_no_embed_job_has)
{
	struct layout l = good;
	l.numbers[0] = 0;
	ended(&l, "two tables have one number");
	l = good;
	l.numbers[0] = 2;
	ended(&l, "its layout of tensor 'a' is impossible");
	l = good;
	l.first_block = 1;
	ended(&l, "its layout of tensor 'a' is impossible");
	l = good;
	l.dim = 17;
	ended(&l, "a row of table 'b' does not fit a block");
	l.dim = 14; // with its id and the head it does not
	ended(&l, "a row of table 'b' does not fit a block");
	cr_assert_eq(begin(&good, UINT32_MAX), 0);
	fx_close(&f);
}

Test(rows_hostile, no_memory_for_tables)
{
	uint32_t n = 0;
	for (int rc = 1; rc != 0; n++) {
		rc = begin(&good, n);
		cr_assert(rc == 0 || rc == -ENOMEM, "%d with %u pieces", rc, n);
		fx_close(&f);
	}
	cr_assert_gt(n, 10);
	fx_how.takes = UINT32_MAX;
}

// ---- answers

#define ROWS 3
static const uint64_t ids[ROWS] = {5, 7, 9};
static float out[ROWS * 3];

static void pulling(void)
{
	const struct gp_commit_entry view = {.kind = GP_DECISION_VIEW,
		.flags = GP_COMMIT_MEMBER,
		.ranks = 2,
		.step = 1,
		.view = 1};
	struct gp_client_rows x = {.table = 0, .count = ROWS, .ids = ids, .values = out};
	cr_assert_eq(begin(&good, UINT32_MAX), 0);
	fx_decide(&f, &view);
	cr_assert_eq(gp_ccore_pull_rows(f.core, &x, 1), 0);
	fx_tick(&f, 0);
	const struct gp_read_reply r = {.request = f.core->read.request,
		.state = GP_READ_GRANTED,
		.rank = GP_WIRE_RANK_NONE,
		.generation = 7,
		.bound = GP_WIRE_BOUND_NONE};
	uint8_t body[64];
	struct gp_header h = {.type = GP_WIRE_READ_REPLY, .session = SESSION};
	fx_feed(&f, &h, NULL, NULL, body, gp_wire_put_read_reply(body, &r));
	fx_tick(&f, 0);
}

static struct gp_rows_head asked(void)
{
	struct gp_msg m;
	struct gp_rows_head x;
	(void)fx_next(&f, GP_WIRE_PULL_ROWS, &m);
	gp_wire_get_rows(&m, &x);
	return x;
}

static void answer(const struct gp_rows_head *x, uint32_t step)
{
	uint8_t body[512] = {0};
	struct gp_header h = {.type = GP_WIRE_ROWS, .session = SESSION, .step = step};
	uint32_t at = gp_wire_put_rows(body, x), n = (uint32_t)x->n * x->dim;
	for (uint32_t i = 0; i < n && x->codec == GP_CODEC_F32; i++) {
		float v = (float)i;
		memcpy(body + at + 4 * (size_t)i, &v, sizeof(v));
	}
	uint32_t len = (n * gp_rows_value_size(x->codec) + 3) & ~3u;
	fx_feed(&f, &h, NULL, NULL, body, at + len);
}

static void passed_over(const struct gp_rows_head *x, uint32_t step, const char *what)
{
	uint64_t before = f.core->stats.rx_rejected;
	answer(x, step);
	cr_assert_eq(f.core->stats.rx_rejected, before + 1, "%s", what);
	cr_assert_not(gp_ccore_done(f.core), "%s", what);
}

Test(rows_hostile, answers_to_another_question)
{
	pulling();
	const struct gp_rows_head q = asked();
	cr_assert(q.n > 0 && q.table == 1 && q.dim == 3);
	struct gp_rows_head x = q;
#define WRONG(member, value)                                                                       \
	x = q;                                                                                     \
	x.member = value;                                                                          \
	passed_over(&x, 7, #member)
	WRONG(request, q.request + 1);
	WRONG(place, 77);
	WRONG(place, 3); // of which nothing was asked
	WRONG(table, 0);
	WRONG(n, 1);
	WRONG(dim, 2);
	WRONG(codec, GP_CODEC_BF16);
	passed_over(&q, 6, "another generation");
	answer(&q, 7);
	cr_assert(gp_ccore_done(f.core));
	for (uint32_t i = 0; i < ROWS * 3; i++)
		cr_assert_eq(out[i], (float)i);
	answer(&q, 7); // once more
	cr_assert_eq(f.core->stats.duplicates, 1);
	cr_assert_eq(gp_ccore_pull_end(f.core), 7);
	uint64_t before = f.core->stats.rx_rejected;
	answer(&q, 7); // too late
	cr_assert_eq(f.core->stats.rx_rejected, before + 1);
	fx_close(&f);
}

// All frames are under way: what is asked for goes out with the next turn.
Test(rows_hostile, a_question_waits_for_a_frame)
{
	pulling();
	(void)asked();
	f.frames_used = 0xff;
	fx_tick(&f, 1000 * MS);
	cr_assert_eq(fx_count(&f, GP_WIRE_PULL_ROWS), 0);
	f.frames_used = 0;
	fx_tick(&f, 1000 * MS);
	cr_assert_eq(fx_count(&f, GP_WIRE_PULL_ROWS), 1);
	fx_close(&f);
}
