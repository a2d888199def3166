// SPDX-License-Identifier: BSD-3-Clause
#include <gp_metrics.h>

#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

static const struct gp_metrics_family rx = {
	"gp_test_rx_datagrams", GP_METRICS_COUNTER, NULL, "Datagrams \"seen\",\nby \\ verdict."};
static const struct gp_metrics_family rtt = {
	"gp_test_rtt_seconds", GP_METRICS_GAUGE, "seconds", "Smoothed round trip."};
static const struct gp_metrics_family sent = {
	"gp_test_sent_bytes", GP_METRICS_COUNTER, "bytes", "Bytes sent."};
static const struct gp_metrics_family build = {
	"gp_test_build", GP_METRICS_INFO, NULL, "What runs here."};

static void page_write(struct gp_metrics_writer *w)
{
	gp_metrics_family(w, &rx);
	gp_metrics_u64(w, GP_METRICS_LABELS({"core", "0"}, {"verdict", "ok"}), UINT64_MAX);
	gp_metrics_u64(w, GP_METRICS_LABELS({"core", "1"}, {"verdict", "a\"b\\c\nline"}), 0);
	gp_metrics_family(w, &rtt);
	gp_metrics_f64(w, NULL, 0.1);
	gp_metrics_f64(w, GP_METRICS_LABELS({"job", "caf\xc3\xa9 \xff\xc0\xaf\xed\xa0\x80"}), NAN);
	gp_metrics_f64(w, GP_METRICS_LABELS({"job", NULL}), -INFINITY);
	gp_metrics_family(w, &sent);
	gp_metrics_f64(w, NULL, 1e21);
	gp_metrics_family(w, &build);
	gp_metrics_u64(w, GP_METRICS_LABELS({"version", "0.1.0"}), 1);
}

#define BAD_BYTE "\xef\xbf\xbd"
#define VALUES_RX                                                                                  \
	"gp_test_rx_datagrams_total{core=\"0\",verdict=\"ok\"} 18446744073709551615\n"             \
	"gp_test_rx_datagrams_total{core=\"1\",verdict=\"a\\\"b\\\\c\\nline\"} 0\n"
#define VALUES_RTT                                                                                 \
	"gp_test_rtt_seconds 0.1\n"                                                                \
	"gp_test_rtt_seconds{job=\"caf\xc3\xa9 " BAD_BYTE BAD_BYTE BAD_BYTE BAD_BYTE BAD_BYTE      \
		BAD_BYTE "\"} NaN\n"                                                               \
	"gp_test_rtt_seconds{job=\"\"} -Inf\n"

static const char openmetrics_golden[] =
	"# TYPE gp_test_rx_datagrams counter\n"
	"# HELP gp_test_rx_datagrams Datagrams \\\"seen\\\",\\nby \\\\ verdict.\n" VALUES_RX
	"# TYPE gp_test_rtt_seconds gauge\n"
	"# UNIT gp_test_rtt_seconds seconds\n"
	"# HELP gp_test_rtt_seconds Smoothed round trip.\n" VALUES_RTT
	"# TYPE gp_test_sent_bytes counter\n"
	"# UNIT gp_test_sent_bytes bytes\n"
	"# HELP gp_test_sent_bytes Bytes sent.\n"
	"gp_test_sent_bytes_total 1e+21\n"
	"# TYPE gp_test_build info\n"
	"# HELP gp_test_build What runs here.\n"
	"gp_test_build_info{version=\"0.1.0\"} 1\n"
	"# EOF\n";

static const char prometheus_golden[] =
	"# TYPE gp_test_rx_datagrams_total counter\n"
	"# HELP gp_test_rx_datagrams_total Datagrams \"seen\",\\nby \\\\ verdict.\n" VALUES_RX
	"# TYPE gp_test_rtt_seconds gauge\n"
	"# HELP gp_test_rtt_seconds Smoothed round trip.\n" VALUES_RTT
	"# TYPE gp_test_sent_bytes_total counter\n"
	"# HELP gp_test_sent_bytes_total Bytes sent.\n"
	"gp_test_sent_bytes_total 1e+21\n"
	"# TYPE gp_test_build_info gauge\n"
	"# HELP gp_test_build_info What runs here.\n"
	"gp_test_build_info{version=\"0.1.0\"} 1\n";

static void golden_check(enum gp_metrics_format format, const char *golden)
{
	struct gp_metrics_writer w;

	gp_metrics_writer_init(&w, format);
	page_write(&w);
	cr_assert_eq(gp_metrics_end(&w), 0);
	cr_assert_str_eq(w.text, golden);
	cr_assert_eq(w.len, strlen(golden));
	gp_metrics_writer_fini(&w);
}

Test(writer, openmetrics_golden)
{
	golden_check(GP_METRICS_OPENMETRICS, openmetrics_golden);
}

Test(writer, prometheus_golden)
{
	golden_check(GP_METRICS_PROMETHEUS, prometheus_golden);
}

// The exit status of a program that reads the page on its standard input, -1 when it is missing.
static int outside_check(const char *command, enum gp_metrics_format format)
{
	struct gp_metrics_writer w;
	FILE *pipe;
	int status;

	signal(SIGPIPE, SIG_IGN);
	gp_metrics_writer_init(&w, format);
	page_write(&w);
	cr_assert_eq(gp_metrics_end(&w), 0);
	pipe = popen(command, "w");
	cr_assert_not_null(pipe);
	fwrite(w.text, 1, w.len, pipe);
	status = pclose(pipe);
	gp_metrics_writer_fini(&w);
	return WIFEXITED(status) && WEXITSTATUS(status) != 77 ? WEXITSTATUS(status) : -1;
}

