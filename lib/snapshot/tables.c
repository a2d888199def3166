// SPDX-License-Identifier: BSD-3-Clause
//
// What tables of rows have that tensors have not: files of their own, widths, a part of the
// manifest.
#include "snapshot_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define DIM_MAX GP_SNAPSHOT_BLOCK_ELEMS_MAX

uint32_t snapshot_files_count(const struct gp_snapshot_meta *meta)
{
	return 1 + meta->states_count + (meta->embed ? SNAPSHOT_FILES_OF_TABLES : 0);
}

enum file_role snapshot_file_role(const struct gp_snapshot_meta *meta, uint32_t file)
{
	GP_ASSERT(file < snapshot_files_count(meta));
	if (file == 0)
		return FILE_PARAMS;
	if (file <= meta->states_count)
		return FILE_STATE;
	return file == gp_snapshot_ids_file(meta) ? FILE_IDS : FILE_STEPS;
}

uint32_t snapshot_width(const struct gp_snapshot_meta *meta, uint32_t file, uint32_t tensor)
{
	if (!meta->embed)
		return 1;
	uint32_t dim = (uint32_t)meta->tensors[tensor].dims[1];
	switch (snapshot_file_role(meta, file)) {
	case FILE_PARAMS:
		return dim;
	case FILE_STATE:
		if (meta->embed->mixed)
			return meta->embed->tables[tensor].of_value >> (file - 1) & 1 ? dim : 1;
		return meta->embed->state_of_row ? 1 : dim;
	case FILE_IDS:
		return 2;
	default:
		return 1;
	}
}

uint64_t snapshot_items(const struct gp_snapshot_meta *meta, uint32_t tensor)
{
	const struct gp_snapshot_tensor *t = &meta->tensors[tensor];
	return meta->embed ? t->dims[0] : t->elements;
}

const char *snapshot_dtype(const struct gp_snapshot_meta *meta, uint32_t file, uint32_t *words)
{
	enum file_role role = snapshot_file_role(meta, file);
	*words = role == FILE_IDS ? 2 : 1;
	return role == FILE_IDS ? "U64" : role == FILE_STEPS ? "U32" : "F32";
}

uint32_t snapshot_dims(
	const struct gp_snapshot_meta *meta, uint32_t file, uint32_t tensor, uint64_t *dims)
{
	const struct gp_snapshot_tensor *t = &meta->tensors[tensor];
	memcpy(dims, t->dims, sizeof(dims[0]) * t->dims_count);
	if (!meta->embed)
		return t->dims_count;
	dims[1] = snapshot_width(meta, file, tensor);
	return snapshot_file_role(meta, file) < FILE_IDS ? 2 : 1;
}

uint32_t snapshot_block_default(const struct gp_snapshot_meta *meta)
{
	uint32_t widest = 1;
	if (meta->block_elems > 0)
		return meta->block_elems;
	for (uint32_t t = 0; meta->embed && t < meta->tensors_count; t++)
		widest = GP_MAX(widest, (uint32_t)GP_MIN(meta->tensors[t].dims[1], DIM_MAX));
	return GP_MAX(GP_SNAPSHOT_BLOCK_ELEMS / GP_MAX(widest, meta->embed ? 2u : 1u), 1u);
}

// ---- checks

static bool is_one_of(const char *word, const char *const *words)
{
	for (; *words; words++)
		if (strcmp(word, *words) == 0)
			return true;
	return false;
}

static const char *table_wrong(const struct gp_snapshot_table *x)
{
	static const char *const initials[] = {"zeros", "uniform", "normal", NULL};
	static const char *const evictions[] = {"none", "age", "step", NULL};
	if (!is_one_of(x->initial, initials))
		return "initial is none of zeros, uniform, normal";
	if (!(x->initial_scale >= 0 && x->initial_scale <= 3.5e38))
		return "the scale of initial values is out of range";
	if (!is_one_of(x->eviction, evictions))
		return "eviction is none of none, age, step";
	return x->rows_max > INT64_MAX ? "rows_max: above 2^63-1" : NULL;
}

int snapshot_tables_check(const struct gp_snapshot_meta *meta, struct gp_snapshot_error *err)
{
	if (meta->states_count > GP_SNAPSHOT_STATES_MAX - SNAPSHOT_FILES_OF_TABLES)
		return snapshot_fail(err, -EINVAL, "%u optimizer arrays of tables, at most %d",
			meta->states_count, GP_SNAPSHOT_STATES_MAX - SNAPSHOT_FILES_OF_TABLES);
	for (uint32_t i = 0; i < meta->tensors_count; i++) {
		const struct gp_snapshot_tensor *t = &meta->tensors[i];
		const char *why = table_wrong(&meta->embed->tables[i]);
		if (!why && (meta->embed->tables[i].of_value & meta->embed->tables[i].of_row))
			why = "an optimizer array of values and of rows";
		if (!why && (t->dims_count != 2 || t->dims[1] < 1 || t->dims[1] > DIM_MAX))
			why = "its dimensions are not rows and values of a row";
		if (why)
			return snapshot_fail(err, -EINVAL, "table %s: %s", t->name, why);
	}
	return 0;
}

// ---- the manifest's part: {updates, state_of, tables [...]}

