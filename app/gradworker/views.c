// SPDX-License-Identifier: BSD-3-Clause
#include "views.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINES_MAX 10000000u
#define UNITS_MAX (1u << 20)
#define WORDS_MAX 12u

// What is being read, and what the record has said so far.
struct reader {
	struct gw_views *v;
	const struct gw_model *model;
	struct gw_error *err;
	const char *path;
	uint32_t line;
	uint32_t world;
	uint32_t units_count; // 0: no start line yet
	uint32_t block_elems; // 0: units are not blocks
	bool units_are_tensors;
	uint32_t next;	    // step that has to come; 0: the initial parameters
	uint32_t open;	    // units of it named so far
	uint8_t *unit_seen; // [units_count]
};

static int line_refuse(const struct reader *r, const char *what)
{
	return gw_error_set(r->err, -EINVAL, "--views %s:%u: %s", r->path, r->line, what);
}

// ---- units

static uint32_t tensor_blocks(const struct reader *r, uint32_t tensor)
{
	return (uint32_t)((r->model->tensors[tensor].count + r->block_elems - 1) / r->block_elems);
}

static uint32_t model_units(const struct reader *r)
{
	uint32_t blocks = 0;

	if (r->units_are_tensors)
		return r->model->tensors_count;
	if (!r->block_elems)
		return 1;
	for (uint32_t t = 0; t < r->model->tensors_count; t++)
		blocks += tensor_blocks(r, t);
	return blocks;
}

// Where a unit begins; the end of the model for the one after the last.
static size_t unit_at(const struct reader *r, uint32_t unit)
{
	if (unit >= r->units_count)
		return r->model->params_count;
	if (r->units_are_tensors)
		return r->model->tensors[unit].at;
	for (uint32_t t = 0; r->block_elems && t < r->model->tensors_count; t++) {
		if (unit < tensor_blocks(r, t))
			return r->model->tensors[t].at + (size_t)unit * r->block_elems;
		unit -= tensor_blocks(r, t);
	}
	return 0;
}

// ---- views

static struct gw_view *view_add(struct reader *r, uint32_t first, uint32_t last)
{
	struct gw_views *v = r->v;
	struct gw_view *view;

	if (v->count == v->max) {
		uint32_t max = v->max ? 2 * v->max : 64;
		struct gw_view *list =
			max > LINES_MAX ? NULL : realloc(v->list, max * sizeof(*list));

		if (!list)
			return NULL;
		v->list = list;
		v->max = max;
	}
	view = &v->list[v->count++];
	memset(view, 0, sizeof(*view));
	view->first = first;
	view->last = last;
	return view;
}

static int span_add(struct reader *r, struct gw_view *view, uint32_t first, uint32_t last)
{
	size_t size = (view->spans_count + 1) * sizeof(*view->spans);
	struct gw_span *spans = realloc(view->spans, size);

	if (!spans)
		return gw_error_set(r->err, -ENOMEM, "no memory for --views");
	view->spans = spans;
	spans[view->spans_count].at = unit_at(r, first);
	spans[view->spans_count].count = unit_at(r, last + 1) - unit_at(r, first);
	view->spans_count++;
	return 0;
}

static void view_drop(struct gw_views *v)
{
	free(v->list[--v->count].spans);
}

// ---- lines

typedef int (*run_fn)(struct reader *r, struct gw_view *view, uint32_t first, uint32_t last);

// "0-3,7", each number below `limit`, ascending.
static int list_parse(
	struct reader *r, struct gw_view *view, const char *text, uint32_t limit, run_fn add)
{
	uint32_t least = 0;

	for (;;) {
		char *end;
		unsigned long first = strtoul(text, &end, 10), last = first;

		if (end == text)
			return line_refuse(r, "a number is missing");
		if (*end == '-')
			last = strtoul(end + 1, &end, 10);
		if (first < least || last < first || last >= limit)
			return line_refuse(r, "numbers do not ascend or are too large");
		int rc = add(r, view, (uint32_t)first, (uint32_t)last);
		if (rc || *end == '\0')
			return rc;
		if (*end != ',')
			return line_refuse(r, "a list has other characters than 0-9,-");
		least = (uint32_t)last + 1;
		text = end + 1;
	}
}

static int ranks_add(struct reader *r, struct gw_view *view, uint32_t first, uint32_t last)
{
	(void)r;
	for (uint32_t rank = first; rank <= last; rank++)
		view->has[rank] = true;
	view->ranks_count += last - first + 1;
	return 0;
}

static int units_add(struct reader *r, struct gw_view *view, uint32_t first, uint32_t last)
{
	for (uint32_t unit = first; unit <= last; unit++) {
		if (r->unit_seen[unit])
			return line_refuse(r, "a unit of this step is named twice");
		r->unit_seen[unit] = 1;
		r->open++;
	}
	return span_add(r, view, first, last);
}

static void step_close(struct reader *r, uint32_t last)
{
	memset(r->unit_seen, 0, r->units_count);
	r->open = 0;
	r->next = last + 1;
	r->v->steps_end = last;
}

static int steps_line(struct reader *r, uint32_t first, uint32_t last, const char *ranks)
{
	struct gw_view *view;
	int rc;

	if (r->open || first != r->next || last < first || last == UINT32_MAX)
		return line_refuse(r, "is not about the step that follows");
	view = view_add(r, first, last);
	if (!view)
		return gw_error_set(r->err, -ENOMEM, "no memory for --views");
	rc = list_parse(r, view, ranks, r->world, ranks_add);
	if (!rc)
		rc = span_add(r, view, 0, r->units_count - 1);
	step_close(r, last);
	return rc;
}

