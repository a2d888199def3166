// SPDX-License-Identifier: BSD-3-Clause
//
// libFuzzer target for the Internet parser: any bytes as an Ethernet frame. The first byte chooses
// how much is left to the software: checks on, or off as with hardware offload (so that deeper
// states are reached without a right checksum). What is accepted must lie inside the frame; what
// asks for an answer is answered inside its room, and the answer is parsed without harm.
#include <gp_inet.h>

#include <stdlib.h>

#define ROOM_SPARE 128

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct gp_inet_host host = {
	.mac = {2, 0, 0, 0, 0, 1},
	.port_base = 9700,
	.ports_count = 2,
	.addrs_count = 2,
	.addrs = {{[10] = 0xff, 0xff, 10, 0, 0, 1}, {0xfd, [15] = 1}},
};

static bool is_answered(enum gp_inet_verdict v)
{
	return v == GP_INET_ARP_ANSWERED || v == GP_INET_ND_ANSWERED || v == GP_INET_ECHO_ANSWERED;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gp_inet_packet p;
	if (size < 1 || size > 65536)
		return 0;
	uint32_t flags = data[0] & (GP_INET_SKIP_IP_CHECKSUM | GP_INET_SKIP_UDP_CHECKSUM |
					   GP_INET_OPTIONAL_UDP_CHECKSUM);
	uint32_t len = (uint32_t)size - 1;
	// Exactly as long as the frame, so that a read past its end is seen.
	uint8_t *frame = malloc(len ? len : 1);
	memcpy(frame, data + 1, len);
	enum gp_inet_verdict v = gp_inet_parse(&host, frame, len, flags, &p);
	GP_ASSERT(v < GP_INET_VERDICTS_COUNT);
	if (v == GP_INET_ACCEPTED) {
		GP_ASSERT(p.payload_off <= len && p.payload_len <= len - p.payload_off);
		GP_ASSERT(p.core < host.ports_count && p.addr < host.addrs_count);
	}
	if (is_answered(v)) {
		uint32_t room = len + ROOM_SPARE;
		uint8_t *answer = malloc(room);
		memcpy(answer, frame, len);
		uint32_t answer_len = gp_inet_answer(&host, v, &p, answer, room);
		GP_ASSERT(answer_len <= room);
		struct gp_inet_packet ignored;
		v = gp_inet_parse(&host, answer, answer_len, flags, &ignored);
		GP_ASSERT(v < GP_INET_VERDICTS_COUNT);
		free(answer);
	}
	free(frame);
	return 0;
}
