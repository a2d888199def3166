// SPDX-License-Identifier: BSD-3-Clause
//
// gradctl itself, as a user runs it, against a real server with sample answers.
#include "fixture.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gradctl_path.h>

static const char status_sample[] =
	"{\"name\":\"node-a\",\"role\":\"primary\",\"pid\":4711,\"version\":\"0.1.0\","
	"\"uptime_s\":93784,\"epoch\":3,\"insecure\":true,"
	"\"cores\":[{\"index\":0,\"udp_port\":9700,\"polls\":1234567890,\"rx\":1000,\"tx\":999,"
	"\"busy_pct\":12.34,\"verdicts\":{\"ok\":998,\"bad_magic\":2,\"truncated\":0}},"
	"{\"index\":1,\"udp_port\":9701,\"polls\":5,\"rx\":20,\"tx\":0,\"busy_pct\":0,"
	"\"verdicts\":{\"ok\":20}}],"
	"\"port\":{\"driver\":\"net_tap\",\"name\":\"gp0\",\"rx_packets\":1020,\"tx_packets\":999,"
	"\"rx_dropped\":7,\"rx_nombuf\":0,\"tx_errors\":0},"
	"\"jobs\":[{\"name\":\"mnist\",\"id\":1,\"kind\":\"train\",\"state\":\"running\","
	"\"workers\":2,\"joined\":1,\"step\":1200,\"view\":4}],"
	"\"snapshot\":{\"last_step\":1100,\"last_path\":\"/var/lib/gp/mnist/1100\","
	"\"last_error\":null},"
	"\"replica\":{\"connected\":true,\"step\":1100,\"verified\":true}}";

static const char status_text[] =
	"node-a: primary, gradplane 0.1.0, pid 4711, up 1 d 02:03:04, epoch 3\n"
	"insecure: datagrams are not authenticated\n"
	"\n"
	"PORT  DRIVER      RX   TX  RX DROPPED  RX NO MBUF  TX ERRORS\n"
	"gp0   net_tap  1,020  999           7           0          0\n"
	"\n"
	"CORE  UDP PORT    BUSY          POLLS     RX   TX\n"
	"   0      9700  12.3 %  1,234,567,890  1,000  999\n"
	"   1      9701   0.0 %              5     20    0\n"
	"\n"
	"VERDICT    DATAGRAMS\n"
	"ok             1,018\n"
	"bad_magic          2\n"
	"\n"
	"JOB    ID  KIND   STATE    JOINED  STEP  VIEW\n"
	"mnist   1  train  running     1/2  1200     4\n"
	"\n"
	"snapshot: step 1100, /var/lib/gp/mnist/1100\n"
	"replica: connected yes, step 1100, verified yes\n";

// A tensor's name comes from a worker: it must not drive the operator's terminal.
static const char job_sample[] =
	"{\"name\":\"mnist\",\"id\":1,\"kind\":\"train\",\"state\":\"running\","
	"\"atomicity\":\"unit\",\"consistency\":\"bsp\",\"workers\":2,\"step\":1200,\"generation\":"
	"1200,"
	"\"decision\":2400,\"view\":4,\"digest\":\"8f3a\",\"memory_used\":1610612736,"
	"\"memory_max\":2147483648,"
	"\"tensors\":[{\"name\":\"fc1.weight\",\"dims\":[784,256],\"elements\":200704,"
	"\"blocks\":605},{\"name\":\"caf\\u00e9\\u001b[2J\",\"dims\":[],\"elements\":1,"
	"\"blocks\":1}],"
	"\"ranks\":[{\"rank\":0,\"address\":\"10.99.0.2:40001\",\"state\":\"joined\",\"step\":1201,"
	"\"rtt_us\":850,\"last_seen_ms\":2},{\"rank\":1,\"address\":\"\",\"state\":\"left\","
	"\"step\":1200,\"rtt_us\":1500,\"last_seen_ms\":61000}]}";

