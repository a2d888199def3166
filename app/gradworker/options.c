// SPDX-License-Identifier: BSD-3-Clause
#include "options.h"

#include "dataset.h"
#include "launcher.h"
#include "whole_step.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_DEFAULT	      128u
#define TIMEOUT_MS_DEFAULT    30000u
#define RECONNECT_MS_SEVERAL  60000u
#define STEPS_MAX	      1000000000u
#define FEATURES_BITS_DEFAULT 22u

static const char HELP[] =
	"usage: gradworker --server ADDR:PORT --job NAME [--rank R --world W] [options]\n"
	"       gradworker --eval --server ADDR:PORT --job NAME --model NAME\n"
	"       gradworker --local --world N [options]\n"
	"Trains on Fashion-MNIST through a gradplane server; --eval measures the accuracy of the\n"
	"server's parameters on the test images; --local does the same training as N workers in "
	"this\n"
	"one process, without a network.\n"
	"\n"
	"  --server ADDR:PORT   numeric, [ADDR]:PORT for IPv6; several that may lead: A,B\n"
	"  --job NAME           as in the server's configuration\n"
	"  --transport TEXT     udp (default), memif:SOCKET,id=N or dpdk:DEVICE,... (see "
	"gradplane's\n"
	"                       docs/transports.md)\n"
	"  --rank R --world W   else from RANK/WORLD_SIZE, OMPI_COMM_WORLD_RANK/_SIZE,\n"
	"                       SLURM_PROCID/SLURM_NTASKS\n"
	"  --model NAME         softmax or mlp (default mlp)\n"
	"  --task sections      predicts sections of Debian packages with an embed job, from the\n"
	"                       file --data FILE that scripts/sections-data makes; its table\n"
	"                       is named weights, dim 64\n"
	"  --features-bits N    task sections: words are hashed to N bits (default 22)\n"
	"  --dense              task sections: a tensor of a train job instead of a table\n"
	"  --data DIR           default " GW_DATASET_DIR "\n"
	"  --batch N            samples of one worker in one step (default 128)\n"
	"  --steps N            train up to step N of the job, or\n"
	"  --epochs N           up to the end of epoch N; with neither, until stopped\n"
	"  --seed S             of initial values and sample order (default 1)\n"
	"  --codec C            of gradients: f32, bf16, f16, int8, sign, auto (by size and "
	"bandwidth),\n"
	"                       topk:K, topk_bf16:K or topk_f16:K, where K is a share of each\n"
	"                       tensor, such as 0.01, or a number of its elements, such as 500n\n"
	"                       (default: as the job's configuration says)\n"
	"  --topk-sampled       one threshold for each tensor, from a sample of it; else exactly "
	"K\n"
	"                       of each block\n"
	"  --topk-warmup N      over the first N steps the share falls from 25 % to K\n"
	"  --topk-momentum M    momentum correction on the worker; the server's optimizer is sgd\n"
	"  --results C          of parameters: f32, bf16, f16 or int8 (default f32)\n"
	"  --changed            the server leaves out parameters that have not changed\n"
	"  --mtu N              path MTU to probe with (default: of the interface)\n"
	"  --timeout-ms N       longest wait for the server in one step (default 30000)\n"
	"  --reconnect-ms N     when the server is gone, look so long for the one that leads now, "
	"and\n"
	"                       go on (default: 60000 with several addresses, else 0: stop)\n"
	"  --delay-ms N         every step takes that much longer: to see what a slow worker does\n"
	"  --replace            take the rank over from a live holder\n"
	"  --previous-incarnation N   that life of this rank has ended\n"
	"  --progress KIND      text, json or none, on stderr (default text)\n"
	"  --progress-steps N   every N steps (default: every 2 s; on a terminal twice a second)\n"
	"  --dump-params FILE   write the parameters at the end, raw f32\n"
	"  --stop-file FILE     finish the step in hand and leave when FILE exists\n"
	"  --views FILE         with --local only: sum in each step the ranks that the server's\n"
	"                       record (jobs[].views_log) names; without --steps to its end\n"
	"  --optimizer NAME[,KEY=VALUE]...   with --local only, as in the server's configuration:\n"
	"                       sgd, momentum, nesterov, adagrad, adam, adamw, ftrl, lamb\n"
	"                       (default momentum,lr=0.1)\n"
	"  --lr X --momentum X --weight-decay X   the same, for some keys\n"
	"  --norm-max X --block N   with --local only: clamp gradients over blocks of N elements;\n"
	"                       lamb and the key clip_norm need --block too: norms are summed so\n"
	"  --version, --help\n"
	"The last line on stdout begins with 'gradworker: ok', 'gradworker: eval' or\n"
	"'gradworker: error:'. Exit status 0, 1 for an error, 2 for wrong usage.\n";

