// SPDX-License-Identifier: BSD-3-Clause
//
// The effective configuration as YAML, and the manual page of every key: two walks over the schema.
#include "config_priv.h"

static bool is_job(const struct row *r)
{
	return (r->flags & ROW_JOB) != 0;
}

static bool is_table(const struct row *r)
{
	return (r->flags & ROW_TABLE) != 0;
}

static uint32_t depth_of(const struct row *r)
{
	uint32_t depth = 0;
	for (const char *s = r->path; *s; s++)
		depth += *s == '.';
	return depth;
}

// "  key: " at the row's depth; the first key of a list item takes the dash.
static void key_print(FILE *f, const struct row *r, bool first_of_item)
{
	size_t len;
	const char *key = gp_config_row_key(r, &len);
	uint32_t indent = depth_of(r) * 2 + (is_job(r) ? 2 : is_table(r) ? 4 : 0);
	if (first_of_item)
		fprintf(f, "%*s- %.*s:", (int)indent - 2, "", (int)len, key);
	else
		fprintf(f, "%*s%.*s:", (int)indent, "", (int)len, key);
}

static void list_print(FILE *f, const struct row *r, const uint8_t *base)
{
	char text[GP_CONFIG_WHY_SIZE];
	uint32_t count;
	memcpy(&count, base + r->count_offset, sizeof(count));
	if (count == 0)
		return;
	key_print(f, r, false);
	for (uint32_t i = 0; i < count; i++) {
		GP_ASSERT(gp_config_value_format(r, base + r->offset + i * r->size, text));
		fprintf(f, "%s%s", i ? ", " : " [", text);
	}
	fprintf(f, "]\n");
}

static void row_print(FILE *f, const struct row *r, const uint8_t *base, bool first_of_item)
{
	char text[GP_CONFIG_WHY_SIZE];
	if (r->type == VALUE_GROUP) {
		key_print(f, r, first_of_item);
		fprintf(f, "\n");
	} else if (r->count_max) {
		list_print(f, r, base);
	} else if (gp_config_value_format(r, base + r->offset, text)) {
		key_print(f, r, first_of_item);
		fprintf(f, " %s\n", text);
	}
}

// Not those keys that loading refuses for this kind, consistency or optimizer.
static bool job_row_applies(const struct row *r, const struct gp_config_job *j)
{
	char why[GP_CONFIG_WHY_SIZE];
	if (!gp_config_embed_takes(j->kind, r))
		return false;
	if (!gp_config_consistency_takes(j->consistency, r, why))
		return false;
	if (strncmp(r->path, "jobs[].optimizer", strlen("jobs[].optimizer")) != 0)
		return true;
	if (j->kind == GP_JOB_REDUCE)
		return false;
	return gp_config_optimizer_takes(&j->optimizer, r, why);
}

static void table_print(FILE *f, const struct gp_config_table *t)
{
	bool first = true;
	for (uint32_t i = 0; i < gp_config_rows_count; i++) {
		const struct row *r = &gp_config_rows[i];
		bool age = strcmp(r->path, "jobs[].tables[].evict_after") == 0;
		bool scale = strcmp(r->path, "jobs[].tables[].initial_scale") == 0;
		if (!is_table(r) || (age && t->eviction != GP_EVICTION_AGE) ||
			(scale && t->initial == GP_INITIAL_ZEROS))
			continue;
		row_print(f, r, (const uint8_t *)t, first);
		first = false;
	}
}

static void job_print(FILE *f, const struct gp_config_job *j)
{
	bool first = true;
	for (uint32_t i = 0; i < gp_config_rows_count; i++) {
		const struct row *r = &gp_config_rows[i];
		if (!is_job(r) || !job_row_applies(r, j))
			continue;
		row_print(f, r, (const uint8_t *)j, first);
		first = false;
	}
	for (uint32_t i = 0; i < j->tables_count; i++)
		table_print(f, &j->tables[i]);
}

void gp_config_print(FILE *f, const struct gp_config *c)
{
	GP_ASSERT(c->jobs_count <= GP_CONFIG_JOBS_MAX);
	for (uint32_t i = 0; i < gp_config_rows_count; i++) {
		const struct row *r = &gp_config_rows[i];
		bool jobs = r->type == VALUE_GROUP && r->count_max;
		if (!is_job(r) && !is_table(r) && !(jobs && c->jobs_count == 0) &&
			gp_config_row_applies(c, r))
			row_print(f, r, (const uint8_t *)c, false);
	}
	for (uint32_t i = 0; i < c->jobs_count; i++)
		job_print(f, &c->jobs[i]);
}

static const char *default_text(const struct row *r)
{
	if (r->def_doc)
		return r->def_doc;
	if (r->flags & ROW_REQUIRED)
		return "none: required";
	return r->def ? r->def : "none";
}

static void row_doc(FILE *f, const struct row *r)
{
	char allowed[GP_CONFIG_WHY_SIZE];
	bool code = !r->def_doc && r->def;
	gp_config_allowed_text(r, allowed);
	fprintf(f, "| `%s` | %s%s%s | ", r->path, code ? "`" : "", default_text(r),
		code ? "`" : "");
	if (r->count_max)
		fprintf(f, "list of at most %u: ", r->count_max);
	fprintf(f, "%s | %s |\n", allowed, r->help);
}

static void group_doc(FILE *f, const struct row *r)
{
	fprintf(f,
		"\n## %s\n\n%s\n\n| key | default | allowed | meaning |\n| --- | --- | --- | --- "
		"|\n",
		r->path, r->help);
}

void gp_config_doc(FILE *f)
{
	fprintf(f, "<!-- SPDX-License-Identifier: BSD-3-Clause -->\n"
		   "<!-- Generated from the schema in lib/config/schema.c; a test compares the "
		   "two. -->\n"
		   "# Configuration\n\n"
		   "A node reads one YAML file at start. Every key is listed here; a key that is "
		   "not, a key\n"
		   "given twice, a value of another type or out of range is an error that names "
		   "its place:\n"
		   "`node.yaml:14:7: jobs[0].workers: 0 is out of range 1..256`. Anchors, aliases, "
		   "tags and\n"
		   "a second document are refused, and so is a file larger than 1 MiB.\n\n"
		   "Sizes carry KiB, MiB or GiB (`64MiB`), times carry us, ms or s (`500ms`). `[]` "
		   "in a key\n"
		   "stands for the items of a list. `gradplaned --check-config FILE` prints the "
		   "effective\n"
		   "configuration and proves that it fits in the memory, frames and descriptors it "
		   "reserves.\n");
	for (uint32_t i = 0; i < gp_config_rows_count; i++) {
		const struct row *r = &gp_config_rows[i];
		if (r->type == VALUE_GROUP)
			group_doc(f, r);
		else
			row_doc(f, r);
	}
}
