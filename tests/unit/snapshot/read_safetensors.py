#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Reads a snapshot by the safetensors specification alone and checks its values.

read_safetensors.py DIRECTORY STEP: element e of file f (0 = parameters, then the optimizer arrays in
the manifest's order) must be STEP + 1000 f + e / 4. Exit status 0, or 1 with a line that says why.
"""
import json
import os
import struct
import sys

import numpy as np


def read(path):
    """The tensors of one file in the order of their data: [(name, array)]."""
    with open(path, "rb") as f:
        raw = f.read()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length].decode("utf-8"))
    metadata = header.pop("__metadata__", {})
    if not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError("metadata is not strings")
    data = raw[8 + length :]
    if (8 + length) % 64 != 0:
        raise ValueError("data is not aligned to 64")
    tensors, at = [], 0
    for name, t in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = t["data_offsets"]
        if t["dtype"] != "F32" or begin != at:
            raise ValueError(f"{name}: not f32, or a hole or an overlap before it")
        tensors.append((name, np.frombuffer(data[begin:end], "<f4").reshape(t["shape"])))
        at = end
    if at != len(data):
        raise ValueError("data after the last tensor")
    return tensors


def main(directory, step):
    with open(os.path.join(directory, "manifest.json"), encoding="utf-8") as f:
        manifest = json.load(f)
    for idx, entry in enumerate(manifest["files"]):
        tensors = read(os.path.join(directory, entry["name"]))
        shapes = [(t["name"], t["dims"]) for t in manifest["tensors"]]
        if [(name, list(array.shape)) for name, array in tensors] != shapes:
            raise ValueError(f"{entry['name']}: names or shapes differ from the manifest")
        seen = np.concatenate([array.reshape(-1) for _, array in tensors])
        expected = np.float32(step + 1000 * idx) + np.arange(seen.size, dtype=np.float32) / 4
        if not np.array_equal(seen, expected.astype(np.float32)):
            raise ValueError(f"{entry['name']}: values differ")


if __name__ == "__main__":
    try:
        main(sys.argv[1], int(sys.argv[2]))
    except (ValueError, KeyError, OSError) as e:
        sys.exit(f"read_safetensors: {e}")
