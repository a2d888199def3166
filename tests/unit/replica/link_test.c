// SPDX-License-Identifier: BSD-3-Clause
//
// The link: streams over sockets, who hears whom, what happens when a connection ends.
#include "rig.h"
#include "stream_rig.h"

#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <gp_link.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define EPOCH 5

struct end {
	struct gp_link *link;
	uint32_t events[GP_LEAD_EV_FENCED + 1];
	struct gp_lead_record record, offer;
	uint64_t nonce;
	uint32_t offers;
};

static struct rig rig; // the loop, and a relay
static struct stream_rig *jobs;
static struct end primary, backup;
static uint64_t heard_ns = UINT64_MAX; // of the peer by another way
static uint32_t silent_ms;	       // long, where a slow machine shall not look silent
static uint32_t backoff_ms_max;
static const struct gp_replica_tls *primary_tls, *backup_tls;

static void on_event(void *arg, const struct gp_lead_event *ev)
{
	struct end *e = arg;
	e->events[ev->kind]++;
	if (ev->kind == GP_LEAD_EV_PEER_RECORD)
		e->record = ev->held.record;
	if (ev->kind == GP_LEAD_EV_PEER_WHOLE)
		e->nonce = ev->held.record.nonce;
}

static void on_offered(void *arg, const struct gp_lead_record *to)
{
	struct end *e = arg;
	e->offer = *to;
	e->offers++;
}

static uint64_t on_heard_ns(void *arg)
{
	(void)arg;
	return heard_ns;
}

static int start(struct end *e, uint32_t node, uint64_t life, const char *listen, uint16_t port,
	struct gp_stream_error *err)
{
	char peer[32];
	snprintf(peer, sizeof(peer), "127.0.0.1:%u", port);
	const struct gp_link_opts opts = {.listen = listen,
		.peer = listen ? NULL : peer,
		.product = "test 1.0",
		.node = node,
		.life = life,
		.silent_ms = silent_ms,
		.heartbeat_ms = 20,
		.backoff_ms_min = 1,
		.backoff_ms_max = backoff_ms_max,
		.tls = e == &primary ? primary_tls : backup_tls,
		.arg = e,
		.event = on_event,
		.heard_ns = on_heard_ns,
		.offered = on_offered};
	return gp_link_create(rig.base, &opts, &e->link, err);
}

static void up(uint16_t port)
{
	struct gp_stream_error err;
	cr_assert_eq(start(&primary, 0, 1, "127.0.0.1:0", 0, &err), 0, "%s", err.text);
	rig.port = gp_link_port(primary.link);
	cr_assert_eq(start(&backup, 1, 2, NULL, port ? port : rig.port, &err), 0, "%s", err.text);
	gp_link_self(primary.link, NULL, true);
	gp_link_set_feeder(primary.link, jobs->feeder);
	gp_link_set_follower(backup.link, jobs->follower);
}

static void setup(void)
{
	signal(SIGPIPE, SIG_IGN);
	silent_ms = 30000;
	backoff_ms_max = 20;
	rig_init(&rig);
	memset(&primary, 0, sizeof(primary));
	memset(&backup, 0, sizeof(backup));
	jobs = stream_rig_new(2, 3, 1 << 16, 256, 1);
	gp_stream_set_feeder(jobs->primary.stream, NULL);
	gp_stream_set_follower(jobs->backup.stream, NULL);
	gp_feeder_epoch(jobs->feeder, EPOCH);
	gp_follower_epoch(jobs->follower, EPOCH);
	stream_base(jobs, 0);
	stream_base(jobs, 1);
}

static void teardown(void)
{
	gp_link_destroy(primary.link);
	gp_link_destroy(backup.link);
	stream_rig_free(jobs);
	rig_fini(&rig);
}

TestSuite(link, .init = setup, .fini = teardown, .timeout = 100);

static struct gp_link_status status(const struct end *e)
{
	struct gp_link_status s;
	gp_link_status(e->link, &s);
	return s;
}

