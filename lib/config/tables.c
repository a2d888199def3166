// SPDX-License-Identifier: BSD-3-Clause
//
// Tables of embed jobs: what goes with them, and the memory that they take.
#include "gp_capacity.h"

#include "config_priv.h"

#include <stdio.h>

#define CORE_ROWS_SPARE 16u // as lib/engine: cores do not get exactly the same number of rows
#define CORE_ROWS_MORE	64u
#define SLAB		32768u // as lib/table
#define SEGMENT_ROWS	1736u
#define ROW_ALIGN	16u
#define STRIPES_SIZE	32768u
#define COPY_HEAD	24u   // of a row kept for a generation, beside its place in the hash
#define USES_SIZE	8192u // of rows that were only pulled, told to a replica
#define ROWS_MAX	8192u // floats of one row
#define ARRAYS_MAX	5u    // as lib/snapshot
#define CORES_MAX	32u   // as lib/engine
#define EVICTS_LEAST	640u
#define ROW_OVERHEAD	4u    // floats of a block: the head and the number of a row, as lib/wire
#define BLOCK_MAX	2304u // elements, the most that a datagram carries
#define SLAB_LINE	64u
#define IMAGE_MAX	(UINT64_C(1) << 30) // rows, and as many changes, as lib/replica

void gp_config_table_init(struct gp_config_table *t)
{
	char why[GP_CONFIG_WHY_SIZE];
	*t = (struct gp_config_table){0};
	for (uint32_t i = 0; i < gp_config_rows_count; i++) {
		const struct row *r = &gp_config_rows[i];
		if (!r->def || !(r->flags & ROW_TABLE))
			continue;
		GP_ASSERT(gp_config_value_parse(r, r->def, strlen(r->def), true,
				  (uint8_t *)t + r->offset, why) == 0);
	}
}

// ---- memory

// An optimizer other than the job's begins with its own defaults.
struct gp_optim_params gp_config_table_optim(
	const struct gp_config_job *j, const struct gp_config_table *t)
{
	struct gp_config_optimizer o = j->optimizer;
	if (t->optimizer > 0 && t->optimizer - 1 != o.name) {
		o.name = t->optimizer - 1;
		o.momentum = o.name == GP_OPTIMIZER_MOMENTUM || o.name == GP_OPTIMIZER_NESTEROV
				     ? 0.9f
				     : 0.0f;
		bool adagrad =
			o.name == GP_OPTIMIZER_ADAGRAD || o.name == GP_OPTIMIZER_ROWWISE_ADAGRAD;
		o.weight_decay = o.name == GP_OPTIMIZER_ADAMW ? 0.01f : 0.0f;
		o.beta1 = 0.9f;
		o.beta2 = 0.999f;
		o.epsilon = adagrad ? 1e-10f : 1e-8f;
		o.initial_accumulator = o.l1 = o.l2 = 0;
		o.ftrl_beta = 1;
	}
	if (t->lr > 0)
		o.lr = t->lr;
	return gp_config_optim(&o);
}

static uint32_t row_state(const struct gp_config_job *j, const struct gp_config_table *t)
{
	return gp_optim_row_state(gp_config_table_optim(j, t).kind, t->dim);
}

// Arrays of all tables' optimizers, each name once: each is a file of a snapshot.
static uint32_t arrays_count(const struct gp_config_job *j)
{
	const char *names[GP_CONFIG_TABLES_MAX * GP_OPTIM_STATES_MAX];
	uint32_t n = 0;
	for (uint32_t i = 0; i < j->tables_count; i++) {
		enum gp_optim_kind kind = gp_config_table_optim(j, &j->tables[i]).kind;
		bool rowwise = gp_optim_is_rowwise(kind);
		for (uint32_t k = 0; k < (rowwise ? 1 : gp_optim_states(kind)); k++) {
			const char *name = rowwise ? "sum" : gp_optim_state_name(kind, k);
			uint32_t at = 0;
			while (at < n && strcmp(names[at], name) != 0)
				at++;
			names[at] = name;
			n = GP_MAX(n, at + 1);
		}
	}
	return n;
}

static int table_optim_check(const struct check *at, const struct gp_config_table *t)
{
	const struct gp_config_job *j = at->job;
	const struct gp_optim_params own = gp_config_table_optim(j, t);
	const char *why;
	if (gp_optim_check(&own, &why) != 0)
		return REFUSE(at, "jobs[].tables[].optimizer", "cannot be: %s", why);
	return 0;
}

