// SPDX-License-Identifier: BSD-3-Clause
//
// The client's thread notices between calls that the server is gone: whichever call comes next has
// the session again, as if it had noticed itself.
#include "client_priv.h"
#include "server.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define ELEMS	 20
#define LONG_MS	 10000
#define POLLS_MS 20000

static const struct gp_client_tensor model = {.name = "w", .dims_count = 1, .dims = {ELEMS}};
static struct gp_client_error err;
static float grad[ELEMS], params[ELEMS];
static struct server *first, *next;

static void good(int rc)
{
	cr_assert_eq(rc, 0, "%d: %s", rc, err.text);
}

// One step is done.
static struct gp_client *begin(void)
{
	char both[160];
	float *p = params;
	first = server_new();
	next = server_successor(first, ELEMS, 1, -1); // what the first one has made of it
	server_start(first);
	server_start(next);
	(void)snprintf(both, sizeof(both), "%s,%s", first->address, next->address);
	const struct gp_client_opts o = {.server = both,
		.job = "job",
		.world = 1,
		.path_mtu = 1500,
		.join_timeout_ms = LONG_MS,
		.reconnect_ms = LONG_MS};
	struct gp_client *c;
	memset(params, 0, sizeof(params));
	for (uint32_t i = 0; i < ELEMS; i++)
		grad[i] = 1;
	good(gp_client_create(&c, &o, &err));
	good(gp_client_register(c, &model, 1, LONG_MS, &err));
	good(gp_client_init_params(c, &p, LONG_MS, &err));
	good(gp_client_push_pull(c, 0, grad, 1, params, &err));
	good(gp_client_wait(c, LONG_MS, &err));
	good(gp_client_background(c, &err));
	return c;
}

static bool has_noticed(struct gp_client *c)
{
	struct client_background *held CLIENT_LEAVES = client_enter(c);
	return gp_ccore_error(c->core) != NULL;
}

static void lose(struct gp_client *c)
{
	server_free(first);
	for (uint32_t i = 0; !has_noticed(c); i++) {
		cr_assert_lt(i, POLLS_MS, "the client's thread has not noticed");
		client_pause(NS_PER_MS);
	}
}

static void end(struct gp_client *c)
{
	struct gp_client_stats st;
	gp_client_stats(c, &st);
	cr_assert(st.reconnects == 1 && st.takeovers == 1);
	gp_client_destroy(c);
	server_free(next);
}

static void second_step_ends(struct gp_client *c)
{
	good(gp_client_wait(c, LONG_MS, &err));
	cr_assert_eq(params[3], -2);
	cr_assert_eq(gp_client_step(c), 3);
}

Test(again_background, a_push_has_it_again, .timeout = 60)
{
	struct gp_client *c = begin();
	lose(c);
	good(gp_client_push_pull(c, 0, grad, 1, params, &err));
	second_step_ends(c);
	end(c);
}

Test(again_background, a_wait_has_it_again, .timeout = 60)
{
	struct gp_client *c = begin();
	first->deaf = true;
	good(gp_client_push_pull(c, 0, grad, 1, params, &err));
	lose(c);
	second_step_ends(c);
	end(c);
}

Test(again_background, a_wait_for_a_tensor_has_it_again, .timeout = 60)
{
	struct gp_client *c = begin();
	first->deaf = true;
	good(gp_client_push_pull(c, 0, grad, 1, params, &err));
	lose(c);
	good(gp_client_wait_tensor(c, 0, LONG_MS, &err));
	second_step_ends(c);
	end(c);
}

Test(again_background, a_pull_has_it_again, .timeout = 60)
{
	struct gp_client *c = begin();
	float *p = params;
	uint32_t generation;
	lose(c);
	good(gp_client_pull_all(c, &p, &generation, LONG_MS, &err));
	cr_assert_eq(generation, 1);
	end(c);
}

Test(again_background, a_barrier_has_it_again, .timeout = 60)
{
	struct gp_client *c = begin();
	lose(c);
	good(gp_client_barrier(c, 5, LONG_MS, &err));
	end(c);
}

Test(again_background, what_feedback_keeps_can_be_read, .timeout = 60)
{
	struct gp_client *c = begin();
	lose(c);
	good(gp_client_residual_get(c, 0, params, &err));
	good(gp_client_residual_put(c, 0, params, &err));
	end(c);
}
