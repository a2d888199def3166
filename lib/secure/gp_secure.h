// SPDX-License-Identifier: BSD-3-Clause
//
// Stateless cookies against spoofed source addresses, and random bytes.
//
// A server answers HELLO with a cookie and keeps nothing. A JOIN that brings the cookie back proves
// that its sender receives at the address it claims. A cookie is the server's time in ms (u64,
// little-endian) followed by SipHash-2-4 with 128 bits of output over ip[16], port (u16) and that
// time, under a key that the server draws at start.
//
// Owner and memory: the key is the caller's and is passed to each call, so a simulation with fixed
// keys and times repeats itself. Nothing is allocated. Threads: the cookie calls are pure and may
// run on every core at once with one key; gp_secure_random takes a lock and is for the cold path.
#ifndef GP_SECURE_H
#define GP_SECURE_H

#include <gp_base.h>

#define GP_COOKIE_SIZE	   24
#define GP_COOKIE_KEY_SIZE 16
#define GP_COOKIE_VALID_MS 30000

struct gp_cookie_key {
	uint8_t bytes[GP_COOKIE_KEY_SIZE];
};

// Fills `buf` from the system's generator; aborts the process when the system has none.
void gp_secure_random(void *buf, size_t size);
// Draws a new random key. Cookies made under the key before are refused from then on.
void gp_cookie_key_init(struct gp_cookie_key *k);

// `ip` is an IPv6 address or ::ffff:a.b.c.d, `port` in host order, `now_ms` any clock that does not
// go back while the key lives.
void gp_cookie_make(const struct gp_cookie_key *k, const uint8_t ip[16], uint16_t port,
	uint64_t now_ms, uint8_t out[GP_COOKIE_SIZE]);
// True when this key made the cookie for this address at most GP_COOKIE_VALID_MS ago. Takes the
// same time whichever byte is wrong.
bool gp_cookie_check(const struct gp_cookie_key *k, const uint8_t ip[16], uint16_t port,
	const uint8_t cookie[GP_COOKIE_SIZE], uint64_t now_ms) GP_MUST_CHECK;

#endif