// promtool knows the older text only.
Test(writer, promtool_accepts)
{
	int status = outside_check("command -v promtool >/dev/null || exit 77; "
				   "exec promtool check metrics",
		GP_METRICS_PROMETHEUS);

	if (status < 0)
		cr_skip_test("promtool is not installed");
	cr_assert_eq(status, 0);
}

// A parser that knows all rules of OpenMetrics 1.0.
Test(writer, openmetrics_parser_accepts)
{
	int status = outside_check(
		"/usr/bin/python3 -c 'import prometheus_client' 2>/dev/null || exit 77; "
		"exec /usr/bin/python3 -c '\n"
		"import sys\n"
		"from prometheus_client.openmetrics.parser import text_string_to_metric_families\n"
		"text = sys.stdin.buffer.read().decode()\n"
		"names = [f.name for f in text_string_to_metric_families(text)]\n"
		"assert len(names) == 4, names'",
		GP_METRICS_OPENMETRICS);

	if (status < 0)
		cr_skip_test("python3-prometheus-client is not installed");
	cr_assert_eq(status, 0);
}

Test(writer, empty_page)
{
	struct gp_metrics_writer w;

	gp_metrics_writer_init(&w, GP_METRICS_OPENMETRICS);
	cr_assert_eq(gp_metrics_end(&w), 0);
	cr_assert_str_eq(w.text, "# EOF\n");
	gp_metrics_writer_fini(&w);
	gp_metrics_writer_init(&w, GP_METRICS_PROMETHEUS);
	cr_assert_eq(gp_metrics_end(&w), 0);
	cr_assert_str_eq(w.text, "");
	gp_metrics_writer_fini(&w);
}

Test(writer, page_over_limit_is_an_error)
{
	size_t size = GP_METRICS_PAGE_MAX / 4;
	char *value = malloc(size + 1);
	struct gp_metrics_writer w;

	cr_assert_not_null(value);
	memset(value, 'x', size);
	value[size] = '\0';
	gp_metrics_writer_init(&w, GP_METRICS_OPENMETRICS);
	gp_metrics_family(&w, &rx);
	for (int i = 0; i < 4; i++)
		gp_metrics_u64(&w, GP_METRICS_LABELS({"a", value}), 1);
	cr_assert_eq(gp_metrics_end(&w), -EFBIG);
	cr_assert_leq(w.len, GP_METRICS_PAGE_MAX);
	gp_metrics_writer_fini(&w);
	free(value);
}

Test(writer, number_forms_read_back)
{
	static const double values[] = {0.1 + 0.2, 1.0 / 3, 5e-324, 1.7976931348623157e308, -0.0};
	struct gp_metrics_writer w;

	for (size_t i = 0; i < GP_ARRAY_SIZE(values); i++) {
		gp_metrics_writer_init(&w, GP_METRICS_OPENMETRICS);
		gp_metrics_family(&w, &rtt);
		gp_metrics_f64(&w, NULL, values[i]);
		cr_assert_eq(gp_metrics_end(&w), 0);
		double seen = strtod(strstr(w.text, "\ngp_test_rtt_seconds ") + 21, NULL);
		cr_assert_eq(memcmp(&seen, &values[i], sizeof(seen)), 0, "%a", values[i]);
		gp_metrics_writer_fini(&w);
	}
}

static void family_abort(const char *name, enum gp_metrics_type type, const char *unit)
{
	struct gp_metrics_writer w;

	gp_metrics_writer_init(&w, GP_METRICS_OPENMETRICS);
	gp_metrics_family(&w, &(struct gp_metrics_family){name, type, unit, "Help."});
}

Test(writer, bad_name_is_a_bug, .signal = SIGABRT)
{
	family_abort("9lives", GP_METRICS_GAUGE, NULL);
}

Test(writer, total_in_a_name_is_a_bug, .signal = SIGABRT)
{
	family_abort("rx_total", GP_METRICS_COUNTER, NULL);
}

Test(writer, unit_not_in_the_name_is_a_bug, .signal = SIGABRT)
{
	family_abort("rtt_us", GP_METRICS_GAUGE, "seconds");
}

Test(writer, family_twice_is_a_bug, .signal = SIGABRT)
{
	struct gp_metrics_writer w;

	gp_metrics_writer_init(&w, GP_METRICS_OPENMETRICS);
	gp_metrics_family(&w, &rx);
	gp_metrics_family(&w, &rtt);
	gp_metrics_family(&w, &rx);
}

Test(writer, value_without_family_is_a_bug, .signal = SIGABRT)
{
	struct gp_metrics_writer w;

	gp_metrics_writer_init(&w, GP_METRICS_OPENMETRICS);
	gp_metrics_u64(&w, NULL, 1);
}

Test(writer, negative_counter_is_a_bug, .signal = SIGABRT)
{
	struct gp_metrics_writer w;

	gp_metrics_writer_init(&w, GP_METRICS_OPENMETRICS);
	gp_metrics_family(&w, &rx);
	gp_metrics_f64(&w, NULL, -1);
}

Test(counter, adds_sets_and_wraps)
{
	struct gp_counter c = {0};

	gp_counter_add(&c, 3);
	gp_counter_add(&c, 4);
	cr_assert_eq(gp_counter_read(&c), 7);
	gp_counter_set(&c, UINT64_MAX);
	gp_counter_add(&c, 2);
	cr_assert_eq(gp_counter_read(&c), 1);
}