// Decides so many of each job, and waits until all is acknowledged.
static void train(uint32_t count)
{
	for (uint32_t i = 0; i < jobs->jobs_count; i++) {
		uint32_t end = jobs->jobs[i].decision + count;
		while (jobs->jobs[i].decision < end) {
			stream_decide(jobs, i, end - jobs->jobs[i].decision);
			gp_link_turn(primary.link);
			rig_turn(&rig);
		}
		rig_until(&rig, jobs->acked[i] == jobs->jobs[i].decision);
		history_expect(&jobs->jobs[i], jobs->image, jobs->jobs[i].decision);
	}
}

Test(link, jobs_reach_the_backup)
{
	up(0);
	train(200);
	cr_assert_eq(primary.events[GP_LEAD_EV_PEER_HEARD], 1);
	cr_assert_eq(primary.events[GP_LEAD_EV_PEER_RESTARTED], 1, "it holds nothing");
	cr_assert_eq(backup.events[GP_LEAD_EV_PEER_HEARD], 1);
	cr_assert_eq(backup.events[GP_LEAD_EV_PEER_RESTARTED], 0);
	rig_until(&rig, primary.events[GP_LEAD_EV_PEER_READY] == 1);
	rig_until(&rig, status(&backup).round_trip_ns > 0);
	cr_assert_eq(primary.events[GP_LEAD_EV_PEER_SILENT], 0);
	struct gp_link_status s = status(&primary);
	cr_assert(s.connected && s.peer.node == 1 && s.connections == 1 && s.failures == 0);
	cr_assert_geq(s.bytes_out, status(&backup).bytes_in);
	cr_assert(strstr(s.peer_addr, "127.0.0.1:"));
}

Test(link, records_and_offers_are_told)
{
	const struct gp_lead_record now = {
		.epoch = 4, .primary = 0, .backup = GP_LEAD_NODE_NONE, .nonce = 7};
	const struct gp_lead_record next = {.epoch = 5, .primary = 0, .backup = 1, .nonce = 8};
	cr_assert_null(primary.link);
	up(0);
	cr_assert_eq(gp_link_offer(primary.link, &next), -ENOTCONN);
	rig_until(&rig, primary.events[GP_LEAD_EV_PEER_READY] == 1);
	gp_link_self(primary.link, &now, true);
	rig_until(&rig, backup.events[GP_LEAD_EV_PEER_RECORD] == 1);
	cr_assert(gp_lead_record_equal(&backup.record, &now));
	cr_assert_eq(gp_link_offer(primary.link, &next), 0);
	rig_until(&rig, backup.offers == 1);
	cr_assert(gp_lead_record_equal(&backup.offer, &next));
	cr_assert_eq(gp_link_whole(backup.link, next.nonce), 0);
	rig_until(&rig, primary.events[GP_LEAD_EV_PEER_WHOLE] == 1);
	cr_assert_eq(primary.nonce, 8);
}

Test(link, silence_and_another_life_are_told)
{
	struct gp_stream_error err;
	silent_ms = 300;
	up(0);
	rig_until(&rig, primary.events[GP_LEAD_EV_PEER_HEARD] > 0);
	gp_link_destroy(backup.link);
	backup.link = NULL;
	rig_until(&rig, status(&primary).silent);
	cr_assert_not(status(&primary).connected);
	cr_assert_gt(primary.events[GP_LEAD_EV_PEER_SILENT], 0);
	// The same life comes back.
	uint32_t heard = primary.events[GP_LEAD_EV_PEER_HEARD];
	cr_assert_eq(start(&backup, 1, 2, NULL, rig.port, &err), 0);
	rig_until(&rig, primary.events[GP_LEAD_EV_PEER_HEARD] > heard);
	cr_assert_eq(primary.events[GP_LEAD_EV_PEER_RESTARTED], 1);
	gp_link_destroy(backup.link);
	cr_assert_eq(start(&backup, 1, 3, NULL, rig.port, &err), 0);
	rig_until(&rig, primary.events[GP_LEAD_EV_PEER_RESTARTED] == 2);
}