// Of each array what the table has.
static json_t *arrays_json(const struct gp_snapshot_table *x, uint32_t count)
{
	json_t *arrays = json_array();
	for (uint32_t k = 0; arrays && k < count; k++) {
		const char *of = x->of_value >> k & 1 ? "value"
				 : x->of_row >> k & 1 ? "row"
						      : "none";
		if (json_array_append_new(arrays, json_string(of)) != 0) {
			json_decref(arrays);
			arrays = NULL;
		}
	}
	return arrays;
}

static bool arrays_parse(const json_t *arrays, uint32_t count, struct gp_snapshot_table *x)
{
	if (!json_is_array(arrays) || json_array_size(arrays) != count)
		return false;
	for (uint32_t k = 0; k < count; k++) {
		const char *of = json_string_value(json_array_get(arrays, k));
		if (!of || (strcmp(of, "value") != 0 && strcmp(of, "row") != 0 &&
				   strcmp(of, "none") != 0))
			return false;
		x->of_value |= (uint32_t)(strcmp(of, "value") == 0) << k;
		x->of_row |= (uint32_t)(strcmp(of, "row") == 0) << k;
	}
	return true;
}

static json_t *table_json(const struct gp_snapshot_table *x)
{
	return json_pack("{s:I, s:s, s:{s:s, s:f, s:o}, s:{s:s, s:I}}", "rows_max",
		(json_int_t)x->rows_max, "values", x->bf16 ? "bf16" : "f32", "initial", "kind",
		x->initial, "scale", x->initial_scale, "seed", snapshot_hex_json(x->seed),
		"eviction", "kind", x->eviction, "after", (json_int_t)x->evict_after);
}

json_t *snapshot_tables_json(const struct gp_snapshot_meta *meta)
{
	json_t *tables = json_array();
	for (uint32_t i = 0; tables && i < meta->tensors_count; i++) {
		json_t *x = table_json(&meta->embed->tables[i]);
		bool whole =
			x && (!meta->embed->mixed || json_object_set_new(x, "arrays",
							     arrays_json(&meta->embed->tables[i],
								     meta->states_count)) == 0);
		if (!whole)
			json_decref(x);
		if (!whole || json_array_append_new(tables, x) != 0) {
			json_decref(tables);
			tables = NULL;
		}
	}
	return json_pack("{s:I, s:s, s:o}", "updates", (json_int_t)meta->embed->updates, "state_of",
		meta->embed->mixed	    ? "table"
		: meta->embed->state_of_row ? "row"
					    : "value",
		"tables", tables);
}

// Where `mixed`, with its arrays.
static bool table_parse(
	json_t *entry, bool mixed, uint32_t arrays_count, struct gp_snapshot_table *x)
{
	json_t *arrays = NULL;
	const char *values, *seed;
	json_int_t rows_max, after;
	json_error_t why;
	if (json_unpack_ex(entry, &why, JSON_STRICT,
		    "{s:I, s:s, s:{s:s, s:F, s:s}, s:{s:s, s:I}, s?:o}", "rows_max", &rows_max,
		    "values", &values, "initial", "kind", &x->initial, "scale", &x->initial_scale,
		    "seed", &seed, "eviction", "kind", &x->eviction, "after", &after, "arrays",
		    &arrays) != 0 ||
		mixed != (arrays != NULL) || (mixed && !arrays_parse(arrays, arrays_count, x)))
		return false;
	x->bf16 = strcmp(values, "bf16") == 0;
	x->rows_max = (uint64_t)rows_max;
	x->evict_after = (uint32_t)after;
	return (x->bf16 || strcmp(values, "f32") == 0) && rows_max >= 0 && after >= 0 &&
	       after <= UINT32_MAX && snapshot_hex_parse(seed, &x->seed);
}

static int bad(struct gp_snapshot_error *err, const char *what)
{
	return snapshot_fail(err, -EBADMSG, "%s: embed: %s", GP_SNAPSHOT_MANIFEST, what);
}

int snapshot_tables_parse(struct manifest *m, struct gp_snapshot_error *err)
{
	const char *state_of;
	json_int_t updates;
	json_t *tables;
	json_error_t why;
	if (json_unpack_ex(m->embed_json, &why, JSON_STRICT, "{s:I, s:s, s:o}", "updates", &updates,
		    "state_of", &state_of, "tables", &tables) != 0)
		return bad(err, why.text);
	m->embed.state_of_row = strcmp(state_of, "row") == 0;
	m->embed.mixed = strcmp(state_of, "table") == 0;
	m->embed.updates = (uint32_t)updates;
	if (updates < 0 || updates > UINT32_MAX ||
		(!m->embed.state_of_row && !m->embed.mixed && strcmp(state_of, "value") != 0) ||
		!json_is_array(tables) || json_array_size(tables) != m->meta.tensors_count)
		return bad(err, "updates, state_of or the number of tables: out of range");
	m->tables = calloc(m->meta.tensors_count, sizeof(*m->tables));
	if (!m->tables)
		return snapshot_fail(err, -ENOMEM, "out of memory for tables");
	for (uint32_t i = 0; i < m->meta.tensors_count; i++)
		if (!table_parse(json_array_get(tables, i), m->embed.mixed, m->meta.states_count,
			    &m->tables[i]))
			return bad(err, "tables: an entry is not {rows_max, values, initial, "
					"eviction}, or out of range");
	m->embed.tables = m->tables;
	return 0;
}
