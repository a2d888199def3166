// SPDX-License-Identifier: BSD-3-Clause
#include <criterion/criterion.h>

#include <gp_secure.h>

#define NOW_MS UINT64_C(1700000000000)

static const struct gp_cookie_key key = {{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}};
static const uint8_t ip[16] = {[10] = 0xff, [11] = 0xff, 192, 0, 2, 7};

Test(cookie, is_accepted_back_while_valid)
{
	uint8_t c[GP_COOKIE_SIZE];
	gp_cookie_make(&key, ip, 9700, NOW_MS, c);
	cr_assert_eq(gp_load64(c), NOW_MS);
	cr_assert(gp_cookie_check(&key, ip, 9700, c, NOW_MS));
	cr_assert(gp_cookie_check(&key, ip, 9700, c, NOW_MS + 30000));
	cr_assert_not(gp_cookie_check(&key, ip, 9700, c, NOW_MS + 30001), "older than 30 s");
	cr_assert_not(gp_cookie_check(&key, ip, 9700, c, NOW_MS - 1), "from the future");
}

Test(cookie, belongs_to_one_address)
{
	uint8_t c[GP_COOKIE_SIZE];
	gp_cookie_make(&key, ip, 9700, NOW_MS, c);
	cr_assert_not(gp_cookie_check(&key, ip, 9701, c, NOW_MS));
	for (uint32_t bit = 0; bit < 128; bit++) {
		uint8_t other[16];
		memcpy(other, ip, sizeof(other));
		other[bit / 8] ^= (uint8_t)(1u << bit % 8);
		cr_assert_not(gp_cookie_check(&key, other, 9700, c, NOW_MS), "bit %u", bit);
	}
}

Test(cookie, any_flipped_bit_is_refused)
{
	uint8_t c[GP_COOKIE_SIZE];
	gp_cookie_make(&key, ip, 9700, NOW_MS, c);
	for (uint32_t bit = 0; bit < 8 * GP_COOKIE_SIZE; bit++) {
		c[bit / 8] ^= (uint8_t)(1u << bit % 8);
		cr_assert_not(gp_cookie_check(&key, ip, 9700, c, NOW_MS), "bit %u", bit);
		c[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	cr_assert(gp_cookie_check(&key, ip, 9700, c, NOW_MS));
}

Test(cookie, belongs_to_one_key)
{
	struct gp_cookie_key other = key;
	other.bytes[15] ^= 1;
	uint8_t c[GP_COOKIE_SIZE];
	gp_cookie_make(&key, ip, 9700, NOW_MS, c);
	cr_assert_not(gp_cookie_check(&other, ip, 9700, c, NOW_MS));
}

// The MAC by an implementation of its own: SipHash-2-4-128 as in the reference code, so that
// another process of the same deployment may check the cookie.
static uint64_t rotl(uint64_t x, unsigned n)
{
	return x << n | x >> (64 - n);
}

static void sip_rounds(uint64_t v[4], int n)
{
	while (n-- > 0) {
		v[0] += v[1];
		v[1] = rotl(v[1], 13) ^ v[0];
		v[0] = rotl(v[0], 32);
		v[2] += v[3];
		v[3] = rotl(v[3], 16) ^ v[2];
		v[0] += v[3];
		v[3] = rotl(v[3], 21) ^ v[0];
		v[2] += v[1];
		v[1] = rotl(v[1], 17) ^ v[2];
		v[2] = rotl(v[2], 32);
	}
}

static void sip128(const uint8_t k[16], const uint8_t *in, size_t len, uint8_t out[16])
{
	uint64_t k0 = gp_load64(k), k1 = gp_load64(k + 8);
	uint64_t v[4] = {k0 ^ UINT64_C(0x736f6d6570736575),
		k1 ^ UINT64_C(0x646f72616e646f6d) ^ 0xee, k0 ^ UINT64_C(0x6c7967656e657261),
		k1 ^ UINT64_C(0x7465646279746573)};
	for (size_t at = 0; at <= len; at += 8) {
		uint8_t word[8] = {0};
		memcpy(word, in + at, len - at < 8 ? len - at : 8);
		if (len - at < 8)
			word[7] = (uint8_t)len;
		v[3] ^= gp_load64(word);
		sip_rounds(v, 2);
		v[0] ^= gp_load64(word);
	}
	v[2] ^= 0xee;
	sip_rounds(v, 4);
	gp_store64(out, v[0] ^ v[1] ^ v[2] ^ v[3]);
	v[1] ^= 0xdd;
	sip_rounds(v, 4);
	gp_store64(out + 8, v[0] ^ v[1] ^ v[2] ^ v[3]);
}

Test(cookie, mac_is_siphash_2_4_128_of_address_port_and_time)
{
	// First vector of the reference implementation: empty input under this key.
	static const uint8_t empty[16] = {0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d,
		0xf6, 0x72, 0x14, 0xc7, 0x55, 0x02, 0x93};
	uint8_t mac[16];
	sip128(key.bytes, (const uint8_t *)"", 0, mac);
	cr_assert_arr_eq(mac, empty, 16);

	uint8_t input[26], c[GP_COOKIE_SIZE];
	memcpy(input, ip, 16);
	gp_store16(input + 16, 9700);
	gp_store64(input + 18, NOW_MS);
	sip128(key.bytes, input, sizeof(input), mac);
	gp_cookie_make(&key, ip, 9700, NOW_MS, c);
	cr_assert_arr_eq(c + 8, mac, 16);
}

Test(random, keys_differ_and_fill_every_byte)
{
	struct gp_cookie_key a, b;
	uint8_t seen[GP_COOKIE_KEY_SIZE] = {0};
	gp_cookie_key_init(&a);
	gp_cookie_key_init(&b);
	cr_assert(memcmp(&a, &b, sizeof(a)) != 0);
	for (uint32_t i = 0; i < 64; i++) {
		gp_cookie_key_init(&a);
		for (uint32_t k = 0; k < GP_COOKIE_KEY_SIZE; k++)
			seen[k] |= a.bytes[k];
	}
	for (uint32_t k = 0; k < GP_COOKIE_KEY_SIZE; k++)
		cr_assert(seen[k] != 0, "byte %u stayed zero", k);
	gp_secure_random(NULL, 0);
}