enum option_id {
	OPT_SERVER = 256,
	OPT_JOB,
	OPT_TRANSPORT,
	OPT_RANK,
	OPT_WORLD,
	OPT_MODEL,
	OPT_TASK,
	OPT_FEATURES_BITS,
	OPT_DENSE,
	OPT_DATA,
	OPT_BATCH,
	OPT_STEPS,
	OPT_EPOCHS,
	OPT_LR,
	OPT_MOMENTUM,
	OPT_WEIGHT_DECAY,
	OPT_OPTIMIZER,
	OPT_NORM_MAX,
	OPT_BLOCK,
	OPT_SEED,
	OPT_CODEC,
	OPT_TOPK_SAMPLED,
	OPT_TOPK_WARMUP,
	OPT_TOPK_MOMENTUM,
	OPT_RESULTS,
	OPT_CHANGED,
	OPT_MTU,
	OPT_PROGRESS,
	OPT_PROGRESS_STEPS,
	OPT_REPLACE,
	OPT_PREVIOUS_INCARNATION,
	OPT_DUMP_PARAMS,
	OPT_STOP_FILE,
	OPT_VIEWS,
	OPT_TIMEOUT_MS,
	OPT_DELAY_MS,
	OPT_RECONNECT_MS,
	OPT_EVAL,
	OPT_LOCAL,
	OPT_VERSION,
	OPT_HELP,
};

static const struct option LONG_OPTIONS[] = {
	{"server", required_argument, NULL, OPT_SERVER},
	{"job", required_argument, NULL, OPT_JOB},
	{"transport", required_argument, NULL, OPT_TRANSPORT},
	{"rank", required_argument, NULL, OPT_RANK},
	{"world", required_argument, NULL, OPT_WORLD},
	{"model", required_argument, NULL, OPT_MODEL},
	{"task", required_argument, NULL, OPT_TASK},
	{"features-bits", required_argument, NULL, OPT_FEATURES_BITS},
	{"dense", no_argument, NULL, OPT_DENSE},
	{"data", required_argument, NULL, OPT_DATA},
	{"batch", required_argument, NULL, OPT_BATCH},
	{"steps", required_argument, NULL, OPT_STEPS},
	{"epochs", required_argument, NULL, OPT_EPOCHS},
	{"lr", required_argument, NULL, OPT_LR},
	{"momentum", required_argument, NULL, OPT_MOMENTUM},
	{"weight-decay", required_argument, NULL, OPT_WEIGHT_DECAY},
	{"optimizer", required_argument, NULL, OPT_OPTIMIZER},
	{"norm-max", required_argument, NULL, OPT_NORM_MAX},
	{"block", required_argument, NULL, OPT_BLOCK},
	{"seed", required_argument, NULL, OPT_SEED},
	{"codec", required_argument, NULL, OPT_CODEC},
	{"topk-sampled", no_argument, NULL, OPT_TOPK_SAMPLED},
	{"topk-warmup", required_argument, NULL, OPT_TOPK_WARMUP},
	{"topk-momentum", required_argument, NULL, OPT_TOPK_MOMENTUM},
	{"results", required_argument, NULL, OPT_RESULTS},
	{"changed", no_argument, NULL, OPT_CHANGED},
	{"mtu", required_argument, NULL, OPT_MTU},
	{"progress", required_argument, NULL, OPT_PROGRESS},
	{"progress-steps", required_argument, NULL, OPT_PROGRESS_STEPS},
	{"replace", no_argument, NULL, OPT_REPLACE},
	{"previous-incarnation", required_argument, NULL, OPT_PREVIOUS_INCARNATION},
	{"dump-params", required_argument, NULL, OPT_DUMP_PARAMS},
	{"stop-file", required_argument, NULL, OPT_STOP_FILE},
	{"views", required_argument, NULL, OPT_VIEWS},
	{"timeout-ms", required_argument, NULL, OPT_TIMEOUT_MS},
	{"delay-ms", required_argument, NULL, OPT_DELAY_MS},
	{"reconnect-ms", required_argument, NULL, OPT_RECONNECT_MS},
	{"eval", no_argument, NULL, OPT_EVAL},
	{"local", no_argument, NULL, OPT_LOCAL},
	{"version", no_argument, NULL, OPT_VERSION},
	{"help", no_argument, NULL, OPT_HELP},
	{NULL, 0, NULL, 0},
};

