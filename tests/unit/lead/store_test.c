// SPDX-License-Identifier: BSD-3-Clause
//
// Records as text, in files, at a witness that is spoken to by hand; the register of one node.
#include "rig.h"

#include <gp_lead_witness.h>

#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct rig rig;

static void setup(void)
{
	rig = (struct rig){.dir = "/tmp/gp-lead-XXXXXX"};
	cr_assert_not_null(mkdtemp(rig.dir));
	rig.base = event_base_new();
}

static void teardown(void)
{
	rig_fini(&rig);
}

TestSuite(store, .init = setup, .fini = teardown, .timeout = 60);

Test(store, a_record_is_one_text)
{
	struct gp_lead_record r = {.epoch = 7, .primary = 1, .backup = 0, .nonce = 0xabc}, again;
	char text[GP_LEAD_RECORD_SIZE];
	gp_lead_record_format(&r, text);
	cr_assert_str_eq(text,
		"{\"v\":1,\"epoch\":7,\"primary\":1,\"backup\":0,\"nonce\":\"0000000000000abc\"}");
	cr_assert(gp_lead_record_parse(text, strlen(text), &again));
	cr_assert(gp_lead_record_equal(&r, &again));
	r.backup = GP_LEAD_NODE_NONE;
	gp_lead_record_format(&r, text);
	cr_assert(gp_lead_record_parse(text, strlen(text), &again));
	cr_assert(gp_lead_record_equal(&r, &again));
	for (size_t len = 0; len < strlen(text); len++)
		cr_assert_not(gp_lead_record_parse(text, len, &again));
#define TEXT(epoch, primary, backup, nonce)                                                        \
	"{\"v\":1,\"epoch\":" epoch ",\"primary\":" primary backup ",\"nonce\":\"" nonce "\"}"
	static const char *const bad[] = {
		"{}",
		"[]",
		"nonsense",
		"{\"v\":2,\"epoch\":7,\"primary\":1,\"backup\":0,\"nonce\":\"0000000000000abc\"}",
		TEXT("0", "1", ",\"backup\":0", "0000000000000abc"),
		TEXT("7", "2", ",\"backup\":0", "0000000000000abc"),
		TEXT("7", "1", ",\"backup\":1", "0000000000000abc"),
		TEXT("7", "1", ",\"backup\":0", "abc"),
		TEXT("7", "1", ",\"backup\":0", "0000000000000ABC"),
		TEXT("7", "1", "", "0000000000000abc"),
		TEXT("7", "1", ",\"backup\":0,\"x\":1", "0000000000000abc"),
	};
#undef TEXT
	for (size_t i = 0; i < GP_ARRAY_SIZE(bad); i++)
		cr_assert_not(gp_lead_record_parse(bad[i], strlen(bad[i]), &again), "%s", bad[i]);
}

static int manual_create(const char *dir, struct gp_lead **out, struct gp_lead_error *err)
{
	const struct gp_lead_opts opts = {.kind = "manual", .key = "pair", .directory = dir};
	return gp_lead_create(rig.base, &opts, out, err);
}

Test(store, the_register_of_one_node)
{
	struct gp_lead_error err;
	struct gp_lead *second;
	cr_assert_eq(manual_create(rig.dir, &rig.lead, &err), 0, "%s", err.text);
	cr_assert_eq(manual_create(rig.dir, &second, &err), -EBUSY);
	cr_assert_eq(rig_get(&rig), GP_LEAD_CURRENT);
	cr_assert_not(rig.held.exists);
	struct gp_lead_held none = rig.held;
	struct gp_lead_record to = rig_next(&none, 5), other = rig_next(&none, 6);
	cr_assert_eq(rig_swap(&rig, &none, &to), GP_LEAD_COMMITTED);
	cr_assert_eq(rig_swap(&rig, &none, &other), GP_LEAD_REFUSED);
	cr_assert_eq(rig.held.record.nonce, 5u);
	gp_lead_destroy(rig.lead);
	cr_assert_eq(manual_create(rig.dir, &rig.lead, &err), 0);
	cr_assert_eq(rig_get(&rig), GP_LEAD_CURRENT);
	cr_assert_eq(rig.held.record.nonce, 5u);
	rig_run("printf x | dd of=%s/pair.json bs=1 seek=20 conv=notrunc status=none", rig.dir);
	cr_assert_eq(rig_get(&rig), GP_LEAD_AWAY, "damaged is not the same as none");
}