Test(link, who_is_heard_by_another_way_is_not_silent)
{
	silent_ms = 100;
	up(0);
	rig_until(&rig, primary.events[GP_LEAD_EV_PEER_HEARD] > 0);
	heard_ns = 0;
	gp_link_destroy(backup.link);
	backup.link = NULL;
	rig_until(&rig, !status(&primary).connected && status(&primary).heard_ns > 500000000);
	cr_assert_not(status(&primary).silent);
	cr_assert_eq(primary.events[GP_LEAD_EV_PEER_SILENT], 0);
	heard_ns = 100000000;
	rig_until(&rig, status(&primary).silent);
	cr_assert_eq(primary.events[GP_LEAD_EV_PEER_SILENT], 1);
}

Test(link, who_hears_nobody_from_the_beginning_is_told)
{
	struct gp_stream_error err;
	silent_ms = 50;
	cr_assert_eq(start(&primary, 0, 1, "127.0.0.1:0", 0, &err), 0, "%s", err.text);
	rig_until(&rig, primary.events[GP_LEAD_EV_PEER_SILENT] == 1);
	cr_assert_eq(status(&primary).heard_ns, UINT64_MAX);
	rig.port = gp_link_port(primary.link);
	cr_assert_eq(start(&backup, 1, 2, NULL, rig.port, &err), 0);
	rig_until(&rig, primary.events[GP_LEAD_EV_PEER_HEARD] == 1);
}

Test(link, goes_on_after_a_connection_that_was_cut_or_damaged)
{
	static const uint64_t cuts[] = {1, 100, 130, 400, 3000, 9000};
	for (uint32_t n = 0; n < 2 * GP_ARRAY_SIZE(cuts); n++) {
		uint16_t port;
		struct gp_stream_error err;
		// The relay damages what goes to the listener: here the backup listens.
		cr_assert_eq(start(&backup, 1, 2, "127.0.0.1:0", 0, &err), 0);
		rig.port = gp_link_port(backup.link);
		struct relay *relay = relay_start(&rig, cuts[n / 2], n & 1 ? 0x10 : 0, &port);
		cr_assert_eq(start(&primary, 0, 1, NULL, port, &err), 0);
		gp_link_set_feeder(primary.link, jobs->feeder);
		gp_link_set_follower(backup.link, jobs->follower);
		while (!relay_hit(relay))
			train(10);
		train(10);
		cr_assert_geq(status(&backup).connections + status(&backup).failures, 2);
		gp_link_destroy(primary.link);
		gp_link_destroy(backup.link);
		relay_stop(relay);
	}
	primary.link = backup.link = NULL;
}

static int tcp_connect(uint16_t port)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	cr_assert_geq(fd, 0);
	cr_assert_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

Test(link, strangers_do_not_disturb)
{
	silent_ms = 1000;
	up(0);
	train(20);
	int fds[6];
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(fds); i++)
		fds[i] = tcp_connect(rig.port);
	cr_assert_eq(write(fds[0], "GET / HTTP/1.0\r\n\r\n", 18), 18);
	// Three are too many, one speaks something else, and those that say nothing are ended last.
	rig_until(&rig, status(&primary).failures >= GP_ARRAY_SIZE(fds));
	cr_assert(strstr(status(&primary).last_error, "does not greet"));
	train(20);
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(fds); i++)
		close(fds[i]);
}

Test(link, a_newer_connection_takes_the_place)
{
	struct gp_stream_error err;
	struct end second = {0};
	up(0);
	train(20);
	cr_assert_eq(start(&second, 1, 2, NULL, rig.port, &err), 0);
	rig_until(&rig, status(&primary).connections >= 2);
	gp_link_destroy(second.link);
	rig_until(&rig, status(&backup).connected);
	train(20);
}

