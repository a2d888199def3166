// SPDX-License-Identifier: BSD-3-Clause
//
// From libyaml's events to the struct. The stack of open mappings and lists follows the schema: a
// key that the schema does not know ends the load, so the stack is never deeper than the schema.
#include "config_priv.h"
#include "load_priv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <yaml.h>

#define FRAME_TOP -1

// An open mapping, or (list) an open sequence.
struct frame {
	int row; // group or list row; FRAME_TOP for the document
	bool list;
	uint32_t scope;
	uint32_t items; // list: items begun
	int key_row;	// mapping: row of the key whose value comes next, -1 = a key comes next
};

struct walk {
	struct loader *loader;
	struct frame frames[GP_CONFIG_DEPTH_MAX];
	uint32_t depth;
	uint32_t documents;
	struct mark mark; // of the event in hand
};

static struct mark mark_of(const yaml_mark_t *m)
{
	return (struct mark){(uint32_t)m->line + 1, (uint32_t)m->column + 1};
}

static int refuse_at(struct loader *l, struct mark m, const char *path, const char *fmt, ...)
	GP_PRINTF(4, 5);

static int refuse_at(struct loader *l, struct mark m, const char *path, const char *fmt, ...)
{
	char text[GP_CONFIG_ERROR_SIZE];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	snprintf(l->err, l->err_size, "%s:%u:%u: %s%s%s", l->name, m.line, m.column, path,
		path[0] ? ": " : "", text);
	return -EINVAL;
}

// The path of row `index` with the number of its job; `item` >= 0 adds that of a list item.
static void path_text(uint32_t scope, int index, int64_t item, char out[GP_CONFIG_PATH_SIZE])
{
	out[0] = '\0';
	if (index < 0)
		return;
	int64_t numbers[2] = {item, item};
	if (scope > 0)
		numbers[0] = gp_config_scope_job(scope);
	if (gp_config_scope_is_table(scope))
		numbers[1] = gp_config_scope_table(scope);
	size_t at = 0;
	uint32_t n = 0;
	for (const char *s = gp_config_rows[index].path; *s && at < GP_CONFIG_PATH_SIZE - 24;) {
		bool list = strncmp(s, "[]", 2) == 0 && n < 2;
		if (!list)
			out[at++] = *s;
		else if (numbers[n] >= 0)
			at += (size_t)snprintf(out + at, 24, "[%u]", (uint32_t)numbers[n]);
		n += list;
		s += list ? 2 : 1;
	}
	out[at] = '\0';
}

int gp_config_refuse(struct loader *l, uint32_t scope, int index, const char *fmt, ...)
{
	char text[GP_CONFIG_ERROR_SIZE], path[GP_CONFIG_PATH_SIZE];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	GP_ASSERT(scope < GP_CONFIG_SCOPES && index >= 0);
	path_text(scope, index, -1, path);
	// A key that is not there is reported where the mapping that misses it stands.
	struct mark m = l->marks[scope][index];
	for (int up = index; m.line == 0 && up >= 0;) {
		up = gp_config_row_parent(&gp_config_rows[up]);
		m = up >= 0 ? l->marks[scope][up] : (struct mark){1, 1};
	}
	return refuse_at(l, m, path, "%s", text);
}

static struct frame *top(struct walk *w)
{
	GP_ASSERT(w->depth > 0 && w->depth <= GP_CONFIG_DEPTH_MAX);
	return &w->frames[w->depth - 1];
}

static void push(struct walk *w, struct frame f)
{
	GP_ASSERT(w->depth < GP_CONFIG_DEPTH_MAX);
	w->frames[w->depth++] = f;
}

static uint8_t *base_of(struct walk *w, uint32_t scope, const struct row *r)
{
	struct gp_config *c = w->loader->config;
	if (r->flags & ROW_TABLE)
		return (uint8_t *)&c->jobs[gp_config_scope_job(scope)]
			.tables[gp_config_scope_table(scope)];
	return r->flags & ROW_JOB ? (uint8_t *)&c->jobs[scope - 1] : (uint8_t *)c;
}

