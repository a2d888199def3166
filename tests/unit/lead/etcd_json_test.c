// SPDX-License-Identifier: BSD-3-Clause
//
// Bodies of etcd's gateway: as a real one writes them, wrong ones, and damaged ones.
#include <lead_priv.h>

#include <criterion/criterion.h>

#include <stdlib.h>

// {"v":1,"epoch":3,"primary":0,"backup":1,"nonce":"0123456789abcdef"}
#define VALUE64                                                                                    \
	"eyJ2IjoxLCJlcG9jaCI6MywicHJpbWFyeSI6MCwiYmFja3VwIjoxLCJub25jZSI6IjAxMjM0NTY3ODlhYmNkZWYi" \
	"fQ=="
#define HEADER                                                                                     \
	"\"header\":{\"cluster_id\":\"14841639068965178418\",\"member_id\":"                       \
	"\"10276657743932975437\""                                                                 \
	",\"revision\":\"12\",\"raft_term\":\"2\"}"
#define KVS                                                                                        \
	"\"kvs\":[{\"key\":\"Lw==\",\"create_revision\":\"4\",\"mod_revision\":\"9\",\"version\":" \
	"\"2\","                                                                                   \
	"\"value\":\"" VALUE64 "\"}],\"count\":\"1\""
#define RANGE "{" HEADER "," KVS "}"
#define NOT   "{" HEADER ",\"responses\":[{\"response_range\":{" HEADER "," KVS "}}]}"
#define DONE                                                                                       \
	"{" HEADER                                                                                 \
	",\"succeeded\":true,\"responses\":[{\"response_put\":{\"header\":{\"revision\":"          \
	"\"12\"}}}]}"

static const struct gp_lead_record record = {
	.epoch = 3, .primary = 0, .backup = 1, .nonce = 0x0123456789abcdef};
static char why[GP_LEAD_TEXT_SIZE];

Test(etcd_json, what_etcd_says)
{
	struct gp_lead_held held;
	bool succeeded;
	cr_assert(etcd_range_parse(RANGE, strlen(RANGE), &held, why), "%s", why);
	cr_assert(held.exists && held.version == 9);
	cr_assert(gp_lead_record_equal(&held.record, &record));
	static const char none[] = "{" HEADER "}";
	cr_assert(etcd_range_parse(none, strlen(none), &held, why), "%s", why);
	cr_assert(!held.exists && held.version == 0);
	cr_assert(etcd_txn_parse(NOT, strlen(NOT), &record, &succeeded, &held, why), "%s", why);
	cr_assert(!succeeded && held.exists && held.version == 9);
	cr_assert(etcd_txn_parse(DONE, strlen(DONE), &record, &succeeded, &held, why), "%s", why);
	cr_assert(succeeded && held.version == 12);
	cr_assert(gp_lead_record_equal(&held.record, &record));
}

Test(etcd_json, what_is_no_answer)
{
	static const char *const bad[] = {"", "{}", "[]", "nonsense", "{\"kvs\":[]}",
		"{\"error\":\"etcdserver: request timed out\",\"code\":14}",
		"{" HEADER ",\"kvs\":[]}", "{" HEADER ",\"kvs\":[{\"mod_revision\":\"9\"}]}",
		"{" HEADER ",\"kvs\":[{\"mod_revision\":\"-9\",\"value\":\"" VALUE64 "\"}]}",
		"{" HEADER ",\"kvs\":[{\"mod_revision\":\"9\",\"value\":\"e30=\"}]}",
		"{" HEADER ",\"kvs\":[{\"mod_revision\":\"9\",\"value\":\"###\"}]}",
		"{" HEADER
		",\"kvs\":[{\"mod_revision\":\"99999999999999999999\",\"value\":\"" VALUE64
		"\"}]}"};
	struct gp_lead_held held;
	bool succeeded;
	for (size_t i = 0; i < GP_ARRAY_SIZE(bad); i++) {
		why[0] = 0;
		cr_assert_not(etcd_range_parse(bad[i], strlen(bad[i]), &held, why), "%s", bad[i]);
		cr_assert(why[0]);
		cr_assert_not(
			etcd_txn_parse(bad[i], strlen(bad[i]), &record, &succeeded, &held, why),
			"%s", bad[i]);
	}
}

static void in_limits(const struct gp_lead_held *held)
{
	cr_assert(held->exists || held->version == 0);
	if (!held->exists)
		return;
	cr_assert(held->version > 0 && held->record.epoch > 0 && held->record.primary <= 1);
	cr_assert(held->record.backup == GP_LEAD_NODE_NONE ||
		  held->record.backup == 1 - held->record.primary);
}

Test(etcd_json, damaged_bodies_are_refused_or_whole)
{
	static const char *const bodies[] = {RANGE, NOT, DONE};
	unsigned short seed[3] = {1, 2, 3};
	struct gp_lead_held held;
	bool succeeded;
	for (uint32_t n = 0; n < 200000; n++) {
		char text[1024];
		const char *body = bodies[n % 3];
		size_t len = strlen(body);
		memcpy(text, body, len);
		for (long k = nrand48(seed) % 3; k >= 0; k--)
			text[nrand48(seed) % (long)len] = "\"{}[],:0a9-\0 "[nrand48(seed) % 13];
		len -= nrand48(seed) % 4 == 0 ? (size_t)nrand48(seed) % len : 0;
		// Of its exact size, so that a read past the end is found.
		char *exact = malloc(len);
		memcpy(exact, text, len);
		if (etcd_range_parse(exact, len, &held, why))
			in_limits(&held);
		if (etcd_txn_parse(exact, len, &record, &succeeded, &held, why))
			in_limits(&held);
		free(exact);
	}
}

Test(etcd_json, what_is_asked)
{
	const struct lead_question q = {.swap = true,
		.from = {.exists = true, .version = 9, .record = record},
		.to = record};
	char *body = etcd_txn_body("pair", &q);
	json_t *o = json_loads(body, 0, NULL);
	json_t *compare = json_array_get(json_object_get(o, "compare"), 0);
	json_t *put =
		json_object_get(json_array_get(json_object_get(o, "success"), 0), "request_put");
	cr_assert_str_eq(json_string_value(json_object_get(compare, "target")), "MOD");
	cr_assert_str_eq(json_string_value(json_object_get(compare, "mod_revision")), "9");
	cr_assert_str_eq(json_string_value(json_object_get(put, "value")), VALUE64);
	cr_assert_str_eq(json_string_value(json_object_get(put, "key")),
		"L2dyYWRwbGFuZS9sZWFkZXJzaGlwL3BhaXI=");
	json_decref(o);
	free(body);
	body = etcd_range_body("pair");
	cr_assert_str_eq(body, "{\"key\":\"L2dyYWRwbGFuZS9sZWFkZXJzaGlwL3BhaXI=\"}");
	free(body);
}
