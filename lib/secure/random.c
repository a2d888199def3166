// SPDX-License-Identifier: BSD-3-Clause
#include <gp_secure.h>

#include <sodium.h>

void gp_secure_random(void *buf, size_t size)
{
	GP_ASSERT(buf || size == 0);
	// Repeated calls are answered at once; the first opens the system's generator.
	int rc = sodium_init();
	GP_ASSERT(rc >= 0);
	if (size > 0)
		randombytes_buf(buf, size);
}

void gp_cookie_key_init(struct gp_cookie_key *k)
{
	gp_secure_random(k->bytes, sizeof(k->bytes));
}
