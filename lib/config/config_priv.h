// SPDX-License-Identifier: BSD-3-Clause
//
// The schema table and the values of its rows, shared by the loader, the printer and the manual.
#ifndef GP_CONFIG_PRIV_H
#define GP_CONFIG_PRIV_H

#include <gp_config.h>

// What a value is. Each type has one reader and one writer in value.c.
enum value_type {
	VALUE_GROUP, // a mapping; has no value of its own
	VALUE_NAME,  // letters, digits, '.', '_', '-'
	VALUE_TEXT,  // printable ASCII
	VALUE_PATH,  // absolute
	VALUE_UINT,
	VALUE_BOOL,
	VALUE_ENUM,
	VALUE_SIZE,
	VALUE_TIME,
	VALUE_FLOAT,
	VALUE_IP4,
	VALUE_IP6,
	VALUE_ENDPOINT,
	VALUE_MAC,     // offset is that of struct gp_config_port
	VALUE_RESTORE, // offset is that of struct gp_config_snapshot
	VALUE_TYPES,
};

enum row_flags {
	ROW_REQUIRED = 1 << 0,
	ROW_OPTIONAL = 1 << 1, // may be absent; then nothing is printed
	ROW_OFF = 1 << 2,      // endpoint: "off" is allowed
	ROW_POW2 = 1 << 3,
	ROW_JOB = 1 << 4,   // offsets count from struct gp_config_job
	ROW_AUTO = 1 << 5,  // the word auto is allowed and means GP_CONFIG_UNSET
	ROW_NONE = 1 << 6,  // the word none, likewise
	ROW_TABLE = 1 << 7, // offsets count from struct gp_config_table
};

// One key. Lists have a path that ends in "[]", at most `count_max` items of `size` bytes at
// `offset`, and their number in the u32 at `count_offset`. Groups come before their members.
struct row {
	const char *path;
	enum value_type type;
	uint32_t flags;
	size_t offset;
	size_t size;
	size_t count_offset;
	uint32_t count_max;  // 0 = not a list
	const char *def;     // as in a file; NULL = none
	const char *def_doc; // where the default depends on other keys
	double min, max;
	const char *const *names; // enum: NULL-terminated
	const char *help;
};

extern const struct row gp_config_rows[];
extern const uint32_t gp_config_rows_count;
#define GP_CONFIG_ROWS_MAX 192

// The row of `path` (indices written "[]"), or -1.
int gp_config_row_find(const char *path);
// The last part of a row's path without "[]"; its length in *len.
const char *gp_config_row_key(const struct row *r, size_t *len);
// The index of the group row that holds r, or -1 at the top.
int gp_config_row_parent(const struct row *r);

// Twice the longest text (every character escaped) and its quotes.
#define GP_CONFIG_WHY_SIZE (2 * GP_CONFIG_TEXT_SIZE + 32)

// Reads `s` (len bytes, terminated) as r's type into `field`. 0, or -EINVAL with `why` ("0 is out
// of range 1..256"). `plain` is false for quoted text.
int gp_config_value_parse(const struct row *r, const char *s, size_t len, bool plain, void *field,
	char why[GP_CONFIG_WHY_SIZE]) GP_MUST_CHECK;
// Writes `field` as it stands in a file. False when the value is absent.
bool gp_config_value_format(const struct row *r, const void *field, char out[GP_CONFIG_WHY_SIZE]);
// "integer", "duration", ... and what r allows ("1..256").
const char *gp_config_type_name(enum value_type type);
void gp_config_allowed_text(const struct row *r, char out[GP_CONFIG_WHY_SIZE]);
// `s` cut to a length fit for an error, with '?' for what is not printable.
void gp_config_quote(const char *s, size_t len, char *out, size_t size);

// Where each key stood in the file. Scope 0 is the node, scope 1 + i is jobs[i], then come the
// tables of each job.
#define GP_CONFIG_SCOPES (1 + GP_CONFIG_JOBS_MAX * (1 + GP_CONFIG_TABLES_MAX))