static uint32_t occurrences(FILE *in, const char *words)
{
	char line[1024];
	uint32_t n = 0;
	rewind(in);
	while (fgets(line, sizeof(line), in))
		n += strstr(line, words) != NULL;
	return n;
}

// A follower whose image has room for nothing.
static struct gp_image *small_image;
static struct gp_follower *small;

static void small_make(void)
{
	struct gp_image_error why;
	const struct gp_image_opts opts = {.memory_max = 1 << 10};
	cr_assert_eq(gp_image_create(&small_image, &opts, &why), 0);
	const struct gp_follower_opts how = {.image = small_image};
	cr_assert_eq(gp_follower_create(&small, &how), 0);
}

static void small_free(void)
{
	gp_link_set_follower(backup.link, NULL);
	gp_follower_destroy(small);
	gp_image_destroy(small_image);
}

static void small_up(bool backup_listens)
{
	struct gp_stream_error err;
	struct end *listens = backup_listens ? &backup : &primary;
	struct end *connects = backup_listens ? &primary : &backup;
	small_make();
	cr_assert_eq(start(listens, backup_listens, 1, "127.0.0.1:0", 0, &err), 0);
	uint16_t port = gp_link_port(listens->link);
	cr_assert_eq(start(connects, !backup_listens, 2, NULL, port, &err), 0);
	gp_link_set_follower(backup.link, small);
}

// The follower refuses a base. Pauses between connections double (1 ms to 80 ms: a hundred of them
// took 7 s), and each end says once why, until there is room.
static void no_room(bool backup_listens)
{
	FILE *log = tmpfile();
	cr_assert(log && dup2(fileno(log), STDERR_FILENO) >= 0);
	uint64_t begin = rig_now_ms();
	small_up(backup_listens);
	gp_link_set_feeder(primary.link, jobs->feeder);
	rig_until(&rig, status(&primary).futile >= 10 && status(&backup).futile >= 10);
	// 287 ms of pauses; the loop's clock is coarse, and each may end some ms early.
	cr_assert_geq(rig_now_ms() - begin, 150);
	cr_assert(strstr(status(&backup).last_error, "its image needs"));
	cr_assert(strstr(status(&primary).last_error, "before it held all jobs"));
	cr_assert_eq(occurrences(log, "its image needs"), 1);
	cr_assert_eq(occurrences(log, "before it held all jobs"), 1);
	cr_assert_eq(occurrences(log, "is connected"), 2, "once at each end");

	gp_link_set_follower(backup.link, jobs->follower);
	train(20);
	rig_until(&rig, status(&primary).futile == 0 && status(&backup).futile == 0);
	cr_assert_str_empty(status(&backup).last_error);
	cr_assert_str_empty(status(&primary).last_error);
	cr_assert_eq(occurrences(log, "is connected"), 4);
	small_free();
	fclose(log);
}

Test(link, an_image_without_room_is_tried_ever_more_rarely)
{
	no_room(false);
}

Test(link, the_same_where_the_backup_listens)
{
	no_room(true);
}

// Pauses of 1 ms to 1 s: half of the time-out, not the 16 s that the back-off may grow to.
Test(link, nobody_is_silent_between_futile_connections)
{
	silent_ms = 2000;
	backoff_ms_max = 4000;
	small_up(false);
	gp_link_set_feeder(primary.link, jobs->feeder);
	rig_until(&rig, status(&primary).futile >= 14 && status(&backup).futile >= 14);
	cr_assert_eq(primary.events[GP_LEAD_EV_PEER_SILENT], 0);
	cr_assert_eq(backup.events[GP_LEAD_EV_PEER_SILENT], 0);
	gp_link_destroy(backup.link);
	backup.link = NULL;
	rig_until(&rig, status(&primary).silent);
	gp_follower_destroy(small);
	gp_image_destroy(small_image);
}