// What is being parsed, and what only the command line as a whole can judge.
struct parse {
	struct gw_options *o;
	struct gw_error *err;
	struct gw_launch flags; // rank and world as flags say
	bool eval, local, has_optimizer, has_reconnect, has_data;
};

static const char *option_name(int id)
{
	for (const struct option *l = LONG_OPTIONS; l->name; l++)
		if (l->val == id)
			return l->name;
	return "?";
}

static int number_parse(
	struct parse *p, int id, const char *text, uint64_t low, uint64_t high, uint64_t *value)
{
	if (gw_launcher_number(text, low, high, value) == 0)
		return 0;
	return gw_error_set(p->err, -EINVAL, "--%s: '%s' is not a number in %llu..%llu",
		option_name(id), text, (unsigned long long)low, (unsigned long long)high);
}

static int u32_parse(
	struct parse *p, int id, const char *text, uint32_t low, uint32_t high, uint32_t *value)
{
	uint64_t wide;
	int rc = number_parse(p, id, text, low, high, &wide);

	if (!rc)
		*value = (uint32_t)wide;
	return rc;
}

static int float_parse(struct parse *p, int id, const char *text, double high, float *value)
{
	char *end;
	double number = strtod(text, &end);

	*value = (float)number;
	if (end != text && *end == '\0' && isfinite(number) && number >= 0 && number <= high)
		return 0;
	return gw_error_set(p->err, -EINVAL, "--%s: '%s' is not a number in 0..%g", option_name(id),
		text, high);
}

static int ratio_parse(struct parse *p, const char *text, const char *colon)
{
	char *end;
	double ratio = strtod(colon + 1, &end);

	p->o->topk_ratio = 0;
	p->o->topk_count = 0;
	if (end != colon + 1 && strcmp(end, "n") == 0 && ratio >= 1 && ratio <= 1e12 &&
		ratio == floor(ratio)) {
		p->o->topk_count = (uint64_t)ratio;
		return 0;
	}
	if (end == colon + 1 || *end || !(ratio > 0 && ratio <= 1))
		return gw_error_set(p->err, -EINVAL,
			"--codec: what '%s' keeps is neither a ratio in (0, 1] nor a count like "
			"500n",
			text);
	p->o->topk_ratio = (float)ratio;
	return 0;
}

static int codec_parse(struct parse *p, const char *text)
{
	static const char *const names[] = {
		[GW_CODEC_F32] = "f32",
		[GW_CODEC_BF16] = "bf16",
		[GW_CODEC_F16] = "f16",
		[GW_CODEC_INT8] = "int8",
		[GW_CODEC_SIGN] = "sign",
		[GW_CODEC_TOPK] = "topk:",
		[GW_CODEC_TOPK_BF16] = "topk_bf16:",
		[GW_CODEC_TOPK_F16] = "topk_f16:",
		[GW_CODEC_AUTO] = "auto",
	};
	const char *colon = strchr(text, ':');
	size_t len = colon ? (size_t)(colon + 1 - text) : strlen(text);

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!names[i] || strlen(names[i]) != len || strncmp(names[i], text, len) != 0)
			continue;
		p->o->codec = (enum gw_codec)i;
		return colon ? ratio_parse(p, text, colon) : 0;
	}
	return gw_error_set(p->err, -EINVAL,
		"--codec: '%s' is not one of f32, bf16, f16, int8, sign, auto, topk:K, "
		"topk_bf16:K, topk_f16:K",
		text);
}

