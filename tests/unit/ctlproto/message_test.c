// SPDX-License-Identifier: BSD-3-Clause
#include <gp_ctlproto.h>

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

static int parse(const char *line, struct gp_ctl_message *m, struct gp_ctl_error *err)
{
	*err = (struct gp_ctl_error){0};
	return gp_ctl_message_parse(line, strlen(line), m, err);
}

Test(message, good_requests)
{
	struct gp_ctl_message m;
	struct gp_ctl_error err;

	cr_assert_eq(parse("{\"v\":1,\"cmd\":\"status\"}", &m, &err), 0, "%s", err.text);
	cr_assert_str_eq(m.cmd, "status");
	cr_assert_eq(json_object_size(m.args), 0);
	json_decref(m.args);
	cr_assert_eq(
		parse(" {\"args\":{\"name\":\"a\"},\"cmd\":\"job show\",\"v\":1} ", &m, &err), 0);
	cr_assert_str_eq(m.cmd, "job show");
	cr_assert_str_eq(json_string_value(json_object_get(m.args, "name")), "a");
	json_decref(m.args);
}

Test(message, bad_requests)
{
	static const struct {
		const char *line;
		int rc;
		const char *code;
		const char *text;
	} cases[] = {
		{"", -EINVAL, "bad_request", "byte 0"},
		{"{", -EINVAL, "bad_request", "byte 1"},
		{"[]", -EINVAL, "bad_request", "expected an object"},
		{"null", -EINVAL, "bad_request", ""},
		{"{}", -EINVAL, "bad_request", "expected an object"},
		{"{\"v\":1}", -EINVAL, "bad_request", "\"cmd\" must be"},
		{"{\"v\":\"1\",\"cmd\":\"status\"}", -EINVAL, "bad_request", "expected an object"},
		{"{\"v\":2,\"cmd\":\"status\",\"new\":0}", -EPROTO, "version", "protocol 1"},
		{"{\"v\":1,\"cmd\":\"\"}", -EINVAL, "bad_request", "\"cmd\" must be"},
		{"{\"v\":1,\"cmd\":7}", -EINVAL, "bad_request", "\"cmd\" must be"},
		{"{\"v\":1,\"cmd\":\"0123456789012345678901234567890123456789012345678901234567"
		 "890123\"}",
			-EINVAL, "bad_request", "1..63"},
		{"{\"v\":1,\"cmd\":\"a\",\"args\":[]}", -EINVAL, "bad_request", "\"args\" must be"},
		{"{\"v\":1,\"cmd\":\"a\",\"arg\":{}}", -EINVAL, "bad_request", "unknown key arg"},
		{"{\"v\":1,\"v\":1,\"cmd\":\"a\"}", -EINVAL, "bad_request", "duplicate"},
		{"{\"v\":1,\"cmd\":\"a\\u0000b\"}", -EINVAL, "bad_request", "NUL"},
		{"{\"v\":1,\"cmd\":\"a\"}{}", -EINVAL, "bad_request", "end of file expected"},
		{"{\"v\":1,\"cmd\":\"\xff\"}", -EINVAL, "bad_request", "decode"},
	};
	struct gp_ctl_message m;
	struct gp_ctl_error err;

	for (size_t i = 0; i < GP_ARRAY_SIZE(cases); i++) {
		int rc = parse(cases[i].line, &m, &err);

		cr_assert_eq(rc, cases[i].rc, "%s: %d %s", cases[i].line, rc, err.text);
		cr_assert_str_eq(err.code, cases[i].code, "%s", cases[i].line);
		cr_assert(strstr(err.text, cases[i].text), "%s: %s", cases[i].line, err.text);
		cr_assert_null(m.args);
	}
}

// Nesting is bounded by the JSON reader; a line of brackets must not use up the stack.
Test(message, deep_nesting_is_refused)
{
	size_t len = GP_CTL_LINE_MAX;
	char *line = malloc(len + 1);
	struct gp_ctl_message m;
	struct gp_ctl_error err = {0};

	cr_assert_not_null(line);
	memset(line, '[', len + 1);
	cr_assert_eq(gp_ctl_message_parse(line, len, &m, &err), -EINVAL);
	cr_assert(strstr(err.text, "depth"), "%s", err.text);
	cr_assert_eq(gp_ctl_message_parse(line, len + 1, &m, &err), -EINVAL);
	cr_assert_str_eq(err.code, "too_long");
	free(line);
}
