// SPDX-License-Identifier: BSD-3-Clause
//
// gradbench snapshot: what writing a snapshot costs the core that works on contributions, and how
// fast it is against dd on the same disk. The load is made inside the polled thread; control and
// the writer run beside it.
#include "bench.h"
#include "gradbench.h"
#include "snapshot_rig.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define PUSH_NS_MAX 65536 // more is counted as so much
#define BASE_NS_MIN UINT64_C(500000000)

struct options {
	const char *dir;
	uint32_t table_mb, rounds, mtu, level;
	bool json;
};

// Pushes of one phase by what the engine took for each.
struct phase {
	uint64_t count, wall_ns;
	uint64_t by_ns[PUSH_NS_MAX];
};

struct row {
	const char *name;
	double bytes_s; // of updates, 0 = as fast as it goes
	struct bench_series p99, p99_ratio, rate_ratio, snapshot_rate, update_rate;
	struct bench_series extra, extra_max; // percent of the blocks
};

static void phase_add(struct phase *p, uint32_t n, uint64_t ns)
{
	uint64_t each = ns / n;
	p->count += n;
	p->by_ns[GP_MIN(each, PUSH_NS_MAX - 1u)] += n;
}

static double phase_p99(const struct phase *p)
{
	uint64_t above = 0;
	uint32_t ns = PUSH_NS_MAX;
	while (ns > 0 && above * 100 <= p->count)
		above += p->by_ns[--ns];
	return ns;
}

// Load until `over` says so, held to `bytes_s`.
static void phase_run(struct snapshot_rig *s, struct phase *p, double bytes_s,
	bool (*over)(struct snapshot_rig *s, uint64_t wall_ns))
{
	memset(p, 0, sizeof(*p));
	double ns_per_push = bytes_s > 0 ? 1e9 * s->payload / bytes_s : 0;
	uint64_t begin = bench_wall_ns();
	do {
		uint64_t ns;
		uint32_t n = snapshot_rig_burst(s, &ns);
		if (n > 0)
			phase_add(p, n, ns);
		while ((double)(bench_wall_ns() - begin) < ns_per_push * (double)p->count)
			gp_rcu_quiescent();
		p->wall_ns = bench_wall_ns() - begin;
	} while (!over(s, p->wall_ns));
}

static uint64_t base_ns; // how long a phase without a snapshot takes

static bool base_over(struct snapshot_rig *s, uint64_t wall_ns)
{
	(void)s;
	return wall_ns >= base_ns;
}

static bool snapshot_over(struct snapshot_rig *s, uint64_t wall_ns)
{
	(void)wall_ns;
	return snapshot_rig_is_done(s);
}

static bool row_round(struct snapshot_rig *s, struct row *row, struct bench_guard *g)
{
	static struct phase without, with;
	bench_guard_begin(g);
	phase_run(s, &without, row->bytes_s, base_over);
	snapshot_rig_begin(s);
	phase_run(s, &with, row->bytes_s, snapshot_over);
	if (s->error != 0)
		return false;
	base_ns = GP_MAX(with.wall_ns, BASE_NS_MIN);
	if (!bench_guard_end(g))
		return true;
	double rate = (double)without.count / (double)without.wall_ns;
	double rate_with = (double)with.count / (double)with.wall_ns;
	bench_series_add(&row->p99, phase_p99(&with));
	bench_series_add(&row->p99_ratio, phase_p99(&with) / phase_p99(&without));
	bench_series_add(&row->rate_ratio, rate_with / rate);
	bench_series_add(&row->snapshot_rate, (double)s->bytes * 1e3 / (double)s->write_ns);
	double blocks = s->rig->blocks;
	bench_series_add(&row->extra, 100 * s->kept_max / blocks);
	bench_series_add(&row->extra_max, 100 * GP_MIN(1.0, (double)s->cut_done / blocks));
	bench_series_add(
		&row->update_rate, (double)(with.count * s->payload) * 1e3 / (double)with.wall_ns);
	return true;
}

