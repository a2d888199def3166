// SPDX-License-Identifier: BSD-3-Clause
#include <gp_secure.h>

#include <sodium.h>

#define MAC_AT	   8
#define MAC_SIZE   crypto_shorthash_siphashx24_BYTES
#define INPUT_SIZE 26

_Static_assert(MAC_AT + MAC_SIZE == GP_COOKIE_SIZE, "time and MAC fill the cookie");
_Static_assert(crypto_shorthash_siphashx24_KEYBYTES == GP_COOKIE_KEY_SIZE, "key size of SipHash");

static void mac_compute(const struct gp_cookie_key *k, const uint8_t ip[16], uint16_t port,
	uint64_t time_ms, uint8_t mac[MAC_SIZE])
{
	uint8_t input[INPUT_SIZE];
	memcpy(input, ip, 16);
	gp_store16(input + 16, port);
	gp_store64(input + 18, time_ms);
	int rc = crypto_shorthash_siphashx24(mac, input, sizeof(input), k->bytes);
	GP_ASSERT(rc == 0);
}

void gp_cookie_make(const struct gp_cookie_key *k, const uint8_t ip[16], uint16_t port,
	uint64_t now_ms, uint8_t out[GP_COOKIE_SIZE])
{
	gp_store64(out, now_ms);
	mac_compute(k, ip, port, now_ms, out + MAC_AT);
}

bool gp_cookie_check(const struct gp_cookie_key *k, const uint8_t ip[16], uint16_t port,
	const uint8_t cookie[GP_COOKIE_SIZE], uint64_t now_ms)
{
	uint64_t made_ms = gp_load64(cookie);
	uint8_t mac[MAC_SIZE];
	mac_compute(k, ip, port, made_ms, mac);
	bool mine = sodium_memcmp(mac, cookie + MAC_AT, MAC_SIZE) == 0;
	bool fresh = made_ms <= now_ms && now_ms - made_ms <= GP_COOKIE_VALID_MS;
	return mine && fresh;
}