Test(store, options_are_checked)
{
	static const struct gp_lead_opts bad[] = {
		{.kind = "zookeeper", .key = "pair"},
		{.kind = "etcd", .key = "pair"},
		{.kind = "etcd", .key = "a/b", .endpoints_count = 1, .endpoints = {"127.0.0.1:1"}},
		{.kind = "etcd", .key = "pair", .endpoints_count = 1, .endpoints = {"localhost:1"}},
		{.kind = "etcd", .key = "pair", .endpoints_count = 1, .endpoints = {"127.0.0.1:0"}},
		{.kind = "etcd", .key = "pair", .endpoints_count = 1, .endpoints = {"::1:5"}},
		{.kind = "manual",
			.key = "pair",
			.endpoints_count = 1,
			.endpoints = {"127.0.0.1:1"}},
		{.kind = "manual", .key = "pair"},
	};
	struct gp_lead_error err;
	for (size_t i = 0; i < GP_ARRAY_SIZE(bad); i++) {
		err.text[0] = 0;
		cr_assert_eq(gp_lead_create(rig.base, &bad[i], &rig.lead, &err), -EINVAL, "%zu", i);
		cr_assert(err.text[0]);
	}
	rig.lead = NULL;
}

// ---- a witness in this process

static struct gp_lead_witness *witness_start(void)
{
	const struct gp_lead_witness_opts opts = {.listen = "127.0.0.1:0", .directory = rig.dir};
	struct gp_lead_witness *w;
	struct gp_lead_error err;
	cr_assert_eq(gp_lead_witness_create(rig.base, &opts, &w, &err), 0, "%s", err.text);
	return w;
}