static int results_parse(struct parse *p, const char *text)
{
	static const char *const names[] = {"f32", "bf16", "f16", "int8"};
	static const enum gw_codec codecs[] = {
		GW_CODEC_F32, GW_CODEC_BF16, GW_CODEC_F16, GW_CODEC_INT8};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(text, names[i]) == 0) {
			p->o->results = codecs[i];
			return 0;
		}
	return gw_error_set(
		p->err, -EINVAL, "--results: '%s' is not one of f32, bf16, f16, int8", text);
}

static int progress_parse(struct parse *p, const char *text)
{
	static const char *const names[] = {"text", "json", "none"};

	for (int i = 0; i < 3; i++)
		if (strcmp(text, names[i]) == 0) {
			p->o->progress = (enum gw_progress_kind)i;
			return 0;
		}
	return gw_error_set(
		p->err, -EINVAL, "--progress: '%s' is not one of text, json, none", text);
}

static int model_parse(struct parse *p, const char *text)
{
	if (strcmp(text, "softmax") != 0 && strcmp(text, "mlp") != 0)
		return gw_error_set(
			p->err, -EINVAL, "--model: '%s' is not one of softmax, mlp", text);
	p->o->model = text;
	return 0;
}

static int task_parse(struct parse *p, const char *text)
{
	if (strcmp(text, "sections") != 0)
		return gw_error_set(p->err, -EINVAL, "--task: '%s' is not sections", text);
	p->o->task = GW_TASK_SECTIONS;
	return 0;
}

// Flags that are text or have no value.
static int plain_parse(struct parse *p, int id, const char *text)
{
	struct gw_options *o = p->o;

	switch (id) {
	case OPT_SERVER:
		o->server = text;
		return 0;
	case OPT_JOB:
		o->job = text;
		return 0;
	case OPT_TRANSPORT:
		o->transport = text;
		return 0;
	case OPT_DATA:
		o->data = text;
		p->has_data = true;
		return 0;
	case OPT_DUMP_PARAMS:
		o->dump_path = text;
		return 0;
	case OPT_STOP_FILE:
		o->stop_path = text;
		return 0;
	case OPT_VIEWS:
		o->views_path = text;
		return 0;
	case OPT_REPLACE:
		o->replace = true;
		return 0;
	case OPT_TOPK_SAMPLED:
		o->topk_sampled = true;
		return 0;
	case OPT_DENSE:
		o->dense = true;
		return 0;
	case OPT_CHANGED:
		o->changed = true;
		return 0;
	case OPT_EVAL:
		p->eval = true;
		return 0;
	case OPT_LOCAL:
		p->local = true;
		return 0;
	default:
		return gw_error_set(p->err, -EINVAL, "--%s: not understood", option_name(id));
	}
}

static int rank_parse(struct parse *p, int id, const char *text)
{
	struct gw_launch *f = &p->flags;

	if (id == OPT_RANK) {
		f->has_rank = true;
		return u32_parse(p, id, text, 0, GW_WORLD_MAX - 1, &f->rank);
	}
	f->has_world = true;
	return u32_parse(p, id, text, 1, GW_WORLD_MAX, &f->world);
}

static int optimizer_parse(struct parse *p, int id, const char *text)
{
	struct gw_options *o = p->o;

	switch (id) {
	case OPT_LR:
		return float_parse(p, id, text, 1000, &o->optimizer.lr);
	case OPT_MOMENTUM:
		return float_parse(p, id, text, 1, &o->optimizer.momentum);
	case OPT_WEIGHT_DECAY:
		return float_parse(p, id, text, 1, &o->optimizer.weight_decay);
	case OPT_NORM_MAX:
		return float_parse(p, id, text, 1e30, &o->norm_max);
	case OPT_BLOCK:
		return u32_parse(p, id, text, 16, 16384, &o->block);
	default:
		return gw_optimizer_parse(&o->optimizer, text, p->err);
	}
}

