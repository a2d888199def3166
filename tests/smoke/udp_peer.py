#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A plain UDP peer for tests of the wire: `echo PORT`, or `send ADDR PORT COUNT SIZE`, which numbers
its datagrams and prints what came back. Both end with one line of counts; echo ends on SIGTERM."""
import signal
import socket
import sys

SO_RCVBUFFORCE = 33  # as root: beyond net.core.rmem_max
BURST = 32
QUIET_S = 0.5


def echo(port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 26)
    s.bind(("0.0.0.0", port))
    received = 0

    def end(*_):
        print(f"echo received={received}", flush=True)
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    print("echo ready", flush=True)
    while True:
        data, peer = s.recvfrom(65536)
        received += 1
        s.sendto(data, peer)


def send(addr, port, count, size):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 26)
    s.connect((addr, port))
    back, bad, late, newest = [0] * count, 0, 0, -1

    def drain(quiet_s):
        nonlocal bad, late, newest
        s.settimeout(quiet_s)
        try:
            while True:
                data = s.recv(65536)
                n = int.from_bytes(data[:4], "big")
                if n >= count or data != n.to_bytes(4, "big") + bytes([n & 255]) * (size - 4):
                    bad += 1
                    continue
                back[n] += 1
                late += n < newest
                newest = max(newest, n)
        except socket.timeout:
            pass

    for n in range(count):
        s.send(n.to_bytes(4, "big") + bytes([n & 255]) * (size - 4))
        if n % BURST == BURST - 1:
            drain(0.002)
    drain(QUIET_S)
    print(f"send sent={count} received={sum(back)} missing={back.count(0)} "
          f"repeated={sum(1 for c in back if c > 1)} late={late} bad={bad}")


if sys.argv[1] == "echo":
    echo(int(sys.argv[2]))
else:
    send(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
