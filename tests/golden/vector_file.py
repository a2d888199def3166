# SPDX-License-Identifier: BSD-3-Clause
"""A golden vector under way: bytes with the name and value of each field, and the parts that all
messages share, encoded from the tables of docs/protocol.md."""

import struct

ACK, TAG, TENTATIVE, WANT = 1, 2, 4, 8
READER, REPLACE, ATTACH = 1, 2, 4
TYPES = {"B": "u8", "H": "u16", "I": "u32", "Q": "u64", "f": "f32"}


class Vector:
    """Bytes with the name and value of each field, in wire order."""

    def __init__(self, name, about):
        self.name, self.about = name, about
        self.data = b""
        self.lines = ["# SPDX-License-Identifier: BSD-3-Clause", f"# {name}: {about}"]

    def part(self, title):
        self.lines.append(f"# -- {title}")

    def raw(self, data, note):
        self.data += data
        if len(data) > 64 and not any(data):
            self.lines.append(f"00*{len(data)}  # {note}")
            return
        for at in range(0, len(data), 16):
            chunk = data[at : at + 16].hex(" ")
            self.lines.append(f"{chunk:<47}  # {note}" if at == 0 else chunk)

    def field(self, fmt, name, value):
        shown = f"{value:#x}" if isinstance(value, int) and value > 0xFFFF else value
        self.raw(struct.pack("<" + fmt, value), f"{TYPES[fmt]} {name} = {shown}")

    def u8(self, *nv):
        self.field("B", *nv)

    def u16(self, *nv):
        self.field("H", *nv)

    def u32(self, *nv):
        self.field("I", *nv)

    def u64(self, *nv):
        self.field("Q", *nv)

    def f32(self, *nv):
        self.field("f", *nv)

    def zeros(self, n, name):
        if n:
            self.raw(bytes(n), f"{name}, {n} bytes of 0")

    def text(self):
        return "\n".join([*self.lines, f"# {len(self.data)} bytes", ""])


def header(v, type_, flags=0, pad=0, sections=0, **other):
    """Section 1.1. Fields not named have values whose bytes all differ."""
    f = {"job": 0x0203, "rank": 5, "session": 0x00070009, "epoch": 3, "view": 0x0A0B0C0D,
         "step": 0x11121314, "packet": 0x2122232425262728, "decision": 0x31323334, "credit": 0}
    f.update(other)
    v.part("header")
    v.u8("version", 1)
    v.u8("type", type_)
    v.u8("flags", flags)
    v.u8("pad", pad)
    v.u16("job", f["job"])
    v.u16("rank", f["rank"])
    v.u32("session", f["session"])
    v.u32("epoch", f["epoch"])
    v.u32("view", f["view"])
    v.u32("step", f["step"])
    v.u64("packet", f["packet"])
    v.u32("decision", f["decision"])
    v.u16("credit", f["credit"])
    v.u8("sections", sections)
    v.u8("key", 0)


def outside(v, type_, **other):
    """A header outside a session."""
    f = {"job": 0, "rank": 0xFFFF, "session": 0, "epoch": 0, "view": 0, "step": 0, "packet": 0,
         "decision": 0}
    header(v, type_, **{**f, **other})


def server(v, type_, **other):
    header(v, type_, credit=0x4142, **other)


def section(v, block, length=0, run=1, codec=0, weight=0.0, flags=0):
    v.part("section")
    v.u32("block", block)
    v.u16("len", length)
    v.u16("run", run)
    v.u8("codec", codec)
    v.u8("flags", flags)
    v.u16("reserved", 0)
    v.f32("weight", weight)


def ack(v):
    v.part("ack block")
    v.u64("largest", 0x5152535455565758)
    v.u64("bits", 0x8000000000000005)
    v.u32("delay_us", 1500)
    v.u32("flags", 1)
