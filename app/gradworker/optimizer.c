// SPDX-License-Identifier: BSD-3-Clause
#include "optimizer.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LANES 16

static const char *const kind_names[] = {
	"sgd", "momentum", "nesterov", "adagrad", "adam", "adamw", "ftrl", "lamb", NULL};
static const char *const schedule_names[] = {"constant", "step", "cosine", NULL};

static const struct {
	const char *name;
	size_t at;
} reals[] = {
#define REAL(name)                                                                                 \
	{                                                                                          \
#name, offsetof(struct gw_optimizer, name)                                         \
	}
	REAL(lr),
	REAL(momentum),
	REAL(weight_decay),
	REAL(beta1),
	REAL(beta2),
	REAL(epsilon),
	REAL(initial_accumulator),
	REAL(ftrl_beta),
	REAL(l1),
	REAL(l2),
	REAL(gamma),
	REAL(lr_min),
	REAL(clip_norm),
#undef REAL
};

void gw_optimizer_default(struct gw_optimizer *o)
{
	*o = (struct gw_optimizer){.kind = GW_MOMENTUM,
		.lr = 0.1f,
		.momentum = 0.9f,
		.beta1 = 0.9f,
		.beta2 = 0.999f,
		.epsilon = 1e-8f,
		.ftrl_beta = 1.0f,
		.gamma = 0.1f};
}

// ---- the command line

static int name_find(const char *const *names, const char *text, size_t len)
{
	for (int i = 0; names[i]; i++)
		if (strlen(names[i]) == len && strncmp(names[i], text, len) == 0)
			return i;
	return -1;
}

static bool key_is(const char *name, const char *key, size_t len)
{
	return strlen(name) == len && strncmp(name, key, len) == 0;
}

#define BIT(kind) (1u << (kind))
#define ADAMS	  (BIT(GW_ADAM) | BIT(GW_ADAMW) | BIT(GW_LAMB))

// As a server's configuration: a key that the optimizer does not use is a mistake.
static const struct {
	const char *key;
	uint32_t kinds;
} used[] = {
	{"momentum", BIT(GW_MOMENTUM) | BIT(GW_NESTEROV)},
	{"weight_decay", ~BIT(GW_FTRL)},
	{"beta1", ADAMS},
	{"beta2", ADAMS},
	{"epsilon", ADAMS | BIT(GW_ADAGRAD)},
	{"initial_accumulator", BIT(GW_ADAGRAD) | BIT(GW_FTRL)},
	{"ftrl_beta", BIT(GW_FTRL)},
	{"schedule", ~BIT(GW_FTRL)},
	{"warmup_steps", ~BIT(GW_FTRL)},
	{"schedule_steps", ~BIT(GW_FTRL)},
	{"gamma", ~BIT(GW_FTRL)},
	{"lr_min", ~BIT(GW_FTRL)},
	{"l1", BIT(GW_FTRL)},
	{"l2", BIT(GW_FTRL)},
	{"lr", ~0u},
	{"clip_norm", ~0u},
};

// NULL: `kind` takes it.
static const char *key_refusal(enum gw_optimizer_kind kind, const char *key, size_t len)
{
	for (size_t i = 0; i < sizeof(used) / sizeof(used[0]); i++)
		if (key_is(used[i].key, key, len))
			return used[i].kinds & BIT(kind) ? NULL : "is not for this optimizer";
	return "is no KEY=VALUE of it";
}

static int value_set(struct gw_optimizer *o, const char *key, size_t key_len, const char *value)
{
	char *end = NULL;
	double number = strtod(value, &end);
	int schedule = name_find(schedule_names, value, strcspn(value, ","));

	if (key_is("schedule", key, key_len)) {
		o->schedule = (enum gw_schedule)schedule;
		return schedule < 0 ? -EINVAL : 0;
	}
	if (end == value || (*end && *end != ',') || !isfinite(number) || number < 0)
		return -EINVAL;
	for (size_t i = 0; i < sizeof(reals) / sizeof(reals[0]); i++) {
		float as_float = (float)number;

		if (!key_is(reals[i].name, key, key_len))
			continue;
		memcpy((char *)o + reals[i].at, &as_float, sizeof(as_float));
		return 0;
	}
	if (number > 1e9)
		return -EINVAL;
	if (key_is("warmup_steps", key, key_len))
		o->warmup_steps = (uint32_t)number;
	else if (key_is("schedule_steps", key, key_len))
		o->schedule_steps = (uint32_t)number;
	else
		return -EINVAL;
	return 0;
}

int gw_optimizer_parse(struct gw_optimizer *o, const char *text, struct gw_error *err)
{
	size_t len = strcspn(text, ",");
	int kind = name_find(kind_names, text, len);
	const char *why;

	if (kind < 0)
		return gw_error_set(err, -EINVAL,
			"--optimizer: '%.*s' is none of them (see --help)", (int)len, text);
	o->kind = (enum gw_optimizer_kind)kind;
	o->epsilon = kind == GW_ADAGRAD ? 1e-10f : kind == GW_LAMB ? 1e-6f : 1e-8f;
	if (kind == GW_ADAMW || kind == GW_LAMB)
		o->weight_decay = 0.01f;
	for (text += len; *text; text += len) {
		const char *key = text + 1; // behind the comma
		size_t key_len = strcspn(key, "=,");

		len = 1 + strcspn(key, ",");
		why = key[key_len] != '=' ? "is no KEY=VALUE of it"
					  : key_refusal(o->kind, key, key_len);
		if (!why && value_set(o, key, key_len, key + key_len + 1))
			why = "has a value that is out of range or no number";
		if (why)
			return gw_error_set(
				err, -EINVAL, "--optimizer: '%.*s' %s", (int)len - 1, key, why);
	}
	if (o->schedule != GW_CONSTANT && o->schedule_steps == 0)
		return gw_error_set(err, -EINVAL, "--optimizer: schedule needs schedule_steps");
	return 0;
}

