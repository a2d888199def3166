// SPDX-License-Identifier: BSD-3-Clause
//
// A receiver and a peer that does not keep to the protocol.
#include "rig.h"

#include <replica_priv.h>

#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static struct rig rig;
static struct evbuffer *out, *in;
static int fd;

static int peer_connect(void)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
		.sin_port = htons(rig.port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int s = socket(AF_INET, SOCK_STREAM, 0);
	cr_assert_geq(s, 0);
	cr_assert_eq(connect(s, (struct sockaddr *)&to, sizeof(to)), 0);
	cr_assert_eq(fcntl(s, F_SETFL, O_NONBLOCK), 0);
	return s;
}

static void setup(void)
{
	rig_init(&rig);
	rig.idle_ms = 1000;
	rig_receiver_start(&rig, 0);
	out = evbuffer_new();
	in = evbuffer_new();
	fd = peer_connect();
}

static void teardown(void)
{
	close(fd);
	evbuffer_free(out);
	evbuffer_free(in);
	rig_fini(&rig);
}

TestSuite(hostile, .init = setup, .fini = teardown, .timeout = 60);

static void put(enum frame_type type, const void *body, size_t len)
{
	cr_assert_eq(frame_put(out, type, body, len, NULL, 0), 0);
}

static void put_text(enum frame_type type, const char *json)
{
	put(type, json, strlen(json));
}

static void hello(void)
{
	put_text(FRAME_HELLO, "{\"product\":\"x\",\"holds\":[]}");
}

static bool answered(struct msg_result *m)
{
	struct frame f;
	struct gp_snapshot_error err;
	(void)!evbuffer_read(in, fd, -1);
	while (frame_take(in, &f, &err) == 1) {
		bool result = f.type == FRAME_RESULT;
		if (result)
			cr_assert_eq(msg_result_parse(&f, m, &err), 0, "%s", err.text);
		frame_drop(in, &f);
		if (result)
			return true;
	}
	return false;
}

// What is in `out` is sent; the receiver must refuse it with a text that has `why` in it.
static void expect_refusal(const char *why)
{
	struct msg_result m;
	size_t len = evbuffer_get_length(out);
	cr_assert_eq(evbuffer_write(out, fd), (int)len);
	rig_until(&rig, answered(&m));
	cr_assert_not(m.verified);
	cr_assert_not_null(strstr(m.why, why), "%s: %s", why, m.why);
	cr_assert_eq(rig_replica_count(&rig), 0u);
	cr_assert_eq(sample_stages(rig.to), 0u);
	close(fd);
	fd = peer_connect();
	evbuffer_drain(in, evbuffer_get_length(in));
}

Test(hostile, wrong_magic_version_type_and_length)
{
	static const uint8_t http[] = "GET / HTTP/1.1\r\nHost: replica\r\n\r\n";
	evbuffer_add(out, http, sizeof(http) - 1);
	expect_refusal("wrong magic");
	hello();
	evbuffer_pullup(out, -1)[4] = 2;
	expect_refusal("version 2, this program speaks 1");
	hello();
	evbuffer_pullup(out, -1)[6] = 99;
	expect_refusal("unknown frame type 99");
	hello();
	gp_store32(evbuffer_pullup(out, -1) + 8, FRAME_BODY_MAX + 1);
	expect_refusal("at most");
	hello();
	evbuffer_pullup(out, -1)[30] ^= 1;
	expect_refusal("damaged frame");
}

Test(hostile, frames_out_of_turn)
{
	put(FRAME_END, NULL, 0);
	expect_refusal("out of turn");
	hello();
	hello();
	expect_refusal("out of turn");
	hello();
	put(FRAME_CHUNK, "0123456789abcdef!", 17);
	expect_refusal("out of turn");
	put_text(FRAME_HELLO, "{\"product\":7}");
	expect_refusal("hello message");
	put_text(FRAME_HELLO, "[[[[");
	expect_refusal("hello message");
}

static void expect_begin_refused(const char *name, const char *file, const char *size)
{
	char json[512];
	snprintf(json, sizeof(json),
		"{\"name\":\"%s\",\"digest\":\"0000000000000000\",\"files\":["
		"{\"name\":\"params.safetensors\",\"size\":%s},{\"name\":\"%s\",\"size\":9}]}",
		name, size, file);
	hello();
	put_text(FRAME_BEGIN, json);
	expect_refusal(strlen(size) > 9 ? "this replica takes at most" : "begin message");
}

