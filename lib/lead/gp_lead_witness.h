// SPDX-License-Identifier: BSD-3-Clause
//
// The witness: a small process at a third place that keeps the leadership records of some pairs.
//
// It answers a swap after the record is on its disk, so kill -9 and power loss change nothing that
// it has said. It trusts nobody's clock and never changes a record by itself. While it is away the
// leadership stays as it is. When its disk cannot say what it holds, it says nothing any more until
// it is restarted; a damaged file keeps it from starting: a register that forgets is worse than
// none.
//
// One JSON object a line, one question a connection at a time:
//
//	{"v":1,"op":"get","key":"pair"}
//	{"v":1,"op":"swap","key":"pair","version":6,"record":{...}}	0: there is no record yet
//	{"ok":true,"version":7,"record":{...}}				get; record null: none
//	{"ok":true,"committed":true,"version":7,"record":{...}}		swap; false: what stands
// instead
//	{"ok":false,"error":"..."}
//
// A swap whose nonce is already in the record is committed: it was asked before.
//
// Owner and threads: lives on the caller's libevent base, all calls on its thread, which blocks for
// a sync of the disk at each swap. Limits: GP_LEAD_WITNESS_KEYS_MAX records,
// GP_LEAD_WITNESS_PEERS_MAX connections, lines of 1 KiB, 5 s for a question.
#ifndef GP_LEAD_WITNESS_H
#define GP_LEAD_WITNESS_H

#include <gp_lead.h>

#define GP_LEAD_WITNESS_KEYS_MAX  64
#define GP_LEAD_WITNESS_PEERS_MAX 32

struct gp_lead_witness;

struct gp_lead_witness_opts {
	const char *listen;	       // "10.0.0.3:9793"; port 0 = any free one
	const char *directory;	       // of the records, one process only
	const struct gp_lead_tls *tls; // NULL: plain TCP, on a network that is trusted
};

// -EADDRINUSE, -EBUSY (the directory is another's), -EBADMSG (a damaged record), ...
int gp_lead_witness_create(struct event_base *base, const struct gp_lead_witness_opts *opts,
	struct gp_lead_witness **out, struct gp_lead_error *err) GP_MUST_CHECK;
// Takes NULL.
void gp_lead_witness_destroy(struct gp_lead_witness *w);
uint16_t gp_lead_witness_port(const struct gp_lead_witness *w);
uint32_t gp_lead_witness_records(const struct gp_lead_witness *w);

#endif
