// SPDX-License-Identifier: BSD-3-Clause
#include "dataset.h"
#include "digest.h"
#include "local.h"
#include "options.h"
#include "sampler.h"
#include "trainer.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#define ARGS_MAX 40

// Parses a command line given as one text.
static int options_of(struct gw_options *o, struct gw_error *err, const char *line)
{
	static char held[512]; // the options point into it
	char *argv[ARGS_MAX + 1] = {"gradworker"};
	int argc = 1;

	snprintf(held, sizeof(held), "%s", line);
	for (char *word = strtok(held, " "); word && argc < ARGS_MAX; word = strtok(NULL, " "))
		argv[argc++] = word;
	err->text[0] = '\0';
	return gw_options_parse(o, argc, argv, err);
}

static void launchers_forget(void)
{
	static const char *const names[] = {"RANK", "WORLD_SIZE", "OMPI_COMM_WORLD_RANK",
		"OMPI_COMM_WORLD_SIZE", "SLURM_PROCID", "SLURM_NTASKS"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		unsetenv(names[i]);
}

#define SERVER "--server 127.0.0.1:9700 --job j "

Test(options, each_mistake_is_named)
{
	static const struct {
		const char *line, *text;
	} cases[] = {
		{"--nonsense", "unknown flag '--nonsense'"},
		{"--batch", "--batch needs a value"},
		{"--local --world 2 --steps 1 more", "unexpected argument 'more'"},
		{"--local --world 2 --steps 0", "--steps: '0' is not a number in 1.."},
		{"--local --world 2 --steps 1x", "--steps: '1x' is not a number"},
		{"--local --world 2 --steps -1", "--steps: '-1' is not a number"},
		{"--local --world 257 --steps 1", "--world: '257' is not a number in 1..256"},
		{"--local --world 2", "give --steps N or --epochs N"},
		{"--local --steps 5", "--world N is missing"},
		{"--local --world 2 --rank 1 --steps 5", "--local takes no --rank"},
		{"--local --server a:1 --world 2 --steps 5", "--local takes no --server"},
		{"--local --world 2 --steps 5 --codec bf16", "knows only f32"},
		{"--steps 3 --epochs 1 --local --world 1", "exclude each other"},
		{"--model vgg", "--model: 'vgg' is not one of softmax, mlp"},
		{"--lr fast", "--lr: 'fast' is not a number in 0..1000"},
		{"--lr nan", "--lr: 'nan' is not"},
		{"--momentum 1.5", "--momentum: '1.5' is not a number in 0..1"},
		{"--optimizer rmsprop", "--optimizer: 'rmsprop' is none of them"},
		{"--optimizer adam,beta3=1", "--optimizer: 'beta3=1' is no KEY=VALUE"},
		{"--optimizer adam,beta1", "--optimizer: 'beta1' is no KEY=VALUE"},
		{"--optimizer sgd,schedule=never", "--optimizer: 'schedule=never' has a value"},
		{"--optimizer sgd,momentum=0.9", "'momentum=0.9' is not for this optimizer"},
		{"--optimizer sgd,clip_norm=-1", "'clip_norm=-1' has a value that is out of range"},
		{"--local --world 2 --steps 5 --block 336", "--block is for --norm-max, or"},
		{"--optimizer sgd,schedule=cosine", "--optimizer: schedule needs schedule_steps"},
		{"--local --world 2 --steps 5 --norm-max 1", "--norm-max needs --block"},
		{"--local --world 2 --steps 5 --optimizer sgd,clip_norm=1",
			"lamb or clip_norm needs --block"},
		{"--codec int4",
			"--codec: 'int4' is not one of f32, bf16, f16, int8, sign, auto, topk"},
		{"--codec topk", "--codec: 'topk' is not one of"},
		{"--codec int8:0.5", "--codec: 'int8:0.5' is not one of"},
		{"--codec topk_f16:2", "keeps is neither a ratio in (0, 1] nor a count"},
		{"--codec topk:5.5n", "nor a count"},
		{"--topk-sampled --local --world 1 --steps 1", "go with a top-k --codec"},
		{"--codec topk:0.1 --topk-momentum 1", "--topk-momentum: '1' is not"},
		{"--codec topk:0", "keeps is neither a ratio in (0, 1]"},
		{"--codec topk:", "keeps is neither a ratio in (0, 1]"},
		{"--mtu 100", "--mtu: '100' is not a number in 576..65535"},
		{"--progress loud", "--progress: 'loud' is not one of text, json, none"},
		{"--previous-incarnation 0", "--previous-incarnation: '0' is not"},
		{"--timeout-ms 0", "--timeout-ms: '0' is not"},
		{"--delay-ms x", "--delay-ms: 'x' is not"},
		{"--job j --rank 0 --world 1", "--server ADDR:PORT is missing"},
		{"--server a:1 --rank 0 --world 1", "--job NAME is missing"},
		{SERVER "--rank 0", "world size is missing"},
		{SERVER "--world 2", "rank is missing"},
		{SERVER "--rank 2 --world 2", "rank 2 is out of range 0..1"},
		{SERVER "--rank 0 --world 2 --lr 0.1", "are for --local"},
	};
	struct gw_options o;
	struct gw_error err;

	launchers_forget();
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		cr_assert_eq(options_of(&o, &err, cases[i].line), -EINVAL, "%s", cases[i].line);
		cr_assert_not_null(
			strstr(err.text, cases[i].text), "%s: said '%s'", cases[i].line, err.text);
	}
}

