// SPDX-License-Identifier: BSD-3-Clause
//
// Shared by the files of gradctl: what a command is, how a field of a result becomes text, tables.
// Results come from another program, perhaps of another release: a field that is missing or of
// another type is shown as "-", and text never carries control characters to the terminal.
#ifndef GRADCTL_H
#define GRADCTL_H

#include <gp_ctlproto.h>

#include <stdio.h>

enum exit_code { EXIT_OK = 0, EXIT_REFUSED = 1, EXIT_USAGE = 2 };

// An option that only some commands take: --key VALUE goes into the request's args.
enum flag { FLAG_JOB, FLAG_TENSOR, FLAG_BLOCK, FLAG_RANK, FLAG_OUTPUT, FLAG_DIR, FLAGS_COUNT };

struct options {
	const char *socket;
	bool json;
	bool states;	     // export optimizer state too
	bool force;	     // export over a file that exists
	bool peer_is_fenced; // the operator's word, for leader promote
	uint32_t timeout_ms; // 0: the command's own
	const char *flags[FLAGS_COUNT];
};

struct command {
	const char *name;    // as typed and as in the protocol
	const char *operand; // key of its one operand in the request's args, NULL: it takes none
	uint32_t flags;	     // bit per enum flag
	const char *help;    // one line
	uint32_t timeout_ms; // unless --timeout-ms is given
	void (*print)(const json_t *result, FILE *out);
	// Instead of asking the server: what gradctl does by itself with the words after the name.
	// Returns the exit status.
	int (*run)(const struct command *k, const struct options *o, char **words, size_t count);
	const char *words; // for the help
};

extern const struct command command_status;
extern const struct command command_job_show;
extern const struct command command_snapshot_now;
extern const struct command command_snapshot_list;
extern const struct command command_snapshot_verify;
extern const struct command command_snapshot_restore;
extern const struct command command_snapshot_export;
extern const struct command command_why;
extern const struct command command_record_dump;
extern const struct command command_leader_show;
extern const struct command command_leader_promote;
extern const struct command command_stop;

// ---- main.c

int usage_error(const char *text, const char *detail);
// Asks the server; 0 with *result a new reference, else the exit status, said. `args` may be NULL.
int server_ask(const struct options *o, const char *cmd, json_t *args, uint32_t timeout_ms,
	json_t **result);
// The exit status.
int result_print(const struct command *k, const json_t *result, bool json);

#define FIELD_SIZE 256

enum form {
	FORM_PLAIN,   // text, number, yes or no as they are
	FORM_COUNT,   // 1,234,567
	FORM_BYTES,   // 1.5 MiB
	FORM_PERCENT, // 12.5 %
	FORM_UPTIME,  // seconds as 2 d 03:04:05
	FORM_US,      // microseconds as 850 us, 1.2 ms, 3.4 s
	FORM_MS,      // milliseconds, likewise
	FORM_DIMS,    // [784,256] as 784x256
};

// Control characters (C0, DEL, and C1 as UTF-8 writes them) become '?': names come from workers.
void text_clean(char *text);

// Returns `out`. `object` may be NULL or no object.
const char *field_format(
	const json_t *object, const char *key, enum form form, char out[FIELD_SIZE]);

#define TABLE_COLUMNS_MAX 8

struct column {
	const char *title;
	bool right; // numbers
};

// Rows are kept until the table is printed, so that columns are as wide as their widest cell.
struct table {
	const struct column *columns;
	size_t columns_count;
	char (*cells)[FIELD_SIZE];
	size_t cells_count;
	size_t cells_size;
};

void table_init(struct table *t, const struct column *columns, size_t columns_count);
// The next cell, row after row. Without memory the program ends with a message.
void table_text(struct table *t, const char *text);
void table_field(struct table *t, const json_t *object, const char *key, enum form form);
// Prints an empty line, the titles and the rows, frees everything. A table without rows prints
// nothing.
void table_print_fini(struct table *t, FILE *out);

#endif
