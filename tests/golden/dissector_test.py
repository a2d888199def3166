#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Runs scripts/gradplane.lua in tshark over the golden vectors: every type is decoded, every byte
belongs to a named field, key fields have the right values, nothing legal is called malformed, and
every vector that lost its last byte is. Exit code 77: tshark is missing."""

import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree

HERE = pathlib.Path(__file__).resolve().parent
SCRIPT = HERE.parent.parent / "scripts" / "gradplane.lua"
SERVER_PORT, WORKER_PORT = 9701, 40000
LAYER = 42  # Ethernet, IPv4 and UDP headers

# Field -> values in order, as tshark shows them. Repeated fields list all their values.
EXPECTED = {
    "hello": {"type": ["1"], "hello.version": ["1", "2"], "hello.size": ["1200"], "rank": ["65535"],
              "hello.nonce": ["0x6162636465666768"]},
    "hello_reply": {"type": ["2"], "hello.chosen": ["1"],
                    "hello.cookie": [":".join(f"{b:02x}" for b in range(0xC0, 0xD8))]},
    "hello_reply_none": {"hello.version": list("1234567"), "hello.chosen": ["0"]},
    "join": {"type": ["3"], "join.job": ["mnist"], "join.rank": ["5"], "join.world": ["8"],
             "join.flags.replace": ["1"], "join.flags.reader": ["0"], "join.payload_max": ["1452"],
             "join.previous": ["0x8182838485868788"]},
    "join_results": {"join.flags.changed": ["1"], "join.flags.results": ["2"]},
    "join_goes_on": {"join.flags.goes_on": ["1"], "join.flags.changed": ["0"]},
    "join_attach": {"join.job": ["j" * 63], "join.flags.attach": ["1"],
                    "join.session": ["0x00070009"]},
    "welcome": {"type": ["4"], "credit": ["16706"], "welcome.cores": ["2"], "welcome.home": ["1"],
                "welcome.base_port": ["9700"], "welcome.kind": ["2"], "welcome.atomicity": ["3"],
                "welcome.flags.mean": ["1"], "welcome.flags.standby": ["0"], "welcome.flags.whole": ["1"],
                "welcome.timeout_us": ["5000000"], "welcome.window": ["48"],
                "welcome.incarnation": ["0x7172737475767778"]},
    "welcome_async": {"welcome.consistency": ["5"], "welcome.flags.stale_refused": ["1"],
                      "welcome.rto_min_us": ["1500"], "welcome.rto_max_us": ["200000"]},
    "register": {"type": ["5"], "register.n": ["2"], "tensor.name": ["fc1.wght", "fc2.bias and more"],
                 "tensor.dim": ["784", "256", "10"], "tensor.priority": ["10", "16909060"]},
    "register_ask": {"register.first": ["2"], "register.n": ["0"]},
    "layout": {"type": ["6"], "layout.block_elems": ["336"], "layout.entry.tensor": ["258", "7"],
               "layout.entry.first_block": ["772", "598"], "layout.entry.unit": ["0", "1"],
               "layout.entry.codec": ["0x00000000", "0x028f5c08"],
               "layout.flags.initialised": ["1"], "ack.delay_us": ["1500"]},
    "layout_waiting": {"layout.state": ["0"], "layout.missing_rank": ["6"]},
    "push_f32": {"type": ["7"], "flags.want": ["1"], "pad_len": ["30"], "section.block": ["66051"],
                 "section.weight": ["2.5"], "section.codec": ["1"],
                 "section.payload": ["00:00:80:3f:00:00:00:c0:00:00:00:3f"],
                 "packet": ["2387509390608836392"], "step": ["286397204"], "rank": ["5"]},
    "push_mixed": {"section.block": ["16", "17", "22"], "section.run": ["1", "5", "1"],
                   "section.codec": ["3", "0", "2"], "section.len": ["20", "0", "4"]},
    "push_pass": {"section.run": ["4", "1"], "section.weight": ["0", "1.5"]},
    "push_codecs": {"section.codec": ["4", "5", "5", "6", "7", "8"],
                    "section.len": ["6", "8", "8", "8", "12", "8"]},
    "pull": {"type": ["8"], "step": ["4294967295"], "section.run": ["300", "1"]},
    "result": {"type": ["9"], "flags.tentative": ["1"], "section.weight": ["7.5"],
               "ack.largest": ["5859837686836516696"], "ack.bits": ["0x8000000000000005"],
               "ack.flags.accepted": ["1"], "section.payload": ["00:00:00:80:00:00:c0:3f"]},
    "result_keep": {"section.flags.keep": ["1", "1"], "section.run": ["2", "1"]},
    "result_zero": {"section.block": ["4294967294"], "section.run": ["2"]},
    "commit": {"type": ["10"], "commit.first": ["256"], "commit.entry.kind": ["1", "2"],
               "commit.entry.unit": ["1286", "0"], "commit.entry.ranks": ["8", "7"],
               "commit.entry.flags.member": ["0", "1"], "commit.entry.lowest": ["0", "1"]},
    "commit_async": {"commit.first": ["4294967295"], "commit.entry.unit": ["6", "5", "2"],
                     "commit.entry.flags.yours": ["0", "1", "0"],
                     "commit.entry.flags.late": ["0", "0", "1"]},
    "ack": {"type": ["11"]},
    "heartbeat": {"type": ["12"], "heartbeat.known": ["4660"],
                  "heartbeat.time": ["0xa1a2a3a4a5a6a7a8"]},
    "heartbeat_reply": {"type": ["13"], "heartbeat.members": ["8"], "heartbeat.state": ["1"],
                        "heartbeat.missing_rank": ["6"], "heartbeat.view_first_step": ["258"]},
    "barrier": {"type": ["14"], "barrier.name": ["0xb1b2b3b4"], "barrier.call": ["0x00000014"]},
    "barrier_reply": {"type": ["15"], "barrier.call": ["0x00000015"]},
    "leave": {"type": ["16"], "leave.incarnation": ["0x7172737475767778"]},
    "leave_reply": {"type": ["17"], "leave.incarnation": ["0x7172737475767778"]},
    "beat": {"type": ["25"], "beat.cookie": ["0xc1c2c3c4c5c6c7c8"]},
    "refuse": {"type": ["18"], "refuse.reason": ["3"], "refuse.about": ["3"],
               "refuse.where_ip": ["::ffff:192.0.2.7"], "refuse.where_port": ["40000"],
               "refuse.text": ["rank 5 is taken – wait"], "refuse.age_ms": ["250"]},
    "nack": {"type": ["19"], "section.block": ["3", "9"], "section.run": ["4", "1"]},
    "busy": {"type": ["20"], "busy.packet": ["2387509390608836392"]},
    "read": {"type": ["21"], "read.request": ["202182159"], "read.clock": ["286397205"],
             "read.flags.reserve": ["1"]},
    "read_reply": {"type": ["22"], "read.state": ["1"], "read.rank": ["65535"],
                   "read.generation": ["707472429"], "read.bound": ["4294967295"]},
    "read_parked": {"read.state": ["0"], "read.rank": ["6"], "read.clock": ["286397203"],
                    "read.bound": ["2"]},
    "push_rows": {"section.block": ["0", "2", "4"], "section.codec": ["9", "9", "0"],
                  "section.run": ["1", "1", "14"], "rows.table": ["0", "1"], "rows.n": ["2", "1"],
                  "rows.id": ["0x0000000000000007", "0xf1f2f3f4f5f6f7f8", "0x0000000000000000"],
                  "rows.values": ["00:00:80:3f:00:00:00:c0", "80:3f:00:c0:40:40:00:00"]},
    "pull_rows": {"type": ["23"], "rows.request": ["202182159"], "rows.place": ["66051"],
                  "rows.table": ["1029"], "rows.n": ["3"], "rows.codec": ["2"],
                  "rows.id": ["0xf1f2f3f4f5f6f7f8", "0x0000000000000007", "0x0000000000000007"]},
    "rows": {"type": ["24"], "rows.n": ["3"], "rows.values": ["80:3f:00:c0:00:c0:00:00"]},
}

# Vector, offset, new bytes: refused by the validator, so flagged here.
BROKEN = (
    ("push_f32", 0, b"\2"), ("push_f32", 1, b"\x19"), ("push_f32", 2, b"\2"),
    ("push_f32", 3, b"\x40"), ("push_f32", 38, b"\0"), ("push_f32", 46, b"\0"),
    ("push_f32", 48, b"\0"), ("push_f32", 48, b"\x0a"), ("push_f32", 49, b"\1"),
    ("push_f32", 50, b"\1"), ("push_f32", 52, b"\0\0\0\0"), ("push_f32", 52, b"\0\0\x80\x7f"),
    ("push_f32", 52, b"\0\0\xc0\x7f"), ("push_f32", 52, b"\0\0\x80\xbf"), ("push_f32", 60, b"\1"),
    ("pull", 55, b"\x3f"), ("pull", 44, b"\4"), ("ack", 2, b"\0"), ("commit", 68, b"\x21"),
    ("commit", 68, b"\1"), ("commit", 72, b"\5"), ("join", 167, b"\1"), ("join", 104, b"\0"),
    ("register", 61, b"\x09"), ("register", 127, b"\1"), ("refuse", 40, b"\x63"),
    ("hello", 44, b"\x08"), ("hello", 40, b"\0"), ("layout", 96, b"\3"),
    ("push_pass", 55, b"\x80"), ("read", 100, b"\1"), ("read_reply", 90, b"\1"),
    ("result", 48, b"\x09"), ("push_rows", 90, b"\0"), ("push_rows", 93, b"\1"),
    ("pull_rows", 50, b"\0"), ("rows", 76, b"\3"),
)


def vector(path):
    data = b""
    for line in path.read_text().splitlines():
        for word in line.split("#")[0].split():
            fill = re.fullmatch(r"00\*(\d+)", word)
            data += bytes(int(fill[1])) if fill else bytes.fromhex(word)
    return data


def frame(payload, from_server):
    ports = (SERVER_PORT, WORKER_PORT) if from_server else (WORKER_PORT, SERVER_PORT)
    udp = struct.pack("!HHHH", *ports, 8 + len(payload), 0) + payload
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0x4000, 64, 17, 0,
                     bytes((192, 0, 2, 1)), bytes((192, 0, 2, 2)))
    return bytes(12) + b"\x08\x00" + ip + udp


def pcap_write(path, payloads, snap=65535):
    with open(path, "wb") as f:
        f.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, snap, 1))
        for i, payload in enumerate(payloads):
            data = frame(payload, i % 2 == 1)
            kept = data[:snap]
            f.write(struct.pack("<IIII", i, 0, len(kept), len(data)) + kept)


def dissect(payloads, snap=65535):
    """The gradplane layer of each packet, as XML."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "vectors.pcap"
        pcap_write(path, payloads, snap)
        run = subprocess.run(
            ["tshark", "-X", f"lua_script:{SCRIPT}", "-r", path, "-T", "pdml"],
            capture_output=True, text=True, timeout=100, check=True)
    assert "Lua" not in run.stderr, run.stderr
    packets = ElementTree.fromstring(run.stdout).findall("packet")
    assert len(packets) == len(payloads), f"{len(packets)} of {len(payloads)} packets"
    return [p.find("proto[@name='gradplane']") for p in packets]