// Rows that a core has room for; with a replica another node's cores may have had some more in sum.
static uint64_t core_rows(const struct gp_config_table *t, uint32_t cores, bool sync)
{
	uint64_t sum = t->rows_max;
	if (sync)
		sum += sum / CORE_ROWS_SPARE + CORE_ROWS_MORE * CORES_MAX;
	uint64_t rows = gp_div_up(sum, cores);
	return cores == 1 ? rows : rows + rows / CORE_ROWS_SPARE + CORE_ROWS_MORE;
}

// As lib/engine/embed_point.c, with whatever MTU: a push's rows at a core, twice for what is being
// replicated and what goes on.
static uint64_t sync_copies(const struct gp_config_job *j, const struct gp_config_table *t)
{
	uint64_t most = 0, row = sizeof(uint64_t) + 2 * (uint64_t)t->dim;
	const uint32_t elements[] = {gp_config_block_elements(j->path_mtu_min), BLOCK_MAX};
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(elements); i++) {
		uint64_t place = (6 * (uint64_t)elements[i] + 8 + SLAB_LINE) / row + 1;
		most = GP_MAX(most, (gp_config_push_places(j, elements[i]) + 1) * place);
	}
	uint64_t evicted = t->eviction == GP_EVICTION_NONE ? 0 : most / 4 + EVICTS_LEAST;
	return 2 * (most + evicted);
}

uint64_t gp_config_table_bytes(
	const struct gp_config_job *j, const struct gp_config_table *t, uint32_t cores, bool sync)
{
	uint64_t rows = core_rows(t, cores, sync);
	uint32_t state = row_state(j, t), used = t->evict_reads ? 2 : 0;
	uint32_t values = t->type == GP_TABLE_BF16 ? (t->dim + 1) / 2 : t->dim;
	uint64_t row = gp_align_up(sizeof(float) * (values + state + used), ROW_ALIGN);
	uint64_t segments = gp_pow2_up(gp_div_up(rows, SEGMENT_ROWS));
	uint64_t slabs = segments + segments / 16 + 16 + gp_div_up(rows, SLAB / row);
	uint64_t table = slabs * (SLAB + 24) + segments * 4 * sizeof(void *) + STRIPES_SIZE +
			 16 * (uint64_t)t->dim + 16384;
	uint64_t copies = GP_MAX(core_rows(t, cores, false) * t->kept / 100, 1);
	if (sync)
		copies = GP_MAX(copies, sync_copies(j, t));
	uint64_t kept = copies * (COPY_HEAD + sizeof(float) * (t->dim + state)) +
			sizeof(uint64_t) * gp_pow2_up(copies) + 1024;
	uint64_t uses = sync && t->evict_reads ? USES_SIZE : 0;
	return cores * (table + kept + uses);
}

uint32_t gp_config_push_places(const struct gp_config_job *j, uint32_t elements)
{
	return (uint32_t)GP_MIN(gp_div_up(j->push_max, sizeof(float) * elements), UINT16_MAX);
}

// ---- checks

// What a synchronous replica takes: half of the copies are of what one cut may have changed.
static int image_check(const struct check *at, const struct gp_config_table *t)
{
	uint32_t cores = at->c->cores.count;
	if (at->c->replica.mode != GP_REPLICA_SYNC)
		return 0;
	if (cores * core_rows(t, cores, true) > IMAGE_MAX)
		return REFUSE(at, "jobs[].tables[].rows_max",
			"%u: with replica.mode sync a table has, with a part to spare, at most "
			"%lu rows",
			t->rows_max, IMAGE_MAX);
	if (cores * (core_rows(t, cores, false) * t->kept / 100) > 2 * IMAGE_MAX)
		return REFUSE(at, "jobs[].tables[].kept",
			"%u: with replica.mode sync a table has at most %lu copies", t->kept,
			2 * IMAGE_MAX);
	return 0;
}

// A row is pushed whole, with its number behind the push's head; lib/engine refuses others when a
// worker registers. What the port cannot carry no path can.
static int row_check(const struct check *at, const struct gp_config_table *t)
{
	uint32_t mtu = at->c->port.mtu;
	uint32_t most = gp_config_block_elements(mtu) - ROW_OVERHEAD;
	if (t->dim > most)
		return REFUSE(at, "jobs[].tables[].dim",
			"%u: a datagram at port.mtu %u carries rows of at most %u values; lower "
			"it, or raise port.mtu",
			t->dim, mtu, most);
	if (t->dim + row_state(at->job, t) > ROWS_MAX)
		return REFUSE(at, "jobs[].tables[].dim",
			"%u: values and optimizer state of a row are more than %u floats", t->dim,
			ROWS_MAX);
	return 0;
}

