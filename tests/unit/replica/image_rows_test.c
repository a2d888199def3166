// SPDX-License-Identifier: BSD-3-Clause
//
// Tables in the image: rows of a cut count with its decision, all or none; what lacks, or is too
// much, is refused; a difference is noticed.
#include <gp_backup_rows.h>
#include <gp_image.h>

#include <criterion/criterion.h>
#include <errno.h>

#define DIM	3
#define FLOATS	4 // one of state
#define ROWS	40
#define CHANGES 16
#define IDS	64

static struct gp_image *image;
static struct gp_image_error err;
static struct gp_image_tensor table = {
	.name = "t", .dims_count = 1, .dims = {DIM}, .state = 1, .rows = ROWS, .changes = CHANGES};
static struct gp_image_layout layout = {.name = "job",
	.id = 1,
	.kind = GP_KIND_EMBED,
	.atomicity = GP_ATOM_STEP,
	.arrays_count = 1,
	.ranks = 1,
	.block_elems = 8,
	.tensors_count = 1,
	.tensors = &table};

// What the image should have: the commit that wrote each id last, 0: none.
static uint32_t truth[IDS];
static uint8_t bytes[CHANGES * (16 + 4 * FLOATS) + 64];
static size_t len;
static uint32_t count;

static void setup(void)
{
	const struct gp_image_opts opts = {.memory_max = 1 << 20};
	memset(truth, 0, sizeof(truth));
	len = count = 0;
	cr_assert_eq(gp_image_create(&image, &opts, &err), 0);
}

static void teardown(void)
{
	gp_image_destroy(image);
}

TestSuite(image_rows, .init = setup, .fini = teardown);

static uint64_t id_of(uint32_t i)
{
	return UINT64_C(0x9e3779b97f4a7c15) * (i + 1);
}

static void row_of(uint32_t i, uint32_t step, float row[FLOATS])
{
	for (uint32_t k = 0; k < FLOATS; k++)
		row[k] = (float)(1000 * step + 10 * i + k);
}

static void record(uint32_t i, uint32_t step)
{
	float row[FLOATS];
	row_of(i, step, row);
	gp_store64(bytes + len, id_of(i));
	gp_store32(bytes + len + 8, step);
	gp_store32(bytes + len + 12, step != 0);
	len += 16;
	for (uint32_t k = 0; k < FLOATS && step != 0; k++, len += 4)
		gp_storef(bytes + len, row[k]);
	count++;
	truth[i] = step;
}

static int rows_tell(uint32_t generation, uint32_t before)
{
	const struct gp_image_rows x = {.id = 1,
		.generation = generation,
		.before = before,
		.count = count,
		.bytes = bytes,
		.len = len};
	int rc = gp_image_rows(image, &x, &err);
	len = count = 0;
	return rc;
}

static int tally(uint32_t generation, uint32_t records, uint64_t more)
{
	uint8_t sums[16];
	uint64_t rows = 0, digest = more;
	for (uint32_t i = 0; i < IDS; i++) {
		float row[FLOATS];
		row_of(i, truth[i], row);
		rows += truth[i] != 0;
		if (truth[i] != 0)
			digest += gp_backup_row_digest(0, id_of(i), truth[i], row, FLOATS);
	}
	gp_store64(sums, rows);
	gp_store64(sums + 8, digest);
	const struct gp_image_tally x = {.id = 1,
		.count = 1,
		.generation = generation,
		.updates = 7 * generation,
		.records = records,
		.bytes = sums};
	return gp_image_tally(image, &x, &err);
}

static int ranks(uint32_t generation)
{
	uint8_t clock[4];
	gp_store32(clock, generation);
	const struct gp_image_ranks x = {
		.id = 1, .generation = generation, .count = 1, .clocks = clock};
	return gp_image_ranks(image, &x, &err);
}

static int decide(uint32_t number, uint32_t generation)
{
	const struct gp_decision d = {
		.number = number, .kind = GP_DECIDED_CUT, .step = generation, .backup = true};
	return gp_image_decide(image, 1, &d, &err);
}

static void base_begin(void)
{
	const struct gp_image_point point = {.base = 77, .decision = 10, .digest_every = 1};
	cr_assert_eq(gp_image_base(image, &layout, &point, 5, &err), 0);
}

static void based(void)
{
	base_begin();
	cr_assert_eq(ranks(5), 0);
	cr_assert_eq(tally(5, 0, 0), 0);
	cr_assert_eq(gp_image_base_end(image, 1, &err), 0, "%s", err.text);
}

static void is_truth(void)
{
	uint64_t ours, theirs, rows = 0;
	for (uint32_t i = 0; i < IDS; i++) {
		uint32_t step;
		float want[FLOATS];
		const float *row = gp_image_row(image, 1, 0, id_of(i), &step);
		row_of(i, truth[i], want);
		rows += truth[i] != 0;
		cr_assert_eq(row != NULL, truth[i] != 0, "row %u", i);
		cr_assert(!row || (step == truth[i] && memcmp(row, want, sizeof(want)) == 0));
	}
	cr_assert_eq(gp_image_rows_count(image, 1, 0), rows);
	cr_assert_not(gp_image_differs(image, 1, &ours, &theirs));
}