static bool row_measure(struct snapshot_rig *s, struct row *row, uint32_t rounds)
{
	struct bench_guard g;
	bench_guard_init(&g);
	base_ns = BASE_NS_MIN;
	bool good = true;
	while (good && bench_guard_more(&g, rounds))
		good = row_round(s, row, &g);
	if (!good)
		fprintf(stderr, "gradbench: no snapshot: %s\n", s->err.text);
	return good;
}

// ---- dd

// MB/s of a plain direct write of `bytes`, or 0 when the disk cannot be written so.
static double dd_measure(const char *dir, uint64_t bytes)
{
	char of[4096 + 16], count[32];
	snprintf(of, sizeof(of), "of=%s/dd.tmp", dir);
	snprintf(count, sizeof(count), "count=%llu",
		(unsigned long long)GP_MAX(bytes >> 22, UINT64_C(1)));
	uint64_t begin = bench_wall_ns();
	pid_t pid = fork();
	if (pid == 0) {
		execlp("dd", "dd", "if=/dev/zero", of, "bs=4M", count, "oflag=direct", "conv=fsync",
			"status=none", NULL);
		_exit(127);
	}
	int status = -1;
	bool ok = pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
	double mb = (double)((bytes >> 22) << 22) * 1e3 / (double)(bench_wall_ns() - begin);
	(void)unlink(of + 3);
	return ok ? mb : 0;
}

// ---- output

static void row_text(const struct row *row, double dd)
{
	printf("%-12s %9.0f %9.1f %10.2f %10.2f %13.0f %9.0f", row->name,
		bench_series_stat(&row->update_rate).median, bench_series_stat(&row->p99).median,
		bench_series_stat(&row->p99_ratio).median,
		bench_series_stat(&row->rate_ratio).median,
		bench_series_stat(&row->snapshot_rate).median, dd);
	if (dd > 0)
		printf(" %7.2f", bench_series_stat(&row->snapshot_rate).median / dd);
	else
		printf("       -");
	printf(" %7.1f %7.1f\n", bench_series_stat(&row->extra).median,
		bench_series_stat(&row->extra_max).median);
}

static void row_json(const struct row *row, bool first)
{
	printf("%s{\"load\":\"%s\",\"update_mb_s\":%.1f,\"p99_ns\":%.1f,\"p99_ratio\":%.3f,"
	       "\"rate_ratio\":%.3f,\"snapshot_mb_s\":%.1f,\"extra_percent\":%.1f,"
	       "\"updated_percent\":%.1f,\"rounds\":%u}",
		first ? "" : ",", row->name, bench_series_stat(&row->update_rate).median,
		bench_series_stat(&row->p99).median, bench_series_stat(&row->p99_ratio).median,
		bench_series_stat(&row->rate_ratio).median,
		bench_series_stat(&row->snapshot_rate).median,
		bench_series_stat(&row->extra).median, bench_series_stat(&row->extra_max).median,
		row->p99.count);
}

static void report(const struct options *o, const struct row *rows, double dd, uint64_t bytes,
	const struct bench_env *env)
{
	const struct bench_guard g = {.kept = rows[0].p99.count + rows[1].p99.count};
	if (o->json) {
		printf("{\"bench\":\"snapshot\",\"bytes\":%llu,\"dd_mb_s\":%.1f,\"rows\":[",
			(unsigned long long)bytes, dd);
		row_json(&rows[0], true);
		row_json(&rows[1], false);
		printf("],");
		bench_env_json(env, &g);
		printf("\"sums\":\"checked\"}\n");
		return;
	}
	printf("%-12s %9s %9s %10s %10s %13s %9s %7s %7s %7s\n", "updates", "MB/s", "p99 ns",
		"p99 ratio", "rate ratio", "snapshot MB/s", "dd MB/s", "of dd", "extra %",
		"updated");
	row_text(&rows[0], dd);
	row_text(&rows[1], dd);
	printf("snapshots of %llu MB, the last one was proved; every sum was checked\n",
		(unsigned long long)(bytes >> 20));
	bench_env_text(env, &g);
}

// ---- whole