// Where a row's field is; for lists the item's.
static void *field_of(struct walk *w, uint32_t scope, const struct row *r, uint32_t item)
{
	return base_of(w, scope, r) + r->offset + (size_t)item * r->size;
}

static int key_unknown(struct walk *w, const char *key, size_t len)
{
	struct frame *f = top(w);
	char path[GP_CONFIG_PATH_SIZE], seen[48], hint[GP_CONFIG_WHY_SIZE];
	path_text(f->scope, f->row, -1, path);
	gp_config_quote(key, len, seen, sizeof(seen));
	gp_config_hint(f->row, key, hint);
	return refuse_at(w->loader, w->mark, "", "%s%s%s: unknown key; %s", path,
		path[0] ? "." : "", seen, hint);
}

// A scalar where a key stands.
static int key_take(struct walk *w, const char *key, size_t len)
{
	struct frame *f = top(w);
	const char *prefix = f->row >= 0 ? gp_config_rows[f->row].path : "";
	char path[GP_CONFIG_PATH_SIZE];
	int index = -1;
	if (len > 0 && len < 64 && strlen(key) == len && !strpbrk(key, ".[]")) {
		snprintf(path, sizeof(path), "%s%s%s", prefix, prefix[0] ? "." : "", key);
		index = gp_config_row_find(path);
		if (index < 0) {
			strcat(path, "[]");
			index = gp_config_row_find(path);
		}
	}
	if (index < 0)
		return key_unknown(w, key, len);
	struct mark *mark = &w->loader->marks[f->scope][index];
	if (mark->line) {
		path_text(f->scope, index, -1, path);
		return refuse_at(w->loader, w->mark, path,
			"is given twice, first in line %u; once is allowed", mark->line);
	}
	*mark = w->mark;
	f->key_row = index;
	return 0;
}

// The row that the value in hand belongs to, and its item number in a list.
static int value_row(struct walk *w, int64_t *item)
{
	struct frame *f = top(w);
	*item = f->list ? (int64_t)f->items : -1;
	return f->list ? f->row : f->key_row;
}

static int value_refuse(struct walk *w, const char *seen)
{
	int64_t item;
	int index = value_row(w, &item);
	char path[GP_CONFIG_PATH_SIZE];
	if (index < 0)
		return refuse_at(
			w->loader, w->mark, "", "the file holds %s, not a mapping of keys", seen);
	const struct row *r = &gp_config_rows[index];
	path_text(top(w)->scope, index, item, path);
	bool list = r->count_max && item < 0;
	return refuse_at(w->loader, w->mark, path, "is %s, not %s", seen,
		list ? "a list" : gp_config_type_name(r->type));
}

// Before an item of a list: is there room?
static int item_room(struct walk *w)
{
	struct frame *f = top(w);
	const struct row *r = &gp_config_rows[f->row];
	char path[GP_CONFIG_PATH_SIZE];
	if (f->items < r->count_max)
		return 0;
	path_text(f->scope, f->row, -1, path);
	return refuse_at(w->loader, w->mark, path, "has more than %u items", r->count_max);
}

static void value_done(struct walk *w)
{
	struct frame *f = top(w);
	f->key_row = -1;
	if (f->list) {
		const struct row *r = &gp_config_rows[f->row];
		f->items++;
		memcpy(base_of(w, f->scope, r) + r->count_offset, &f->items, sizeof(f->items));
	}
}

static int scalar_take(struct walk *w, const yaml_event_t *e)
{
	const char *s = (const char *)e->data.scalar.value;
	size_t len = e->data.scalar.length;
	bool plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	char why[GP_CONFIG_WHY_SIZE], path[GP_CONFIG_PATH_SIZE];
	int64_t item;
	if (w->depth == 0)
		return refuse_at(
			w->loader, w->mark, "", "the file holds one value, not a mapping of keys");
	if (!top(w)->list && top(w)->key_row < 0)
		return key_take(w, s, len);
	int index = value_row(w, &item);
	const struct row *r = &gp_config_rows[index];
	if (r->type == VALUE_GROUP || (r->count_max && item < 0))
		return value_refuse(w, len ? "a single value" : "empty");
	if (item >= 0 && item_room(w) != 0)
		return -EINVAL;
	void *field = field_of(w, top(w)->scope, r, item >= 0 ? (uint32_t)item : 0);
	if (gp_config_value_parse(r, s, len, plain, field, why) != 0) {
		path_text(top(w)->scope, index, item, path);
		return refuse_at(w->loader, w->mark, path, "%s", why);
	}
	value_done(w);
	return 0;
}

