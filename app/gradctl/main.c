// SPDX-License-Identifier: BSD-3-Clause
//
// gradctl asks a running gradplaned over its control socket.
#include "gradctl.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#define TIMEOUT_MS_MAX 3600000
#define FLAG_FIRST     256 // of getopt_long's values
#define NUMBER_MAX     4294967295UL

static const struct command *const commands[] = {&command_status, &command_job_show, &command_why,
	&command_snapshot_now, &command_snapshot_list, &command_snapshot_verify,
	&command_snapshot_restore, &command_snapshot_export, &command_record_dump,
	&command_leader_show, &command_leader_promote, &command_stop};

static const struct {
	const char *key;
	const char *value;
	const char *help;
	bool number;
	const char *of; // which commands take it
} flags[FLAGS_COUNT] = {
	[FLAG_JOB] = {"job", "NAME", "only this job", false, "why, snapshot"},
	[FLAG_TENSOR] = {"tensor", "NAME", "only this tensor of it", false, "why"},
	[FLAG_BLOCK] = {"block", "N", "only this block of it, or of the tensor", true, "why"},
	[FLAG_RANK] = {"rank", "N", "only this worker of it", true, "why"},
	[FLAG_OUTPUT] = {"output", "FILE", "a file that does not exist yet", false, "record dump"},
	[FLAG_DIR] = {"dir", "PATH", "a directory of snapshots, no server needed", false,
		"snapshot list, verify, restore, export"},
};

static void help_print(void)
{
	printf("usage: gradctl [--socket PATH] [--json] [--timeout-ms N] COMMAND\n\n"
	       "Asks a running gradplaned.\n\ncommands\n");
	for (size_t i = 0; i < GP_ARRAY_SIZE(commands); i++) {
		char usage[64];

		snprintf(usage, sizeof(usage), "%s%s%s", commands[i]->name,
			commands[i]->operand ? " NAME" : "",
			commands[i]->words ? commands[i]->words : "");
		printf("  %-29s %s\n", usage, commands[i]->help);
	}
	printf("\noptions of some commands\n");
	for (size_t i = 0; i < FLAGS_COUNT; i++) {
		char usage[64];

		snprintf(usage, sizeof(usage), "--%s %s", flags[i].key, flags[i].value);
		printf("  %-18s %s (%s)\n", usage, flags[i].help, flags[i].of);
	}
	printf("  --states           optimizer state too (snapshot export)\n"
	       "  --force            also over a file that exists (snapshot export)\n"
	       "  --peer-is-fenced   the other node is off and stays off (leader promote)\n"
	       "SNAPSHOT is a name (fashion-0000000100), a step, a path, or latest.\n"
	       "\noptions\n"
	       "  --socket PATH      the server's control socket (default %s)\n"
	       "  --json             print the server's answer as JSON\n"
	       "  --timeout-ms N     wait so long for the answer\n"
	       "  --version, --help\n"
	       "\nexit status: 0 done, 1 the server refused, 2 wrong usage or no server\n",
		GP_CTL_PATH_DEFAULT);
}

int usage_error(const char *text, const char *detail)
{
	fprintf(stderr, "gradctl: %s%s; gradctl --help lists what there is\n", text, detail);
	return EXIT_USAGE;
}

// False when the text is no number in 1..TIMEOUT_MS_MAX.
static bool timeout_parse(const char *text, uint32_t *out)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || *end || text[0] < '0' || text[0] > '9' || value < 1 || value > TIMEOUT_MS_MAX)
		return false;
	*out = (uint32_t)value;
	return true;
}