Test(hostile, names_and_sizes_that_no_snapshot_has)
{
	static const char *const names[] = {"../a-0000000001", "/a-0000000001", "a", "",
		".tmp-0000000001", "a/b-0000000001", "a-0000000001/.."};
	static const char *const files[] = {"../../etc/cron.d/x", "/etc/passwd", "", ".", "..",
		"state-.safetensors", "state-a/b.safetensors", "state-../x.safetensors",
		"params.safetensors", "manifest.json.bak"};
	for (size_t i = 0; i < GP_ARRAY_SIZE(names); i++)
		expect_begin_refused(names[i], "manifest.json", "9");
	for (size_t i = 0; i < GP_ARRAY_SIZE(files); i++)
		expect_begin_refused("a-0000000001", files[i], "9");
	expect_begin_refused("a-0000000001", "manifest.json", "0");
	expect_begin_refused("a-0000000001", "manifest.json", "-1");
	expect_begin_refused("a-0000000001", "manifest.json", "1000000000000");
}

static void begin(void)
{
	hello();
	put_text(FRAME_BEGIN,
		"{\"name\":\"a-0000000001\",\"digest\":\"0000000000000000\",\"files\":["
		"{\"name\":\"params.safetensors\",\"size\":9},{\"name\":\"manifest.json\",\"size\":"
		"2}"
		"]}");
}

static void chunk(uint32_t file_idx, uint64_t offset, const char *data)
{
	uint8_t head[CHUNK_HEADER_SIZE] = {0};
	gp_store32(head, file_idx);
	gp_store64(head + 8, offset);
	cr_assert_eq(frame_put(out, FRAME_CHUNK, head, sizeof(head), data, strlen(data)), 0);
}

Test(hostile, chunks_out_of_place_and_half_snapshots)
{
	begin();
	chunk(0, 1, "x");
	expect_refusal("expected file 0 at 0");
	begin();
	chunk(0, 0, "0123456789");
	expect_refusal("within its size");
	begin();
	chunk(0, 0, "");
	expect_refusal("chunk without data");
	begin();
	chunk(0, 0, "012345678");
	chunk(7, 0, "x");
	expect_refusal("expected file 1 at 0");
	begin();
	chunk(0, UINT64_MAX, "xx");
	expect_refusal("expected file 0 at 0");
	begin();
	chunk(0, 0, "012");
	put(FRAME_END, NULL, 0);
	expect_refusal("ends in the middle of params.safetensors");
	begin();
	chunk(0, 0, "012345678");
	chunk(1, 0, "{}");
	put(FRAME_END, NULL, 0);
	expect_refusal("manifest.json: format");
	begin();
	chunk(0, 0, "012345678");
	chunk(1, 0, "{}");
	chunk(2, 0, "x");
	expect_refusal("expected file 2 at 0");
}

Test(hostile, silence_and_a_crowd_are_bounded)
{
	struct gp_replica_receiver_status st = {0};
	int crowd[GP_REPLICA_PEERS_MAX];
	for (size_t i = 0; i < GP_ARRAY_SIZE(crowd); i++)
		crowd[i] = peer_connect();
	while (st.refused_count == 0) {
		rig_turn(&rig);
		gp_replica_receiver_status(rig.receiver, &st);
	}
	cr_assert_eq(st.peers, (uint32_t)GP_REPLICA_PEERS_MAX);
	cr_assert_not_null(strstr(st.last_error, "a connection too many"));
	for (size_t i = 0; i < GP_ARRAY_SIZE(crowd); i++)
		close(crowd[i]);
	begin();
	cr_assert_gt(evbuffer_write(out, fd), 0);
	rig_until(&rig, sample_stages(rig.to) == 1);
	// It says no more: its time is up after a second.
	rig_until(&rig, sample_stages(rig.to) == 0);
	gp_replica_receiver_status(rig.receiver, &st);
	cr_assert_not_null(strstr(st.last_error, "silent too long"), "%s", st.last_error);
}