Test(options, all_flags_arrive)
{
	struct gw_options o;
	struct gw_error err;

	launchers_forget();
	cr_assert_eq(
		options_of(&o, &err,
			SERVER
			"--rank 1 --world 3 --model softmax --batch 64 --epochs 2 "
			"--seed 9 --codec topk:0.25 --mtu 9000 --progress json "
			"--progress-steps 20 --replace --previous-incarnation 0x1f --timeout-ms 5 "
			"--delay-ms 7"),
		0, "%s", err.text);
	cr_assert_eq(o.mode, GW_TRAIN);
	cr_assert(o.rank == 1 && o.world == 3 && o.batch == 64 && o.epochs == 2 && o.seed == 9);
	cr_assert(o.codec == GW_CODEC_TOPK && o.topk_ratio == 0.25f && o.mtu == 9000);
	cr_assert(o.progress == GW_PROGRESS_JSON && o.replace && o.timeout_ms == 5);
	cr_assert_eq(o.progress_steps, 20);
	cr_assert(o.previous_incarnation == 0x1f && o.delay_ms == 7);
	cr_assert_str_eq(o.model, "softmax");
	cr_assert_eq(options_of(&o, &err, SERVER "--world 1 --rank 0 --codec topk_bf16:0.01"), 0);
	cr_assert(o.codec == GW_CODEC_TOPK_BF16 && o.topk_ratio == 0.01f);
	cr_assert_eq(options_of(&o, &err,
			     SERVER "--world 1 --rank 0 --codec topk_f16:500n --topk-sampled "
				    "--topk-warmup 40 --topk-momentum 0.9"),
		0);
	cr_assert(o.codec == GW_CODEC_TOPK_F16 && o.topk_ratio == 0 && o.topk_count == 500);
	cr_assert(o.topk_sampled && o.topk_warmup == 40 && o.topk_momentum == 0.9f);
	cr_assert_eq(options_of(&o, &err, SERVER "--world 1 --rank 0 --codec sign"), 0);
	cr_assert_eq(o.codec, GW_CODEC_SIGN);
	cr_assert_eq(options_of(&o, &err, SERVER "--eval"), 0);
	cr_assert_eq(o.mode, GW_EVAL);
	cr_assert_eq(options_of(&o, &err, "--local --eval --world 2 --steps 3 --lr 0.5"), 0);
	cr_assert(o.mode == GW_LOCAL && o.score && o.world == 2 && o.optimizer.lr == 0.5f);
}

static void launcher_check(const char *rank, const char *world)
{
	struct gw_options o;
	struct gw_error err;

	launchers_forget();
	setenv(rank, "1", 1);
	setenv(world, "4", 1);
	cr_assert_eq(options_of(&o, &err, SERVER), 0, "%s: %s", rank, err.text);
	cr_assert(o.rank == 1 && o.world == 4);
	cr_assert_eq(options_of(&o, &err, SERVER "--rank 2 --world 3"), 0, "flags win");
	cr_assert(o.rank == 2 && o.world == 3);
	setenv(rank, "one", 1);
	cr_assert_eq(options_of(&o, &err, SERVER), -EINVAL);
	cr_assert_not_null(strstr(err.text, rank));
}

Test(options, rank_and_world_come_from_every_launcher)
{
	launcher_check("RANK", "WORLD_SIZE");
	launcher_check("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE");
	launcher_check("SLURM_PROCID", "SLURM_NTASKS");
}

Test(options, launchers_that_disagree_are_named)
{
	struct gw_options o;
	struct gw_error err;

	launchers_forget();
	setenv("RANK", "0", 1);
	setenv("WORLD_SIZE", "2", 1);
	setenv("SLURM_PROCID", "1", 1);
	cr_assert_eq(options_of(&o, &err, SERVER), -EINVAL);
	cr_assert_not_null(strstr(err.text, "RANK=0 but SLURM_PROCID=1"), "%s", err.text);
	setenv("SLURM_PROCID", "0", 1);
	cr_assert_eq(options_of(&o, &err, SERVER), 0, "%s", err.text);
}

