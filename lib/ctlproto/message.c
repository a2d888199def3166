// SPDX-License-Identifier: BSD-3-Clause
#include "ctlproto_priv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void gp_ctl_error_set(struct gp_ctl_error *err, const char *code, const char *fmt, ...)
{
	va_list args;

	snprintf(err->code, sizeof(err->code), "%s", code);
	va_start(args, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, args);
	va_end(args);
}

// The first key of `object` that is none of `keys`, or NULL.
static const char *object_unknown_key(const json_t *object, const char *const *keys, size_t count)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)object, key, value)
	{
		size_t i = 0;

		while (i < count && strcmp(key, keys[i]) != 0)
			i++;
		if (i == count)
			return key;
	}
	return NULL;
}

static int message_check(const json_t *root, struct gp_ctl_error *err)
{
	static const char *const keys[] = {"v", "cmd", "args"};
	const json_t *v = json_object_get(root, "v");
	const json_t *cmd = json_object_get(root, "cmd");
	const json_t *args = json_object_get(root, "args");
	const char *unknown;

	if (!json_is_integer(v)) {
		gp_ctl_error_set(err, "bad_request", "expected an object with \"v\":%d and \"cmd\"",
			GP_CTL_VERSION);
		return -EINVAL;
	}
	if (json_integer_value(v) != GP_CTL_VERSION) {
		gp_ctl_error_set(err, "version",
			"this server speaks control protocol %d, the request is version %lld: use "
			"gradctl and gradplaned of one release",
			GP_CTL_VERSION, (long long)json_integer_value(v));
		return -EPROTO;
	}
	unknown = object_unknown_key(root, keys, GP_ARRAY_SIZE(keys));
	if (unknown) {
		gp_ctl_error_set(err, "bad_request", "unknown key %.64s", unknown);
		return -EINVAL;
	}
	if (!json_is_string(cmd) || json_string_length(cmd) == 0 ||
		json_string_length(cmd) >= GP_CTL_CMD_SIZE) {
		gp_ctl_error_set(err, "bad_request", "\"cmd\" must be a string of 1..%d bytes",
			GP_CTL_CMD_SIZE - 1);
		return -EINVAL;
	}
	if (args && !json_is_object(args)) {
		gp_ctl_error_set(err, "bad_request", "\"args\" must be an object");
		return -EINVAL;
	}
	return 0;
}

int gp_ctl_message_parse(
	const char *line, size_t len, struct gp_ctl_message *out, struct gp_ctl_error *err)
{
	json_error_t where;
	json_t *args;
	json_t *root;
	int rc;

	*out = (struct gp_ctl_message){0};
	if (len > GP_CTL_LINE_MAX) {
		gp_ctl_error_set(err, "too_long", "a request is at most %u bytes", GP_CTL_LINE_MAX);
		return -EINVAL;
	}
	root = json_loadb(line, len, JSON_REJECT_DUPLICATES, &where);
	if (!root) {
		gp_ctl_error_set(err, "bad_request", "byte %d: %s", where.position, where.text);
		return -EINVAL;
	}
	rc = message_check(root, err);
	if (rc == 0) {
		args = json_object_get(root, "args");
		out->args = args ? json_incref(args) : json_object();
		snprintf(out->cmd, sizeof(out->cmd), "%s",
			json_string_value(json_object_get(root, "cmd")));
		if (!out->args) {
			gp_ctl_error_set(err, "internal", "out of memory");
			rc = -ENOMEM;
		}
	}
	json_decref(root);
	return rc;
}

// Takes the reference to `root`, which is NULL when it could not be made.
static char *reply_encode(json_t *root, size_t *len)
{
	char *text;

	if (!root)
		return NULL;
	text = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	if (!text)
		return NULL;
	*len = strlen(text);
	if (*len <= GP_CTL_REPLY_MAX)
		return text;
	free(text);
	return NULL;
}

char *ctl_reply_ok_encode(const json_t *result, size_t *len)
{
	return reply_encode(json_pack("{s:b,s:O}", "ok", 1, "result", (json_t *)result), len);
}

static void text_to_ascii(char *text)
{
	for (unsigned char *p = (unsigned char *)text; *p; p++) {
		if (*p >= 0x80)
			*p = '?';
	}
}

// A text may quote a request or be cut inside a character: if it is not UTF-8, its bytes beyond
// ASCII become question marks.
char *ctl_reply_error_encode(const struct gp_ctl_error *err, size_t *len)
{
	static const char shape[] = "{s:b,s:s,s:s}";
	struct gp_ctl_error clean = *err;
	json_t *root = json_pack(shape, "ok", 0, "code", err->code, "error", err->text);

	if (!root) {
		text_to_ascii(clean.code);
		text_to_ascii(clean.text);
		root = json_pack(shape, "ok", 0, "code", clean.code, "error", clean.text);
	}
	return reply_encode(root, len);
}

static int reply_refused(const json_t *root, struct gp_ctl_error *err)
{
	const char *code = json_string_value(json_object_get(root, "code"));
	const char *text = json_string_value(json_object_get(root, "error"));

	gp_ctl_error_set(err, code ? code : "unknown", "%s",
		text ? text : "the server refused and gave no reason");
	return -EREMOTEIO;
}

int ctl_reply_parse(const char *line, size_t len, json_t **result, struct gp_ctl_error *err)
{
	json_t *root = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	const json_t *ok = json_object_get(root, "ok");
	int rc = 0;

	*result = NULL;
	if (json_is_false(ok))
		rc = reply_refused(root, err);
	else if (json_is_true(ok))
		*result = json_incref(json_object_get(root, "result"));
	if (rc == 0 && !json_is_object(*result)) {
		json_decref(*result);
		*result = NULL;
		gp_ctl_error_set(err, "bad_reply",
			"the answer is not a reply of the control protocol: does --socket name the "
			"control socket of a gradplaned?");
		rc = -EPROTO;
	}
	json_decref(root);
	return rc;
}