// Heartbeats alone, before the leader has anything to feed, are not what the connection is for.
Test(link, futile_ones_count_on_where_the_feeder_comes_late)
{
	small_up(false);
	for (uint32_t n = 1; n <= 5; n++) {
		rig_until(&rig, status(&primary).connected);
		uint64_t before = status(&primary).round_trip_ns;
		rig_until(&rig, status(&primary).round_trip_ns != before);
		cr_assert_eq(status(&primary).futile, n - 1);
		cr_assert(n == 1 || strstr(status(&primary).last_error, "before it held all"));
		gp_link_set_feeder(primary.link, jobs->feeder);
		rig_until(&rig, status(&primary).futile >= n && status(&backup).futile >= n);
		gp_link_set_feeder(primary.link, NULL);
	}
	cr_assert_eq(status(&backup).futile, 5);
	small_free();
}

Test(link, two_nodes_of_one_number_are_refused)
{
	struct gp_stream_error err;
	cr_assert_eq(start(&primary, 0, 1, "127.0.0.1:0", 0, &err), 0);
	cr_assert_eq(start(&backup, 0, 2, NULL, gp_link_port(primary.link), &err), 0);
	rig_until(&rig, strstr(status(&primary).last_error, "it is node 0"));
	cr_assert_eq(primary.events[GP_LEAD_EV_PEER_HEARD], 0);
}

Test(link, options_that_cannot_be_are_refused)
{
	struct gp_stream_error err;
	struct gp_link *link;
	struct gp_link_opts opts = {.product = "test", .listen = "127.0.0.1:0", .peer = "::1:9"};
	cr_assert_eq(gp_link_create(rig.base, &opts, &link, &err), -EINVAL);
	opts.peer = NULL;
	opts.node = 2;
	cr_assert_eq(gp_link_create(rig.base, &opts, &link, &err), -EINVAL);
	opts.node = 0;
	opts.listen = "localhost:1";
	cr_assert_eq(gp_link_create(rig.base, &opts, &link, &err), -EINVAL);
	cr_assert(strstr(err.text, "numeric"), "%s", err.text);
	cr_assert_eq(start(&primary, 0, 1, "127.0.0.1:0", 0, &err), 0);
	char taken[32];
	snprintf(taken, sizeof(taken), "127.0.0.1:%u", gp_link_port(primary.link));
	opts.listen = taken;
	cr_assert_eq(gp_link_create(rig.base, &opts, &link, &err), -EADDRINUSE);
	cr_assert(strstr(err.text, "in use"), "%s", err.text);
}

// ---- TLS

struct files {
	char cert[128], key[128], ca[128];
};

static struct gp_replica_tls tls_of(
	struct files *f, const char *folder, const char *name, const char *peer)
{
	snprintf(f->cert, sizeof(f->cert), "%s/%s.pem", folder, name);
	snprintf(f->key, sizeof(f->key), "%s/%s.key", folder, name);
	snprintf(f->ca, sizeof(f->ca), "%s/ca.pem", folder);
	return (struct gp_replica_tls){
		.cert = f->cert, .key = f->key, .ca = f->ca, .peer_name = peer};
}

Test(link, over_tls)
{
	char folder[] = "/tmp/gp-ca-XXXXXX", command[256];
	struct files a, b;
	cr_assert(mkdtemp(folder));
	snprintf(command, sizeof(command), "%s %s primary replica", GP_TEST_CA, folder);
	cr_assert_eq(system(command), 0);
	struct gp_replica_tls ours = tls_of(&a, folder, "primary", "replica");
	struct gp_replica_tls theirs = tls_of(&b, folder, "replica", "primary");
	primary_tls = &ours;
	// A peer in plain text is refused, by name.
	up(0);
	rig_until(&rig, strstr(status(&primary).last_error, "TLS"));
	cr_assert_eq(status(&primary).connections, 0);
	gp_link_destroy(primary.link);
	gp_link_destroy(backup.link);
	backup_tls = &theirs;
	up(0);
	train(300);
	cr_assert(status(&primary).connected);
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	cr_assert_eq(system(command), 0);
}
