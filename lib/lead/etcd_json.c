// SPDX-License-Identifier: BSD-3-Clause
//
// Bodies of etcd's JSON gateway: keys and values in base64, 64-bit integers as strings.
#include "lead_priv.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#define VALUE_SIZE_MAX 512

static void base64_put(const char *text, char out[2 * VALUE_SIZE_MAX])
{
	size_t len = strlen(text);
	GP_ASSERT(len < VALUE_SIZE_MAX);
	EVP_EncodeBlock((unsigned char *)out, (const unsigned char *)text, (int)len);
}

// The text behind it, or false. Not for binary values: ours is JSON.
static bool base64_take(const char *text, char out[VALUE_SIZE_MAX], size_t *len)
{
	size_t n = strlen(text), pad = 0;
	if (n == 0 || n % 4 != 0 || n / 4 * 3 >= VALUE_SIZE_MAX)
		return false;
	while (pad < 2 && text[n - 1 - pad] == '=')
		pad++;
	int got = EVP_DecodeBlock((unsigned char *)out, (const unsigned char *)text, (int)n);
	*len = got < 0 ? 0 : (size_t)got - pad;
	return got >= 0;
}

static void key_put(const char *key, char out[2 * VALUE_SIZE_MAX])
{
	char text[sizeof(ETCD_KEY_PREFIX) + GP_LEAD_KEY_SIZE];
	snprintf(text, sizeof(text), ETCD_KEY_PREFIX "%s", key);
	base64_put(text, out);
}

char *etcd_range_body(const char *key)
{
	char key64[2 * VALUE_SIZE_MAX];
	char *body = NULL;
	key_put(key, key64);
	return asprintf(&body, "{\"key\":\"%s\"}", key64) < 0 ? NULL : body;
}

char *etcd_txn_body(const char *key, const struct lead_question *q)
{
	char key64[2 * VALUE_SIZE_MAX], value64[2 * VALUE_SIZE_MAX], text[GP_LEAD_RECORD_SIZE];
	char *body = NULL;
	unsigned long long version = q->from.exists ? q->from.version : 0; // 0: there is no key
	key_put(key, key64);
	gp_lead_record_format(&q->to, text);
	base64_put(text, value64);
	int n = asprintf(&body,
		"{\"compare\":[{\"key\":\"%s\",\"target\":\"MOD\",\"result\":\"EQUAL\","
		"\"mod_revision\":\"%llu\"}],"
		"\"success\":[{\"request_put\":{\"key\":\"%s\",\"value\":\"%s\"}}],"
		"\"failure\":[{\"request_range\":{\"key\":\"%s\"}}]}",
		key64, version, key64, value64, key64);
	return n < 0 ? NULL : body;
}

static bool bad(char why[GP_LEAD_TEXT_SIZE], const char *text)
{
	snprintf(why, GP_LEAD_TEXT_SIZE, "%s", text);
	return false;
}

// "12", or 12 as other gateways write it.
static bool int64_take(json_t *v, uint64_t *out)
{
	char *end;
	if (json_is_integer(v)) {
		*out = (uint64_t)json_integer_value(v);
		return json_integer_value(v) > 0;
	}
	const char *text = json_string_value(v);
	size_t len = text ? strlen(text) : 0;
	if (len < 1 || len > 19 || strspn(text, "0123456789") != len)
		return false;
	*out = strtoull(text, &end, 10);
	return *out > 0;
}

// {"kvs":[{"mod_revision":"5","value":"..."}]}; without kvs there is no such key.
static bool range_take(json_t *range, struct gp_lead_held *out, char why[GP_LEAD_TEXT_SIZE])
{
	json_t *kvs = json_object_get(range, "kvs");
	char value[VALUE_SIZE_MAX];
	size_t len;
	*out = (struct gp_lead_held){0};
	if (!json_is_object(range))
		return bad(why, "the answer is not that of an etcd gateway");
	if (!kvs)
		return true;
	json_t *kv = json_array_get(kvs, 0);
	const char *value64 = json_string_value(json_object_get(kv, "value"));
	if (json_array_size(kvs) != 1 ||
		!int64_take(json_object_get(kv, "mod_revision"), &out->version))
		return bad(why, "the answer has no revision of the key");
	if (!value64 || !base64_take(value64, value, &len) ||
		!gp_lead_record_parse(value, len, &out->record))
		return bad(
			why, "the key holds no leadership record: is it used by something else?");
	out->exists = true;
	return true;
}

static json_t *body_take(const char *body, size_t len, char why[GP_LEAD_TEXT_SIZE])
{
	json_t *root = json_loadb(body, len, 0, NULL);
	if (!json_is_object(root)) {
		json_decref(root);
		(void)bad(why, "the answer is not that of an etcd gateway");
		return NULL;
	}
	return root;
}

bool etcd_range_parse(
	const char *body, size_t len, struct gp_lead_held *out, char why[GP_LEAD_TEXT_SIZE])
{
	json_t *root = body_take(body, len, why);
	// Every answer has a header: what else says {} is not etcd, and must not mean "no record".
	bool ok = root && (json_is_object(json_object_get(root, "header"))
					  ? range_take(root, out, why)
					  : bad(why, "the answer is not that of an etcd gateway"));
	json_decref(root);
	return ok;
}

static bool txn_take(json_t *root, const struct gp_lead_record *to, bool *succeeded,
	struct gp_lead_held *out, char why[GP_LEAD_TEXT_SIZE])
{
	json_t *header = json_object_get(root, "header");
	json_t *response = json_array_get(json_object_get(root, "responses"), 0);
	*succeeded = json_is_true(json_object_get(root, "succeeded"));
	if (!json_is_object(header) || !json_is_object(response))
		return bad(why, "the answer is not that of an etcd gateway");
	if (!*succeeded)
		return range_take(json_object_get(response, "response_range"), out, why);
	*out = (struct gp_lead_held){.exists = true, .record = *to};
	if (!json_object_get(response, "response_put") ||
		!int64_take(json_object_get(header, "revision"), &out->version))
		return bad(why, "the answer has no revision");
	return true;
}

bool etcd_txn_parse(const char *body, size_t len, const struct gp_lead_record *to, bool *succeeded,
	struct gp_lead_held *out, char why[GP_LEAD_TEXT_SIZE])
{
	json_t *root = body_take(body, len, why);
	bool ok = root && txn_take(root, to, succeeded, out, why);
	json_decref(root);
	return ok;
}
