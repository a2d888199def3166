// SPDX-License-Identifier: BSD-3-Clause
#include "gradctl.h"

#include <stdlib.h>

#define TABLE_GAP "  "

void table_init(struct table *t, const struct column *columns, size_t columns_count)
{
	GP_ASSERT(columns_count > 0 && columns_count <= TABLE_COLUMNS_MAX);
	*t = (struct table){.columns = columns, .columns_count = columns_count};
}

void table_text(struct table *t, const char *text)
{
	if (t->cells_count == t->cells_size) {
		size_t size = t->cells_size ? t->cells_size * 2 : 64;
		void *cells = realloc(t->cells, size * sizeof(*t->cells));

		if (!cells) {
			fprintf(stderr, "gradctl: out of memory\n");
			exit(EXIT_USAGE);
		}
		t->cells = cells;
		t->cells_size = size;
	}
	snprintf(t->cells[t->cells_count++], FIELD_SIZE, "%s", text);
}

void table_field(struct table *t, const json_t *object, const char *key, enum form form)
{
	char text[FIELD_SIZE];

	table_text(t, field_format(object, key, form, text));
}

// Characters, not bytes.
static size_t text_width(const char *text)
{
	size_t width = 0;

	for (const char *p = text; *p; p++)
		width += (*p & 0xc0) != 0x80;
	return width;
}

static void row_print(
	const struct table *t, const size_t *widths, const char *const *texts, FILE *out)
{
	for (size_t i = 0; i < t->columns_count; i++) {
		bool last = i + 1 == t->columns_count;
		int pad = (int)(widths[i] - text_width(texts[i]));

		if (t->columns[i].right)
			fprintf(out, "%*s%s", pad, "", texts[i]);
		else
			fprintf(out, "%s%*s", texts[i], last ? 0 : pad, "");
		fputs(last ? "\n" : TABLE_GAP, out);
	}
}

void table_print_fini(struct table *t, FILE *out)
{
	const char *texts[TABLE_COLUMNS_MAX];
	size_t widths[TABLE_COLUMNS_MAX];

	GP_ASSERT(t->cells_count % t->columns_count == 0);
	for (size_t i = 0; i < t->columns_count; i++) {
		texts[i] = t->columns[i].title;
		widths[i] = text_width(texts[i]);
	}
	for (size_t i = 0; i < t->cells_count; i++) {
		size_t *width = &widths[i % t->columns_count];

		*width = GP_MAX(*width, text_width(t->cells[i]));
	}
	if (t->cells_count) {
		fputc('\n', out);
		row_print(t, widths, texts, out);
	}
	for (size_t row = 0; row < t->cells_count; row += t->columns_count) {
		for (size_t i = 0; i < t->columns_count; i++)
			texts[i] = t->cells[row + i];
		row_print(t, widths, texts, out);
	}
	free(t->cells);
	*t = (struct table){0};
}