// -1: go on with the command, else the exit status.
static int options_parse(struct options *o, int argc, char **argv)
{
	static const struct option longs[] = {
		{"socket", required_argument, NULL, 's'},
		{"json", no_argument, NULL, 'j'},
		{"timeout-ms", required_argument, NULL, 't'},
		{"version", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'h'},
		{"job", required_argument, NULL, FLAG_FIRST + FLAG_JOB},
		{"tensor", required_argument, NULL, FLAG_FIRST + FLAG_TENSOR},
		{"block", required_argument, NULL, FLAG_FIRST + FLAG_BLOCK},
		{"rank", required_argument, NULL, FLAG_FIRST + FLAG_RANK},
		{"output", required_argument, NULL, FLAG_FIRST + FLAG_OUTPUT},
		{"dir", required_argument, NULL, FLAG_FIRST + FLAG_DIR},
		{"states", no_argument, NULL, 'S'},
		{"force", no_argument, NULL, 'O'},
		{"peer-is-fenced", no_argument, NULL, 'F'},
		{0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (c == 's') {
			o->socket = optarg;
		} else if (c == 'S') {
			o->states = true;
		} else if (c == 'O') {
			o->force = true;
		} else if (c == 'F') {
			o->peer_is_fenced = true;
		} else if (c == 'j') {
			o->json = true;
		} else if (c == 't') {
			if (!timeout_parse(optarg, &o->timeout_ms))
				return usage_error("--timeout-ms must be 1..3600000, not ", optarg);
		} else if (c >= FLAG_FIRST) {
			o->flags[c - FLAG_FIRST] = optarg;
		} else if (c == 'v') {
			printf("gradctl %s, control protocol %d\n", GRADCTL_VERSION,
				GP_CTL_VERSION);
			return EXIT_OK;
		} else if (c == 'h') {
			help_print();
			return EXIT_OK;
		} else {
			return usage_error("bad option", "");
		}
	}
	return -1;
}

// How many of `words` the command's name takes, 0 when it is another command.
static size_t command_match(const struct command *k, char **words, size_t count)
{
	char typed[2 * GP_CTL_CMD_SIZE];
	size_t name_words = strchr(k->name, ' ') ? 2 : 1;

	if (count < name_words)
		return 0;
	snprintf(typed, sizeof(typed), "%.60s%s%.60s", words[0], name_words > 1 ? " " : "",
		name_words > 1 ? words[1] : "");
	return strcmp(typed, k->name) == 0 ? name_words : 0;
}

static const struct command *command_find(char **words, size_t count, size_t *used)
{
	for (size_t i = 0; i < GP_ARRAY_SIZE(commands); i++) {
		*used = command_match(commands[i], words, count);
		if (*used)
			return commands[i];
	}
	return NULL;
}

// Those of a group, as of `snapshot`, or all.
static int command_missing(const char *group)
{
	size_t len = group ? strlen(group) : 0;
	size_t of_group = 0;

	for (size_t i = 0; i < GP_ARRAY_SIZE(commands); i++) {
		const char *name = commands[i]->name;

		if (!group || strncmp(name, group, len) != 0 || name[len] != ' ')
			continue;
		if (of_group++ == 0)
			fprintf(stderr,
				"gradctl: which of these? gradctl --help says what they do\n");
		fprintf(stderr, "  %s%s\n", name, commands[i]->words ? commands[i]->words : "");
	}
	if (of_group > 0)
		return EXIT_USAGE;
	return group ? usage_error("no command ", group) : usage_error("which command?", "");
}

int result_print(const struct command *k, const json_t *result, bool json)
{
	if (json) {
		if (json_dumpf(result, stdout, JSON_INDENT(2)) != 0)
			return EXIT_USAGE;
		putchar('\n');
	} else {
		k->print(result, stdout);
	}
	if (fflush(stdout) == 0 && !ferror(stdout))
		return EXIT_OK;
	fprintf(stderr, "gradctl: the output cannot be written: %s\n", strerror(errno));
	return EXIT_USAGE;
}

// A file name is the caller's, not the server's: it is made absolute here.
static json_t *flag_value(enum flag f, const char *text)
{
	char path[PATH_MAX], *end;
	unsigned long n;

	if (flags[f].number) {
		errno = 0;
		n = strtoul(text, &end, 10);
		bool legal = !errno && !*end && text[0] >= '0' && text[0] <= '9' && n <= NUMBER_MAX;
		return legal ? json_integer((json_int_t)n) : NULL;
	}
	if (f != FLAG_OUTPUT || text[0] == '/')
		return json_string(text);
	if (!getcwd(path, sizeof(path)))
		return NULL;
	return json_sprintf("%s/%s", path, text);
}

// The request's args, NULL and the reason on standard error when they cannot be.
static json_t *args_make(const struct command *k, const struct options *o, const char *operand)
{
	json_t *args = json_object();

	if (operand && json_object_set_new(args, k->operand, json_string(operand)) != 0) {
		usage_error("the operand is not UTF-8 text", "");
		goto bad;
	}
	for (enum flag f = 0; f < FLAGS_COUNT; f++) {
		if (!o->flags[f])
			continue;
		if (!(k->flags >> f & 1)) {
			char text[64];

			snprintf(text, sizeof(text), " does not take --%s", flags[f].key);
			usage_error(k->name, text);
			goto bad;
		}
		if (json_object_set_new(args, flags[f].key, flag_value(f, o->flags[f])) != 0) {
			usage_error("bad value: ", o->flags[f]);
			goto bad;
		}
	}
	return args;
bad:
	json_decref(args);
	return NULL;
}

int server_ask(const struct options *o, const char *cmd, json_t *args, uint32_t timeout_ms,
	json_t **result)
{
	const struct gp_ctl_call call = {
		.path = o->socket,
		.cmd = cmd,
		.args = args,
		.timeout_ms = o->timeout_ms ? o->timeout_ms : timeout_ms,
	};
	struct gp_ctl_error err = {0};
	int rc = gp_ctl_call(&call, result, &err);

	if (rc == -EREMOTEIO) {
		fprintf(stderr, "gradctl: %s: refused (%s): %s\n", cmd, err.code, err.text);
		return EXIT_REFUSED;
	}
	if (rc)
		fprintf(stderr, "gradctl: %s\n", err.text);
	return rc ? EXIT_USAGE : EXIT_OK;
}

static int command_run(const struct command *k, const struct options *o, const char *operand)
{
	json_t *args = args_make(k, o, operand);
	json_t *result;
	int rc;

	if (!args)
		return EXIT_USAGE;
	rc = server_ask(o, k->name, args, k->timeout_ms, &result);
	json_decref(args);
	if (rc)
		return rc;
	rc = result_print(k, result, o->json);
	json_decref(result);
	return rc;
}

// What gradctl does by itself: its options are checked here as those of a request are.
static int command_run_here(
	const struct command *k, const struct options *o, char **words, size_t count)
{
	json_t *args = args_make(k, o, NULL);

	if (!args)
		return EXIT_USAGE;
	json_decref(args);
	return k->run(k, o, words, count);
}

int main(int argc, char **argv)
{
	struct options o = {.socket = GP_CTL_PATH_DEFAULT};
	const struct command *k;
	size_t count, used;
	char **words;
	int rc;

	rc = options_parse(&o, argc, argv);
	if (rc >= 0)
		return rc;
	words = argv + optind;
	count = (size_t)(argc - optind);
	k = command_find(words, count, &used);
	if (!k)
		return command_missing(count > 0 ? words[0] : NULL);
	if (k->run)
		return command_run_here(k, &o, words + used, count - used);
	if (k->operand && count == used)
		return usage_error(k->name, " needs a name");
	if (count > used + (k->operand ? 1 : 0))
		return usage_error("too many words after ", k->name);
	return command_run(k, &o, k->operand ? words[used] : NULL);
}
