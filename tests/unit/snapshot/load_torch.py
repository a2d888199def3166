#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""load_torch.py FILE STEP [tables]: turns what `gradctl snapshot export` wrote into torch tensors, loads them into a
module as a user would, and compares every value with what
tests/unit/snapshot/chain.c makes, or tables.c."""
import json
import struct
import sys

import torch


DTYPES = {"F32": torch.float32, "I64": torch.int64, "I32": torch.int32}


def load(path):
    with open(path, "rb") as f:
        raw = bytearray(f.read())
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8:8 + length])
    header.pop("__metadata__", None)
    view = memoryview(raw)[8 + length:]
    tensors = {}
    for name, t in header.items():
        begin, end = t["data_offsets"]
        if begin == end:
            tensors[name] = torch.empty(t["shape"], dtype=DTYPES[t["dtype"]])
            continue
        flat = torch.frombuffer(view[begin:end], dtype=DTYPES[t["dtype"]])
        tensors[name] = flat.reshape(t["shape"]).clone()
    return tensors


def expected(first, count, file, step):
    values = []
    for e in range(first, first + count):
        block = e // 16 if e < 420 else 27 + (e == 427)
        every = 3 + block % 7
        values.append((step - step % every) * 1000 + file * 500 + e)
    return torch.tensor(values, dtype=torch.float32)


def tables(path, step):
    """An embedding of the rows that are there, as a user would make one."""
    tensors = load(path)
    for number, (name, rows, dim) in enumerate([("words", 70, 5), ("empty", 0, 3), ("users", 33, 1)]):
        row = torch.arange(rows)
        written = torch.where(row % 10 == 0, step, 1)
        ids = [(r * 0x0300000000000001 + number + 2**63) % 2**64 - 2**63 for r in range(rows)]
        if tensors.pop("ids/" + name).tolist() != ids or not torch.equal(
                tensors.pop("steps/" + name).long(), written):
            raise ValueError(f"{name}: ids or steps differ")
        for file, prefix in enumerate(["", "sum/"]):
            expected = (written * 1000 + file * 100 + row)[:, None] + torch.arange(dim) / 4
            t = tensors.pop(prefix + name)
            if tuple(t.shape) != (rows, dim) or not torch.equal(t, expected.float()):
                raise ValueError(f"{prefix + name}: shape or values differ")
            if rows:
                place = {i: n for n, i in enumerate(ids)}
                table = torch.nn.Embedding.from_pretrained(t)
                if not torch.equal(table(torch.tensor(place[ids[7]])), t[7]):
                    raise ValueError("the embedding has other rows")
    if tensors:
        raise ValueError(f"more than expected: {list(tensors)}")


def main(path, step):
    tensors = load(path)
    bias = 'fc1."bias" \u00e9'
    for file, prefix in enumerate(["", "momentum/"]):
        at = 0
        for name, shape in [("fc1.weight", (60, 7)), (bias, (7,)), ("scale", ())]:
            t = tensors.pop(prefix + name)
            if tuple(t.shape) != shape or not torch.equal(
                    t.reshape(-1), expected(at, t.numel(), file, step)):
                raise ValueError(f"{prefix + name}: shape or values differ")
            if not prefix and name == "fc1.weight":
                layer = torch.nn.Linear(7, 60, bias=False)
                layer.load_state_dict({"weight": t})
                ones = layer(torch.ones(7))
                if not torch.allclose(ones, t.sum(dim=1)):
                    raise ValueError("the loaded layer does not compute with these values")
            at += t.numel()
        if not tensors:
            break
    if tensors:
        raise ValueError(f"more than expected: {list(tensors)}")


if __name__ == "__main__":
    try:
        (tables if sys.argv[3:] == ["tables"] else main)(sys.argv[1], int(sys.argv[2]))
    except (ValueError, KeyError, OSError) as e:
        sys.exit(f"load_torch: {e}")