def values(layer, name):
    return [f.get("show") for f in layer.iter("field") if f.get("name") == f"gradplane.{name}"]


def is_malformed(layer):
    return bool(values(layer, "malformed"))


def unnamed_bytes(layer, size):
    """Offsets that no named leaf covers."""
    named = set()
    for f in layer.iter("field"):
        if f.get("name", "").startswith("gradplane.") and f.find("field[@size]") is None:
            named.update(range(int(f.get("pos")), int(f.get("pos")) + int(f.get("size"))))
    return [at - LAYER for at in range(LAYER, LAYER + size) if at not in named]


def vectors_check(vectors):
    failures = [f"no values expected for {name}" for name in vectors if name not in EXPECTED]
    for (name, data), layer in zip(vectors.items(), dissect(list(vectors.values()))):
        if layer is None or is_malformed(layer):
            failures.append(f"{name}: not decoded, or called malformed")
            continue
        unnamed = unnamed_bytes(layer, len(data))
        if unnamed:
            failures.append(f"{name}: no field for bytes {unnamed[:8]}")
        for field, want in EXPECTED.get(name, {}).items():
            got = values(layer, field)
            if got != want:
                failures.append(f"{name}: {field} is {got}, expected {want}")
    return failures


def broken_check(vectors):
    broken = {f"{name} cut by one byte": data[:-1] for name, data in vectors.items()}
    broken.update({f"{name} with one byte more": data + b"\0" for name, data in vectors.items()})
    for name, at, new in BROKEN:
        data = vectors[name]
        broken[f"{name}, {new} at byte {at}"] = data[:at] + new + data[at + len(new) :]
    layers = dissect(list(broken.values()))
    return [f"{name}: not called malformed"
            for name, layer in zip(broken, layers) if layer is None or not is_malformed(layer)]


def snapped_check(vectors):
    """A capture that kept only the header of each datagram blames nobody."""
    layers = dissect(list(vectors.values()), LAYER + 40)
    return [f"{name}: called malformed when captured in part"
            for name, layer in zip(vectors, layers) if layer is None or is_malformed(layer)]


def main():
    if not shutil.which("tshark"):
        print("SKIP dissector: tshark is missing")
        return 77
    vectors = {p.stem: vector(p) for p in sorted((HERE / "vectors").glob("*.hex"))}
    failures = vectors_check(vectors) + broken_check(vectors) + snapped_check(vectors)
    types = {data[1] for data in vectors.values()}
    if types != set(range(1, 26)):
        failures.append(f"types without a vector: {set(range(1, 26)) - types}")
    for failure in failures:
        print(failure)
    print(f"{len(vectors)} vectors, {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
