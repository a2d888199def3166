// SPDX-License-Identifier: BSD-3-Clause
#include "lead_priv.h"

#include <gp_lead_witness.h>
#include <gp_log.h>

#include <dirent.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define IDLE_S 5

struct entry {
	char key[GP_LEAD_KEY_SIZE];
	struct gp_lead_held held;
};

struct peer {
	struct gp_lead_witness *w;
	struct bufferevent *bev; // NULL: free
};

struct gp_lead_witness {
	struct event_base *base;
	struct evconnlistener *listener;
	struct gp_tls *tls;
	int dir;
	bool broken; // the disk may hold another record than the table
	struct gp_lead_error err;
	uint32_t entries_count;
	struct entry entries[GP_LEAD_WITNESS_KEYS_MAX];
	struct peer peers[GP_LEAD_WITNESS_PEERS_MAX];
};

static struct entry *entry_find(struct gp_lead_witness *w, const char *key)
{
	for (uint32_t i = 0; i < w->entries_count; i++)
		if (strcmp(w->entries[i].key, key) == 0)
			return &w->entries[i];
	return NULL;
}

// NULL: there are too many.
static struct entry *entry_make(struct gp_lead_witness *w, const char *key)
{
	struct entry *e = entry_find(w, key);
	if (e || w->entries_count == GP_LEAD_WITNESS_KEYS_MAX)
		return e;
	e = &w->entries[w->entries_count++];
	*e = (struct entry){0};
	strcpy(e->key, key);
	return e;
}

// ---- a question

struct ask {
	const char *key;
	bool swap;
	json_int_t version; // swap
	struct gp_lead_record record;
};

static const char *ask_take(json_t *o, struct ask *a)
{
	json_int_t v = 0;
	const char *op = "";
	json_t *record = NULL;
	*a = (struct ask){0};
	if (json_unpack_ex(o, NULL, JSON_STRICT, "{s:I, s:s, s:s, s?I, s?o}", "v", &v, "op", &op,
		    "key", &a->key, "version", &a->version, "record", &record) != 0)
		return "not a question to a witness";
	if (v != 1)
		return "another version of the witness protocol: use one release everywhere";
	if (!gp_lead_key_valid(a->key))
		return "the key is not valid";
	a->swap = strcmp(op, "swap") == 0;
	if (!a->swap)
		return strcmp(op, "get") == 0 ? NULL : "op is neither get nor swap";
	return record && a->version >= 0 && lead_record_take(record, &a->record)
		       ? NULL
		       : "swap without a version or a record";
}

// NULL, or why it cannot be answered. *committed: the record stands and is on the disk.
static const char *swap_try(
	struct gp_lead_witness *w, const struct ask *a, struct entry *e, bool *committed)
{
	*committed = e->held.exists && e->held.record.nonce == a->record.nonce;
	if (*committed || e->held.version != (uint64_t)a->version)
		return NULL;
	if (e->held.exists && a->record.epoch <= e->held.record.epoch)
		return "the epoch does not grow";
	const struct gp_lead_held held = {
		.exists = true, .version = e->held.version + 1, .record = a->record};
	int rc = lead_file_store(w->dir, e->key, &held, &w->err);
	if (rc != 0) {
		gp_error("%s", w->err.text);
		w->broken = rc == -ESTALE;
		return w->err.text;
	}
	e->held = held;
	*committed = true;
	gp_info("%s: epoch %u, primary %u, backup %s", e->key, a->record.epoch, a->record.primary,
		a->record.backup == GP_LEAD_NODE_NONE ? "none"
		: a->record.backup		      ? "1"
						      : "0");
	return NULL;
}

static const char *ask_answer(
	struct gp_lead_witness *w, const struct ask *a, struct gp_lead_held *held, bool *committed)
{
	struct entry *e = entry_find(w, a->key);
	if (w->broken)
		return "the disk of the witness failed: restart it";
	*held = e ? e->held : (struct gp_lead_held){0};
	if (!a->swap)
		return NULL;
	e = entry_make(w, a->key);
	if (!e)
		return "the witness keeps no more records";
	const char *why = swap_try(w, a, e, committed);
	*held = e->held;
	return why;
}

static void reply_put(
	struct evbuffer *out, const struct ask *a, const struct gp_lead_held *held, bool committed)
{
	char record[GP_LEAD_RECORD_SIZE] = "null";
	if (held->exists)
		gp_lead_record_format(&held->record, record);
	(void)evbuffer_add_printf(out, "{\"ok\":true,%s\"version\":%llu,\"record\":%s}\n",
		!a->swap    ? ""
		: committed ? "\"committed\":true,"
			    : "\"committed\":false,",
		(unsigned long long)held->version, record);
}

static void line_answer(
	struct gp_lead_witness *w, const char *line, size_t len, struct evbuffer *out)
{
	struct gp_lead_held held = {0};
	struct ask a;
	bool committed = false;
	json_t *o = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	const char *why = ask_take(o, &a);
	if (!why)
		why = ask_answer(w, &a, &held, &committed);
	if (why) {
		json_t *error = json_pack("{s:b, s:s}", "ok", 0, "error", why);
		char *text = error ? json_dumps(error, JSON_COMPACT) : NULL;
		(void)evbuffer_add_printf(out, "%s\n", text ? text : "{\"ok\":false}");
		free(text);
		json_decref(error);
	} else {
		reply_put(out, &a, &held, committed);
	}
	json_decref(o);
}

// ---- connections

static void peer_close(struct peer *p)
{
	bufferevent_free(p->bev);
	p->bev = NULL;
}

