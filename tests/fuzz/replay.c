// SPDX-License-Identifier: BSD-3-Clause
//
// Gives every file of the folders named on the command line to a fuzz target once: seeds and past
// findings stay tested in builds without libFuzzer. Each input lies in a block of its exact size,
// so that the address sanitizer sees a read one byte too far.
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PATH_SIZE      4096
#define INPUT_SIZE_MAX (1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int file_replay(const char *path)
{
	FILE *f = fopen(path, "rb");
	struct stat st;
	if (!f || fstat(fileno(f), &st) || st.st_size > INPUT_SIZE_MAX) {
		fprintf(stderr, "%s: %s\n", path,
			f ? "cannot be read or is too large" : strerror(errno));
		if (f)
			fclose(f);
		return -EIO;
	}
	const size_t size = (size_t)st.st_size;
	uint8_t *data = malloc(size);
	int rc = -EIO;
	if ((data || size == 0) && (size == 0 || fread(data, 1, size, f) == size)) {
		LLVMFuzzerTestOneInput(data, size);
		rc = 0;
	}
	free(data);
	fclose(f);
	return rc;
}

// Files replayed, or -errno.
static int folder_replay(const char *folder)
{
	DIR *dir = opendir(folder);
	if (!dir) {
		fprintf(stderr, "%s: %s\n", folder, strerror(errno));
		return -errno;
	}
	int count = 0, rc = 0;
	for (struct dirent *e; rc == 0 && (e = readdir(dir)) != NULL;) {
		char path[PATH_SIZE];
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
		rc = file_replay(path);
		count++;
	}
	closedir(dir);
	return rc ? rc : count;
}

int main(int argc, char **argv)
{
	int total = 0;
	for (int i = 1; i < argc; i++) {
		const int count = folder_replay(argv[i]);
		if (count < 0)
			return 1;
		total += count;
	}
	printf("replayed %d inputs\n", total);
	return total > 0 ? 0 : 1; // an empty corpus tests nothing
}
