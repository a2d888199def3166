// SPDX-License-Identifier: BSD-3-Clause
//
// Finding a carrier by its name.
#include "gp_carrier.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#define NAME_SIZE 16
#define LIBRARY	  "libgradplane_dpdk.so.0"
// Of a folder with our libraries, before where the system looks: for a build that is not installed.
#define FOLDER_VARIABLE "GRADPLANE_LIBRARY_DIR"

// Never closed: threads of DPDK outlive a client.
static void *library_load(void)
{
	char path[PATH_MAX];
	const char *folder = secure_getenv(FOLDER_VARIABLE);
	void *library = NULL;
	if (folder && snprintf(path, sizeof(path), "%s/%s", folder, LIBRARY) < (int)sizeof(path))
		library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	return library ? library : dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
}

static const struct gp_carrier_ops *library_find(const char *name, char error[GP_CARRIER_TEXT_SIZE])
{
	void *library = library_load();
	if (!library) {
		(void)snprintf(error, GP_CARRIER_TEXT_SIZE,
			"transport %s needs %s, which cannot be loaded: %.150s", name, LIBRARY,
			dlerror());
		errno = ENOTSUP;
		return NULL;
	}
	gp_carrier_list_fn *list;
	*(void **)&list = dlsym(library, GP_CARRIER_LIST); // POSIX: dlsym, rationale
	uint32_t abi = 0;
	const struct gp_carrier_ops *ops = list ? list(name, &abi) : NULL;
	if (abi != GP_CARRIER_ABI) {
		(void)snprintf(error, GP_CARRIER_TEXT_SIZE,
			"transport %s: %s is of another version of gradplane", name, LIBRARY);
		errno = ENOTSUP;
		return NULL;
	}
	return ops;
}

static bool is_ours(const char *name)
{
	return strcmp(name, "memif") == 0 || strcmp(name, "dpdk") == 0;
}

const struct gp_carrier_ops *gp_carrier_find(
	const char *text, char name[NAME_SIZE], const char **args, char error[GP_CARRIER_TEXT_SIZE])
{
	text = text && *text ? text : "udp";
	size_t len = strcspn(text, ":");
	(void)snprintf(name, NAME_SIZE, "%.*s", len < NAME_SIZE ? (int)len : 0, text);
	*args = text + len + (text[len] == ':');
	if (strcmp(name, "udp") == 0)
		return &gp_carrier_udp;
	if (is_ours(name))
		return library_find(name, error);
	(void)snprintf(error, GP_CARRIER_TEXT_SIZE,
		"transport: '%.100s' does not begin with udp, memif: or dpdk:", text);
	errno = EINVAL;
	return NULL;
}
