// SPDX-License-Identifier: BSD-3-Clause
//
// The nearest known key, by edit distance.
#include "load_priv.h"

#define HINT_KEY_SIZE 32
#define HINT_NEAR     3

// Insertions, deletions, substitutions and swaps of neighbours between two short words (Damerau's
// distance with restricted edits).
static uint32_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	uint32_t d[HINT_KEY_SIZE + 1][HINT_KEY_SIZE + 1];
	GP_ASSERT(a_len <= HINT_KEY_SIZE && b_len <= HINT_KEY_SIZE);
	for (uint32_t i = 0; i <= a_len; i++)
		d[i][0] = i;
	for (uint32_t j = 0; j <= b_len; j++)
		d[0][j] = j;
	for (uint32_t i = 1; i <= a_len; i++) {
		for (uint32_t j = 1; j <= b_len; j++) {
			uint32_t change = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
			uint32_t least = GP_MIN(d[i - 1][j], d[i][j - 1]) + 1;
			least = GP_MIN(least, change);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				least = GP_MIN(least, d[i - 2][j - 2] + 1);
			d[i][j] = least;
		}
	}
	return d[a_len][b_len];
}

// The nearest key of one group (all = false) or the same key in any group (all = true).
static const struct row *nearest(int group, const char *key, bool all)
{
	size_t len = strlen(key);
	const struct row *best = NULL;
	uint32_t best_distance = all ? 0 : HINT_NEAR;
	for (uint32_t i = 0; len <= HINT_KEY_SIZE && i < gp_config_rows_count; i++) {
		const struct row *r = &gp_config_rows[i];
		size_t known_len;
		const char *known = gp_config_row_key(r, &known_len);
		if (!all && gp_config_row_parent(r) != group)
			continue;
		uint32_t d = distance(key, len, known, known_len);
		if (d > best_distance || d * 2 > known_len)
			continue;
		if (!best || d < best_distance)
			best = r;
		best_distance = d;
	}
	return best;
}

static void allowed_list(int group, char out[GP_CONFIG_WHY_SIZE])
{
	size_t n = (size_t)snprintf(out, GP_CONFIG_WHY_SIZE, "allowed:");
	for (uint32_t i = 0; i < gp_config_rows_count; i++) {
		const struct row *r = &gp_config_rows[i];
		size_t len;
		const char *key = gp_config_row_key(r, &len);
		if (gp_config_row_parent(r) != group)
			continue;
		GP_ASSERT(n + len + 3 < GP_CONFIG_WHY_SIZE);
		n += (size_t)snprintf(out + n, GP_CONFIG_WHY_SIZE - n, " %.*s", (int)len, key);
	}
}

void gp_config_hint(int group, const char *key, char out[GP_CONFIG_WHY_SIZE])
{
	const struct row *near = nearest(group, key, false);
	const struct row *elsewhere = near ? NULL : nearest(group, key, true);
	size_t len;
	if (near) {
		const char *known = gp_config_row_key(near, &len);
		snprintf(out, GP_CONFIG_WHY_SIZE, "did you mean %.*s?", (int)len, known);
	} else if (elsewhere) {
		snprintf(out, GP_CONFIG_WHY_SIZE, "there is %s", elsewhere->path);
	} else {
		allowed_list(group, out);
	}
}