static int option_parse(struct parse *p, int id, const char *text)
{
	struct gw_options *o = p->o;

	switch (id) {
	case OPT_RANK:
	case OPT_WORLD:
		return rank_parse(p, id, text);
	case OPT_MODEL:
		return model_parse(p, text);
	case OPT_TASK:
		return task_parse(p, text);
	case OPT_FEATURES_BITS:
		return u32_parse(p, id, text, 8, 28, &o->features_bits);
	case OPT_BATCH:
		return u32_parse(p, id, text, 1, GW_DATASET_IMAGES, &o->batch);
	case OPT_STEPS:
		return u32_parse(p, id, text, 1, STEPS_MAX, &o->steps);
	case OPT_EPOCHS:
		return u32_parse(p, id, text, 1, 10000, &o->epochs);
	case OPT_LR:
	case OPT_MOMENTUM:
	case OPT_WEIGHT_DECAY:
	case OPT_OPTIMIZER:
	case OPT_NORM_MAX:
	case OPT_BLOCK:
		p->has_optimizer = true;
		return optimizer_parse(p, id, text);
	case OPT_SEED:
		return number_parse(p, id, text, 0, UINT64_MAX, &o->seed);
	case OPT_CODEC:
		return codec_parse(p, text);
	case OPT_RESULTS:
		return results_parse(p, text);
	case OPT_TOPK_WARMUP:
		return u32_parse(p, id, text, 1, STEPS_MAX, &o->topk_warmup);
	case OPT_TOPK_MOMENTUM:
		return float_parse(p, id, text, 0.9999, &o->topk_momentum);
	case OPT_MTU:
		return u32_parse(p, id, text, 576, 65535, &o->mtu);
	case OPT_PROGRESS:
		return progress_parse(p, text);
	case OPT_PREVIOUS_INCARNATION:
		return number_parse(p, id, text, 1, UINT64_MAX, &o->previous_incarnation);
	case OPT_TIMEOUT_MS:
		return u32_parse(p, id, text, 1, 86400000, &o->timeout_ms);
	case OPT_RECONNECT_MS:
		p->has_reconnect = true;
		return u32_parse(p, id, text, 0, 3600000, &o->reconnect_ms);
	case OPT_PROGRESS_STEPS:
		return u32_parse(p, id, text, 1, UINT32_MAX, &o->progress_steps);
	case OPT_DELAY_MS:
		return u32_parse(p, id, text, 0, 3600000, &o->delay_ms);
	default:
		return plain_parse(p, id, text);
	}
}

static int local_check(struct parse *p)
{
	if (p->o->codec > GW_CODEC_F32)
		return gw_error_set(
			p->err, -EINVAL, "--codec: --local is the reference and knows only f32");
	if (p->o->server || p->flags.has_rank || p->o->transport)
		return gw_error_set(p->err, -EINVAL, "--local takes no --%s",
			p->o->server	  ? "server"
			: p->o->transport ? "transport"
					  : "rank");
	if (!p->flags.has_world)
		return gw_error_set(p->err, -EINVAL, "--local: --world N is missing");
	p->o->world = p->flags.world;
	bool whole = gw_is_whole(&p->o->optimizer);
	if ((p->o->norm_max > 0 || whole) != (p->o->block > 0))
		return gw_error_set(p->err, -EINVAL, "%s",
			p->o->block ? "--block is for --norm-max, or --optimizer lamb or clip_norm"
			: whole	    ? "--optimizer lamb or clip_norm needs --block"
				    : "--norm-max needs --block");
	if (!p->o->steps && !p->o->epochs && !p->o->views_path)
		return gw_error_set(p->err, -EINVAL, "--local: give --steps N or --epochs N");
	return 0;
}

