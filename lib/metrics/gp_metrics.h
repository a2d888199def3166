// SPDX-License-Identifier: BSD-3-Clause
//
// Metrics: counters that the cores write, and the text that a scraper reads.
//
// Counters are arrays of struct gp_counter, one array a core, on cache lines of its own
// (GP_ALIGNED(GP_CACHE_LINE) on the enclosing struct): one writer, relaxed stores, readers sum.
// There is no registry to keep in step with them: at a scrape the owner of the event loop walks
// what it publishes and writes one family after another.
//
//	static const struct gp_metrics_family rx = {
//		"gradplane_rx_datagrams", GP_METRICS_COUNTER, NULL, "Datagrams by verdict."};
//	gp_metrics_family(w, &rx);
//	gp_metrics_u64(w, GP_METRICS_LABELS({"core", "0"}, {"verdict", "ok"}), 12);
//
// The writer makes valid OpenMetrics 1.0 text
// (https://prometheus.io/docs/specs/om/open_metrics_spec) or, for scrapers that ask for it, the
// older Prometheus text 0.0.4. In both a counter's family is given without `_total`, which the
// writer adds.
//
// Errors: memory short or a page over GP_METRICS_PAGE_MAX is remembered by the writer, further
// calls do nothing, gp_metrics_end returns it. A wrong name of a family or label, a unit that is
// not the name's ending, a family written twice, a value before any family: bugs, asserted. Label
// values come from outside and may be anything: they are escaped, and bytes that are not UTF-8
// become U+FFFD.
//
// Threads: a writer belongs to the thread that uses it. Counters: one writer, any readers.
#ifndef GP_METRICS_H
#define GP_METRICS_H

#include <gp_base.h>

#include <stdatomic.h>

#define GP_METRICS_PAGE_MAX (16u << 20)

struct gp_counter {
	_Atomic uint64_t v;
};

// By the one thread that owns the counter.
static inline void gp_counter_add(struct gp_counter *c, uint64_t n)
{
	uint64_t v = atomic_load_explicit(&c->v, memory_order_relaxed);
	atomic_store_explicit(&c->v, v + n, memory_order_relaxed);
}

// For gauges (a queue's depth, a time); by the one thread that owns it.
static inline void gp_counter_set(struct gp_counter *c, uint64_t n)
{
	atomic_store_explicit(&c->v, n, memory_order_relaxed);
}

// From any thread; never torn, at most a moment old.
static inline uint64_t gp_counter_read(const struct gp_counter *c)
{
	return atomic_load_explicit(&c->v, memory_order_relaxed);
}

enum gp_metrics_format { GP_METRICS_OPENMETRICS, GP_METRICS_PROMETHEUS };
enum gp_metrics_type { GP_METRICS_GAUGE, GP_METRICS_COUNTER, GP_METRICS_INFO };

struct gp_metrics_family {
	const char *name; // [a-zA-Z_:][a-zA-Z0-9_:]*, without _total and _info; ends in _<unit>
	enum gp_metrics_type type;
	const char *unit; // base unit: seconds, bytes, ratio; NULL when there is none
	const char *help; // one sentence, required
};

struct gp_metrics_label {
	const char *name;
	const char *value;
};

// An array of labels that ends where `name` is NULL; NULL itself is no labels.
#define GP_METRICS_LABELS(...) ((const struct gp_metrics_label[]){__VA_ARGS__, {NULL, NULL}})

struct gp_metrics_writer {
	char *text; // heap, not ended by zero before gp_metrics_end
	size_t len;
	size_t size;
	enum gp_metrics_format format;
	struct gp_metrics_family family; // in hand
	int error;			 // first failure, -errno
};

void gp_metrics_writer_init(struct gp_metrics_writer *w, enum gp_metrics_format format);
void gp_metrics_writer_fini(struct gp_metrics_writer *w);
// Starts a family; the values that follow belong to it. `f` need not outlive the call, its strings
// must last until the next one.
void gp_metrics_family(struct gp_metrics_writer *w, const struct gp_metrics_family *f);
void gp_metrics_u64(
	struct gp_metrics_writer *w, const struct gp_metrics_label *labels, uint64_t value);
// A counter's value must be >= 0; an info's value is 1.
void gp_metrics_f64(
	struct gp_metrics_writer *w, const struct gp_metrics_label *labels, double value);
// Ends the page; text is then also ended by zero. 0, -ENOMEM or -EFBIG.
int gp_metrics_end(struct gp_metrics_writer *w) GP_MUST_CHECK;

#endif
