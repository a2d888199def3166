#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The first exchange of a session, with any versions.
hello.py ask ADDR PORT VERSION...: as a worker; prints what the server chose and speaks.
hello.py answer PORT VERSION...: as a server that speaks only these and never the asker's; no end."""
import socket
import struct
import sys

SIZE, MAGIC, HELLO, HELLO_REPLY, NO_RANK = 1200, 0x4E4C5047, 1, 2, 0xFFFF
HEADER, HEADER_SIZE = "<BBBBHHIIIIQIHBB", 40
BODY = "<IB7sIQ24sB7s"
NONCE = 0x1122334455667788


def message(kind, versions, size, nonce):
    header = struct.pack(HEADER, 1, kind, 0, 0, 0, NO_RANK, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    body = struct.pack(BODY, MAGIC, len(versions), versions, size, nonce, b"", 0, b"")
    return (header + body).ljust(size, b"\0")


def ask(address, port, versions):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(0.5)
    s.connect((address, port))
    for _ in range(6):
        s.send(message(HELLO, versions, SIZE, NONCE))
        try:
            reply = s.recv(65536)
            break
        except socket.timeout:
            continue
    else:
        sys.exit("no answer")
    _, count, spoken, size, nonce, _, chosen, _ = struct.unpack_from(BODY, reply, HEADER_SIZE)
    if reply[1] != HELLO_REPLY or nonce != NONCE or size != len(reply) or len(reply) > SIZE:
        sys.exit(f"no right answer: {reply[:96].hex()}")
    print(f"chosen={chosen} speaks={','.join(map(str, spoken[:count]))}")


def answer(port, versions):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("0.0.0.0", port))
    print("answer ready", flush=True)
    while True:
        data, peer = s.recvfrom(65536)
        if len(data) >= SIZE and data[1] == HELLO:
            nonce = struct.unpack_from(BODY, data, HEADER_SIZE)[4]
            s.sendto(message(HELLO_REPLY, versions, len(data), nonce), peer)


if sys.argv[1] == "ask":
    ask(sys.argv[2], int(sys.argv[3]), bytes(int(v) for v in sys.argv[4:]))
else:
    answer(int(sys.argv[2]), bytes(int(v) for v in sys.argv[3:]))
