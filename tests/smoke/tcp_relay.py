#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# tcp_relay.py LISTEN_PORT TO_PORT: passes connections to 127.0.0.1:LISTEN_PORT on to TO_PORT. Stopped
# (SIGSTOP) it is a cable that is cut: nothing passes, and no end is told.
import selectors
import socket
import sys

listen_port, to_port = int(sys.argv[1]), int(sys.argv[2])
listener = socket.create_server(("127.0.0.1", listen_port))
ends = selectors.DefaultSelector()
ends.register(listener, selectors.EVENT_READ)
print("tcp_relay: ready", flush=True)


def connect(near):
    try:
        far = socket.create_connection(("127.0.0.1", to_port), timeout=1)
    except OSError:
        near.close()
        return
    for end, other in ((near, far), (far, near)):
        end.setblocking(True)
        ends.register(end, selectors.EVENT_READ, other)


def close(end, other):
    for s in (end, other):
        ends.unregister(s)
        s.close()


while True:
    for key, _ in ends.select():
        if key.fileobj is listener:
            connect(listener.accept()[0])
            continue
        if key.fileobj.fileno() < 0 or key.data.fileno() < 0:  # closed in this round
            continue
        try:
            data = key.fileobj.recv(1 << 16)
            if data:
                key.data.sendall(data)
        except OSError:
            data = b""
        if not data:
            close(key.fileobj, key.data)
