// SPDX-License-Identifier: BSD-3-Clause
//
// Writes docs/configuration.md to standard output, or compares it with the file named on the
// command line: exit 0 when they are the same, 1 with what to run when they are not.
#include <gp_config.h>

#include <stdlib.h>

#define DOC_SIZE_MAX (1u << 20)

static int doc_compare(const char *path)
{
	char *want = NULL, *have = calloc(1, DOC_SIZE_MAX);
	size_t want_len = 0, have_len = 0;
	FILE *f = open_memstream(&want, &want_len);
	GP_ASSERT(f && have);
	gp_config_doc(f);
	fclose(f);
	f = fopen(path, "rb");
	if (f) {
		have_len = fread(have, 1, DOC_SIZE_MAX, f);
		fclose(f);
	}
	bool same = have_len == want_len && memcmp(have, want, want_len) == 0;
	if (!same)
		fprintf(stderr, "%s is not what the schema says; run configuration_doc > %s\n",
			path, path);
	free(want);
	free(have);
	return same ? 0 : 1;
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return doc_compare(argv[1]);
	gp_config_doc(stdout);
	return ferror(stdout) ? 1 : 0;
}
