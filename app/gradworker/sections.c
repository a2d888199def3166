// SPDX-License-Identifier: BSD-3-Clause
#include "sections.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define LINE_MAX_SIZE 8192
#define WORDS_MAX     128u // of a package, with repeats
#define PACKAGES_MAX  10000000u
#define SEED_NAME     1u // of the hash of words of a name
#define SEED_TEXT     2u
#define SEED_HELD     3u
#define HELD_ONE_IN   10u
#define GROWTH	      4096u

// ---- loading

struct load {
	struct gw_sections *s;
	struct gw_error *err;
	const char *path;
	uint32_t line;
	uint32_t bits;
	uint32_t room;	     // packages
	uint32_t words_room; // words
	uint32_t words_count;
};

static int word_compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static uint32_t words_add(
	uint32_t *words, uint32_t n, const char *text, uint32_t bits, uint64_t seed)
{
	char word[64];
	size_t len = 0;

	for (;; text++) {
		unsigned char c = (unsigned char)*text;

		if (isalnum(c) || c == '+') {
			if (len < sizeof(word))
				word[len++] = (char)tolower(c);
			continue;
		}
		if (len > 0 && n < WORDS_MAX)
			words[n++] = (uint32_t)(XXH3_64bits_withSeed(word, len, seed) &
						((UINT64_C(1) << bits) - 1));
		len = 0;
		if (c == 0)
			return n;
	}
}

static uint32_t words_unique(uint32_t *words, uint32_t n)
{
	uint32_t kept = 0;

	qsort(words, n, sizeof(*words), word_compare);
	for (uint32_t i = 0; i < n; i++)
		if (kept == 0 || words[kept - 1] != words[i])
			words[kept++] = words[i];
	return kept;
}

static void *grown(void *mem, size_t size, uint32_t count)
{
	return realloc(mem, size * count);
}

static int room_make(struct load *l)
{
	struct gw_sections *s = l->s;

	if (s->count + 1 >= l->room) {
		l->room = l->room * 2 + GROWTH;
		s->label = grown(s->label, sizeof(*s->label), l->room);
		s->first = grown(s->first, sizeof(*s->first), l->room + 1);
	}
	if (l->words_count + WORDS_MAX + 1 > l->words_room) {
		l->words_room = l->words_room * 2 + GROWTH;
		s->words = grown(s->words, sizeof(*s->words), l->words_room);
	}
	return s->label && s->first && s->words
		       ? 0
		       : gw_error_set(l->err, -ENOMEM, "no memory for %s", l->path);
}

static int class_of(struct load *l, const char *name)
{
	struct gw_sections *s = l->s;

	for (uint32_t i = 0; i < s->classes; i++)
		if (strcmp(s->names[i], name) == 0)
			return (int)i;
	if (s->classes == GW_SECTIONS_MAX || strlen(name) >= GW_SECTION_NAME_MAX)
		return gw_error_set(l->err, -EINVAL,
			"%s:%u: section '%s' is longer than %u bytes or beyond %u of them", l->path,
			l->line, name, GW_SECTION_NAME_MAX - 1, GW_SECTIONS_MAX);
	strcpy(s->names[s->classes], name);
	return (int)s->classes++;
}

// Held out or not is decided by the name, so it stays when packages come and go.
static bool is_held(const char *name)
{
	return XXH3_64bits_withSeed(name, strlen(name), SEED_HELD) % HELD_ONE_IN == 0;
}

static int package_add(struct load *l, char *line)
{
	struct gw_sections *s = l->s;
	char *name = strchr(line, '\t'), *text = name ? strchr(name + 1, '\t') : NULL;
	uint32_t words[WORDS_MAX + 1], n;
	int class, rc;

	if (!text || s->count == PACKAGES_MAX)
		return gw_error_set(l->err, -EINVAL,
			"%s:%u: not section, tab, name, tab, description", l->path, l->line);
	*name++ = 0;
	*text++ = 0;
	rc = room_make(l);
	class = rc ? rc : class_of(l, line);
	if (class < 0)
		return class;
	n = words_add(words, 0, name, l->bits, SEED_NAME);
	n = words_unique(words, words_add(words, n, text, l->bits, SEED_TEXT));
	words[n++] = UINT32_C(1) << l->bits;
	memcpy(s->words + l->words_count, words, sizeof(*words) * n);
	s->label[s->count] = (uint8_t)((uint32_t) class | (is_held(name) ? 0x80u : 0));
	s->first[s->count++] = l->words_count;
	l->words_count += n;
	s->first[s->count] = l->words_count;
	return 0;
}

static int lines_read(struct load *l, FILE *f)
{
	char line[LINE_MAX_SIZE];
	int rc = 0;

	while (!rc && fgets(line, sizeof(line), f)) {
		size_t len = strcspn(line, "\n");

		l->line++;
		if (line[len] != '\n' && !feof(f))
			return gw_error_set(l->err, -EINVAL, "%s:%u: longer than %u bytes", l->path,
				l->line, LINE_MAX_SIZE - 2);
		line[len] = 0;
		if (line[0] != '#')
			rc = package_add(l, line);
	}
	if (!rc && ferror(f))
		return gw_error_set(l->err, -EIO, "%s: cannot be read", l->path);
	return rc;
}

