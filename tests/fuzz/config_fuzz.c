// SPDX-License-Identifier: BSD-3-Clause
//
// Any bytes as a configuration: an error with a text, or a struct that prints to a file which loads
// to the same struct, and a capacity proof that ends.
#include <gp_capacity.h>
#include <gp_config.h>

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void printed_loads_again(const struct gp_config *c)
{
	static struct gp_config again;
	char err[GP_CONFIG_ERROR_SIZE];
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	GP_ASSERT(f);
	gp_config_print(f, c);
	fclose(f);
	GP_ASSERT(gp_config_parse("printed", text, len, &again, err, sizeof(err)) == 0);
	GP_ASSERT(memcmp(c, &again, sizeof(again)) == 0);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct gp_config config;
	static struct gp_capacity capacity;
	char err[GP_CONFIG_ERROR_SIZE];
	int rc = gp_config_parse(
		"fuzz", size ? (const char *)data : "", size, &config, err, sizeof(err));
	if (rc != 0) {
		GP_ASSERT(err[0] != '\0');
		return 0;
	}
	printed_loads_again(&config);
	rc = gp_config_capacity(&config, &capacity);
	GP_ASSERT((rc == 0) == capacity.ok);
	return 0;
}