static int bench_run(const struct options *o)
{
	static struct row rows[2] = {{.name = "half of disk"}, {.name = "full"}};
	struct snapshot_rig *s;
	struct bench_env env;
	char dir[4096];
	snprintf(dir, sizeof(dir), "%s/gradbench-XXXXXX", o->dir);
	if (!mkdtemp(dir)) {
		fprintf(stderr, "gradbench: %s: %s\n", dir, strerror(errno));
		return EXIT_FAILED;
	}
	bench_env_begin(&env, -1);
	const struct snapshot_rig_opts ro = {.dir = dir,
		.table_bytes = (uint64_t)o->table_mb << 20,
		.mtu = o->mtu,
		.level = o->level,
		.cpu = env.cpu};
	int status = EXIT_FAILED;
	if (snapshot_rig_create(&s, &ro) == 0) {
		uint64_t bytes = 2 * ro.table_bytes; // parameters and momentum
		double dd = dd_measure(dir, bytes);
		rows[0].bytes_s = dd > 0 ? dd * 1e6 / 2 : 100e6;
		bool good =
			row_measure(s, &rows[0], o->rounds) && row_measure(s, &rows[1], o->rounds);
		good = snapshot_rig_finish(s) && good;
		bench_env_end(&env);
		if (good)
			report(o, rows, dd, s->bytes, &env);
		snapshot_rig_destroy(s);
		status = good ? EXIT_OK : EXIT_FAILED;
	}
	(void)rmdir(dir);
	return status;
}

static int usage(FILE *to)
{
	fprintf(to,
		"usage: gradbench snapshot [OPTION...]\n\n"
		"  --dir PATH     where snapshots are written for the time (default /var/tmp)\n"
		"  --table-mb N   MB of parameters, momentum comes to that (default 64)\n"
		"  --mtu N        576..9216 (default 9000)\n"
		"  --level N      of zstd, 1..19 (default: not compressed)\n"
		"  --rounds N     snapshots of each kind of load (default 5)\n"
		"  --json\n\n"
		"p99: CPU time of the engine for a contribution, while a snapshot is written; p99 "
		"ratio:\nagainst the same without, before it; rate ratio: contributions a second, "
		"likewise (other\nprograms on these CPUs show in it); dd: oflag=direct bs=4M "
		"conv=fsync of as many bytes,\nbefore the load; extra: old versions that were kept "
		"for it, in percent of the job;\nupdated: contributions meanwhile, of 100 blocks "
		"(at "
		"most 100).\n");
	return to == stdout ? EXIT_OK : EXIT_USAGE;
}

static bool option_take(struct options *o, int c, const char *text)
{
	uint64_t n = 0;
	bool ok = c == 'd' || c == 'j' || bench_number(text, c == 't' ? 65536 : 9216, &n);
	if (c == 'd')
		o->dir = text;
	else if (c == 'j')
		o->json = true;
	else if (c == 't')
		o->table_mb = (uint32_t)n;
	else if (c == 'm')
		o->mtu = (uint32_t)n;
	else if (c == 'l')
		o->level = (uint32_t)n;
	else if (c == 'r')
		o->rounds = (uint32_t)n;
	else
		return false;
	return ok && o->mtu >= 576 && o->level <= 19 && o->rounds <= BENCH_ROUNDS_MAX;
}

static int snapshot_run(int argc, char **argv)
{
	static const struct option longs[] = {
		{"dir", required_argument, NULL, 'd'},
		{"table-mb", required_argument, NULL, 't'},
		{"mtu", required_argument, NULL, 'm'},
		{"level", required_argument, NULL, 'l'},
		{"rounds", required_argument, NULL, 'r'},
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	struct options o = {.dir = "/var/tmp", .table_mb = 64, .rounds = 5, .mtu = 9000};
	int c;
	while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (c == 'h')
			return usage(stdout);
		if (!option_take(&o, c, optarg))
			return usage(stderr);
	}
	return optind < argc ? usage(stderr) : bench_run(&o);
}

const struct command command_snapshot = {.name = "snapshot",
	.help = "a core's work while a snapshot is written, and the disk",
	.run = snapshot_run};