static int part_line(struct reader *r, uint32_t step, const char *units, const char *ranks)
{
	struct gw_view *view;
	int rc;

	if (step != r->next)
		return line_refuse(r, "is not about the step that follows");
	view = view_add(r, step, step);
	if (!view)
		return gw_error_set(r->err, -ENOMEM, "no memory for --views");
	rc = list_parse(r, view, units, r->units_count, units_add);
	if (!rc)
		rc = list_parse(r, view, ranks, r->world, ranks_add);
	if (r->open == r->units_count)
		step_close(r, step);
	return rc;
}

// The server begins again after `step` (UINT32_MAX: at the beginning): what it lost did not happen.
static int life_begin(struct reader *r, uint32_t step)
{
	struct gw_views *v = r->v;

	if (step != UINT32_MAX && (step >= r->next || !r->unit_seen))
		return line_refuse(r, "begins after a step that the record lacks");
	while (v->count > 0 && v->list[v->count - 1].first >= step + 1)
		view_drop(v);
	if (v->count > 0 && v->list[v->count - 1].last > step)
		v->list[v->count - 1].last = step;
	free(r->unit_seen);
	r->unit_seen = calloc(r->units_count, 1);
	if (!r->unit_seen)
		return gw_error_set(r->err, -ENOMEM, "no memory for --views");
	step_close(r, step);
	if (step == UINT32_MAX)
		v->steps_end = 0;
	return 0;
}

// What is no number reads as one that nothing has.
static uint32_t number(const char *text)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	return end == text || value >= UINT32_MAX ? UINT32_MAX - 1 : (uint32_t)value;
}

// "start STEP epoch E workers W atomicity KIND units N elems N"
static int start_line(struct reader *r, char *const *words)
{
	r->units_are_tensors = strcmp(words[7], "tensor") == 0;
	r->block_elems = strcmp(words[7], "block") == 0 ? number(words[11]) : 0;
	r->units_count = number(words[9]);
	if (number(words[5]) != r->world)
		return line_refuse(r, "is of a job with another number of workers than --world");
	if (r->units_count == 0 || r->units_count > UNITS_MAX || r->units_count != model_units(r))
		return line_refuse(r, "is of another model");
	return life_begin(r, strcmp(words[1], "none") == 0 ? UINT32_MAX : number(words[1]));
}

// Of each kind of line: how many words, and which of them say what the next one is.
static const struct line_kind {
	uint32_t count;
	const char *words[WORDS_MAX];
} line_kinds[] = {
	{12, {"start", 0, "epoch", 0, "workers", 0, "atomicity", 0, "units", 0, "elems", 0}},
	{6, {"steps", 0, "view", 0, "ranks", 0}},
	{8, {"part", 0, "view", 0, "units", 0, "ranks", 0}},
	{6, {"view", 0, "step", 0, "ranks", 0}},
};

static bool line_is(const struct line_kind *kind, char *const *words, uint32_t count)
{
	bool same = count == kind->count;

	for (uint32_t i = 0; same && i < count; i += 2)
		same = strcmp(words[i], kind->words[i]) == 0;
	return same;
}

static int line_parse(struct reader *r, char *line)
{
	char *words[WORDS_MAX + 1], *rest = NULL;
	uint32_t count = 0, kind = 0;
	const char *dash;

	if (strncmp(line, "commit ", 7) == 0)
		return line_refuse(r, "is of an asynchronous job: what a rank contributed depends "
				      "on what it had read, which is not recorded");
	for (char *w = strtok_r(line, " \n", &rest); w && count <= WORDS_MAX;
		w = strtok_r(NULL, " \n", &rest))
		words[count++] = w;
	while (kind < 4 && !line_is(&line_kinds[kind], words, count))
		kind++;
	if (kind > 0 && !r->units_count)
		return line_refuse(r, "comes before the first start line");
	switch (kind) {
	case 0:
		return start_line(r, words);
	case 1:
		dash = strchr(words[1], '-');
		return steps_line(r, number(words[1]), dash ? number(dash + 1) : 0, words[5]);
	case 2:
		return part_line(r, number(words[1]), words[5], words[7]);
	case 3:
		return 0; // for people: who was in the job, also where no step ended
	default:
		return line_refuse(r, "is not understood");
	}
}

int gw_views_load(struct gw_views *v, const char *path, const struct gw_model *model,
	uint32_t world, struct gw_error *err)
{
	struct reader r = {.v = v, .model = model, .err = err, .path = path, .world = world};
	FILE *file = fopen(path, "r");
	char *line = NULL;
	size_t size = 0;
	int rc = 0;

	memset(v, 0, sizeof(*v));
	if (!file)
		return gw_error_set(err, -EIO, "--views %s: %s", path, strerror(errno));
	while (!rc && getline(&line, &size, file) > 0) {
		r.line++;
		// A server that still runs, or was killed, may have left half a line at the end.
		if (strchr(line, '\n'))
			rc = line_parse(&r, line);
	}
	if (!rc && ferror(file))
		rc = gw_error_set(err, -EIO, "--views %s: cannot be read", path);
	if (!rc && !r.units_count)
		rc = gw_error_set(err, -EINVAL, "--views %s: has no start line", path);
	free(line);
	free(r.unit_seen);
	fclose(file);
	return rc;
}

void gw_views_fini(struct gw_views *v)
{
	while (v->count > 0)
		view_drop(v);
	free(v->list);
	v->list = NULL;
}

const struct gw_view *gw_views_find(const struct gw_views *v, uint32_t step, uint32_t *count)
{
	uint32_t low = 0, high = v->count;

	while (low < high) { // the first that does not end before the step
		uint32_t mid = low + (high - low) / 2;

		if (v->list[mid].last < step)
			low = mid + 1;
		else
			high = mid;
	}
	for (*count = 0; low + *count < v->count && v->list[low + *count].first <= step;)
		++*count;
	return &v->list[low];
}