static const char job_text[] = "mnist: id 1, train, running\n"
			       "consistency bsp, atomicity unit, workers 2\n"
			       "step 1200, generation 1200, decision 2400, view 4, digest 8f3a\n"
			       "memory 1.5 GiB of 2.0 GiB\n"
			       "\n"
			       "TENSOR         DIMS  ELEMENTS  BLOCKS\n"
			       "fc1.weight  784x256   200,704     605\n"
			       "caf\xc3\xa9?[2J          -         1       1\n"
			       "\n"
			       "RANK  ADDRESS          STATE   STEP     RTT  LAST SEEN\n"
			       "   0  10.99.0.2:40001  joined  1201  850 us     2.0 ms\n"
			       "   1  -                left    1200  1.5 ms     61.0 s\n";

static int give(json_t **result, const char *text)
{
	*result = json_loads(text, 0, NULL);
	return *result ? 0 : -ENOMEM;
}

static int sample_status(
	struct gp_ctl_request *req, const json_t *args, json_t **result, struct gp_ctl_error *err)
{
	(void)req, (void)args, (void)err;
	return give(result, status_sample);
}

static int sample_job(
	struct gp_ctl_request *req, const json_t *args, json_t **result, struct gp_ctl_error *err)
{
	const char *name = json_string_value(json_object_get(args, "name"));

	(void)req;
	if (name && strcmp(name, "mnist") == 0)
		return give(result, job_sample);
	gp_ctl_error_set(err, "not_found", "no job %s; this server has: mnist", name ? name : "-");
	return -ENOENT;
}

static int sample_snapshot(
	struct gp_ctl_request *req, const json_t *args, json_t **result, struct gp_ctl_error *err)
{
	(void)req, (void)args, (void)err;
	return give(result,
		"{\"path\":\"/snap/12\",\"step\":12,\"content\":\"full\",\"bytes\":813056,"
		"\"wall_ms\":35}");
}

static int sample_stop(
	struct gp_ctl_request *req, const json_t *args, json_t **result, struct gp_ctl_error *err)
{
	(void)args, (void)result, (void)err;
	gp_ctl_reply_ok(req, json_pack("{s:i}", "step", 13));
	return GP_CTL_LATER;
}

// A node of a pair that replicates every commit, and a job of which nothing is new.
static int pair_status(
	struct gp_ctl_request *req, const json_t *args, json_t **result, struct gp_ctl_error *err)
{
	(void)req, (void)args, (void)err;
	return give(result,
		"{\"name\":\"a\",\"replica\":{\"mode\":\"sync\",\"connected\":false,\"paired\":"
		"true,"
		"\"held\":{\"mnist\":7,\"other\":null},\"lacks\":[\"other\"],\"link_ms\":1500,"
		"\"beat_ms\":null,"
		"\"last_error\":\"gone\"}}");
}

static int pair_snapshot(
	struct gp_ctl_request *req, const json_t *args, json_t **result, struct gp_ctl_error *err)
{
	(void)req, (void)args, (void)err;
	return give(result,
		"{\"path\":\"/snap/12\",\"snapshots\":[{\"path\":\"/snap/12\",\"unchanged\":true},"
		"{\"path\":\"/snap/9\",\"step\":9,\"content\":\"full\",\"bytes\":1024,"
		"\"wall_ms\":35}]}");
}

static int pair_leader(
	struct gp_ctl_request *req, const json_t *args, json_t **result, struct gp_ctl_error *err)
{
	(void)req, (void)args, (void)err;
	return give(result, "{\"epoch\":7,\"primary\":0,\"backup\":1,\"node\":1,\"role\":\"out\","
			    "\"kind\":\"witness\",\"key\":\"k\",\"register_answers\":true,"
			    "\"nobody_leads\":true,\"waits_for\":null,\"last_error\":null}");
}

static const struct gp_ctl_command pairs[] = {{"status", pair_status},
	{"snapshot now", pair_snapshot}, {"leader show", pair_leader}, {0}};

static const struct gp_ctl_command samples[] = {{"status", sample_status}, {"job show", sample_job},
	{"snapshot now", sample_snapshot}, {"stop", sample_stop}, {0}};

// A server of another release: every field missing, or of another type.
static const char *odd_sample;

static int odd(
	struct gp_ctl_request *req, const json_t *args, json_t **result, struct gp_ctl_error *err)
{
	(void)req, (void)args, (void)err;
	return give(result, odd_sample);
}