// Some rows of the last cut are in their places; what comes then does the rest.
static void settle_some(uint32_t rows)
{
	struct gp_image_view v;
	bool more = gp_image_settle(image, 1, rows);
	cr_assert(gp_image_find(image, 1, &v) && v.settling == more);
}

Test(image_rows, rows_count_with_their_cut)
{
	uint64_t random = 1;
	based();
	for (uint32_t cut = 6; cut < 600; cut++) {
		uint32_t before[IDS], records = 0, there = 0;
		memcpy(before, truth, sizeof(before));
		for (uint32_t i = 0; i < IDS; i++)
			there += truth[i] != 0;
		for (uint32_t n = 0; n < CHANGES - 2; n++) {
			random = random * UINT64_C(6364136223846793005) + 1;
			uint32_t i = (uint32_t)(random >> 40) % IDS;
			bool goes = (random >> 33) % 3 == 0 || (truth[i] == 0 && there == ROWS);
			there += (truth[i] == 0 && !goes) - (truth[i] != 0 && goes);
			record(i, goes ? 0 : cut);
			records++;
		}
		cr_assert_eq(rows_tell(cut, 0), 0, "%s", err.text);
		uint32_t after[IDS];
		memcpy(after, truth, sizeof(after));
		memcpy(truth, before, sizeof(truth));
		is_truth(); // nothing counts yet
		memcpy(truth, after, sizeof(truth));
		cr_assert_eq(ranks(cut), 0);
		cr_assert_eq(tally(cut, records, 0), 0);
		cr_assert_eq(decide(10 + cut, cut), 0, "%s", err.text);
		settle_some((uint32_t)(random >> 50) % CHANGES);
		if (random >> 62 != 0)
			is_truth();
	}
}

// Rows of a cut take their places so many at a time, and are compared when all have.
Test(image_rows, a_cut_settles_some_rows_at_a_time)
{
	struct gp_image_view v;
	uint32_t calls = 1;
	based();
	for (uint32_t i = 0; i < 10; i++)
		record(i, 1);
	cr_assert_eq(rows_tell(6, 0), 0, "%s", err.text);
	cr_assert_eq(ranks(6), 0);
	cr_assert_eq(tally(6, 10, 0), 0);
	cr_assert_eq(decide(11, 6), 0, "%s", err.text);
	for (; gp_image_settle(image, 1, 3); calls++) {
		cr_assert(gp_image_find(image, 1, &v) && v.settling && v.digest_step != 6);
		cr_assert_eq(v.generation, 6, "it counts");
	}
	cr_assert_eq(calls, 4);
	cr_assert(gp_image_find(image, 1, &v) && !v.settling && v.digest_step == 6);
	is_truth();
	cr_assert_not(gp_image_settle(image, 1, 3));
	cr_assert_not(gp_image_settle(image, 2, 3), "no such job");
}

// Who asks for the tables before sees them whole.
Test(image_rows, who_restores_has_a_cut_settled_before)
{
	struct gp_restore x;
	uint64_t at = 0, id, ours, theirs;
	uint32_t step, rows = 0;
	based();
	for (uint32_t i = 0; i < 10; i++)
		record(i, 1);
	cr_assert_eq(rows_tell(6, 0), 0, "%s", err.text);
	cr_assert_eq(ranks(6), 0);
	cr_assert_eq(tally(6, 10, 4), 0);
	cr_assert_eq(decide(11, 6), 0, "%s", err.text);
	cr_assert(gp_image_settle(image, 1, 4));
	cr_assert_eq(gp_image_restore(image, 1, &x), 0);
	cr_assert_eq(x.tensors[0].rows->count, 10);
	while (x.tensors[0].rows->next(x.tensors[0].rows->arg, &at, &id, &step))
		rows++;
	cr_assert_eq(rows, 10);
	cr_assert(gp_image_differs(image, 1, &ours, &theirs));
}

// A cut that was given up in the middle, or comes again, begins anew.
Test(image_rows, a_cut_comes_again)
{
	based();
	for (uint32_t times = 0; times < 5; times++) {
		for (uint32_t i = 0; i < CHANGES; i++)
			record(i, 1);
		cr_assert_eq(rows_tell(6, 0), 0, "%s", err.text);
	}
	cr_assert_eq(ranks(6), 0);
	cr_assert_eq(tally(6, CHANGES, 0), 0);
	cr_assert_eq(decide(11, 6), 0, "%s", err.text);
	is_truth();
}

