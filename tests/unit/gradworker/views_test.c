// SPDX-License-Identifier: BSD-3-Clause
//
// The record of views as gradplaned writes it: what it says of each step, and what is wrong with
// it.
#include "views.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define STEP   "start none epoch 1 workers 4 atomicity step units 1 elems 336\n"
#define TENSOR "start none epoch 1 workers 4 atomicity tensor units 2 elems 336\n"
#define BLOCK  "start none epoch 1 workers 4 atomicity block units 3 elems 16\n"

static struct gw_views views;
static struct gw_error err;
static struct gw_model model; // weights 5 x 4, bias 5

static int load(const char *text)
{
	char path[] = "/tmp/views-XXXXXX";
	static const uint32_t dims[] = {4, 5};
	int fd = mkstemp(path);

	cr_assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
	gw_model_init(&model, dims, 2);
	err.text[0] = '\0';
	int rc = gw_views_load(&views, path, &model, 4, &err);
	unlink(path);
	return rc;
}

static void refused(const char *text, const char *why)
{
	cr_assert_eq(load(text), -EINVAL, "accepted: %s", text);
	cr_assert(strstr(err.text, why), "said '%s', not '%s'", err.text, why);
	gw_views_fini(&views);
}

Test(views, of_whole_steps)
{
	uint32_t count;

	cr_assert_eq(load(STEP "view 1 step 0 ranks 0-3\nsteps 0-7 view 1 ranks 0-3\n"
			       "view 2 step 8 ranks 0,2-3\nsteps 8-8 view 2 ranks 0,2-3\n"),
		0, "%s", err.text);
	cr_assert_eq(views.steps_end, 8);
	const struct gw_view *v = gw_views_find(&views, 7, &count);
	cr_assert(count == 1 && v->ranks_count == 4 && v->spans_count == 1);
	cr_assert(v->spans[0].at == 0 && v->spans[0].count == 25);
	v = gw_views_find(&views, 8, &count);
	cr_assert(count == 1 && v->ranks_count == 3);
	cr_assert(v->has[0] && !v->has[1] && v->has[2] && v->has[3]);
	(void)gw_views_find(&views, 9, &count);
	cr_assert_eq(count, 0);
	gw_views_fini(&views);
}

Test(views, a_step_of_two_views_has_every_element_once)
{
	uint32_t count;

	cr_assert_eq(load(TENSOR "steps 0-1 view 1 ranks 0-3\n"
				 "part 2 view 1 units 1 ranks 0-3\nview 2 step 2 ranks 1\n"
				 "part 2 view 2 units 0 ranks 1\nsteps 3-4 view 2 ranks 1\n"),
		0, "%s", err.text);
	const struct gw_view *v = gw_views_find(&views, 2, &count);
	cr_assert_eq(count, 2);
	cr_assert(v[0].spans[0].at == 20 && v[0].spans[0].count == 5 && v[0].ranks_count == 4);
	cr_assert(v[1].spans[0].at == 0 && v[1].spans[0].count == 20 && v[1].ranks_count == 1);
	gw_views_fini(&views);
}

Test(views, blocks_do_not_cross_tensors)
{
	uint32_t count;

	cr_assert_eq(load(BLOCK "part 0 view 1 units 0,2 ranks 0\npart 0 view 2 units 1 ranks 1\n"),
		0, "%s", err.text);
	const struct gw_view *v = gw_views_find(&views, 0, &count);
	cr_assert_eq(count, 2);
	cr_assert(v[0].spans[0].at == 0 && v[0].spans[0].count == 16);
	cr_assert(v[0].spans[1].at == 20 && v[0].spans[1].count == 5);
	cr_assert(v[1].spans[0].at == 16 && v[1].spans[0].count == 4);
	gw_views_fini(&views);
}

Test(views, what_a_crash_took_back_did_not_happen)
{
	uint32_t count;

	cr_assert_eq(load(TENSOR "steps 0-9 view 1 ranks 0-3\nsteps 10-20 view 1 ranks 0-3\n"
				 "part 21 view 1 units 0 ranks 0-3\n"
				 "start 12 epoch 2 workers 4 atomicity tensor units 2 elems 336\n"
				 "steps 13-14 view 1 ranks 0\nsteps 15-1"),
		0, "%s", err.text);
	cr_assert_eq(views.steps_end, 14, "half a line at the end is none");
	cr_assert_eq(gw_views_find(&views, 12, &count)->ranks_count, 4);
	cr_assert_eq(gw_views_find(&views, 13, &count)->ranks_count, 1);
	cr_assert_eq(count, 1);
	gw_views_fini(&views);
	cr_assert_eq(load(STEP "steps 0-9 view 1 ranks 0-3\n" STEP), 0, "%s", err.text);
	cr_assert_eq(views.steps_end, 0);
	gw_views_fini(&views);
}

Test(views, names_what_is_wrong)
{
	refused("", "has no start line");
	refused("steps 0-1 view 1 ranks 0\n", ":1: comes before the first start line");
	refused(STEP "bread 0-1 view 1 ranks 0\n", ":2: is not understood");
	refused(STEP "steps 0-1 view 1 ranks 0 1 2 3 4 5 6 7 8 9\n", ":2: is not understood");
	refused(STEP "steps 0-0 view 1 ranks 0\ncommit 1 view 1 ranks 0\n", ":3: is of an asynchr");
	refused(STEP "steps 1-2 view 1 ranks 0\n", ":2: is not about the step that follows");
	refused(STEP "steps 0-3 view 1 ranks 0\nsteps 5-6 view 1 ranks 0\n", ":3: is not about");
	refused(STEP "steps 0-3 view 1 ranks 0\nsteps 3-6 view 1 ranks 0\n", ":3: is not about");
	refused(STEP "steps 2-1 view 1 ranks 0\n", ":2: is not about");
	refused(STEP "steps 0 view 1 ranks 0\nsteps 2-2 view 1 ranks 0\n", ":3: is not about");
	refused(STEP "steps 0-3 view 1 ranks 4\n", ":2: numbers do not ascend or are too large");
	refused(STEP "steps 0-3 view 1 ranks 2,1\n", ":2: numbers do not ascend");
	refused(STEP "steps 0-3 view 1 ranks 1-0\n", ":2: numbers do not ascend");
	refused(STEP "steps 0-3 view 1 ranks 1,x\n", ":2: a number is missing");
	refused(STEP "steps 0-3 view 1 ranks 1x\n", ":2: a list has other characters");
	refused(TENSOR "part 0 view 1 units 0 ranks 0\npart 0 view 1 units 0-1 ranks 0\n",
		":3: a unit of this step is named twice");
	refused(TENSOR "part 0 view 1 units 0 ranks 0\nsteps 1-1 view 1 ranks 0\n",
		":3: is not about the step");
	refused(TENSOR "part 0 view 1 units 2 ranks 0\n", ":2: numbers do not");
	refused("start none epoch 1 workers 3 atomicity step units 1 elems 336\n",
		"another number");
	refused("start none epoch 1 workers 4 atomicity step units 2 elems 336\n", "another model");
	refused("start none epoch 1 workers 4 atomicity block units 2 elems 16\n", "another model");
	refused("start 7 epoch 1 workers 4 atomicity step units 1 elems 336\n",
		"begins after a step");
	refused(STEP "steps 0-3 view 1 ranks 0\n"
		     "start 5 epoch 2 workers 4 atomicity step units 1 elems 336\n",
		":3: begins after a step that the record lacks");
	cr_assert_eq(gw_views_load(&views, "/nonexistent/views", &model, 4, &err), -EIO);
	gw_views_fini(&views);
}