static int remote_check(struct parse *p)
{
	struct gw_options *o = p->o;
	struct gw_launch launch;
	int rc;

	if (!p->has_reconnect && o->server && strchr(o->server, ','))
		o->reconnect_ms = RECONNECT_MS_SEVERAL;
	if (!o->server)
		return gw_error_set(p->err, -EINVAL, "--server ADDR:PORT is missing (see --help)");
	if (!o->job)
		return gw_error_set(p->err, -EINVAL, "--job NAME is missing (see --help)");
	if (o->views_path)
		return gw_error_set(p->err, -EINVAL, "--views is for --local");
	if (p->has_optimizer)
		return gw_error_set(p->err, -EINVAL,
			"--optimizer, --lr, --momentum, --weight-decay, --norm-max and --block are "
			"for --local: on a server its configuration decides");
	if (o->mode == GW_EVAL) {
		o->rank = 0;
		o->world = p->flags.has_world ? p->flags.world : 0;
		return 0;
	}
	rc = gw_launcher_resolve(&launch, &p->flags, p->err);
	if (rc)
		return rc;
	o->rank = launch.rank;
	o->world = launch.world;
	return 0;
}

static int topk_check(const struct parse *p)
{
	const struct gw_options *o = p->o;

	if (o->topk_ratio > 0 || o->topk_count > 0)
		return 0;
	if (o->topk_sampled || o->topk_warmup || o->topk_momentum > 0)
		return gw_error_set(p->err, -EINVAL,
			"--topk-sampled, --topk-warmup and --topk-momentum go with a top-k "
			"--codec");
	return 0;
}

static int whole_check(struct parse *p)
{
	struct gw_options *o = p->o;
	int rc = topk_check(p);

	if (rc)
		return rc;

	o->mode = p->local ? GW_LOCAL : p->eval ? GW_EVAL : GW_TRAIN;
	o->score = p->local && p->eval;
	if (o->steps && o->epochs)
		return gw_error_set(p->err, -EINVAL, "--steps and --epochs exclude each other");
	if (o->task == GW_TASK_SECTIONS && (p->local || o->batch > GW_TASK_BATCH_MAX))
		return gw_error_set(p->err, -EINVAL,
			"--task sections has no --local, and a batch of at most %u",
			GW_TASK_BATCH_MAX);
	if (o->task == GW_TASK_SECTIONS && !p->has_data)
		return gw_error_set(p->err, -EINVAL,
			"--task sections needs --data FILE, which scripts/sections-data makes");
	if (o->dense && o->task != GW_TASK_SECTIONS)
		return gw_error_set(p->err, -EINVAL, "--dense is for --task sections");
	return p->local ? local_check(p) : remote_check(p);
}

static void options_default(struct gw_options *o)
{
	*o = (struct gw_options){
		.model = "mlp",
		.data = GW_DATASET_DIR,
		.batch = BATCH_DEFAULT,
		.features_bits = FEATURES_BITS_DEFAULT,
		.seed = 1,
		.timeout_ms = TIMEOUT_MS_DEFAULT,
	};
	gw_optimizer_default(&o->optimizer);
}

int gw_options_parse(struct gw_options *o, int argc, char **argv, struct gw_error *err)
{
	struct parse p = {.o = o, .err = err};
	int id, rc;

	options_default(o);
	optind = 0; // start anew: a program, or a test, may parse twice
	opterr = 0;
	while ((id = getopt_long(argc, argv, ":", LONG_OPTIONS, NULL)) != -1) {
		if (id == OPT_HELP) {
			fputs(HELP, stdout);
			return 1;
		}
		if (id == OPT_VERSION) {
			puts("gradworker " GRADWORKER_VERSION);
			return 1;
		}
		if (id == '?')
			return gw_error_set(
				err, -EINVAL, "unknown flag '%s' (see --help)", argv[optind - 1]);
		if (id == ':')
			return gw_error_set(
				err, -EINVAL, "%s needs a value (see --help)", argv[optind - 1]);
		rc = option_parse(&p, id, optarg);
		if (rc)
			return rc;
	}
	if (optind < argc)
		return gw_error_set(
			err, -EINVAL, "unexpected argument '%s' (see --help)", argv[optind]);
	return whole_check(&p);
}
