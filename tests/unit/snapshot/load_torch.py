#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""load_torch.py FILE STEP: turns what `gradctl snapshot export` wrote into torch tensors, loads them into a
module as a user would, and compares every value with what tests/unit/snapshot/chain.c makes."""
import json
import struct
import sys

import torch


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
        flat = torch.frombuffer(view[begin:end], dtype=torch.float32)
        tensors[name] = flat.reshape(t["shape"]).clone()
    return tensors


def expected(first, count, file, step):
    values = []
    for e in range(first, first + count):
        block = e // 16 if e < 420 else 27 + (e == 427)
        every = 3 + block % 7
        values.append((step - step % every) * 1000 + file * 500 + e)
    return torch.tensor(values, dtype=torch.float32)


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
        main(sys.argv[1], int(sys.argv[2]))
    except (ValueError, KeyError, OSError) as e:
        sys.exit(f"load_torch: {e}")