static inline bool gp_config_scope_is_table(uint32_t scope)
{
	return scope > GP_CONFIG_JOBS_MAX;
}

static inline uint32_t gp_config_table_scope(uint32_t job_scope, uint32_t table)
{
	return 1 + GP_CONFIG_JOBS_MAX + (job_scope - 1) * GP_CONFIG_TABLES_MAX + table;
}

// Of a job's scope or one of its tables'.
static inline uint32_t gp_config_scope_job(uint32_t scope)
{
	return gp_config_scope_is_table(scope)
		       ? (scope - 1 - GP_CONFIG_JOBS_MAX) / GP_CONFIG_TABLES_MAX
		       : scope - 1;
}

static inline uint32_t gp_config_scope_table(uint32_t scope)
{
	return (scope - 1 - GP_CONFIG_JOBS_MAX) % GP_CONFIG_TABLES_MAX;
}

struct mark {
	uint32_t line; // from 1; 0 = the key is not in the file
	uint32_t column;
};

struct loader {
	const char *name;
	struct gp_config *config;
	char *err;
	size_t err_size;
	struct mark marks[GP_CONFIG_SCOPES][GP_CONFIG_ROWS_MAX];
};

// Fills defaults that depend on other keys and refuses what cannot go together. 0 or -EINVAL with
// the loader's error text written.
int gp_config_check(struct loader *l) GP_MUST_CHECK;
// Writes `NAME:LINE:COLUMN: PATH: TEXT` for row `index` of `scope`; returns -EINVAL.
int gp_config_refuse(struct loader *l, uint32_t scope, int index, const char *fmt, ...)
	GP_PRINTF(4, 5);

// A check in hand: which file, which job.
struct check {
	struct loader *l;
	struct gp_config *c;
	struct gp_config_job *job; // NULL outside jobs
	uint32_t scope;
};

// Whether the file has the key.
bool gp_config_given(const struct check *k, const char *path);
int gp_config_row_of(const char *path);
#define REFUSE(k, path, ...)                                                                       \
	gp_config_refuse((k)->l, (k)->scope, gp_config_row_of(path), __VA_ARGS__)

// The word that stands for GP_CONFIG_UNSET in this row, or NULL.
static inline const char *gp_config_unset_word(const struct row *r)
{
	if (r->flags & ROW_AUTO)
		return "auto";
	return r->flags & ROW_NONE ? "none" : NULL;
}

#define GP_CONFIG_BOUND_ADAPTIVE 8
// After this the defaults that depend on `kind` and `consistency` are in place.
int gp_config_consistency_check(const struct check *k) GP_MUST_CHECK;
// Whether `r` means something to this consistency; if not, *why says for which it does.
bool gp_config_consistency_takes(
	enum gp_consistency v, const struct row *r, char why[GP_CONFIG_WHY_SIZE]);
// Whether `r` means something to this optimizer and schedule; if not, *why says for which it does.
bool gp_config_optimizer_takes(
	const struct gp_config_optimizer *o, const struct row *r, char why[GP_CONFIG_WHY_SIZE]);

// What needs the gradient of the whole step is asked for only where there is such a thing; when
// kind, consistency and atomicity are in place.
int gp_config_whole_check(const struct check *k) GP_MUST_CHECK;
bool gp_config_is_whole(const struct gp_config_job *j) GP_MUST_CHECK;

// Whether `r` means something to a job of this kind.
bool gp_config_embed_takes(enum gp_job_kind kind, const struct row *r);
// tables.c: after this an embed job is one that lib/engine takes.
int gp_config_embed_check(const struct check *k) GP_MUST_CHECK;
// check.c: the required rows of a kind: 0, ROW_JOB or ROW_TABLE.
int gp_config_required_check(const struct check *k, uint32_t flag) GP_MUST_CHECK;

// lead.c
int gp_config_leadership_check(const struct check *k) GP_MUST_CHECK;
int gp_config_witness_check(const struct check *k) GP_MUST_CHECK;
// Whether this row outside jobs is printed: not what loading would refuse.
bool gp_config_row_applies(const struct gp_config *c, const struct row *r);

#endif