static const struct gp_ctl_command odds[] = {
	{"status", odd}, {"job show", odd}, {"snapshot now", odd}, {"stop", odd}, {0}};

struct run {
	int status;
	char text[16384]; // standard output and error together
};

static void run(struct run *r, const char *fmt, ...)
{
	char command[1024];
	va_list args;
	FILE *pipe;
	size_t len = (size_t)snprintf(command, sizeof(command), "%s ", GRADCTL_PATH);
	int status;

	va_start(args, fmt);
	len += (size_t)vsnprintf(command + len, sizeof(command) - len, fmt, args);
	va_end(args);
	snprintf(command + len, sizeof(command) - len, " 2>&1");
	pipe = popen(command, "r");
	cr_assert_not_null(pipe);
	r->text[fread(r->text, 1, sizeof(r->text) - 1, pipe)] = '\0';
	status = pclose(pipe);
	cr_assert(WIFEXITED(status), "%s", command);
	r->status = WEXITSTATUS(status);
}

static void text_check(const struct fixture *f, const char *command, const char *expected)
{
	struct run r;

	run(&r, "--socket %s %s", f->path, command);
	cr_assert_eq(r.status, 0, "%s", r.text);
	cr_assert_str_eq(r.text, expected);
}

// --json is what the server said, nothing more or less.
static void json_check(const struct fixture *f, const char *command, const char *sample)
{
	json_t *expected = json_loads(sample, 0, NULL);
	json_t *seen;
	struct run r;

	run(&r, "%s --json --socket %s", command, f->path);
	cr_assert_eq(r.status, 0, "%s", r.text);
	seen = json_loads(r.text, 0, NULL);
	cr_assert(seen && json_equal(seen, expected), "%s", r.text);
	json_decref(seen);
	json_decref(expected);
}

Test(gradctl, text_and_json)
{
	struct fixture f;
	int pid;

	fixture_init(&f, samples);
	pid = fixture_serve(&f);
	text_check(&f, "status", status_text);
	text_check(&f, "job show mnist", job_text);
	text_check(&f, "snapshot now",
		"snapshot of step 12: /snap/12, full, 794.0 KiB, took 35.0 ms\n");
	text_check(&f, "stop", "stopping after step 13\n");
	json_check(&f, "status", status_sample);
	json_check(&f, "job show mnist", job_sample);
	json_check(&f, "stop", "{\"step\":13}");
	fixture_serve_end(pid);
	fixture_fini(&f);
}

Test(gradctl, a_pair_and_a_job_that_has_not_changed)
{
	struct fixture f;
	struct run r;
	int pid;

	fixture_init(&f, pairs);
	pid = fixture_serve(&f);
	run(&r, "--socket %s status", f.path);
	cr_assert_eq(r.status, 0, "%s", r.text);
	cr_assert(strstr(r.text, "replica: paired yes, connected no, heard over the link 1.5 s "
				 "ago, over the data port - ago\n"
				 "replica: job mnist held through 7\n"
				 "replica: job other held through nothing\n"
				 "replica: job other is not on both nodes yet\n"
				 "replica error: gone\n"),
		"%s", r.text);
	text_check(&f, "snapshot now",
		"nothing changed since /snap/12\n"
		"snapshot of step 9: /snap/9, full, 1.0 KiB, took 35.0 ms\n");
	text_check(&f, "leader show",
		"epoch 7, primary node 0, backup node 1\n"
		"this is node 1: out\n"
		"register: witness, record k, answers: yes\n"
		"nobody leads: both nodes were started again. At the one with the newest snapshot\n"
		"(gradctl snapshot list --dir) say: gradctl leader promote --peer-is-fenced\n");
	fixture_serve_end(pid);
	fixture_fini(&f);
}

#define ODD_FIELDS                                                                                 \
	"{\"name\":{},\"pid\":\"x\",\"uptime_s\":-1,\"cores\":[null,{}],\"port\":{},"              \
	"\"jobs\":[1],\"snapshot\":{},\"replica\":{},\"tensors\":[{\"dims\":[\"a\",null]},[]],"    \
	"\"ranks\":[{\"rtt_us\":1e300},\"x\"],\"step\":[],\"bytes\":true,\"wall_ms\":null}"
