// SPDX-License-Identifier: BSD-3-Clause
#include <gp_wire.h>

static const char *const verdict_names[] = {
#define GP_X(id, name, help) [GP_VERDICT_##id] = name,
	GP_VERDICTS(GP_X)
#undef GP_X
};

static const char *const verdict_helps[] = {
#define GP_X(id, name, help) [GP_VERDICT_##id] = help,
	GP_VERDICTS(GP_X)
#undef GP_X
};

static const char *const refusal_names[] = {
#define GP_X(n, id, name) [n] = name,
	GP_REFUSALS(GP_X)
#undef GP_X
};

static const char *const type_names[] = {
	[GP_WIRE_HELLO] = "HELLO",
	[GP_WIRE_HELLO_REPLY] = "HELLO_REPLY",
	[GP_WIRE_JOIN] = "JOIN",
	[GP_WIRE_WELCOME] = "WELCOME",
	[GP_WIRE_REGISTER] = "REGISTER",
	[GP_WIRE_LAYOUT] = "LAYOUT",
	[GP_WIRE_PUSH] = "PUSH",
	[GP_WIRE_PULL] = "PULL",
	[GP_WIRE_RESULT] = "RESULT",
	[GP_WIRE_COMMIT] = "COMMIT",
	[GP_WIRE_ACK] = "ACK",
	[GP_WIRE_HEARTBEAT] = "HEARTBEAT",
	[GP_WIRE_HEARTBEAT_REPLY] = "HEARTBEAT_REPLY",
	[GP_WIRE_BARRIER] = "BARRIER",
	[GP_WIRE_BARRIER_REPLY] = "BARRIER_REPLY",
	[GP_WIRE_LEAVE] = "LEAVE",
	[GP_WIRE_LEAVE_REPLY] = "LEAVE_REPLY",
	[GP_WIRE_REFUSE] = "REFUSE",
	[GP_WIRE_NACK] = "NACK",
	[GP_WIRE_BUSY] = "BUSY",
	[GP_WIRE_READ] = "READ",
	[GP_WIRE_READ_REPLY] = "READ_REPLY",
	[GP_WIRE_PULL_ROWS] = "PULL_ROWS",
	[GP_WIRE_ROWS] = "ROWS",
	[GP_WIRE_BEAT] = "BEAT",
};

_Static_assert(GP_ARRAY_SIZE(verdict_names) == GP_VERDICT_COUNT, "every verdict has a name");
_Static_assert(GP_ARRAY_SIZE(refusal_names) == GP_REFUSAL_END, "every refusal has a name");
_Static_assert(GP_ARRAY_SIZE(type_names) == GP_WIRE_TYPE_END, "every type has a name");

const char *gp_verdict_name(enum gp_verdict v)
{
	GP_ASSERT(v >= 0 && v < GP_VERDICT_COUNT);
	return verdict_names[v];
}

const char *gp_verdict_help(enum gp_verdict v)
{
	GP_ASSERT(v >= 0 && v < GP_VERDICT_COUNT);
	return verdict_helps[v];
}

const char *gp_wire_type_name(uint32_t type)
{
	return type > 0 && type < GP_WIRE_TYPE_END ? type_names[type] : "?";
}

const char *gp_wire_refusal_name(uint32_t reason)
{
	return reason > 0 && reason < GP_REFUSAL_END ? refusal_names[reason] : "?";
}