// One question by hand and what comes back.
static void say(struct gp_lead_witness *w, const char *line, char reply[2048])
{
	struct sockaddr_in to = {.sin_family = AF_INET,
		.sin_port = htons(gp_lead_witness_port(w)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ssize_t n = -1;
	cr_assert_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	cr_assert_eq(write(fd, line, strlen(line)), (ssize_t)strlen(line));
	uint64_t end = rig_now_ms() + RIG_WAIT_MS;
	while (n < 0 && rig_now_ms() < end) {
		rig_turn(&rig);
		n = recv(fd, reply, 2047, MSG_DONTWAIT);
	}
	reply[GP_MAX(n, 0)] = 0;
	close(fd);
	rig_turn(&rig);
}

Test(store, a_witness_answers_lines)
{
	struct gp_lead_witness *w = witness_start();
	char reply[2048], line[2048];
	say(w, "{\"v\":1,\"op\":\"get\",\"key\":\"pair\"}\n", reply);
	cr_assert_str_eq(reply, "{\"ok\":true,\"version\":0,\"record\":null}\n");
	say(w,
		"{\"v\":1,\"op\":\"swap\",\"key\":\"pair\",\"version\":0,\"record\":{\"v\":1,"
		"\"epoch\":2,"
		"\"primary\":0,\"backup\":null,\"nonce\":\"0000000000000001\"}}\n",
		reply);
	cr_assert(strstr(reply, "\"committed\":true,\"version\":1,"), "%s", reply);
	say(w,
		"{\"v\":1,\"op\":\"swap\",\"key\":\"pair\",\"version\":1,\"record\":{\"v\":1,"
		"\"epoch\":2,"
		"\"primary\":0,\"backup\":null,\"nonce\":\"0000000000000002\"}}\n",
		reply);
	cr_assert(strstr(reply, "epoch does not grow"), "%s", reply);
	static const char *const bad[] = {"\n", "{}\n", "[1]\n", "nonsense\n",
		"{\"v\":2,\"op\":\"get\",\"key\":\"pair\"}\n",
		"{\"v\":1,\"op\":\"get\",\"key\":\"../x\"}\n",
		"{\"v\":1,\"op\":\"put\",\"key\":\"pair\"}\n",
		"{\"v\":1,\"op\":\"swap\",\"key\":\"pair\"}\n",
		"{\"v\":1,\"op\":\"swap\",\"key\":\"pair\",\"version\":-1,\"record\":{}}\n",
		"{\"v\":1,\"op\":\"get\",\"key\":\"pair\",\"more\":1}\n"};
	for (size_t i = 0; i < GP_ARRAY_SIZE(bad); i++) {
		say(w, bad[i], reply);
		cr_assert(strstr(reply, "\"ok\":false") && strchr(reply, '\n'), "%s: %s", bad[i],
			reply);
	}
	memset(line, 'x', sizeof(line));
	line[sizeof(line) - 1] = 0;
	say(w, line, reply);
	cr_assert_str_eq(reply, "", "a line without an end is cut off");
	cr_assert_eq(gp_lead_witness_records(w), 1u);
	gp_lead_witness_destroy(w);
}

Test(store, a_witness_keeps_so_many_records_and_connections)
{
	struct gp_lead_witness *w = witness_start();
	char reply[2048], line[512];
	for (uint32_t i = 0; i <= GP_LEAD_WITNESS_KEYS_MAX; i++) {
		snprintf(line, sizeof(line),
			"{\"v\":1,\"op\":\"swap\",\"key\":\"k%u\",\"version\":0,\"record\":{\"v\":"
			"1,"
			"\"epoch\":1,\"primary\":0,\"backup\":null,\"nonce\":\"0000000000000001\"}}"
			"\n",
			i);
		say(w, line, reply);
		cr_assert_eq(strstr(reply, "no more records") != NULL,
			i == GP_LEAD_WITNESS_KEYS_MAX, "%s", reply);
	}
	gp_lead_witness_destroy(w);
	w = witness_start();
	cr_assert_eq(gp_lead_witness_records(w), GP_LEAD_WITNESS_KEYS_MAX);
	gp_lead_witness_destroy(w);
}

Test(store, a_witness_with_a_damaged_record_does_not_start)
{
	struct gp_lead_witness *w = witness_start();
	const struct gp_lead_witness_opts opts = {.listen = "127.0.0.1:0", .directory = rig.dir};
	struct gp_lead_error err;
	char reply[2048];
	struct gp_lead_witness *second;
	cr_assert_eq(gp_lead_witness_create(rig.base, &opts, &second, &err), -EBUSY);
	say(w,
		"{\"v\":1,\"op\":\"swap\",\"key\":\"pair\",\"version\":0,\"record\":{\"v\":1,"
		"\"epoch\":2,"
		"\"primary\":0,\"backup\":null,\"nonce\":\"0000000000000001\"}}\n",
		reply);
	gp_lead_witness_destroy(w);
	rig_run("printf {\\\"version >%s/pair.json.new", rig.dir); // a write that a crash cut short
	gp_lead_witness_destroy(witness_start());
	for (uint32_t at = 0; at < 120; at += 7) {
		rig_run("cp %s/pair.json %s/saved && printf x | dd of=%s/pair.json bs=1 seek=%u "
			"conv=notrunc status=none",
			rig.dir, rig.dir, rig.dir, at);
		cr_assert_eq(
			gp_lead_witness_create(rig.base, &opts, &w, &err), -EBADMSG, "at %u", at);
		cr_assert(strstr(err.text, "damaged"), "%s", err.text);
		rig_run("mv %s/saved %s/pair.json", rig.dir, rig.dir);
	}
	rig_run("truncate -s 40 %s/pair.json", rig.dir);
	cr_assert_eq(gp_lead_witness_create(rig.base, &opts, &w, &err), -EBADMSG);
	rig_run("truncate -s 0 %s/pair.json", rig.dir);
	cr_assert_eq(gp_lead_witness_create(rig.base, &opts, &w, &err), -EBADMSG);
}