static int tables_check(const struct check *k)
{
	const struct gp_config_job *j = k->job;
	for (uint32_t i = 0; i < j->tables_count; i++) {
		const struct gp_config_table *t = &j->tables[i];
		struct check at = *k;
		at.scope = gp_config_table_scope(k->scope, i);
		int rc = gp_config_required_check(&at, ROW_TABLE);
		if (rc != 0)
			return rc;
		for (uint32_t n = 0; n < i; n++)
			if (strcmp(j->tables[n].name, t->name) == 0)
				return REFUSE(&at, "jobs[].tables[].name",
					"%s is also the name of tables[%u]", t->name, n);
		bool age = t->eviction == GP_EVICTION_AGE;
		if (age != (t->evict_after > 0))
			return REFUSE(&at, "jobs[].tables[].evict_after",
				age ? "is missing; eviction age needs it" : "is for eviction age");
		if (t->evict_reads && t->eviction == GP_EVICTION_NONE)
			return REFUSE(
				&at, "jobs[].tables[].evict_reads", "is for eviction age and step");
		if (t->initial == GP_INITIAL_ZEROS &&
			gp_config_given(&at, "jobs[].tables[].initial_scale"))
			return REFUSE(&at, "jobs[].tables[].initial_scale",
				"is for initial uniform and normal; this table's is zeros");
		rc = table_optim_check(&at, t);
		if (rc != 0)
			return rc;
		rc = row_check(&at, t);
		if (rc == 0)
			rc = image_check(&at, t);
		if (rc != 0)
			return rc;
	}
	if (arrays_count(j) > ARRAYS_MAX)
		return REFUSE(k, "jobs[].tables[]",
			"the optimizers of all tables keep %u arrays of state; snapshots have room "
			"for %u",
			arrays_count(j), ARRAYS_MAX);
	return 0;
}

static const char *const only_embed[] = {"jobs[].tables[]", "jobs[].push_max"};
static const char *const not_embed[] = {"jobs[].norm_max", "jobs[].mean", "jobs[].staleness.max",
	"jobs[].staleness.policy", "jobs[].optimizer.delay_compensation",
	"jobs[].optimizer.clip_norm", "jobs[].tensors_max"};

static bool is_among(const char *path, const char *const *paths, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (strcmp(path, paths[i]) == 0)
			return true;
	return false;
}

bool gp_config_embed_takes(enum gp_job_kind kind, const struct row *r)
{
	if (kind == GP_JOB_EMBED)
		return !is_among(r->path, not_embed, GP_ARRAY_SIZE(not_embed));
	return !is_among(r->path, only_embed, GP_ARRAY_SIZE(only_embed));
}

static int keys_check(const struct check *k)
{
	bool embeds = k->job->kind == GP_JOB_EMBED;
	for (uint32_t i = 0; i < gp_config_rows_count; i++) {
		const struct row *r = &gp_config_rows[i];
		if (!(r->flags & ROW_JOB) || !gp_config_given(k, r->path) ||
			gp_config_embed_takes(k->job->kind, r))
			continue;
		return embeds ? REFUSE(k, r->path, "is not for kind embed")
			      : REFUSE(k, r->path, "is for kind embed; this job is of kind %s",
					gp_job_kind_name(k->job->kind));
	}
	return 0;
}

int gp_config_embed_check(const struct check *k)
{
	const struct gp_config_job *j = k->job;
	int rc = keys_check(k);
	if (rc != 0)
		return rc;
	if (j->kind == GP_JOB_TRAIN && j->optimizer.name == GP_OPTIMIZER_ROWWISE_ADAGRAD)
		return REFUSE(k, "jobs[].optimizer.name",
			"rowwise_adagrad keeps one number for a row: it is for kind embed");
	if (j->kind != GP_JOB_EMBED)
		return 0;
	if (j->tables_count == 0)
		return REFUSE(k, "jobs[].tables[]", "is missing; kind embed needs a table");
	if (j->consistency == GP_CONSISTENCY_BSP || j->consistency == GP_CONSISTENCY_QUORUM)
		return REFUSE(k, "jobs[].consistency",
			"%s is not for kind embed, which takes ssp, asp or adaptive",
			gp_consistency_name(j->consistency));
	if (j->atomicity != GP_ATOMICITY_STEP)
		return REFUSE(k, "jobs[].atomicity",
			"%s is not for kind embed: a push is the unit, which is step",
			gp_atomicity_name(j->atomicity));
	if (j->nonfinite == GP_NONFINITE_ZERO)
		return REFUSE(k, "jobs[].nonfinite",
			"zero is not for kind embed, which takes refuse or drop_worker");
	return tables_check(k);
}