// Every sample is used at most once an epoch, by one rank, and nearly all are.
Test(sampler, ranks_share_an_epoch_without_overlap)
{
	const struct gw_sampler_opts opts = {
		.seed = 3, .samples_count = 103, .world = 3, .batch = 5};
	struct gw_sampler s;
	struct gw_error err;

	cr_assert_eq(gw_sampler_init(&s, &opts, &err), 0);
	cr_assert_eq(s.epoch_steps, 6);
	for (uint32_t epoch = 0; epoch < 2; epoch++) {
		uint8_t used[103] = {0};

		for (uint32_t step = epoch * 6; step < epoch * 6 + 6; step++)
			for (uint32_t rank = 0; rank < 3; rank++) {
				const uint32_t *samples = gw_sampler_batch(&s, step, rank);

				for (uint32_t i = 0; i < 5; i++)
					cr_assert_eq(used[samples[i]]++, 0);
			}
	}
	gw_sampler_fini(&s);
}

Test(sampler, position_follows_from_the_step_alone)
{
	const struct gw_sampler_opts opts = {
		.seed = 3, .samples_count = 103, .world = 3, .batch = 5};
	struct gw_sampler walked, resumed;
	struct gw_error err;
	uint32_t first[5];

	gw_sampler_init(&walked, &opts, &err);
	gw_sampler_init(&resumed, &opts, &err);
	memcpy(first, gw_sampler_batch(&walked, 0, 0), sizeof(first));
	for (uint32_t step = 0; step <= 20; step++)
		gw_sampler_batch(&walked, step, 1);
	cr_assert_arr_eq(
		gw_sampler_batch(&walked, 20, 1), gw_sampler_batch(&resumed, 20, 1), sizeof(first));
	cr_assert_arr_neq(gw_sampler_batch(&resumed, 6, 0), first, sizeof(first), "epoch 1 = 0");
	gw_sampler_fini(&walked);
	gw_sampler_fini(&resumed);
}

Test(sampler, a_global_batch_beyond_the_data_is_refused)
{
	const struct gw_sampler_opts opts = {
		.seed = 3, .samples_count = 103, .world = 3, .batch = 35};
	struct gw_sampler s;
	struct gw_error err;

	cr_assert_eq(gw_sampler_init(&s, &opts, &err), -EINVAL);
	cr_assert_not_null(strstr(err.text, "the data set has 103"));
}

Test(digest, does_not_see_the_sign_of_zero_but_any_other_bit)
{
	static float a[3000], b[3000];

	for (size_t i = 0; i < 3000; i++)
		a[i] = b[i] = (float)i;
	b[0] = -0.0f;
	cr_assert_eq(gw_digest(a, 3000), gw_digest(b, 3000));
	b[2999] = 2998.9998f;
	cr_assert_neq(gw_digest(a, 3000), gw_digest(b, 3000));
	// XXH3-64 of the four bytes 00 00 80 3f.
	cr_assert_eq(gw_digest((float[]){1.0f}, 1), 0xf87b05471331b3aeu);
}

// Two steps of PyTorch's SGD(lr=0.5, momentum=0.5, weight_decay=0.25), exact in f32.
Test(optimizer, momentum_follows_the_formula)
{
	struct gw_optimizer how;
	float param = 4.0f, velocity[GW_STATES_MAX], sum = 6.0f;
	struct gw_update u = {.params = &param, .state = velocity, .sum = &sum};

	gw_optimizer_default(&how);
	how.lr = 0.5f, how.momentum = 0.5f, how.weight_decay = 0.25f;
	gw_optimizer_begin(&how, velocity, 1);
	u.count = 1, u.span = 1, u.weight = 2.0f, u.step = 1;
	gw_optimizer_apply(&how, &u); // g = 3 + 1, v = 4, w = 2
	cr_assert_eq(velocity[0], 4.0f);
	cr_assert_eq(param, 2.0f);
	gw_optimizer_apply(&how, &u); // g = 3.5, v = 5.5
	cr_assert_eq(velocity[0], 5.5f);
	cr_assert_eq(param, -0.75f);
}

// Adam's first step is lr times the sign, whatever the size of the gradient.
Test(optimizer, adam_begins_with_a_step_of_lr)
{
	struct gw_optimizer how;
	struct gw_error err;
	float params[2] = {1, 1}, state[2 * GW_STATES_MAX], sum[2] = {5, -1e-3f};
	const struct gw_update u = {.params = params,
		.state = state,
		.sum = sum,
		.count = 2,
		.span = 2,
		.weight = 1,
		.step = 1};

	gw_optimizer_default(&how);
	cr_assert_eq(gw_optimizer_parse(&how, "adam,lr=0.25,beta2=0.5,epsilon=1e-9", &err), 0);
	cr_assert_eq(how.beta2, 0.5f);
	gw_optimizer_begin(&how, state, 2);
	gw_optimizer_apply(&how, &u);
	cr_assert_float_eq(params[0], 0.75f, 1e-6);
	cr_assert_float_eq(params[1], 1.25f, 1e-6);
}