Test(image_rows, what_lacks_or_is_too_much_is_refused)
{
	based();
	record(1, 1);
	cr_assert_eq(rows_tell(6, 3), -EPROTO, "a gap");
	for (uint32_t i = 0; i < CHANGES; i++)
		record(i, 1);
	cr_assert_eq(rows_tell(6, 0), 0);
	record(20, 1);
	cr_assert_eq(rows_tell(6, CHANGES), -EPROTO, "more than one cut may change");
	record(1, 1);
	len--;
	cr_assert_eq(rows_tell(6, 0), -EPROTO, "cut short");
	record(1, 1);
	len += 8;
	cr_assert_eq(rows_tell(6, 0), -EPROTO, "too long");
	record(1, 1);
	gp_store32(bytes + 12, (UINT32_C(1) << 31) + 1);
	cr_assert_eq(rows_tell(6, 0), -EPROTO, "used before it was written");
	memset(truth, 0, sizeof(truth));
	record(1, 1);
	cr_assert_eq(rows_tell(6, 0), 0);
	cr_assert_eq(decide(11, 6), -EPROTO, "without ranks");
	cr_assert_eq(ranks(6), 0);
	cr_assert_eq(decide(11, 6), -EPROTO, "without their sum");
	cr_assert_eq(tally(6, 2, 0), 0);
	cr_assert_eq(decide(11, 6), -EPROTO, "one lacks");
	cr_assert_eq(tally(6, 1, 0), 0);
	cr_assert_eq(decide(11, 6), 0, "%s", err.text);
	is_truth();
}

Test(image_rows, a_difference_is_noticed)
{
	uint64_t ours, theirs;
	based();
	record(3, 1);
	cr_assert_eq(rows_tell(6, 0), 0);
	cr_assert_eq(ranks(6), 0);
	cr_assert_eq(tally(6, 1, 9), 0);
	cr_assert_eq(decide(11, 6), 0);
	cr_assert(gp_image_differs(image, 1, &ours, &theirs));
	cr_assert_eq(theirs - ours, 9);
}

// Cuts move on a base that is not complete, and nothing of it can be gone on with until it is.
Test(image_rows, cuts_go_on_while_the_base_comes)
{
	struct gp_restore x;
	uint64_t at = 0, id;
	uint32_t step, rows = 0;
	base_begin();
	record(1, 1);
	record(2, 1);
	cr_assert_eq(rows_tell(5, 0), 0, "%s", err.text);
	record(2, 0);
	record(3, 2);
	cr_assert_eq(rows_tell(6, 0), 0, "%s", err.text);
	cr_assert_eq(ranks(6), 0);
	cr_assert_eq(tally(6, 2, 0), 0);
	cr_assert_eq(decide(12, 6), 0, "%s", err.text);
	cr_assert_eq(gp_image_restore(image, 1, &x), -ENOENT);
	record(4, 1);
	cr_assert_eq(rows_tell(6, 2), 0, "%s", err.text);
	cr_assert_eq(gp_image_base_end(image, 1, &err), -EPROTO);
	cr_assert_eq(ranks(6), 0);
	cr_assert_eq(tally(6, 3, 0), 0);
	cr_assert_eq(gp_image_base_end(image, 1, &err), 0, "%s", err.text);
	is_truth();
	cr_assert_eq(gp_image_restore(image, 1, &x), 0);
	cr_assert(x.step == 6 && x.decision == 12 && x.tensors[0].rows->updates == 42);
	cr_assert_eq(x.tensors[0].rows->count, 3);
	while (x.tensors[0].rows->next(x.tensors[0].rows->arg, &at, &id, &step))
		rows++;
	cr_assert_eq(rows, 3);
}

// Who goes on from the image takes the last use for the last write.
Test(image_rows, what_was_used_is_as_young_for_who_goes_on)
{
	struct gp_restore x;
	uint64_t at = 0, id;
	uint32_t step = 0;
	based();
	record(1, 1);
	gp_store32(bytes + 12, 1 + 5);
	cr_assert_eq(rows_tell(6, 0), 0, "%s", err.text);
	cr_assert_eq(ranks(6), 0);
	cr_assert_eq(tally(6, 1, 0), 0);
	cr_assert_eq(decide(11, 6), 0, "%s", err.text);
	is_truth(); // it was not written
	cr_assert_eq(gp_image_restore(image, 1, &x), 0);
	cr_assert(x.tensors[0].rows->next(x.tensors[0].rows->arg, &at, &id, &step));
	cr_assert(id == id_of(1) && step == 6, "used at %u", step);
}

Test(image_rows, layouts_out_of_range_are_refused)
{
	const struct gp_image_point point = {.base = 1};
	const struct gp_image_tensor good = table;
	for (uint32_t i = 0; i < 5; i++) {
		table = good;
		table.rows = i == 0 ? 0 : i == 1 ? UINT64_MAX : ROWS;
		table.changes = i == 2 ? 0 : i == 3 ? UINT64_C(1) << 40 : CHANGES;
		table.state = i == 4 ? 1u << 20 : 1;
		cr_assert_eq(gp_image_base(image, &layout, &point, 0, &err), -EINVAL, "%u", i);
	}
	table.state = 1;
	table.rows = UINT64_C(1) << 30;
	cr_assert_eq(gp_image_base(image, &layout, &point, 0, &err), -ENOMEM);
	table = good;
}