// A job or a table begins, with its defaults.
static uint32_t item_scope(struct walk *w, uint32_t scope, uint32_t item)
{
	struct gp_config *c = w->loader->config;
	if (scope == 0) {
		gp_config_job_init(&c->jobs[item], GP_JOB_REDUCE);
		return 1 + item;
	}
	gp_config_table_init(&c->jobs[scope - 1].tables[item]);
	return gp_config_table_scope(scope, item);
}

static int mapping_take(struct walk *w)
{
	int64_t item;
	if (w->depth == 0) {
		push(w, (struct frame){.row = FRAME_TOP, .key_row = -1});
		return 0;
	}
	if (!top(w)->list && top(w)->key_row < 0)
		return refuse_at(
			w->loader, w->mark, "", "a mapping stands where a key is expected");
	int index = value_row(w, &item);
	const struct row *r = &gp_config_rows[index];
	if (r->type != VALUE_GROUP || (r->count_max && item < 0))
		return value_refuse(w, "a mapping");
	uint32_t scope = top(w)->scope;
	if (item >= 0) {
		if (item_room(w) != 0)
			return -EINVAL;
		scope = item_scope(w, scope, (uint32_t)item);
		w->loader->marks[scope][index] = w->mark;
	}
	push(w, (struct frame){.row = index, .scope = scope, .key_row = -1});
	return 0;
}

static int sequence_take(struct walk *w)
{
	int64_t item;
	if (w->depth == 0)
		return refuse_at(
			w->loader, w->mark, "", "the file holds a list, not a mapping of keys");
	if (!top(w)->list && top(w)->key_row < 0)
		return refuse_at(w->loader, w->mark, "", "a list stands where a key is expected");
	int index = value_row(w, &item);
	if (item >= 0 || !gp_config_rows[index].count_max)
		return value_refuse(w, "a list");
	push(w, (struct frame){.row = index, .list = true, .scope = top(w)->scope, .key_row = -1});
	return 0;
}

static int end_take(struct walk *w)
{
	GP_ASSERT(w->depth > 0);
	w->depth--;
	if (w->depth > 0)
		value_done(w);
	return 0;
}

static int document_take(struct walk *w)
{
	if (w->documents++ > 0)
		return refuse_at(
			w->loader, w->mark, "", "a second document begins; one is allowed");
	return 0;
}

// YAML that is legal but has no place here.
static int extras_refuse(struct walk *w, const yaml_event_t *e)
{
	const yaml_char_t *anchor = NULL, *tag = NULL;
	switch (e->type) {
	case YAML_ALIAS_EVENT:
		return refuse_at(w->loader, w->mark, "", "an alias (*name) is not allowed");
	case YAML_SCALAR_EVENT:
		anchor = e->data.scalar.anchor;
		tag = e->data.scalar.tag;
		break;
	case YAML_MAPPING_START_EVENT:
		anchor = e->data.mapping_start.anchor;
		tag = e->data.mapping_start.tag;
		break;
	case YAML_SEQUENCE_START_EVENT:
		anchor = e->data.sequence_start.anchor;
		tag = e->data.sequence_start.tag;
		break;
	default:
		break;
	}
	if (anchor)
		return refuse_at(w->loader, w->mark, "", "an anchor (&name) is not allowed");
	if (tag)
		return refuse_at(w->loader, w->mark, "", "a tag (!name) is not allowed");
	return 0;
}