// Sections in the order of their names, so that every rank numbers them alike.
static void classes_sort(struct gw_sections *s)
{
	uint8_t place[GW_SECTIONS_MAX];
	char names[GW_SECTIONS_MAX][GW_SECTION_NAME_MAX];

	memcpy(names, s->names, sizeof(names));
	for (uint32_t i = 0; i < s->classes; i++) {
		place[i] = 0;
		for (uint32_t k = 0; k < s->classes; k++)
			place[i] = (uint8_t)(place[i] + (strcmp(names[k], names[i]) < 0));
	}
	for (uint32_t i = 0; i < s->classes; i++)
		memcpy(s->names[place[i]], names[i], sizeof(names[i]));
	for (uint32_t i = 0; i < s->count; i++)
		s->label[i] = (uint8_t)(place[s->label[i] & 0x7f] | (s->label[i] & 0x80));
}

static int split(struct gw_sections *s, struct gw_error *err)
{
	s->train = malloc(sizeof(*s->train) * (s->count + 1));
	s->held = malloc(sizeof(*s->held) * (s->count + 1));
	if (!s->train || !s->held)
		return gw_error_set(err, -ENOMEM, "no memory for %u packages", s->count);
	for (uint32_t i = 0; i < s->count; i++) {
		if (s->label[i] & 0x80)
			s->held[s->held_count++] = i;
		else
			s->train[s->train_count++] = i;
		s->label[i] &= 0x7f;
	}
	return 0;
}

int gw_sections_load(struct gw_sections *s, const char *path, uint32_t bits, struct gw_error *err)
{
	struct load l = {.s = s, .err = err, .path = path, .bits = bits};
	FILE *f = fopen(path, "re");
	int rc;

	memset(s, 0, sizeof(*s));
	if (!f)
		return gw_error_set(err, -errno, "%s: %s; scripts/sections-data makes it", path,
			strerror(errno));
	rc = lines_read(&l, f);
	fclose(f);
	if (!rc && s->count == 0)
		rc = gw_error_set(err, -EINVAL, "%s: no package", path);
	if (rc)
		return rc;
	classes_sort(s);
	return split(s, err);
}

void gw_sections_free(struct gw_sections *s)
{
	free(s->label);
	free(s->first);
	free(s->words);
	free(s->train);
	free(s->held);
	memset(s, 0, sizeof(*s));
}

// ---- words of a batch

int gw_words_init(struct gw_words *w, uint32_t bits, uint32_t max, struct gw_error *err)
{
	*w = (struct gw_words){.max = max};
	w->place = calloc((UINT64_C(1) << bits) + 1, sizeof(*w->place));
	w->ids = calloc(max, sizeof(*w->ids));
	return w->place && w->ids ? 0 : gw_error_set(err, -ENOMEM, "no memory for words");
}

void gw_words_free(struct gw_words *w)
{
	free(w->place);
	free(w->ids);
	memset(w, 0, sizeof(*w));
}

bool gw_words_gather(
	struct gw_words *w, const struct gw_sections *s, const uint32_t *packages, uint32_t n)
{
	for (uint32_t i = 0; i < w->count; i++)
		w->place[w->ids[i]] = 0;
	w->count = 0;
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t k = s->first[packages[i]]; k < s->first[packages[i] + 1]; k++) {
			uint32_t *place = &w->place[s->words[k]];

			if (*place)
				continue;
			if (w->count == w->max)
				return false;
			w->ids[w->count] = s->words[k];
			*place = ++w->count;
		}
	return true;
}

// ---- the model

static void scores_softmax(float *p, uint32_t classes)
{
	float most = p[0], sum = 0;

	for (uint32_t c = 1; c < classes; c++)
		most = p[c] > most ? p[c] : most;
	for (uint32_t c = 0; c < classes; c++)
		sum += p[c] = expf(p[c] - most);
	for (uint32_t c = 0; c < classes; c++)
		p[c] /= sum;
}

double gw_sections_gradient(const struct gw_sections *s, const struct gw_words *w,
	const uint32_t *packages, uint32_t n, const float *rows, float *grad, uint32_t *right)
{
	double loss = 0;

	if (grad)
		memset(grad, 0, sizeof(*grad) * w->count * GW_SECTIONS_MAX);
	*right = 0;
	for (uint32_t i = 0; i < n; i++) {
		const uint32_t *words = s->words + s->first[packages[i]];
		uint32_t count = s->first[packages[i] + 1] - s->first[packages[i]], best = 0;
		uint32_t label = s->label[packages[i]];
		float p[GW_SECTIONS_MAX] = {0}, x = 1.0f / sqrtf((float)count);

		for (uint32_t k = 0; k < count; k++) {
			const float *row =
				rows + (size_t)(w->place[words[k]] - 1) * GW_SECTIONS_MAX;

			for (uint32_t c = 0; c < s->classes; c++)
				p[c] += x * row[c];
		}
		for (uint32_t c = 1; c < s->classes; c++)
			best = p[c] > p[best] ? c : best;
		*right += best == label;
		scores_softmax(p, s->classes);
		loss -= log((double)p[label] + 1e-30);
		p[label] -= 1.0f;
		for (uint32_t k = 0; grad && k < count; k++) {
			float *g = grad + (size_t)(w->place[words[k]] - 1) * GW_SECTIONS_MAX;

			for (uint32_t c = 0; c < s->classes; c++)
				g[c] += x / (float)n * p[c];
		}
	}
	return loss / n;
}