// ---- the numbers of a step

double gw_power(double x, uint64_t n)
{
	double p = 1;

	for (; n; n /= 2) {
		if (n % 2)
			p = p * x;
		x = x * x;
	}
	return p;
}

static double cosine(double turn) // cos(pi * turn), 0 <= turn <= 1
{
	double y = turn > 0.5 ? 1 - turn : turn;
	double z = 3.14159265358979323846 * y * (3.14159265358979323846 * y), c = 1;

	for (int k = 12; k >= 1; k--)
		c = 1 - c * z / (2 * k * (2 * k - 1));
	return turn > 0.5 ? -c : c;
}

double gw_rate(const struct gw_optimizer *o, uint32_t step)
{
	double lr = (double)o->lr, low = (double)o->lr_min;
	uint32_t k = step - 1;

	if (k < o->warmup_steps)
		return lr * (k + 1.0) / o->warmup_steps;
	k -= o->warmup_steps;
	if (o->schedule == GW_STEP)
		return lr * gw_power((double)o->gamma, k / o->schedule_steps);
	if (o->schedule == GW_COSINE && k >= o->schedule_steps)
		return low;
	if (o->schedule == GW_COSINE)
		return low + (lr - low) * (1 + cosine((double)k / o->schedule_steps)) / 2;
	return lr;
}

// ---- updates, element by element

static void momentum_element(const struct gw_optimizer *o, float lr, float *w, float *v, float g)
{
	float along;

	*v = o->momentum * *v + g;
	along = o->momentum * *v;
	*w = *w - lr * (o->kind == GW_NESTEROV ? g + along : *v);
}

struct adam {
	float size, root, rest1, rest2, keep;
};

static struct adam adam_of(const struct gw_optimizer *o, uint32_t step)
{
	double beta1 = (double)o->beta1, beta2 = (double)o->beta2;
	float decay = (float)gw_rate(o, step) * o->weight_decay;

	return (struct adam){.size = (float)(gw_rate(o, step) / (1 - gw_power(beta1, step))),
		.root = (float)(1 / sqrt(1 - gw_power(beta2, step))),
		.rest1 = (float)(1 - beta1),
		.rest2 = (float)(1 - beta2),
		.keep = 1.0f - decay};
}

static void adam_element(
	const struct gw_optimizer *o, const struct adam *a, float *w, float *m, float *v, float g)
{
	float at = *w, below;

	*m = o->beta1 * *m + a->rest1 * g;
	*v = o->beta2 * *v + (a->rest2 * g) * g;
	below = sqrtf(*v) * a->root + o->epsilon;
	if (o->kind == GW_ADAMW)
		at = at * a->keep;
	*w = at - a->size * *m / below;
}

static void ftrl_element(
	const struct gw_optimizer *o, float inverse, float *w, float *z, float *n, float g)
{
	float n_old = *n, sigma, below;

	*n = n_old + g * g;
	sigma = (sqrtf(*n) - sqrtf(n_old)) * inverse;
	*z = (*z + g) - sigma * *w;
	below = (o->ftrl_beta + sqrtf(*n)) * inverse + o->l2;
	*w = fabsf(*z) <= o->l1 ? 0.0f : (copysignf(o->l1, *z) - *z) / below;
}

void gw_optimizer_begin(const struct gw_optimizer *o, float *state, size_t count)
{
	size_t from = o->kind == GW_ADAGRAD ? 0 : count; // ftrl's second run
	bool sums = o->kind == GW_ADAGRAD || o->kind == GW_FTRL;

	memset(state, 0, GW_STATES_MAX * count * sizeof(float));
	for (size_t i = 0; i < count && sums; i++)
		state[from + i] = o->initial_accumulator;
}

void gw_optimizer_apply(const struct gw_optimizer *o, const struct gw_update *u)
{
	const struct adam a = adam_of(o, u->step);
	const float lr = (float)gw_rate(o, u->step), inverse = (float)(1 / gw_rate(o, u->step));

	for (size_t i = u->at; i < u->at + u->span; i++) {
		float g = u->sum[i] / u->weight, *w = &u->params[i], *s = &u->state[i];

		if (o->weight_decay != 0 && o->kind != GW_ADAMW)
			g = g + o->weight_decay * *w;
		if (o->kind == GW_SGD) {
			*w = *w - lr * g;
		} else if (o->kind == GW_MOMENTUM || o->kind == GW_NESTEROV) {
			momentum_element(o, lr, w, s, g);
		} else if (o->kind == GW_ADAGRAD) {
			*s = *s + g * g;
			*w = *w - lr * g / (sqrtf(*s) + o->epsilon);
		} else if (o->kind == GW_FTRL) {
			ftrl_element(o, inverse, w, s, s + u->count, g);
		} else {
			adam_element(o, &a, w, s, s + u->count, g);
		}
	}
}

double gw_squares(const float *values, size_t count)
{
	double lane[LANES] = {0};

	for (size_t i = 0; i < count; i++)
		lane[i % LANES] += (double)values[i] * (double)values[i];
	for (size_t half = LANES / 2; half; half /= 2)
		for (size_t j = 0; j < half; j++)
			lane[j] += lane[j + half];
	return lane[0];
}

void gw_clamp(float *values, size_t count, float norm_max)
{
	double norm = sqrt(gw_squares(values, count));
	float scale;

	if (!(norm > (double)norm_max))
		return;
	scale = (float)((double)norm_max / norm);
	for (size_t i = 0; i < count; i++)
		values[i] = values[i] * scale;
}
