#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes the golden vectors: one commented .hex file a message, encoded field by field from the
tables of docs/protocol.md. Shares nothing with the C code.

make_vectors.py          writes tests/golden/vectors and tests/fuzz/corpus/wire
make_vectors.py --check  fails when a file there is not what this script writes"""

import pathlib
import sys

from rows_vectors import push_rows, rows
from vector_file import (ACK, ATTACH, READER, REPLACE, TENTATIVE, WANT, Vector, ack, header, outside,
                         section, server)

HERE = pathlib.Path(__file__).resolve().parent
VECTORS = HERE / "vectors"
CORPUS = HERE.parent / "fuzz" / "corpus" / "wire"
SEED_BYTES_MAX = 400  # a seed of the fuzzer is small; long padding teaches it nothing


def hello_body(v, versions, size, cookie, chosen):
    v.part("body")
    v.u32("magic", 0x4E4C5047)
    v.u8("versions_count", len(versions))
    v.raw(bytes(versions).ljust(7, b"\0"), "u8[7] versions")
    v.u32("size", size)
    v.u64("nonce", 0x6162636465666768)
    v.raw(cookie, "u8[24] cookie")
    v.u8("chosen", chosen)
    v.zeros(7, "reserved")
    v.zeros(size - len(v.data), "padding")


COOKIE = bytes(range(0xC0, 0xC0 + 24))


def hello():
    v = Vector("hello", "a worker that speaks versions 1 and 2 probes 1200 bytes")
    outside(v, 1)
    hello_body(v, [1, 2], 1200, bytes(24), 0)
    yield v

    v = Vector("hello_reply", "the server chose version 1")
    outside(v, 2)
    hello_body(v, [1], 1200, COOKIE, 1)
    yield v

    v = Vector("hello_reply_none", "none fits: all versions that the server speaks")
    outside(v, 2)
    hello_body(v, [1, 2, 3, 4, 5, 6, 7], 1200, COOKIE, 0)
    yield v


def join_body(v, previous, flags, rank, world, session, job):
    v.part("body")
    v.raw(COOKIE, "u8[24] cookie")
    v.u64("nonce", 0x6162636465666768)
    v.u64("incarnation", 0x7172737475767778)
    v.u64("previous", previous)
    v.u32("flags", flags)
    v.u16("rank", rank)
    v.u16("world", world)
    v.u32("payload_max", 1452)
    v.u32("session", session)
    v.raw(job.encode().ljust(64, b"\0"), f"char[64] job = {job}")


def welcome_body(v, atomicity, consistency, flags, rto):
    v.part("body")
    v.u64("nonce", 0x6162636465666768)
    v.u32("session", 0x00070009)
    v.u16("job", 0x0203)
    v.u16("cores", 2)
    v.u16("base_port", 9700)
    v.u16("home", 1)
    v.u8("kind", 2)
    v.u8("atomicity", atomicity)
    v.u8("consistency", consistency)
    v.u8("flags", flags)
    v.u32("next_step", 0x11121315)
    v.u32("heartbeat_us", 500000)
    v.u32("timeout_us", 5000000)
    v.u32("slots", 256)
    v.u32("window", 48)
    v.u32("decision", 0x31323334)
    v.u64("history", 0x9192939495969798)
    v.u32("payload_max", 8952)
    v.u16("world", 8)
    v.u16("rank", 5)
    v.u64("incarnation", 0x7172737475767778)
    v.u32("rto_min_us", rto[0])
    v.u32("rto_max_us", rto[1])
    v.u64("history_before", 0xA1A2A3A4A5A6A7A8)
    v.u32("history_step", 0x11121310)
    v.u32("reserved", 0)


def join():
    v = Vector("join", "rank 5 of 8 replaces its own earlier incarnation")
    outside(v, 3, rank=5)
    join_body(v, 0x8182838485868788, REPLACE, 5, 8, 0, "mnist")
    yield v

    v = Vector("join_attach", "a reader attaches to another core; the longest job name")
    outside(v, 3)
    join_body(v, 0, READER | ATTACH, 0xFFFF, 0, 0x00070009, "j" * 63)
    yield v

    v = Vector("join_results", "rank 5 wants results as bf16 and only what changed")
    outside(v, 3, rank=5)
    join_body(v, 0, 0x0208, 5, 8, 0, "mnist")
    yield v

    v = Vector("join_goes_on", "rank 5 has what its earlier incarnation was about to contribute")
    outside(v, 3, rank=5)
    join_body(v, 0x8182838485868788, 16, 5, 8, 0, "mnist")
    yield v

    v = Vector("welcome", "session opened, two cores, home is the second")
    server(v, 4)
    welcome_body(v, 3, 1, 19, (0, 0))
    yield v

    v = Vector("welcome_async", "an adaptive job that drops late contributions and bounds time-outs")
    server(v, 4)
    welcome_body(v, 1, 5, 8, (1500, 0x00030D40))
    yield v


def descriptor(v, priority, dims, name):
    v.part("descriptor")
    v.u32("priority", priority)
    v.u8("dtype", 1)
    v.u8("dims_count", len(dims))
    v.u16("name_len", len(name))
    for i, dim in enumerate(dims):
        v.u64(f"dims[{i}]", dim)
    v.raw(name.encode(), f"name = {name}")
    v.zeros(-len(name) % 8, "padding")


def register():
    v = Vector("register", "two of three tensors, the first name ends on a multiple of 8")
    header(v, 5)
    v.part("body")
    v.u32("tensors_count", 3)
    v.u32("first", 1)
    v.u16("n", 2)
    v.zeros(6, "reserved")
    descriptor(v, 10, [784, 256], "fc1.wght")
    descriptor(v, 0x01020304, [10], "fc2.bias and more")
    yield v

    v = Vector("register_ask", "asks for the layout from entry 2")
    header(v, 5)
    v.part("body")
    v.u32("tensors_count", 3)
    v.u32("first", 2)
    v.u16("n", 0)
    v.zeros(6, "reserved")
    yield v


def layout_body(v, registered, state, flags, first, n, missing):
    v.part("body")
    v.u32("registered", registered)
    v.u32("state", state)
    v.u32("block_elems", 336)
    v.u32("blocks_count", 599)
    v.u32("units_count", 1)
    v.u32("flags", flags)
    v.u32("next_step", 0x11121315)
    v.u32("first", first)
    v.u16("n", n)
    v.u16("missing_count", missing[0])
    v.u16("missing_rank", missing[1])
    v.u16("reserved", 0)


def layout():
    v = Vector("layout", "final, two entries, with an ack block")
    server(v, 6, flags=ACK)
    ack(v)
    layout_body(v, 3, 1, 1, 1, 2, (0, 0xFFFF))
    for tensor, first_block, unit, codec in ((0x0102, 0x0304, 0, 0), (7, 598, 1, 0x028F5C08)):
        v.part("entry")
        v.u32("tensor", tensor)
        v.u32("first_block", first_block)
        v.u32("unit", unit)
        v.u32("codec", codec)
    yield v

    v = Vector("layout_waiting", "two ranks are missing, the lowest is 6")
    server(v, 6)
    layout_body(v, 3, 0, 0, 0, 0, (2, 6))
    yield v


def push():
    v = Vector("push_f32", "one dense block, results wanted, body on a 64-byte line after 42 bytes")
    header(v, 7, flags=WANT, pad=30, sections=1)
    section(v, 0x00010203, 12, 1, 1, 2.5)
    v.zeros(30, "pad")
    v.part("payload, f32")
    for i, x in enumerate((1.0, -2.0, 0.5)):
        v.f32(f"value[{i}]", x)
    yield v

    v = Vector("push_mixed", "top-k, a run of five blocks that are zero, bf16")
    header(v, 7, sections=3)
    section(v, 16, 20, 1, 3, 1.0)
    section(v, 17, 0, 5, 0, 1.0)
    section(v, 22, 4, 1, 2, 1.0)
    v.part("payload, topk")
    v.u16("count", 3)
    for index in (0, 7, 335):
        v.u16("index", index)
    for x in (1.0, -1.0, 3.0):
        v.f32("value", x)
    v.part("payload, bf16")
    v.u16("value[0]", 0x3F80)
    v.u16("value[1]", 0xC000)
    yield v


def push_pass():
    v = Vector("push_pass", "passes four blocks of this step, and gives zeros to one")
    header(v, 7, sections=2)
    section(v, 3, 0, 4, 0, 0.0)
    section(v, 11, 0, 1, 0, 1.5)
    yield v


def push_codecs():
    v = Vector("push_codecs", "f16, int8, sign, and top-k with 16-bit values, of a NaN block too")
    header(v, 7, sections=6)
    for block, length, codec in ((0, 6, 4), (1, 8, 5), (2, 8, 5), (3, 8, 6), (4, 12, 7), (5, 8, 8)):
        section(v, block, length, 1, codec, 1.0)
    v.part("payload, f16 of 3 elements: 1, the smallest subnormal, infinity")
    for half in (0x3C00, 0x0001, 0x7C00):
        v.u16("value", half)
    v.part("payload, int8 of 3 elements: 63.5, -63.5, 0.5")
    v.f32("scale", 0.5)
    v.raw(bytes((127, 0x81, 1, 0)), "i8 q[3], padding")
    v.part("payload, int8 of 4 elements, all NaN")
    v.u32("scale, NaN", 0x7FC00000)
    v.raw(bytes(4), "i8 q[4]")
    v.part("payload, sign of 9 elements: -2, 2, 2, 2, 2, 2, 2, -2, -2")
    v.f32("scale", 2.0)
    v.raw(bytes((0x81, 0x01, 0, 0)), "9 bits, padding")
    v.part("payload, topk_bf16")
    for name, half in (("count", 2), ("index", 4), ("index", 9), ("padding", 0), ("value", 0x3F80),
                       ("value", 0xC000)):
        v.u16(name, half)
    v.part("payload, topk_f16")
    for name, half in (("count", 1), ("index", 335), ("value", 0xC000), ("padding", 0)):
        v.u16(name, half)
    yield v


def pull():
    v = Vector("pull", "the newest committed generation of 300 blocks, and of the last number a block can have")
    header(v, 8, flags=WANT, sections=2, step=0xFFFFFFFF)
    section(v, 0, run=300)
    section(v, 0xFFFFFFFF)
    yield v


def result():
    v = Vector("result", "tentative, sum of three weights, with ack block and pad")
    server(v, 9, flags=ACK | TENTATIVE, pad=6, sections=1)
    section(v, 0x00010203, 8, 1, 1, 7.5)
    ack(v)
    v.zeros(6, "pad")
    v.part("payload, f32")
    v.f32("value[0]", -0.0)
    v.f32("value[1]", 1.5)
    yield v

    v = Vector("result_zero", "final, a run of blocks that are zero")
    server(v, 9, sections=1)
    section(v, 0xFFFFFFFE, run=2)
    yield v

    v = Vector("result_keep", "tentative, two blocks without changes, one with one element changed")
    server(v, 9, flags=TENTATIVE, sections=2)
    section(v, 4, run=2, weight=2.0, flags=2)
    section(v, 6, 8, 1, 3, 2.0, flags=2)
    v.part("payload, topk")
    v.u16("count", 1)
    v.u16("index[0]", 335)
    v.f32("value[0]", 1.5)
    yield v


def entries(v, rows):
    v.u16("n", len(rows))
    v.u16("reserved", 0)
    for kind, flags, ranks, unit, step, view, lowest in rows:
        v.part("entry")
        v.u8("kind", kind)
        v.u8("flags", flags)
        v.u16("ranks", ranks)
        v.u32("unit", unit)
        v.u32("step", step)
        v.u32("view", view)
        v.u16("lowest", lowest)
        v.zeros(6, "reserved")


def commit():
    v = Vector("commit", "decision 0x100 commits a unit, 0x101 changes the view")
    server(v, 10, flags=ACK)
    ack(v)
    v.part("body")
    v.u32("first", 0x100)
    entries(v, ((1, 0, 8, 0x0506, 0x11121314, 0x0A0B0C0D, 0),
                (2, 1, 7, 0, 0x11121315, 0x0A0B0C0E, 1)))
    yield v

    v = Vector("commit_async", "steps of rank 6, of the addressee, and one with its earlier step")
    server(v, 10)
    v.part("body")
    v.u32("first", 0xFFFFFFFF)
    entries(v, ((1, 0, 1, 6, 0x11121310, 0x0A0B0C0D, 0), (1, 2, 1, 5, 0x11121314, 0x0A0B0C0D, 0),
                (1, 4, 3, 2, 0x11121315, 0x0A0B0C0D, 0)))
    yield v

    v = Vector("ack", "nothing but the ack block")
    server(v, 11, flags=ACK)
    ack(v)
    yield v


def small():
    v = Vector("heartbeat", "knows all decisions up to 0x1234")
    header(v, 12)
    v.part("body")
    v.u32("known", 0x1234)
    v.u32("rtt_us", 0x5678)
    v.u64("time", 0xA1A2A3A4A5A6A7A8)
    yield v

    v = Vector("heartbeat_reply", "running, waits for rank 6")
    server(v, 13, flags=ACK)
    ack(v)
    v.part("body")
    v.u64("time", 0xA1A2A3A4A5A6A7A8)
    v.u32("generation", 0x11121313)
    v.u32("view", 0x0A0B0C0D)
    v.u16("members", 8)
    v.u16("missing", 2)
    v.u16("missing_rank", 6)
    v.u16("state", 1)
    v.u32("next_step", 0x11121314)
    v.u32("view_first_step", 0x0102)
    v.u16("lowest", 1)
    v.u8("flags", 7)
    v.zeros(1, "reserved")
    v.u32("ahead", 0x31323334)
    yield v

    for name, type_, state, make in (("barrier", 14, 0, header), ("barrier_reply", 15, 1, server)):
        v = Vector(name, "barrier 0xb1b2b3b4" + (", complete" if state else ""))
        make(v, type_)
        v.part("body")
        v.u32("name", 0xB1B2B3B4)
        v.u32("call", 0x14 | state)
        yield v

    for name, type_, make in (("leave", 16, header), ("leave_reply", 17, server)):
        v = Vector(name, "the incarnation that leaves")
        make(v, type_)
        v.part("body")
        v.u64("incarnation", 0x7172737475767778)
        yield v


def beat():
    v = Vector("beat", "a server lives, says its peer")
    outside(v, 25)
    v.part("body")
    v.u64("cookie", 0xC1C2C3C4C5C6C7C8)
    yield v


def read():
    v = Vector("read", "before step 0x11121315, of a generation that stays for this reader")
    header(v, 21, pad=48)
    v.zeros(48, "pad")
    v.part("body")
    v.u32("request", 0x0C0D0E0F)
    v.u32("clock", 0x11121315)
    v.u32("flags", 1)
    v.u32("reserved", 0)
    yield v

    for name, about, flags, state, rank, generation, bound in (
            ("read_reply", "granted: generation 0x2a2b2c2d, no bound", ACK, 1, 0xFFFF, 0x2A2B2C2D,
             0xFFFFFFFF), ("read_parked", "waits for rank 6, bound 2", 0, 0, 6, 0, 2)):
        v = Vector(name, about)
        server(v, 22, flags=flags)
        if flags:
            ack(v)
        v.part("body")
        v.u32("request", 0x0C0D0E0F)
        v.u16("state", state)
        v.u16("rank", rank)
        v.u32("generation", generation)
        v.u32("clock", 0x11121313)
        v.u32("bound", bound)
        v.zeros(12, "reserved")
        yield v


def refuse():
    v = Vector("refuse", "rank 5 is taken by ::ffff:192.0.2.7 port 40000, heard 250 ms ago")
    server(v, 18, session=0)
    v.part("body")
    v.u16("reason", 3)
    v.u8("about", 3)
    v.u8("reserved", 0)
    v.u32("step", 0x11121314)
    v.u32("what", 0x0D0E0F10)
    v.u32("age_ms", 250)
    v.u64("expected", 0xD1D2D3D4D5D6D7D8)
    v.u64("seen", 0xE1E2E3E4E5E6E7E8)
    v.u64("nonce", 0x6162636465666768)
    v.raw(bytes(10) + b"\xff\xff" + bytes((192, 0, 2, 7)), "u8[16] where_ip")
    v.u16("where_port", 40000)
    text = "rank 5 is taken – wait".encode()
    v.u16("text_len", len(text))
    v.raw(text, "text = " + text.decode())
    yield v

    v = Vector("nack", "four blocks of this core from 3, and block 9, are missing from this worker")
    server(v, 19, sections=2)
    section(v, 3, run=4)
    section(v, 9)
    yield v

    v = Vector("busy", "one block of packet 0x2122232425262728 was not admitted")
    server(v, 20, flags=ACK, pad=3, sections=1)
    section(v, 0x00010203)
    ack(v)
    v.zeros(3, "pad")
    v.part("body")
    v.u64("packet", 0x2122232425262728)
    yield v


MAKERS = (hello, join, register, layout, push, push_pass, push_codecs, push_rows, pull, result, commit,
          small, beat, read, rows, refuse)


def files():
    """Every file this script makes, as path and bytes."""
    for make in MAKERS:
        for v in make():
            yield VECTORS / f"{v.name}.hex", v.text().encode()
            seed = v.data if len(v.data) <= SEED_BYTES_MAX else v.data[:160]
            yield CORPUS / v.name, seed


def main():
    wanted = dict(files())
    if sys.argv[1:] == ["--check"]:
        bad = [p for p, data in wanted.items() if not p.is_file() or p.read_bytes() != data]
        bad += [p for p in VECTORS.iterdir() if p not in wanted]
        for path in bad:
            print(f"{path}: not what make_vectors.py writes")
        return 1 if bad else 0
    for path, data in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
