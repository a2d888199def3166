// SPDX-License-Identifier: BSD-3-Clause
//
// A table of rows against the plainest one: a row for every id in an array.
#include <criterion/criterion.h>

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>

#include <gp_rows.h>

#define DIM 6

static struct gp_rcu_grace grace;

static uint64_t mix(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static struct gp_rows_config config_of(uint64_t rows_max)
{
	return (struct gp_rows_config){.rows_max = rows_max,
		.dim = DIM,
		.optim = {.kind = GP_OPTIM_ADAGRAD, .lr = 0.1f, .epsilon = 1e-10f},
		.initial = GP_ROWS_UNIFORM,
		.initial_scale = 0.5f,
		.seed = 7,
		.hash_key = 99};
}

static struct gp_rows *rows_new(const struct gp_rows_config *cfg)
{
	const char *why = NULL;
	cr_assert_eq(gp_rows_check(cfg, &why), 0, "%s", why);
	size_t size = gp_rows_size(cfg);
	void *mem = aligned_alloc(GP_CACHE_LINE, gp_align_up(size, GP_CACHE_LINE));
	memset(mem, 0x5a, size); // whatever is in it
	return gp_rows_init(mem, cfg, &grace);
}

static uint64_t count(const struct gp_rows *t)
{
	return gp_rows_stats(t)->rows;
}

static void update_one(struct gp_rows *t, uint32_t step, uint64_t id, float g)
{
	const struct gp_rows_config cfg = config_of(1);
	struct gp_optim_plan plan;
	float grad[DIM];
	for (uint32_t i = 0; i < DIM; i++)
		grad[i] = g;
	gp_optim_plan_init(&plan, &cfg.optim, step);
	cr_assert_eq(gp_rows_update(t, &plan, 1, &id, grad, 1, NULL), 0);
}

Test(rows, check_names_what_is_wrong)
{
	static const struct {
		size_t at;
		uint32_t value;
		const char *word;
	} cases[] = {
		{offsetof(struct gp_rows_config, dim), 0, "dim"},
		{offsetof(struct gp_rows_config, dim), 4097, "dim"},
		{offsetof(struct gp_rows_config, rows_max), 0, "rows_max"},
		{offsetof(struct gp_rows_config, rows_max) + 4, 1, "rows_max"},
		{offsetof(struct gp_rows_config, initial), 3, "initial"},
		{offsetof(struct gp_rows_config, initial_scale), 0xbf800000, "initial_scale"},
		{offsetof(struct gp_rows_config, eviction), 3, "eviction"},
		{offsetof(struct gp_rows_config, eviction), GP_ROWS_EVICT_AGE, "evict_after"},
		{offsetof(struct gp_rows_config, optim.lr), 0xbf800000, "lr"},
	};
	const char *why;
	for (size_t i = 0; i < GP_ARRAY_SIZE(cases); i++) {
		struct gp_rows_config cfg = config_of(10);
		gp_store32((uint8_t *)&cfg + cases[i].at, cases[i].value);
		cr_assert_eq(gp_rows_check(&cfg, &why), -EINVAL, "case %zu", i);
		cr_assert(strstr(why, cases[i].word) == why, "case %zu: %s", i, why);
	}
}

// ---- the plain table

#define IDS   40000
#define BATCH 333

struct plain {
	bool there[IDS];
	uint32_t step[IDS];
	float row[IDS][2 * DIM];
};

static uint64_t id_of(uint32_t i)
{
	return i == 0 ? 0 : i == 1 ? UINT64_MAX : mix(i);
}

static void initial_of(uint64_t id, float *row)
{
	for (uint32_t k = 0; k < DIM; k++) {
		int32_t x = (int32_t)(mix((7 ^ mix(id)) + k + 1) >> 40) - (1 << 23);
		row[k] = (float)(0.5 * x / (1 << 23));
		row[DIM + k] = 0;
	}
}

static void plain_update(struct plain *p, const struct gp_optim_params *o, uint32_t step,
	uint32_t i, const float *grad)
{
	float out[2 * DIM];
	if (!p->there[i])
		initial_of(id_of(i), p->row[i]);
	gp_optim_apply(o, &(struct gp_optim_block){.grad = grad,
				  .w = p->row[i],
				  .state = p->row[i] + DIM,
				  .w_out = out,
				  .state_out = out + DIM,
				  .elems = DIM,
				  .step = step,
				  .lr_scale = 0.5f});
	memcpy(p->row[i], out, sizeof(out));
	p->there[i] = true;
	p->step[i] = step;
}

// One batch with ids that repeat; some of them in a row.
static void both_update(struct plain *p, struct gp_rows *t, uint32_t step)
{
	static uint64_t ids[BATCH];
	static float grads[BATCH][DIM];
	const struct gp_rows_config cfg = config_of(1);
	struct gp_optim_plan plan;
	bool refused[BATCH];
	gp_optim_plan_init(&plan, &cfg.optim, step);
	for (uint32_t b = 0; b < BATCH; b++) {
		uint64_t r = mix((uint64_t)step << 32 | b);
		uint32_t i = b % 5 == 4 ? (uint32_t)(r % 3) : (uint32_t)(r % IDS);
		ids[b] = id_of(i);
		for (uint32_t k = 0; k < DIM; k++)
			grads[b][k] = (float)(r >> (8 * k) & 255) / 64 - 2;
		plain_update(p, &cfg.optim, step, i, grads[b]);
	}
	cr_assert_eq(gp_rows_update(t, &plan, 0.5f, ids, grads[0], BATCH, refused), 0);
	for (uint32_t b = 0; b < BATCH; b++)
		cr_assert_not(refused[b]);
}

static void compare_all(const struct plain *p, const struct gp_rows *t)
{
	uint64_t rows = 0;
	for (uint32_t i = 0; i < IDS; i++) {
		float values[DIM], state[DIM], got[DIM], want[2 * DIM];
		uint32_t step = 0;
		uint64_t id = id_of(i);
		int rc = gp_rows_read(t, id, values, state, &step);
		cr_assert_eq(rc, p->there[i] ? 0 : -ENOENT, "id %u", i);
		gp_rows_get(t, &id, 1, got);
		initial_of(id, want);
		if (p->there[i])
			memcpy(want, p->row[i], sizeof(want));
		cr_assert_arr_eq(got, want, sizeof(got), "get %u", i);
		if (!p->there[i])
			continue;
		rows++;
		cr_assert_arr_eq(values, want, sizeof(values), "values of %u", i);
		cr_assert_arr_eq(state, want + DIM, sizeof(state), "state of %u", i);
		cr_assert_eq(step, p->step[i]);
	}
	cr_assert_eq(count(t), rows);
}

static void seen_count(void *arg, uint64_t id, uint32_t step, const float *row)
{
	uint64_t *sums = arg;
	(void)step;
	sums[0]++;
	sums[1] += mix(id);
	sums[2] += isfinite(row[0]) ? 0 : 1;
}

Test(rows, behave_like_an_array)
{
	struct plain *p = calloc(1, sizeof(*p));
	const struct gp_rows_config cfg = config_of(IDS);
	struct gp_rows *t = rows_new(&cfg);
	for (uint32_t step = 1; step <= 400; step++) {
		both_update(p, t, step);
		grace.passed++;
	}
	cr_assert_gt(gp_rows_stats(t)->splits, 8);
	compare_all(p, t);
	float row[2 * DIM];
	uint64_t sums[3] = {0}, want[2] = {0};
	struct gp_rows_scan scan = {.row = row, .row_seen = seen_count, .arg = sums};
	while (gp_rows_scan(t, &scan))
		;
	for (uint32_t i = 0; i < IDS; i++) {
		want[0] += p->there[i];
		want[1] += p->there[i] ? mix(id_of(i)) : 0;
	}
	cr_assert(sums[0] == want[0] && sums[1] == want[1] && sums[2] == 0, "each row once");
	cr_assert_eq(scan.missed, 0);
	free(p);
	free(t);
}

Test(rows, initial_values_depend_on_seed_and_id_alone)
{
	struct gp_rows_config cfg = config_of(2000);
	cfg.initial = GP_ROWS_NORMAL;
	cfg.hash_key = 1;
	struct gp_rows *a = rows_new(&cfg);
	cfg.hash_key = 2;
	struct gp_rows *b = rows_new(&cfg);
	double sum = 0, squares = 0;
	for (uint32_t i = 0; i < 1000; i++) {
		update_one(a, 1, i, 0);
		update_one(b, 1, 999 - i, 0);
	}
	for (uint64_t i = 0; i < 1500; i++) {
		float x[DIM], y[DIM];
		gp_rows_get(a, &i, 1, x);
		gp_rows_get(b, &i, 1, y);
		cr_assert_arr_eq(x, y, sizeof(x));
		for (uint32_t k = 0; k < DIM; k++) {
			sum += (double)x[k];
			squares += (double)x[k] * (double)x[k];
		}
	}
	double n = 1500 * DIM;
	cr_assert_lt(fabs(sum / n), 0.02);
	cr_assert_lt(fabs(sqrt(squares / n) - 0.5), 0.02);
	// The definition, written again for one element.
	uint64_t x = mix((7 ^ mix(3)) + 2 + 1), id = 3;
	int64_t s = -6 * INT64_C(2097151);
	for (uint64_t i = 1; i <= 4; i++)
		for (uint32_t f = 0; f < 3; f++)
			s += (int64_t)(mix(x + i) >> (21 * f) & 2097151);
	float got[DIM];
	gp_rows_get(a, &id, 1, got);
	cr_assert_eq(got[2], (float)(0.5 * (double)s / 2097152));
	free(a);
	free(b);
}

Test(rows, full_is_an_answer)
{
	const struct gp_rows_config cfg = config_of(100);
	struct gp_rows *t = rows_new(&cfg);
	struct gp_optim_plan plan;
	uint64_t ids[120];
	static float grads[120][DIM];
	bool refused[120];
	gp_optim_plan_init(&plan, &cfg.optim, 1);
	for (uint32_t i = 0; i < 120; i++)
		ids[i] = i < 110 ? i : i - 110; // the last ten are there by then
	cr_assert_eq(gp_rows_update(t, &plan, 1, ids, grads[0], 120, refused), 10);
	for (uint32_t i = 0; i < 120; i++)
		cr_assert_eq(refused[i], i >= 100 && i < 110);
	cr_assert_eq(gp_rows_stats(t)->refused, 10);
	float row[2 * DIM] = {1, 2, 3};
	cr_assert_eq(gp_rows_put(t, 105, 1, row, row + DIM), -ENOSPC);
	cr_assert(gp_rows_drop(t, 50));
	cr_assert_not(gp_rows_drop(t, 50));
	cr_assert_eq(gp_rows_put(t, 105, 9, row, row + DIM), 0);
	uint32_t step;
	float values[DIM];
	cr_assert_eq(gp_rows_read(t, 50, values, NULL, &step), -ENOENT);
	cr_assert_eq(gp_rows_read(t, 105, values, NULL, &step), 0);
	cr_assert(step == 9 && values[2] == 3);
	row[2] = 4;
	cr_assert_eq(gp_rows_put(t, 105, 10, row, row + DIM), 0, "a row that is there");
	cr_assert_eq(gp_rows_read(t, 105, values, NULL, &step), 0);
	cr_assert(step == 10 && values[2] == 4 && count(t) == 100);
	free(t);
}

// The inverse of mix: ids that somebody who knows the key can choose.
static uint64_t unmix(uint64_t x)
{
	x ^= x >> 31 ^ x >> 62;
	x *= UINT64_C(0x319642b2d24d8ec3);
	x ^= x >> 27 ^ x >> 54;
	x *= UINT64_C(0x96de1b173f119089);
	x ^= x >> 30 ^ x >> 60;
	return x - UINT64_C(0x9e3779b97f4a7c15);
}

Test(rows, ids_that_meet_in_one_bucket_are_refused_in_the_end)
{
	const struct gp_rows_config cfg = config_of(100000);
	struct gp_rows *t = rows_new(&cfg);
	struct gp_optim_plan plan;
	const float grad[DIM] = {0};
	uint32_t made = 0;
	cr_assert_eq(mix(unmix(12345)), 12345);
	gp_optim_plan_init(&plan, &cfg.optim, 1);
	for (uint64_t i = 0; i < 2000; i++) {
		uint64_t id = unmix(i << 20 | 77) ^ cfg.hash_key;
		made += gp_rows_update(t, &plan, 1, &id, grad, 1, NULL) == 0;
		grace.passed++;
	}
	cr_assert(made >= 200 && made <= 300, "%u", made);
	cr_assert_eq(count(t), made);
	uint32_t others = 0;
	for (uint32_t i = 0; i < 10000; i++) {
		uint64_t id = mix(i);
		others += gp_rows_update(t, &plan, 1, &id, grad, 1, NULL) == 0;
	}
	cr_assert_geq(others, 9990, "only who comes home to the same bucket suffers: %u", others);
	free(t);
}

Test(rows, growth_goes_on_without_a_grace_period)
{
	const struct gp_rows_config cfg = config_of(30000);
	struct gp_rows *t = rows_new(&cfg);
	uint64_t passed = grace.passed;
	for (uint32_t i = 0; i < 30000; i++)
		update_one(t, 1, i, 1);
	cr_assert_eq(grace.passed, passed);
	cr_assert_eq(count(t), 30000);
	free(t);
}

Test(rows, memory_stays_within_its_share)
{
	static float row[16];
	struct gp_rows_config cfg = config_of(0);
	cfg.dim = 16;
	for (uint64_t n = 100000; n < 400000; n += n / 4) {
		cfg.rows_max = n;
		struct gp_rows *t = rows_new(&cfg);
		for (uint64_t i = 0; i < n; i++) {
			cr_assert_eq(gp_rows_put(t, mix(i), 1, row, row), 0, "%lu of %lu",
				(unsigned long)i, (unsigned long)n);
			grace.passed++;
			double payload = (double)(i + 1) * 128;
			double used = (double)gp_rows_stats(t)->memory_used;
			cr_assert(i < 50000 || used <= 1.35 * payload, "%g of %g", used, payload);
		}
		cr_assert_leq((double)gp_rows_size(&cfg), 1.36 * 128.0 * (double)n + 200000);
		free(t);
	}
}

Test(rows, that_come_and_go_take_no_more_room)
{
	const struct gp_rows_config cfg = config_of(2000);
	struct gp_rows *t = rows_new(&cfg);
	for (uint64_t i = 0; i < 100000; i++) {
		update_one(t, 1, i, 1);
		cr_assert(i < 1000 || gp_rows_drop(t, i - 1000));
	}
	cr_assert_eq(count(t), 1000);
	cr_assert_eq(gp_rows_stats(t)->splits, 0);
	free(t);
}

static float rounded(float v)
{
	uint32_t bits = gp_load32(&v);
	bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
	return gp_loadf(&bits);
}

// An odd number of values: the state begins behind half a word.
Test(rows, bf16_values_are_rounded_where_they_are_stored)
{
	struct gp_rows_config cfg = config_of(1000);
	cfg.bf16 = true;
	cfg.dim = 5;
	struct gp_rows *t = rows_new(&cfg);
	struct gp_optim_plan plan;
	float want[5], sums[5] = {0}, got[5], state[5], row[10], first[5];
	for (uint64_t id = 0; id < 900; id++)
		update_one(t, 1, id, 0.5f); // reads the first five
	uint64_t id = 5000, sum[3] = {0};
	gp_rows_get(t, &id, 1, first);
	for (uint32_t k = 0; k < 5; k++) {
		int32_t x = (int32_t)(mix((7 ^ mix(id)) + k + 1) >> 40) - (1 << 23);
		want[k] = rounded((float)(0.5 * x / (1 << 23)));
		cr_assert_eq(first[k], want[k]);
	}
	for (uint32_t step = 1; step <= 9; step++) {
		float grad[5], w[5], s[5];
		uint32_t seen;
		for (uint32_t k = 0; k < 5; k++)
			grad[k] = 0.25f * (float)(step + k) - 1;
		gp_optim_plan_init(&plan, &cfg.optim, step);
		cr_assert_eq(gp_rows_update(t, &plan, 1, &id, grad, 1, NULL), 0);
		gp_optim_apply(&cfg.optim, &(struct gp_optim_block){.grad = grad,
						   .w = want,
						   .state = sums,
						   .w_out = w,
						   .state_out = s,
						   .elems = 5,
						   .step = step,
						   .lr_scale = 1});
		for (uint32_t k = 0; k < 5; k++)
			want[k] = rounded(w[k]), sums[k] = s[k];
		gp_rows_get(t, &id, 1, got);
		cr_assert_arr_eq(got, want, sizeof(want), "step %u", step);
		cr_assert_eq(gp_rows_read(t, id, got, state, &seen), 0);
		cr_assert_arr_eq(got, want, sizeof(want));
		cr_assert_arr_eq(state, sums, sizeof(sums));
	}
	struct gp_rows_scan scan = {.row = row, .row_seen = seen_count, .arg = sum};
	while (gp_rows_scan(t, &scan))
		;
	cr_assert(sum[0] == 901 && sum[2] == 0);
	free(t);
}

// ---- eviction

static uint64_t gone[64];
static uint32_t gone_count;

static void on_evicted(void *arg, uint64_t id)
{
	cr_assert_eq(arg, gone);
	if (gone_count < GP_ARRAY_SIZE(gone))
		gone[gone_count] = id;
	gone_count++;
}

Test(rows, age_drops_what_was_not_written)
{
	struct gp_rows_config cfg = config_of(5000);
	cfg.eviction = GP_ROWS_EVICT_AGE;
	cfg.evict_after = 10;
	struct gp_rows *t = rows_new(&cfg);
	for (uint32_t i = 0; i < 4000; i++)
		update_one(t, 100, i, 1);
	update_one(t, 105, 7, 1);
	cr_assert_eq(gp_rows_evict(t, 109, 1 << 20, on_evicted, gone), 0);
	uint32_t evicted = 0;
	for (uint32_t i = 0; i < 10000 && evicted < 3999; i++)
		evicted += gp_rows_evict(t, 110, 16, on_evicted, gone);
	cr_assert_eq(evicted, 3999);
	cr_assert_eq(gone_count, 3999);
	cr_assert_eq(count(t), 1);
	cr_assert_eq(gp_rows_evict(t, 114, 1 << 20, on_evicted, gone), 0);
	cr_assert_eq(gp_rows_evict(t, 115, 1 << 20, on_evicted, gone), 1);
	cr_assert_eq(gone_count, 4000);
	for (uint32_t i = 0; i < 5000; i++) // all memory is back
		update_one(t, 200, mix(i), 1);
	cr_assert_eq(gp_rows_stats(t)->evicted, 4000);
	free(t);
}

// Odd numbers of floats too: where the stamp lies in a row depends on what stands before it.
Test(rows, what_is_read_counts_as_used_where_that_was_asked_for)
{
	for (uint32_t k = 0; k < 16; k++) {
		struct gp_rows_config cfg = config_of(500);
		cfg.dim = 1 + k % 4;
		cfg.bf16 = k / 4 % 2;
		cfg.eviction = k / 8 ? GP_ROWS_EVICT_STEP : GP_ROWS_EVICT_AGE;
		cfg.evict_after = 10;
		cfg.reads = true;
		struct gp_rows *t = rows_new(&cfg);
		const uint64_t read[] = {3, 4, 9999};
		float values[16], row[2][32] = {0}, *state = row[0] + 16;
		uint32_t step;
		for (uint32_t i = 0; i < 490; i++)
			update_one(t, 100, i, 1);
		cr_assert_eq(gp_rows_read(t, 3, row[0], state, &step), 0);
		gp_rows_use(t, read, 3, 107, NULL);
		cr_assert_eq(gp_rows_read(t, 3, row[1], row[1] + 16, &step), 0);
		cr_assert_arr_eq(row[0], row[1], sizeof(row[0]), "values and state stay");
		cr_assert_eq(step, 100, "it was not written");
		for (uint32_t i = 0; i < 100; i++)
			(void)gp_rows_evict(t, 112, 1 << 12, NULL, NULL);
		if (cfg.eviction == GP_ROWS_EVICT_AGE) {
			cr_assert_eq(count(t), 2);
			cr_assert_eq(gp_rows_evict(t, 116, 1 << 20, NULL, NULL), 0);
		}
		for (uint32_t i = 0; i < 2; i++)
			cr_assert_eq(gp_rows_read(t, read[i], values, NULL, &step), 0);
		update_one(t, 111, 3, 1); // a write is a use as ever
		if (cfg.eviction == GP_ROWS_EVICT_AGE) {
			cr_assert_eq(gp_rows_evict(t, 117, 1 << 20, NULL, NULL), 1);
			cr_assert_eq(gp_rows_evict(t, 121, 1 << 20, NULL, NULL), 1);
		}
		free(t);
	}
}

Test(rows, without_it_a_read_changes_nothing)
{
	struct gp_rows_config cfg = config_of(50);
	cfg.eviction = GP_ROWS_EVICT_AGE;
	cfg.evict_after = 10;
	struct gp_rows *t = rows_new(&cfg);
	const uint64_t id = 3;
	update_one(t, 100, id, 1);
	gp_rows_use(t, &id, 1, 109, NULL);
	cr_assert_eq(gp_rows_evict(t, 110, 1 << 20, NULL, NULL), 1);
	free(t);
}

struct heard {
	uint32_t count;
	bool takes;
};

static bool on_used(void *arg, uint64_t id)
{
	struct heard *x = arg;
	cr_assert_eq(id, 3);
	x->count++;
	return x->takes;
}

// Who follows hears of a use when the last one that it took note of is old, and of writes
// elsewhere.
Test(rows, who_follows_hears_of_uses_now_and_then)
{
	static const struct {
		uint32_t step;
		bool write, takes;
		uint32_t heard;
	} turns[] = {{103, false, true, 0}, {105, false, true, 1}, {109, false, true, 0},
		{110, false, true, 1}, {112, true, true, 0}, {116, false, true, 0},
		{117, false, false, 1}, {118, false, true, 1}, {119, false, true, 0}};
	struct gp_rows_config cfg = config_of(50);
	cfg.eviction = GP_ROWS_EVICT_AGE;
	cfg.evict_after = 10;
	cfg.reads = true;
	struct gp_rows *t = rows_new(&cfg);
	struct heard x;
	const struct gp_rows_telling telling = {.grain = 5, .used = on_used, .arg = &x};
	const uint64_t ids[] = {3, 4}; // which is not there
	uint32_t step, used, written = 100;
	update_one(t, 100, 3, 1);
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(turns); i++) {
		x = (struct heard){.takes = turns[i].takes};
		if (turns[i].write)
			update_one(t, written = turns[i].step, 3, 1);
		else
			gp_rows_use(t, ids, 2, turns[i].step, &telling);
		cr_assert_eq(x.count, turns[i].heard, "at %u", turns[i].step);
		cr_assert_eq(gp_rows_read_use(t, 3, NULL, NULL, &step, &used), 0);
		cr_assert(step == written && used == turns[i].step, "at %u", turns[i].step);
	}
	free(t);
}