Test(optimizer, a_clamp_leaves_what_is_within_it)
{
	float v[3] = {3, -4, 0}, w[3] = {3, -4, 0};

	gw_clamp(v, 3, 5);
	cr_assert_arr_eq(v, w, sizeof(v));
	gw_clamp(v, 3, 2.5f);
	cr_assert(v[0] == 1.5f && v[1] == -2.0f && v[2] == 0);
}

// A folder with the two files of split "train", written as given.
struct folder {
	char path[64];
};

static void file_write(const struct folder *f, const char *name, const void *bytes, size_t size)
{
	char path[160];
	gzFile gz;

	snprintf(path, sizeof(path), "%s/%s", f->path, name);
	gz = gzopen(path, "wb");
	cr_assert_not_null(gz);
	cr_assert_eq(gzwrite(gz, bytes, (unsigned)size), (int)size);
	gzclose(gz);
}

static void folder_remove(const struct folder *f)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/train-images-idx3-ubyte.gz", f->path);
	unlink(path);
	snprintf(path, sizeof(path), "%s/train-labels-idx1-ubyte.gz", f->path);
	unlink(path);
	rmdir(f->path);
}

struct files {
	uint8_t images[16 + 2 * GW_IMAGE_PIXELS];
	uint8_t labels[8 + 2];
};

static const struct files GOOD = {
	.images = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 28, 0, 0, 0, 28, 255},
	.labels = {0, 0, 8, 1, 0, 0, 0, 2, 9, 0},
};

// Loads these files with the images cut to `images_size`.
static int load_of(
	const struct files *files, size_t images_size, struct gw_dataset *set, struct gw_error *err)
{
	struct folder f = {"/tmp/gradworker-test-XXXXXX"};
	int rc;

	cr_assert_not_null(mkdtemp(f.path));
	file_write(&f, "train-images-idx3-ubyte.gz", files->images, images_size);
	file_write(&f, "train-labels-idx1-ubyte.gz", files->labels, sizeof(files->labels));
	rc = gw_dataset_load(set, f.path, "train", err);
	folder_remove(&f);
	return rc;
}

Test(dataset, a_good_file_loads)
{
	struct gw_dataset set;
	struct gw_error err;

	cr_assert_eq(load_of(&GOOD, sizeof(GOOD.images), &set, &err), 0, "%s", err.text);
	cr_assert_eq(set.count, 2);
	cr_assert_eq(set.pixels[0], 255);
	cr_assert_eq(set.labels[0], 9);
	gw_dataset_fini(&set);
}

Test(dataset, each_damage_is_named)
{
	static const struct {
		bool in_labels;
		size_t at;
		uint8_t value;
		const char *text;
	} cases[] = {
		{false, 3, 1, "magic is 0x00000801, expected 0x00000803"},
		{true, 2, 9, "magic is 0x00000901, expected 0x00000801"},
		{false, 11, 27, "dimension 1 is 27, expected 28"},
		{false, 15, 29, "dimension 2 is 29, expected 28"},
		{false, 7, 0, "0 items is out of range"},
		{false, 4, 255, "items is out of range"},
		{true, 7, 1, "1 labels for 2 images"},
		{true, 9, 10, "label 1 is 10, expected 0..9"},
	};
	struct gw_dataset set;
	struct gw_error err;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct files bad = GOOD;

		*(cases[i].in_labels ? &bad.labels[cases[i].at] : &bad.images[cases[i].at]) =
			cases[i].value;
		cr_assert_eq(load_of(&bad, sizeof(bad.images), &set, &err), -EBADMSG);
		cr_assert_not_null(strstr(err.text, cases[i].text), "case %zu: '%s'", i, err.text);
	}
	cr_assert_eq(load_of(&GOOD, sizeof(GOOD.images) - 1, &set, &err), -EBADMSG);
	cr_assert_not_null(strstr(err.text, "ends early"));
	cr_assert_eq(load_of(&GOOD, 9, &set, &err), -EBADMSG);
}

Test(dataset, missing_files_say_what_to_install)
{
	struct gw_dataset set;
	struct gw_error err;

	cr_assert_eq(gw_dataset_load(&set, "/nonexistent", "train", &err), -ENOENT);
	cr_assert_not_null(strstr(err.text, "dataset-fashion-mnist"));
}
