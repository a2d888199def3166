// SPDX-License-Identifier: BSD-3-Clause
#include "lead_priv.h"

#include <stdarg.h>
#include <stdio.h>

int lead_fail(struct gp_lead_error *err, int code, const char *fmt, ...)
{
	va_list args;
	GP_ASSERT(code < 0);
	va_start(args, fmt);
	err->code = code;
	vsnprintf(err->text, sizeof(err->text), fmt, args);
	va_end(args);
	return code;
}

bool gp_lead_record_equal(const struct gp_lead_record *a, const struct gp_lead_record *b)
{
	return a->epoch == b->epoch && a->primary == b->primary && a->backup == b->backup &&
	       a->nonce == b->nonce;
}

void gp_lead_record_format(const struct gp_lead_record *r, char text[GP_LEAD_RECORD_SIZE])
{
	char backup[16] = "null";
	if (r->backup != GP_LEAD_NODE_NONE)
		snprintf(backup, sizeof(backup), "%u", r->backup);
	snprintf(text, GP_LEAD_RECORD_SIZE,
		"{\"v\":1,\"epoch\":%u,\"primary\":%u,\"backup\":%s,\"nonce\":\"%016llx\"}",
		r->epoch, r->primary, backup, (unsigned long long)r->nonce);
}

json_t *lead_record_json(const struct gp_lead_record *r)
{
	char text[GP_LEAD_RECORD_SIZE];
	gp_lead_record_format(r, text);
	return json_loads(text, 0, NULL);
}

static bool nonce_parse(const char *text, uint64_t *out)
{
	static const char digits[] = "0123456789abcdef";
	*out = 0;
	if (strlen(text) != 16 || strspn(text, digits) != 16)
		return false;
	for (const char *c = text; *c; c++)
		*out = *out << 4 | (uint64_t)(strchr(digits, *c) - digits);
	return true;
}

bool lead_record_take(json_t *o, struct gp_lead_record *out)
{
	json_int_t version, epoch, primary;
	json_t *backup;
	const char *nonce;
	if (json_unpack_ex(o, NULL, JSON_STRICT, "{s:I, s:I, s:I, s:o, s:s}", "v", &version,
		    "epoch", &epoch, "primary", &primary, "backup", &backup, "nonce",
		    &nonce) != 0 ||
		version != 1 || epoch < 1 || epoch > UINT32_MAX / 2 || primary < 0 || primary > 1)
		return false;
	out->epoch = (uint32_t)epoch;
	out->primary = (uint32_t)primary;
	out->backup = GP_LEAD_NODE_NONE;
	if (json_is_integer(backup) && json_integer_value(backup) == 1 - primary)
		out->backup = (uint32_t)(1 - primary);
	else if (!json_is_null(backup))
		return false;
	return nonce_parse(nonce, &out->nonce);
}

bool gp_lead_record_parse(const char *text, size_t len, struct gp_lead_record *out)
{
	json_t *o = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	bool ok = o && lead_record_take(o, out);
	json_decref(o);
	return ok;
}

bool gp_lead_key_valid(const char *key)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._-";
	size_t len = strlen(key);
	return len > 0 && len < GP_LEAD_KEY_SIZE && strspn(key, allowed) == len && key[0] != '.' &&
	       key[0] != '-';
}
