// SPDX-License-Identifier: BSD-3-Clause
#include <gp_metrics.h>

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define WRITER_FIRST_SIZE 4096

static const char *const type_names[] = {
	[GP_METRICS_GAUGE] = "gauge",
	[GP_METRICS_COUNTER] = "counter",
	[GP_METRICS_INFO] = "info",
};
static const char *const type_suffixes[] = {
	[GP_METRICS_GAUGE] = "",
	[GP_METRICS_COUNTER] = "_total",
	[GP_METRICS_INFO] = "_info",
};

static bool text_ends_with(const char *text, const char *end)
{
	size_t text_len = strlen(text);
	size_t end_len = strlen(end);

	return text_len > end_len && memcmp(text + text_len - end_len, end, end_len) == 0;
}

// [a-zA-Z_][a-zA-Z0-9_]*, for families also with colons.
static bool name_is_valid(const char *name, bool colons)
{
	if (!name || !*name || (*name >= '0' && *name <= '9'))
		return false;
	for (const char *p = name; *p; p++) {
		bool word = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
			    (*p >= '0' && *p <= '9') || *p == '_';

		if (!word && !(colons && *p == ':'))
			return false;
	}
	return true;
}

static bool writer_reserve(struct gp_metrics_writer *w, size_t more)
{
	size_t size = GP_MAX(w->size, (size_t)WRITER_FIRST_SIZE);
	char *text;

	if (w->error)
		return false;
	if (more > GP_METRICS_PAGE_MAX - w->len) {
		w->error = -EFBIG;
		return false;
	}
	if (w->text && w->len + more <= w->size)
		return true;
	while (size < w->len + more)
		size *= 2;
	text = realloc(w->text, size);
	if (!text) {
		w->error = -ENOMEM;
		return false;
	}
	w->text = text;
	w->size = size;
	return true;
}

static void writer_put(struct gp_metrics_writer *w, const char *text, size_t len)
{
	if (!writer_reserve(w, len))
		return;
	memcpy(w->text + w->len, text, len);
	w->len += len;
}

static void writer_puts(struct gp_metrics_writer *w, const char *text)
{
	writer_put(w, text, strlen(text));
}

// Bytes of the well-formed UTF-8 sequence at `p` (Unicode 15, table 3-7), 0 when there is none. The
// text ends with a zero, which is no continuation byte, so nothing is read beyond it.
static size_t utf8_len(const unsigned char *p)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t len;

	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (p[0] == 0xe0)
		low = 0xa0; // shorter forms exist
	if (p[0] == 0xed)
		high = 0x9f; // surrogates
	if (p[0] == 0xf0)
		low = 0x90;
	if (p[0] == 0xf4)
		high = 0x8f; // beyond U+10FFFF
	if (p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++) {
		if (p[i] < 0x80 || p[i] > 0xbf)
			return 0;
	}
	return len;
}

// The older text takes a quote in a help as it stands; everywhere else it is escaped.
static void writer_put_escaped(struct gp_metrics_writer *w, const char *text, bool quotes)
{
	const unsigned char *p = (const unsigned char *)text;

	while (*p) {
		size_t len = utf8_len(p);

		if (len == 0)
			writer_puts(w, "\xef\xbf\xbd");
		else if (*p == '\n')
			writer_puts(w, "\\n");
		else if (*p == '\\')
			writer_puts(w, "\\\\");
		else if (*p == '"' && quotes)
			writer_puts(w, "\\\"");
		else
			writer_put(w, (const char *)p, len);
		p += len ? len : 1;
	}
}

void gp_metrics_writer_init(struct gp_metrics_writer *w, enum gp_metrics_format format)
{
	*w = (struct gp_metrics_writer){.format = format};
}

void gp_metrics_writer_fini(struct gp_metrics_writer *w)
{
	free(w->text);
	*w = (struct gp_metrics_writer){.format = w->format};
}

