// SPDX-License-Identifier: BSD-3-Clause
#include "gradctl.h"

static void nobody_print(FILE *out)
{
	fputs("nobody leads: both nodes were started again. At the one with the newest snapshot\n",
		out);
	fputs("(gradctl snapshot list --dir) say: gradctl leader promote --peer-is-fenced\n", out);
}

static void leader_show_print(const json_t *result, FILE *out)
{
	char text[FIELD_SIZE];

	fprintf(out, "epoch %s, ", field_format(result, "epoch", FORM_PLAIN, text));
	fprintf(out, "primary node %s, ", field_format(result, "primary", FORM_PLAIN, text));
	fprintf(out, "backup node %s\n", field_format(result, "backup", FORM_PLAIN, text));
	fprintf(out, "this is node %s: ", field_format(result, "node", FORM_PLAIN, text));
	fprintf(out, "%s\n", field_format(result, "role", FORM_PLAIN, text));
	fprintf(out, "register: %s, ", field_format(result, "kind", FORM_PLAIN, text));
	fprintf(out, "record %s, ", field_format(result, "key", FORM_PLAIN, text));
	fprintf(out, "answers: %s\n", field_format(result, "register_answers", FORM_PLAIN, text));
	if (json_is_string(json_object_get(result, "waits_for")))
		fprintf(out, "waits for %s\n", field_format(result, "waits_for", FORM_PLAIN, text));
	if (json_is_true(json_object_get(result, "nobody_leads")))
		nobody_print(out);
	if (json_is_string(json_object_get(result, "last_error")))
		fprintf(out, "last error: %s\n",
			field_format(result, "last_error", FORM_PLAIN, text));
}

const struct command command_leader_show = {
	.name = "leader show",
	.help = "who leads the pair, and whether the register answers",
	.print = leader_show_print,
};

static void leader_promote_print(const json_t *result, FILE *out)
{
	char text[FIELD_SIZE];

	fprintf(out, "this node leads epoch %s\n", field_format(result, "epoch", FORM_PLAIN, text));
	fputs("workers that were given its address and --reconnect-ms come by themselves\n", out);
	if (json_is_false(json_object_get(result, "starts_by_record")))
		fputs("set node.role: primary before it is started again\n", out);
}

// The operator's word is asked for here too: a server of another release may not.
static int leader_promote_run(
	const struct command *k, const struct options *o, char **words, size_t count)
{
	json_t *args, *result;
	int rc;

	(void)words;
	if (count > 0)
		return usage_error("too many words after ", k->name);
	if (!o->peer_is_fenced)
		return usage_error(
			"leader promote: two nodes that lead lose updates: make sure that "
			"the other node is off and stays off, then say --peer-is-fenced",
			"");
	args = json_pack("{s:b}", "peer_is_fenced", 1);
	rc = server_ask(o, k->name, args, k->timeout_ms, &result);
	json_decref(args);
	if (rc)
		return rc;
	rc = result_print(k, result, o->json);
	json_decref(result);
	return rc;
}

const struct command command_leader_promote = {
	.name = "leader promote",
	.help = "make this node primary; the other one is off",
	.timeout_ms = 30000,
	.print = leader_promote_print,
	.run = leader_promote_run,
	.words = " --peer-is-fenced",
};
