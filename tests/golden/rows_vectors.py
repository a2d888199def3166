# SPDX-License-Identifier: BSD-3-Clause
"""The golden vectors of rows of tables (docs/protocol.md 2.10 and codec 9)."""

from vector_file import ACK, Vector, ack, header, section, server


def push_rows():
    v = Vector("push_rows", "rows of two tables, then the manifest: the core's other places are passed")
    header(v, 7, sections=3)
    section(v, 0, 32, 1, 9, 1.0)
    section(v, 2, 24, 1, 9, 1.0)
    section(v, 4, 0, 14, 0, 0.0)
    v.part("payload, rows of table 0, f32")
    rows_push_head(v, 0, 2, 1)
    v.u64("id[0]", 7)
    v.u64("id[1]", 0xF1F2F3F4F5F6F7F8)
    v.f32("value[0][0]", 1.0)
    v.f32("value[1][0]", -2.0)
    v.part("payload, rows of table 1, bf16")
    rows_push_head(v, 1, 1, 2)
    v.u64("id[0]", 0)
    for i, half in enumerate((0x3F80, 0xC000, 0x4040)):
        v.u16(f"value[0][{i}]", half)
    v.u16("padding", 0)
    yield v


def rows_push_head(v, table, n, codec):
    v.u16("table", table)
    v.u16("n", n)
    v.u8("codec", codec)
    v.zeros(3, "reserved")


def rows_head(v, n, codec, dim):
    v.part("body")
    v.u32("request", 0x0C0D0E0F)
    v.u32("place", 0x00010203)
    v.u16("table", 0x0405)
    v.u16("n", n)
    v.u8("codec", codec)
    v.u8("reserved", 0)
    v.u16("dim", dim)


def rows():
    v = Vector("pull_rows", "three rows of one generation, one of them twice")
    header(v, 23)
    rows_head(v, 3, 2, 16)
    for i, row in enumerate((0xF1F2F3F4F5F6F7F8, 7, 7)):
        v.u64(f"id[{i}]", row)
    yield v

    v = Vector("rows", "three rows of one bf16 value")
    server(v, 24, flags=ACK)
    ack(v)
    rows_head(v, 3, 2, 1)
    for half in (0x3F80, 0xC000, 0xC000):
        v.u16("value", half)
    v.u16("padding", 0)
    yield v