// Only the older text names the family as its samples are named, and it knows no info.
static void writer_put_name(struct gp_metrics_writer *w, const char *keyword)
{
	writer_puts(w, keyword);
	writer_puts(w, w->family.name);
	if (w->format == GP_METRICS_PROMETHEUS)
		writer_puts(w, type_suffixes[w->family.type]);
	writer_puts(w, " ");
}

static void writer_put_type(struct gp_metrics_writer *w)
{
	bool plain_info = w->format == GP_METRICS_PROMETHEUS && w->family.type == GP_METRICS_INFO;
	size_t start = w->len;
	size_t line_len;

	writer_put_name(w, "# TYPE ");
	if (w->error)
		return;
	line_len = w->len - start;
	GP_ASSERT(start == 0 || !memmem(w->text, start, w->text + start, line_len));
	writer_puts(w, plain_info ? "gauge" : type_names[w->family.type]);
	writer_puts(w, "\n");
}

void gp_metrics_family(struct gp_metrics_writer *w, const struct gp_metrics_family *f)
{
	GP_ASSERT(name_is_valid(f->name, true));
	GP_ASSERT((size_t)f->type < GP_ARRAY_SIZE(type_names));
	GP_ASSERT(!text_ends_with(f->name, "_total") && !text_ends_with(f->name, "_info"));
	GP_ASSERT(!f->unit || (f->type != GP_METRICS_INFO && text_ends_with(f->name, f->unit) &&
				      f->name[strlen(f->name) - strlen(f->unit) - 1] == '_'));
	GP_ASSERT(f->help && *f->help);
	w->family = *f;
	writer_put_type(w);
	if (f->unit && w->format == GP_METRICS_OPENMETRICS) {
		writer_put_name(w, "# UNIT ");
		writer_puts(w, f->unit);
		writer_puts(w, "\n");
	}
	writer_put_name(w, "# HELP ");
	writer_put_escaped(w, f->help, w->format == GP_METRICS_OPENMETRICS);
	writer_puts(w, "\n");
}

static void writer_put_sample(
	struct gp_metrics_writer *w, const struct gp_metrics_label *labels, const char *value)
{
	GP_ASSERT(w->family.name);
	writer_puts(w, w->family.name);
	writer_puts(w, type_suffixes[w->family.type]);
	for (const struct gp_metrics_label *l = labels; l && l->name; l++) {
		GP_ASSERT(name_is_valid(l->name, false));
		writer_puts(w, l == labels ? "{" : ",");
		writer_puts(w, l->name);
		writer_puts(w, "=\"");
		writer_put_escaped(w, l->value ? l->value : "", true);
		writer_puts(w, "\"");
	}
	writer_puts(w, labels && labels->name ? "} " : " ");
	writer_puts(w, value);
	writer_puts(w, "\n");
}

void gp_metrics_u64(
	struct gp_metrics_writer *w, const struct gp_metrics_label *labels, uint64_t value)
{
	char text[24];

	GP_ASSERT(w->family.type != GP_METRICS_INFO || value == 1);
	snprintf(text, sizeof(text), "%" PRIu64, value);
	writer_put_sample(w, labels, text);
}

void gp_metrics_f64(
	struct gp_metrics_writer *w, const struct gp_metrics_label *labels, double value)
{
	char text[32];

	GP_ASSERT(w->family.type == GP_METRICS_GAUGE ||
		  (w->family.type == GP_METRICS_COUNTER && value >= 0));
	if (isnan(value)) {
		writer_put_sample(w, labels, "NaN");
		return;
	}
	if (isinf(value)) {
		writer_put_sample(w, labels, value > 0 ? "+Inf" : "-Inf");
		return;
	}
	// The shorter form where it reads back as the same number.
	snprintf(text, sizeof(text), "%.15g", value);
	if (strtod(text, NULL) != value)
		snprintf(text, sizeof(text), "%.17g", value);
	writer_put_sample(w, labels, text);
}

int gp_metrics_end(struct gp_metrics_writer *w)
{
	if (w->format == GP_METRICS_OPENMETRICS)
		writer_puts(w, "# EOF\n");
	if (!writer_reserve(w, 1))
		return w->error;
	w->text[w->len] = '\0';
	return 0;
}
