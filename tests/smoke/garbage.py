#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Sends bad datagrams: garbage.py ADDR PORT PORTS COUNT PER_S SEED. Made from the golden vectors by
flipping bits, cutting, stretching, filling with noise and mixing; a few are longer than the path MTU
(they leave as fragments), a few have a wrong UDP checksum or a broken IP header. Ends with one line of
counts."""
import glob
import os
import random
import re
import socket
import sys
import time

VECTORS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "vectors")
DATAGRAM_MAX, PAYLOAD_MAX, BURST = 9300, 1472, 64


def vector_read(path):
    data = b""
    with open(path, encoding="utf-8") as f:
        for line in f:
            text = line.split("#")[0].strip()
            zeros = re.fullmatch(r"00\*(\d+)", text)
            data += bytes(int(zeros.group(1))) if zeros else bytes.fromhex(text)
    return data


def flipped(rnd, v):
    out = bytearray(v)
    for _ in range(rnd.choice((1, 1, 2, 8))):
        out[rnd.randrange(min(len(out), 160))] ^= 1 << rnd.randrange(8)
    return out


def cut(rnd, v):
    return v[: rnd.randrange(len(v))]


def stretched(rnd, v):
    return v + rnd.randbytes(rnd.randrange(1, PAYLOAD_MAX - len(v)))


def noise(rnd, _):
    return rnd.randbytes(rnd.randrange(PAYLOAD_MAX))


def spliced(rnd, v):
    at = rnd.randrange(len(v))
    other = rnd.choice(VECTOR_LIST)
    return v[:at] + other[at:]


def field_set(rnd, v):
    out = bytearray(v)
    at = rnd.randrange(0, min(len(out), 160))
    out[at:at + 4] = rnd.choice((b"\xff\xff\xff\xff", bytes(4), b"\x00\x00\x00\x80"))[: len(out) - at]
    return out


def oversized(rnd, v):
    return v + rnd.randbytes(rnd.randrange(PAYLOAD_MAX, DATAGRAM_MAX) - len(v))


def whole(_, v):
    return v


VECTOR_LIST = [vector_read(p) for p in sorted(glob.glob(os.path.join(VECTORS, "*.hex")))]
WAYS = [flipped] * 6 + [cut] * 3 + [field_set] * 4 + [spliced] * 3 + [stretched] * 2 + [noise, whole]


def main():
    address, base, ports = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    count, per_s = int(sys.argv[4]), int(sys.argv[5])
    rnd = random.Random(int(sys.argv[6]))
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bad_sum = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
    begin, refused = time.monotonic(), 0
    for n in range(count):
        way = oversized if n % 500 == 0 else rnd.choice(WAYS)
        data = bytes(way(rnd, rnd.choice(VECTOR_LIST)))
        try:
            if n % 100 == 1:  # the raw socket takes the UDP header as it is
                bad_sum.sendto(rnd.randbytes(2) + (base + n % ports).to_bytes(2, "big") +
                               rnd.randbytes(4) + data[:1000], (address, 0))
            else:
                s.sendto(data, (address, base + n % ports))
        except OSError:
            refused += 1
        if n % BURST == 0:
            ahead = n / per_s - (time.monotonic() - begin)
            if ahead > 0:
                time.sleep(ahead)
    wall = time.monotonic() - begin
    print(f"garbage sent={count - refused} refused={refused} wall_s={wall:.1f}")


main()
