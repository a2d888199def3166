#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""snapshot_params.py DIRECTORY: the parameters of a snapshot, raw f32 on stdout in the order of the
training program (fc1.weight, fc1.bias, ...), read by the safetensors specification alone."""
import json
import pathlib
import struct
import sys


def order(name):
    layer, kind = name.split(".")
    return layer, kind != "weight"


def main():
    folder = pathlib.Path(sys.argv[1])
    raw = next(folder.glob("param*.safetensors")).read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8:8 + length])
    header.pop("__metadata__", None)
    for name in sorted(header, key=order):
        begin, end = header[name]["data_offsets"]
        sys.stdout.buffer.write(raw[8 + length + begin:8 + length + end])


main()
