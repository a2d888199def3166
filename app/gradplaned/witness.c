// SPDX-License-Identifier: BSD-3-Clause
//
// gradplaned --witness: keeps the leadership records of pairs at a third place. No DPDK, no jobs.
#include "gradplaned.h"

#include <gp_lead_witness.h>
#include <gp_log.h>

#include <event2/event.h>
#include <stdio.h>

static void on_stop(evutil_socket_t number, short what, void *arg)
{
	(void)number, (void)what;
	event_base_loopbreak(arg);
}

static int witness_serve(struct event_base *base, const struct gp_config *c)
{
	const struct gp_config_witness *w = &c->witness;
	bool v6 = strchr(w->listen.host, ':') != NULL;
	char listen[64];
	struct gp_lead_error err;
	struct gp_lead_witness *witness;
	const struct gp_lead_tls tls = {.cert = w->tls.cert,
		.key = w->tls.key,
		.ca = w->tls.ca,
		.peer_name = w->tls.peer_name};
	const struct gp_lead_witness_opts opts = {
		.listen = listen, .directory = w->directory, .tls = w->tls.cert[0] ? &tls : NULL};
	snprintf(listen, sizeof(listen), v6 ? "[%s]:%u" : "%s:%u", w->listen.host, w->listen.port);
	machine_directory_make(w->directory);
	if (gp_lead_witness_create(base, &opts, &witness, &err) != 0) {
		gp_error("witness: %s", err.text);
		return EXIT_FAILED;
	}
	gp_info("gradplane %s: witness %s at %s%s, %u records in %s", GRADPLANED_VERSION,
		c->node.name, listen, opts.tls ? " over TLS" : "", gp_lead_witness_records(witness),
		w->directory);
	if (!opts.tls)
		gp_warn("insecure: plain TCP; who reaches %s can change who leads", listen);
	gp_info("ready");
	int rc = event_base_dispatch(base);
	gp_lead_witness_destroy(witness);
	gp_info("stopped");
	return rc < 0 ? EXIT_FAILED : EXIT_OK;
}

int witness_run(const struct gp_config *c)
{
	struct event_base *base = event_base_new();
	struct event *term = base ? evsignal_new(base, SIGTERM, on_stop, base) : NULL;
	struct event *intr = base ? evsignal_new(base, SIGINT, on_stop, base) : NULL;
	int status = EXIT_FAILED;
	signal(SIGPIPE, SIG_IGN);
	if (term && intr && event_add(term, NULL) == 0 && event_add(intr, NULL) == 0)
		status = witness_serve(base, c);
	if (term)
		event_free(term);
	if (intr)
		event_free(intr);
	if (base)
		event_base_free(base);
	return status;
}
