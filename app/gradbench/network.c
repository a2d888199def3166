// SPDX-License-Identifier: BSD-3-Clause
#include "network.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define LINE_MAX_BYTES 512
#define US_MAX	       1e9
#define HEAD	       "layer,parameters,forward_us,backward_us"

struct reader {
	const char *path;
	uint32_t line;
	struct network *n;
};

static int bad(const struct reader *r, const char *what)
{
	fprintf(stderr, "gradbench: %s:%u: %s\n", r->path, r->line, what);
	return -EINVAL;
}

static bool time_take(const char *text, double *us)
{
	char *end;
	*us = strtod(text, &end);
	return end != text && *end == '\0' && *us >= 0 && *us <= US_MAX;
}

static bool count_take(const char *text, uint64_t *n)
{
	char *end;
	errno = 0;
	*n = strtoull(text, &end, 10);
	return !errno && text[0] >= '0' && text[0] <= '9' && *end == '\0' && *n >= 1 &&
	       *n <= NETWORK_PARAMETERS_MAX;
}

// Cuts the line at its commas; false unless there are four fields.
static bool fields_cut(char *line, char *fields[4])
{
	uint32_t n = 1;
	fields[0] = line;
	for (char *at = line; *at; at++) {
		if (*at != ',')
			continue;
		if (n == 4)
			return false;
		*at = '\0';
		fields[n++] = at + 1;
	}
	return n == 4;
}

static bool name_known(const struct network *n, const char *name)
{
	for (uint32_t i = 0; i < n->count; i++)
		if (strcmp(n->layers[i].name, name) == 0)
			return true;
	return false;
}

static int layer_take(struct reader *r, char *line)
{
	struct network *n = r->n;
	struct layer l = {.offset = n->parameters};
	char *f[4];
	if (!fields_cut(line, f))
		return bad(r, "a layer has four fields: " HEAD);
	size_t len = strlen(f[0]);
	if (len == 0 || len >= sizeof(l.name))
		return bad(r, "layer: give a name of 1 to 63 bytes");
	if (name_known(n, f[0]))
		return bad(r, "layer: this name is there already, give each layer its own");
	memcpy(l.name, f[0], len + 1);
	if (!count_take(f[1], &l.parameters))
		return bad(r, "parameters: give a whole number of 1 to 4294967296");
	if (!time_take(f[2], &l.forward_us))
		return bad(r, "forward_us: give microseconds, 0 to 1e9");
	if (!time_take(f[3], &l.backward_us))
		return bad(r, "backward_us: give microseconds, 0 to 1e9");
	if (n->count == NETWORK_LAYERS_MAX)
		return bad(r, "more than 4096 layers: put some together");
	n->parameters += l.parameters;
	if (n->parameters > NETWORK_PARAMETERS_MAX)
		return bad(r, "more than 4294967296 parameters in all: leave layers out");
	n->parameters_max = GP_MAX(n->parameters_max, l.parameters);
	n->forward_us += l.forward_us;
	n->backward_us += l.backward_us;
	n->layers[n->count++] = l;
	return 0;
}

static int lines_read(struct reader *r, FILE *f)
{
	char line[LINE_MAX_BYTES];
	bool head = false;
	int rc = 0;
	while (rc == 0 && fgets(line, sizeof(line), f)) {
		r->line++;
		size_t len = strcspn(line, "\r\n");
		if (line[len] == '\0' && len == sizeof(line) - 1)
			return bad(r, "the line is longer than 510 bytes: shorten it");
		line[len] = '\0';
		if (len == 0 || line[0] == '#')
			continue;
		if (head)
			rc = layer_take(r, line);
		else if (strcmp(line, HEAD) != 0)
			return bad(r, "the first line that is no comment must be: " HEAD);
		head = true;
	}
	if (rc == 0 && r->n->count == 0)
		return bad(r, "no layer: add a line for each, " HEAD);
	return rc;
}

int network_read(struct network *n, const char *path)
{
	*n = (struct network){.layers = calloc(NETWORK_LAYERS_MAX, sizeof(*n->layers))};
	FILE *f = n->layers ? fopen(path, "re") : NULL;
	if (!f) {
		int rc = -errno;
		fprintf(stderr,
			"gradbench: %s: %s; --network takes a file such as conf/resnet50.csv\n",
			path, strerror(-rc));
		network_free(n);
		return rc;
	}
	struct reader r = {.path = path, .n = n};
	int rc = lines_read(&r, f);
	fclose(f);
	if (rc)
		network_free(n);
	return rc;
}

void network_free(struct network *n)
{
	free(n->layers);
	*n = (struct network){0};
}
