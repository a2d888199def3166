// SPDX-License-Identifier: BSD-3-Clause
#include "vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_SIZE 512
#define BYTES_MAX 9216
#define FILL_MARK "00*"

const char *const vector_names[] = {"hello", "hello_reply", "hello_reply_none", "join",
	"join_attach", "join_results", "join_goes_on", "welcome", "welcome_async", "register",
	"register_ask", "layout", "layout_waiting", "push_f32", "push_mixed", "push_pass",
	"push_codecs", "pull", "result", "result_zero", "result_keep", "commit", "commit_async",
	"ack", "heartbeat", "heartbeat_reply", "barrier", "barrier_reply", "leave", "leave_reply",
	"refuse", "nack", "busy", "read", "read_reply", "read_parked", "push_rows", "pull_rows",
	"rows", "beat"};
const size_t vector_count = sizeof(vector_names) / sizeof(vector_names[0]);

static void fail(const char *name, const char *why)
{
	fprintf(stderr, "golden vector %s: %s\n", name, why);
	exit(1);
}

// Appends the bytes of one line without its comment: hex pairs, or 00*N for N zero bytes.
static uint32_t line_read(const char *name, char *line, uint8_t *out, uint32_t len)
{
	line[strcspn(line, "#")] = 0;
	char *save = NULL;
	for (char *w = strtok_r(line, " \n", &save); w; w = strtok_r(NULL, " \n", &save)) {
		uint32_t count = 1;
		char *end = w;
		unsigned long value = 0;
		if (strncmp(w, FILL_MARK, strlen(FILL_MARK)) == 0)
			count = (uint32_t)strtoul(w + strlen(FILL_MARK), &end, 10);
		else
			value = strtoul(w, &end, 16);
		if (end == w || *end || value > UINT8_MAX)
			fail(name, w);
		if (count > BYTES_MAX - len)
			fail(name, "too long");
		memset(out + len, (int)value, count);
		len += count;
	}
	return len;
}

struct vector vector_load(const char *name)
{
	static uint8_t bytes[BYTES_MAX];
	char path[LINE_SIZE], line[LINE_SIZE];
	snprintf(path, sizeof(path), "%s/vectors/%s.hex", GOLDEN_DIR, name);
	FILE *f = fopen(path, "r");
	if (!f)
		fail(name, "no such file");
	uint32_t len = 0;
	while (fgets(line, sizeof(line), f))
		len = line_read(name, line, bytes, len);
	fclose(f);
	if (len == 0)
		fail(name, "empty");
	struct vector whole = {.data = bytes, .len = len};
	return vector_copy(&whole, len);
}

struct vector vector_copy(const struct vector *v, uint32_t len)
{
	struct vector copy = {.data = malloc(len ? len : 1), .len = len};
	if (!copy.data)
		fail("copy", "no memory");
	uint32_t common = len < v->len ? len : v->len;
	memcpy(copy.data, v->data, common);
	memset(copy.data + common, 0, len - common);
	return copy;
}
