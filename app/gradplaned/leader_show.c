// SPDX-License-Identifier: BSD-3-Clause
//
// The leadership as operators and metrics see it.
#include "gradplaned.h"

static json_t *node_json(uint32_t node)
{
	return node == GP_LEAD_NODE_NONE ? json_null() : json_integer((json_int_t)node);
}

json_t *leader_json(const struct node *n)
{
	const struct leader *l = &n->leader;
	const struct gp_lead_rules *r = &l->rules;
	enum gp_lead_why why = gp_lead_rules_why(r);
	struct gp_lead_status st = {0};
	if (!l->used)
		return json_null();
	if (l->lead)
		gp_lead_status(l->lead, &st);
	const struct gp_lead_record *rec = &r->seen.record;
	bool known = r->seen_valid && r->seen.exists;
	return json_pack("{s:s,s:s,s:i,s:s,s:o,s:o,s:o,s:b,s:b,s:o,s:I,s:I,s:I,s:o}", "kind",
		gp_leadership_name(n->cfg.leadership.kind), "key", n->cfg.leadership.key, "node",
		(int)n->cfg.node.id, "role", gp_lead_role_name(r->role), "epoch",
		known ? json_integer((json_int_t)rec->epoch) : json_null(), "primary",
		known ? node_json(rec->primary) : json_null(), "backup",
		known ? node_json(rec->backup) : json_null(), "register_answers", !r->away,
		"nobody_leads", pair_is_headless(n), "waits_for",
		why == GP_LEAD_WHY_NOTHING ? json_null() : json_string(gp_lead_why_text(why)),
		"questions", (json_int_t)st.questions, "unanswered", (json_int_t)st.failures,
		"swaps", (json_int_t)st.swaps, "last_error",
		st.last_error[0] ? json_string(st.last_error) : json_null());
}

int ctl_leader_show(
	struct gp_ctl_request *req, const json_t *args, json_t **result, struct gp_ctl_error *err)
{
	const struct node *n = gp_ctl_request_arg(req);
	(void)args;
	if (!n->leader.used) {
		gp_ctl_error_set(err, "no_leadership",
			"leadership.kind is none: the configuration says who is primary");
		return -1;
	}
	*result = leader_json(n);
	return 0;
}

void leader_metrics_write(struct gp_metrics_writer *w, const struct node *n)
{
	static const struct gp_metrics_family role = {"gradplane_leadership_role", GP_METRICS_GAUGE,
		NULL, "1 for the role of this node in the leadership of its pair."};
	static const struct gp_metrics_family families[] = {
		{"gradplane_leadership_epoch", GP_METRICS_GAUGE, NULL,
			"Epoch of the newest record that was read; 0 before any."},
		{"gradplane_leadership_register_answers", GP_METRICS_GAUGE, NULL,
			"1: the register answered last time."},
		{"gradplane_leadership_questions", GP_METRICS_COUNTER, NULL,
			"Questions to an endpoint of the register."},
		{"gradplane_leadership_unanswered", GP_METRICS_COUNTER, NULL,
			"Those without an answer."},
		{"gradplane_leadership_doubtful_swaps", GP_METRICS_COUNTER, NULL,
			"Swaps whose first answer was lost."},
	};
	const struct leader *l = &n->leader;
	struct gp_lead_status st = {0};
	if (!l->used)
		return;
	if (l->lead)
		gp_lead_status(l->lead, &st);
	const double values[] = {l->rules.seen.exists ? l->rules.seen.record.epoch : 0,
		!l->rules.away, (double)st.questions, (double)st.failures, (double)st.doubts};
	gp_metrics_family(w, &role);
	for (enum gp_lead_role i = GP_LEAD_OUT; i <= GP_LEAD_PRIMARY; i++)
		gp_metrics_u64(
			w, GP_METRICS_LABELS({"role", gp_lead_role_name(i)}), l->rules.role == i);
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(families); i++) {
		gp_metrics_family(w, &families[i]);
		gp_metrics_f64(w, NULL, values[i]);
	}
}
