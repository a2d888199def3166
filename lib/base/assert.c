// SPDX-License-Identifier: BSD-3-Clause
#include <gp_base.h>

#include <gp_log.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static struct {
	void (*hook)(void *arg);
	void *arg;
	atomic_flag ran;
} on_fail = {.ran = ATOMIC_FLAG_INIT};

void gp_assert_set_hook(void (*hook)(void *arg), void *arg)
{
	on_fail.hook = hook;
	on_fail.arg = arg;
}

static _Thread_local gp_assert_catch *catcher;

void gp_assert_set_catch(gp_assert_catch *catch)
{
	catcher = catch;
}

void gp_assert_fail(const char *cond, const char *file, int line)
{
	if (catcher) {
		char text[256];
		(void)snprintf(text, sizeof(text), "%s at %s:%d", cond, file, line);
		catcher(text);
	}
	gp_error("assertion failed: %s at %s:%d", cond, file, line);
	if (on_fail.hook && !atomic_flag_test_and_set(&on_fail.ran))
		on_fail.hook(on_fail.arg);
	abort();
}