Test(rows, age_wraps_with_the_step)
{
	struct gp_rows_config cfg = config_of(10);
	cfg.eviction = GP_ROWS_EVICT_AGE;
	cfg.evict_after = 10;
	struct gp_rows *t = rows_new(&cfg);
	update_one(t, UINT32_MAX - 2, 1, 1);
	update_one(t, 3, 2, 1);
	cr_assert_eq(gp_rows_evict(t, UINT32_MAX, 1 << 20, NULL, NULL), 0, "written later");
	cr_assert_eq(gp_rows_evict(t, 6, 1 << 20, NULL, NULL), 0);
	cr_assert_eq(gp_rows_evict(t, 7, 1 << 20, NULL, NULL), 1);
	free(t);
}

Test(rows, step_drops_the_longest_unwritten_when_room_is_short)
{
	struct gp_rows_config cfg = config_of(1600);
	cfg.eviction = GP_ROWS_EVICT_STEP;
	struct gp_rows *t = rows_new(&cfg);
	for (uint32_t i = 0; i < 1500; i++)
		update_one(t, 1 + i, i, 1);
	cr_assert_eq(gp_rows_evict(t, 2000, 1 << 16, NULL, NULL), 0, "there is room");
	for (uint32_t i = 1500; i < 1600; i++)
		update_one(t, 1 + i, i, 1);
	uint32_t evicted = 0;
	for (uint32_t i = 0; i < 1000 && count(t) > 1500; i++)
		evicted += gp_rows_evict(t, 1601, 512, NULL, NULL);
	cr_assert(evicted >= 100 && evicted <= 900, "%u", evicted);
	uint32_t step, there = 0;
	float values[DIM];
	for (uint64_t i = 0; i < 1600; i++) {
		int rc = gp_rows_read(t, i, values, NULL, &step);
		there += rc == 0;
		cr_assert(i < 800 || rc == 0, "row %lu of the newer half went", (unsigned long)i);
	}
	cr_assert_eq(there, count(t));
	cr_assert_eq(gp_rows_read(t, 1599, values, NULL, &step), 0);
	free(t);
}

Test(rows, rowwise_state_is_one_number)
{
	struct gp_rows_config cfg = config_of(10);
	cfg.optim.kind = GP_OPTIM_ROWWISE_ADAGRAD;
	cfg.optim.initial_accumulator = 0.25f;
	cfg.initial = GP_ROWS_ZEROS;
	struct gp_rows *t = rows_new(&cfg);
	struct gp_optim_plan plan;
	const float grad[DIM] = {1, 1, 1, 1, 1, 1};
	const uint64_t id = 4;
	gp_optim_plan_init(&plan, &cfg.optim, 1);
	cr_assert_eq(gp_rows_update(t, &plan, 1, &id, grad, 1, NULL), 0);
	float values[DIM], state[1];
	uint32_t step;
	cr_assert_eq(gp_rows_state(t), 1);
	cr_assert_eq(gp_rows_read(t, id, values, state, &step), 0);
	cr_assert_eq(state[0], 1.25f);
	cr_assert_float_eq(values[5], -0.1f / sqrtf(1.25f), 1e-6);
	free(t);
}