static void peer_read(struct bufferevent *bev, void *arg)
{
	struct peer *p = arg;
	struct evbuffer *in = bufferevent_get_input(bev);
	size_t len;
	char *line;
	while ((line = evbuffer_readln(in, &len, EVBUFFER_EOL_LF)) != NULL) {
		line_answer(p->w, line, len, bufferevent_get_output(bev));
		free(line);
	}
	if (evbuffer_get_length(in) > WITNESS_LINE_MAX)
		peer_close(p);
}

static void peer_event(struct bufferevent *bev, short what, void *arg)
{
	char why[GP_TLS_TEXT_SIZE];
	if (what & BEV_EVENT_CONNECTED)
		return;
	if (gp_tls_reason(bev, why))
		gp_warn("witness: a connection: %s", why);
	peer_close(arg);
}

static void witness_accept(struct evconnlistener *listener, evutil_socket_t fd,
	struct sockaddr *addr, int addr_len, void *arg)
{
	struct gp_lead_witness *w = arg;
	const struct timeval idle = {.tv_sec = IDLE_S};
	struct peer *p = NULL;
	(void)listener, (void)addr, (void)addr_len;
	for (uint32_t i = 0; !p && i < GP_LEAD_WITNESS_PEERS_MAX; i++)
		if (!w->peers[i].bev)
			p = &w->peers[i];
	struct bufferevent *bev = p ? lead_link_open(w->base, w->tls, fd, NULL) : NULL;
	if (!bev) {
		gp_warn("witness: a connection too many was closed");
		close(fd);
		return;
	}
	*p = (struct peer){.w = w, .bev = bev};
	bufferevent_setcb(bev, peer_read, NULL, peer_event, p);
	bufferevent_setwatermark(bev, EV_READ, 0, 4 * WITNESS_LINE_MAX);
	bufferevent_set_timeouts(bev, &idle, &idle);
	if (bufferevent_enable(bev, EV_READ | EV_WRITE) != 0)
		peer_close(p);
}

// ---- start and end

// KEY of `KEY.json`; false for other files.
static bool key_of(const char *name, char key[GP_LEAD_KEY_SIZE])
{
	const char *suffix = strstr(name, ".json");
	if (!suffix || suffix[5] || (size_t)(suffix - name) >= GP_LEAD_KEY_SIZE)
		return false;
	snprintf(key, GP_LEAD_KEY_SIZE, "%.*s", (int)(suffix - name), name);
	return gp_lead_key_valid(key);
}

static int records_load(struct gp_lead_witness *w, const char *path, struct gp_lead_error *err)
{
	DIR *d = opendir(path);
	const struct dirent *file;
	int rc = 0;
	if (!d)
		return lead_fail(err, -errno, "%s: %s", path, strerror(errno));
	while (rc == 0 && (file = readdir(d)) != NULL) {
		char key[GP_LEAD_KEY_SIZE];
		if (!key_of(file->d_name, key))
			continue;
		struct entry *e = entry_make(w, key);
		rc = e ? lead_file_load(w->dir, key, &e->held, err)
		       : lead_fail(err, -ENOSPC, "%s: more than %d records", path,
				 GP_LEAD_WITNESS_KEYS_MAX);
	}
	closedir(d);
	return rc;
}

static int witness_listen(
	struct gp_lead_witness *w, const struct lead_address *a, struct gp_lead_error *err)
{
	w->listener = evconnlistener_new_bind(w->base, witness_accept, w,
		LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE | LEV_OPT_CLOSE_ON_EXEC, 16,
		(const struct sockaddr *)(const void *)&a->addr, a->len);
	int e = errno;
	if (w->listener)
		return 0;
	return lead_fail(
		err, e > 0 ? -e : -EIO, "%s: cannot be listened on: %s", a->text, strerror(e));
}

int gp_lead_witness_create(struct event_base *base, const struct gp_lead_witness_opts *opts,
	struct gp_lead_witness **out, struct gp_lead_error *err)
{
	struct lead_address a;
	int rc = lead_address_parse(opts->listen, false, &a, err);
	if (rc != 0)
		return rc;
	struct gp_lead_witness *w = calloc(1, sizeof(*w));
	if (!w)
		return lead_fail(err, -ENOMEM, "out of memory for the witness");
	w->base = base;
	rc = lead_dir_open(opts->directory, &w->dir, err);
	if (rc != 0) {
		free(w);
		return rc;
	}
	rc = records_load(w, opts->directory, err);
	if (rc == 0)
		rc = lead_tls_create(opts->tls, GP_TLS_SERVER, &w->tls, err);
	if (rc == 0)
		rc = witness_listen(w, &a, err);
	if (rc != 0) {
		gp_tls_destroy(w->tls);
		close(w->dir);
		free(w);
		return rc;
	}
	*out = w;
	return 0;
}

void gp_lead_witness_destroy(struct gp_lead_witness *w)
{
	if (!w)
		return;
	for (uint32_t i = 0; i < GP_LEAD_WITNESS_PEERS_MAX; i++)
		if (w->peers[i].bev)
			peer_close(&w->peers[i]);
	evconnlistener_free(w->listener);
	gp_tls_destroy(w->tls);
	close(w->dir);
	free(w);
}

uint16_t gp_lead_witness_port(const struct gp_lead_witness *w)
{
	struct sockaddr_storage addr = {0};
	socklen_t len = sizeof(addr);
	if (getsockname(evconnlistener_get_fd(w->listener), (struct sockaddr *)(void *)&addr,
		    &len) != 0)
		return 0;
	if (addr.ss_family == AF_INET6)
		return ntohs(((const struct sockaddr_in6 *)(const void *)&addr)->sin6_port);
	return ntohs(((const struct sockaddr_in *)(const void *)&addr)->sin_port);
}

uint32_t gp_lead_witness_records(const struct gp_lead_witness *w)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < w->entries_count; i++)
		n += w->entries[i].held.exists;
	return n;
}