static int event_take(struct walk *w, const yaml_event_t *e)
{
	w->mark = mark_of(&e->start_mark);
	int rc = extras_refuse(w, e);
	if (rc != 0)
		return rc;
	switch (e->type) {
	case YAML_DOCUMENT_START_EVENT:
		return document_take(w);
	case YAML_SCALAR_EVENT:
		return scalar_take(w, e);
	case YAML_MAPPING_START_EVENT:
		return mapping_take(w);
	case YAML_SEQUENCE_START_EVENT:
		return sequence_take(w);
	case YAML_MAPPING_END_EVENT:
	case YAML_SEQUENCE_END_EVENT:
		return end_take(w);
	default:
		return 0;
	}
}

static int yaml_refuse(struct loader *l, const yaml_parser_t *p)
{
	if (p->error == YAML_MEMORY_ERROR) {
		snprintf(l->err, l->err_size, "%s: out of memory", l->name);
		return -ENOMEM;
	}
	// Bytes that are no UTF-8 have an offset but no mark: the scanner's place is just before.
	bool reader = p->error == YAML_READER_ERROR;
	struct mark m = mark_of(reader ? &p->mark : &p->problem_mark);
	return refuse_at(l, m, "", "not YAML: %s%s%s", p->problem ? p->problem : "unreadable",
		p->context ? " " : "", p->context ? p->context : "");
}

static int events_walk(struct walk *w, yaml_parser_t *p)
{
	int rc = 0;
	bool end = false;
	while (rc == 0 && !end) {
		yaml_event_t e;
		if (!yaml_parser_parse(p, &e))
			return yaml_refuse(w->loader, p);
		rc = event_take(w, &e);
		end = e.type == YAML_STREAM_END_EVENT;
		yaml_event_delete(&e);
	}
	if (rc == 0 && w->documents == 0)
		rc = refuse_at(w->loader, (struct mark){1, 1}, "", "the file is empty");
	return rc;
}

static int text_load(struct loader *l, const char *text, size_t len)
{
	yaml_parser_t parser;
	struct walk walk = {.loader = l};
	if (!yaml_parser_initialize(&parser)) {
		snprintf(l->err, l->err_size, "%s: out of memory", l->name);
		return -ENOMEM;
	}
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
	int rc = events_walk(&walk, &parser);
	yaml_parser_delete(&parser);
	return rc;
}

int gp_config_parse(const char *name, const char *text, size_t len, struct gp_config *c, char *err,
	size_t err_size)
{
	GP_ASSERT(name && text && c && err && err_size > 0);
	err[0] = '\0';
	if (len > GP_CONFIG_FILE_SIZE_MAX) {
		snprintf(err, err_size, "%s:1:1: is larger than 1MiB", name);
		return -EINVAL;
	}
	struct loader *l = calloc(1, sizeof(*l));
	if (!l) {
		snprintf(err, err_size, "%s: out of memory", name);
		return -ENOMEM;
	}
	l->name = name;
	l->config = c;
	l->err = err;
	l->err_size = err_size;
	gp_config_init(c);
	int rc = text_load(l, text, len);
	if (rc == 0)
		rc = gp_config_check(l);
	free(l);
	return rc;
}

// At most one byte more than allowed, so that gp_config_parse can refuse it by its size.
static int file_read(const char *path, char *text, size_t *len)
{
	FILE *f = fopen(path, "rbe");
	if (!f)
		return -errno;
	errno = 0;
	*len = fread(text, 1, GP_CONFIG_FILE_SIZE_MAX + 1, f);
	int rc = ferror(f) ? -(errno ? errno : EIO) : 0;
	fclose(f);
	return rc;
}

int gp_config_load(const char *path, struct gp_config *c, char *err, size_t err_size)
{
	GP_ASSERT(path && c && err && err_size > 0);
	size_t len = 0;
	char *text = malloc(GP_CONFIG_FILE_SIZE_MAX + 1);
	int rc = text ? file_read(path, text, &len) : -ENOMEM;
	if (rc == 0)
		rc = gp_config_parse(path, text, len, c, err, err_size);
	else
		snprintf(err, err_size, "%s: cannot be read: %s", path, strerror(-rc));
	free(text);
	return rc;
}