#define ODD_ARRAYS                                                                                 \
	"{\"cores\":{\"a\":1},\"port\":[],\"jobs\":\"none\",\"snapshot\":7,\"replica\":[],"        \
	"\"tensors\":{},\"ranks\":null,\"memory_used\":1e17}"

Test(gradctl, missing_and_odd_fields)
{
	static const char *const shapes[] = {"{}", ODD_FIELDS, ODD_ARRAYS};
	static const char *const commands[] = {"status", "job show x", "snapshot now", "stop"};
	struct fixture f;
	struct run r;

	for (size_t i = 0; i < GP_ARRAY_SIZE(shapes); i++) {
		odd_sample = shapes[i];
		fixture_init(&f, odds);
		int pid = fixture_serve(&f);
		for (size_t k = 0; k < GP_ARRAY_SIZE(commands); k++) {
			run(&r, "--socket %s %s", f.path, commands[k]);
			cr_assert_eq(r.status, 0, "%s: %s", commands[k], r.text);
			cr_assert(strchr(r.text, '-'), "%s: %s", commands[k], r.text);
		}
		fixture_serve_end(pid);
		fixture_fini(&f);
	}
}

Test(gradctl, refusal_is_status_1)
{
	struct fixture f;
	struct run r;
	int pid;

	fixture_init(&f, samples);
	pid = fixture_serve(&f);
	run(&r, "--socket %s job show cifar", f.path);
	cr_assert_eq(r.status, 1);
	cr_assert_str_eq(r.text,
		"gradctl: job show: refused (not_found): no job cifar; this server has: mnist\n");
	fixture_serve_end(pid);
	fixture_fini(&f);
}

Test(gradctl, no_server_is_status_2)
{
	struct run r;

	run(&r, "--socket /tmp/gp-ctl-none/control.sock status");
	cr_assert_eq(r.status, 2);
	cr_assert_str_eq(r.text, "gradctl: no answer at /tmp/gp-ctl-none/control.sock: No such "
				 "file or directory: is "
				 "gradplaned running, is --socket right?\n");
}

Test(gradctl, usage)
{
	static const char *const bad[] = {"", "nothing", "job", "job show", "job hide x",
		"status now", "job show a b", "--timeout-ms 0 status", "--timeout-ms x status",
		"--nothing", "--socket"};
	struct run r;

	for (size_t i = 0; i < GP_ARRAY_SIZE(bad); i++) {
		run(&r, "%s", bad[i]);
		cr_assert_eq(r.status, 2, "%s: %s", bad[i], r.text);
		cr_assert(strstr(r.text, "gradctl --help"), "%s: %s", bad[i], r.text);
	}
	run(&r, "--job a --rank 1 snapshot now");
	cr_assert_eq(r.status, 2);
	cr_assert(strstr(r.text, "snapshot now does not take --rank;"), "%s", r.text);
	run(&r, "snapshot");
	cr_assert_eq(r.status, 2);
	cr_assert(strstr(r.text, "snapshot now\n") &&
			  strstr(r.text, "snapshot export SNAPSHOT FILE\n"),
		"%s", r.text);
	cr_assert_null(strstr(r.text, "leader"), "%s", r.text);
	run(&r, "--help");
	cr_assert_eq(r.status, 0);
	cr_assert(strstr(r.text, "usage: gradctl") && strstr(r.text, "job show NAME"));
	run(&r, "--version");
	cr_assert_eq(r.status, 0);
	cr_assert(strstr(r.text, "gradctl 0."), "%s", r.text);
}

Test(gradctl, full_output_is_an_error)
{
	struct fixture f;
	struct run r;
	int pid;

	if (access("/dev/full", W_OK) != 0)
		cr_skip_test("no /dev/full");
	fixture_init(&f, samples);
	pid = fixture_serve(&f);
	run(&r, "--socket %s status 2>&1 >/dev/full", f.path);
	cr_assert_eq(r.status, 2);
	fixture_serve_end(pid);
	fixture_fini(&f);
}
