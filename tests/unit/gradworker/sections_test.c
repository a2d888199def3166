// SPDX-License-Identifier: BSD-3-Clause
//
// The task `sections`: what is read of a file, and the gradient against differences of the loss.
#include <criterion/criterion.h>

#include <errno.h>
#include <math.h>
#include <sections.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BITS 10

static struct gw_sections data;
static struct gw_error err;

static int load(const char *text)
{
	char path[] = "/tmp/sections-XXXXXX";
	int fd = mkstemp(path), rc;

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	rc = gw_sections_load(&data, path, BITS, &err);
	unlink(path);
	return rc;
}

static const char *const packages = "# 5 packages\n"
				    "utils\tfoo-bar\tFoo the bar, and FOO again\n"
				    "games\tquux\tA game of foo\n"
				    "admin\tzap\tbar\n"
				    "utils\tfoo-baz\tbaz\n"
				    "games\tchess++\tchess";

Test(sections, words_and_sections_of_a_file)
{
	cr_assert_eq(load(packages), 0, "%s", err.text);
	cr_assert(data.count == 5 && data.classes == 3);
	cr_assert_str_eq(data.names[0], "admin");
	cr_assert_str_eq(data.names[1], "games");
	cr_assert_str_eq(data.names[2], "utils");
	cr_assert(data.label[0] == 2 && data.label[1] == 1 && data.label[2] == 0);
	cr_assert_eq(data.train_count + data.held_count, 5);
	// foo and bar of the name, foo the bar and again of the text, the one that all have
	cr_assert_eq(data.first[1] - data.first[0], 2 + 5 + 1);
	cr_assert_eq(data.words[data.first[1] - 1], 1u << BITS);
	for (uint32_t i = 0; i < data.count; i++)
		for (uint32_t k = data.first[i] + 1; k < data.first[i + 1]; k++)
			cr_assert_lt(data.words[k - 1], data.words[k], "each once, in order");
	gw_sections_free(&data);
}

Test(sections, files_that_are_wrong)
{
	cr_assert_eq(load("utils\tfoo\n"), -EINVAL);
	cr_assert(strstr(err.text, ":1: not section, tab, name, tab, description"), "%s", err.text);
	gw_sections_free(&data);
	cr_assert_eq(load("# nothing\n"), -EINVAL);
	gw_sections_free(&data);
	cr_assert_eq(load("a-section-with-a-name-of-32-bytes\tfoo\tbar\n"), -EINVAL);
	gw_sections_free(&data);
	cr_assert_eq(gw_sections_load(&data, "/nowhere/sections", BITS, &err), -ENOENT);
	cr_assert(strstr(err.text, "scripts/sections-data"), "%s", err.text);
}

Test(sections, the_gradient_is_that_of_the_loss)
{
	static const uint32_t all[] = {0, 1, 2, 3, 4};
	struct gw_words w;
	uint32_t right;
	cr_assert_eq(load(packages), 0, "%s", err.text);
	cr_assert_eq(gw_words_init(&w, BITS, 64, &err), 0);
	cr_assert(gw_words_gather(&w, &data, all, 5));
	cr_assert(gw_words_gather(&w, &data, all + 1, 4), "gathered anew");
	size_t n = (size_t)w.count * GW_SECTIONS_MAX;
	float *rows = calloc(n, sizeof(float)), *grad = calloc(n, sizeof(float));
	for (size_t i = 0; i < n; i++)
		rows[i] = (float)((i * 7919) % 101) / 50.0f - 1.0f;
	double loss = gw_sections_gradient(&data, &w, all + 1, 4, rows, grad, &right);
	cr_assert(loss > 0 && right <= 4);
	for (size_t i = 0; i < n; i += 3) {
		const float had = rows[i], h = 0.01f;
		rows[i] = had + h;
		double more = gw_sections_gradient(&data, &w, all + 1, 4, rows, NULL, &right);
		rows[i] = had - h;
		double less = gw_sections_gradient(&data, &w, all + 1, 4, rows, NULL, &right);
		rows[i] = had;
		cr_assert_float_eq((more - less) / (2 * h), (double)grad[i], 1e-4, "%zu", i);
	}
	gw_words_free(&w);
	cr_assert_eq(gw_words_init(&w, BITS, 2, &err), 0);
	cr_assert_not(gw_words_gather(&w, &data, all, 5), "more words than it holds");
	gw_words_free(&w);
	gw_sections_free(&data);
	free(rows);
	free(grad);
}
