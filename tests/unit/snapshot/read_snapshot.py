#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Reads a snapshot by what docs/operations.md and the safetensors specification say, and nothing else,
and checks its values.

read_snapshot.py DIRECTORY STEP [chain|tables]: element e of file f (0 = parameters, then the optimizer
arrays) must be STEP + 1000 f + e / 4, or with `chain` what tests/unit/snapshot/chain.c makes, with `tables`
what tables.c makes. Exit status 0, or 1 with a line that says why.
"""
import json
import pathlib
import struct
import subprocess
import sys

import numpy as np
import xxhash

DTYPES = {"F32": "<f4", "U32": "<u4", "U64": "<u8"}


def tensors_of(raw):
    """{name: array} of the bytes of a safetensors file, in the order of the data."""
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8:8 + length].decode("utf-8"))
    metadata = header.pop("__metadata__", {})
    if not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError("metadata is not strings")
    data = raw[8 + length:]
    if (8 + length) % 64 != 0:
        raise ValueError("data is not aligned to 64")
    tensors, at = {}, 0
    for name, t in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = t["data_offsets"]
        if begin != at:
            raise ValueError(f"{name}: a hole or an overlap before it")
        tensors[name] = np.frombuffer(data[begin:end], DTYPES[t["dtype"]]).reshape(t["shape"])
        at = end
    if at != len(data):
        raise ValueError("data after the last tensor")
    return tensors


def file_of(folder, entry):
    raw = (folder / entry["name"]).read_bytes()
    if len(raw) != entry["size"] or xxhash.xxh3_64_hexdigest(raw) != entry["xxh3"]:
        raise ValueError(f"{entry['name']}: size or xxh3 differs")
    if entry["name"].endswith(".zst"):
        raw = subprocess.run(["zstd", "-dc"], input=raw, stdout=subprocess.PIPE, check=True).stdout
    return tensors_of(raw)


def manifest_of(folder):
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    checksum = manifest.pop("checksum")
    text = json.dumps(manifest, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    if xxhash.xxh3_64_hexdigest(text.encode("utf-8")) != checksum:
        raise ValueError("manifest.json: checksum differs")
    return manifest, checksum


def kind_of(manifest, idx):
    """The first part of the name of file `idx`: params, state-momentum, ids, ..."""
    return manifest["files"][idx]["name"].split(".")[0]


def shape_of(manifest, idx, t):
    """Of tensor t in file `idx`: tables are of rows."""
    if manifest["kind"] != "embed" or kind_of(manifest, idx) == "params":
        return t["dims"]
    if kind_of(manifest, idx) in ("ids", "steps"):
        return t["dims"][:1]
    of = manifest["embed"]["state_of"]
    if of == "table":  # array number idx - 1
        of = manifest["embed"]["tables"][manifest["tensors"].index(t)]["arrays"][idx - 1]
    return [t["dims"][0], t["dims"][1] if of == "value" else 1]


def blocks_of(manifest, idx):
    """(first element, elements) of each block in the data of file `idx`; blocks of tables are rows."""
    blocks, at, step = [], 0, manifest["blocks"]["elements"]
    for t in manifest["tensors"]:
        shape = shape_of(manifest, idx, t)
        elements = int(np.prod(shape, dtype=np.int64))
        items = shape[0] if manifest["kind"] == "embed" else elements
        width = elements // items if items else 0
        for first in range(0, items, step):
            blocks.append((at + first * width, min(step, items - first) * width))
        at += elements
    return blocks


def load(folder):
    """The manifest and one flat array for each file."""
    manifest, _ = manifest_of(folder)
    blocks = [blocks_of(manifest, i) for i in range(len(manifest["files"]))]
    index = file_of(folder, manifest["index"])
    if any(len(b) != manifest["blocks"]["count"] for b in blocks):
        raise ValueError("blocks: their number is wrong")
    if manifest["content"] == "full":
        arrays = []
        for i, entry in enumerate(manifest["files"]):
            tensors = file_of(folder, entry)
            shapes = [(t["name"], shape_of(manifest, i, t)) for t in manifest["tensors"]]
            if sorted((name, list(a.shape)) for name, a in tensors.items()) != sorted(shapes):
                raise ValueError(f"{entry['name']}: names or shapes differ from the manifest")
            arrays.append(np.concatenate([tensors[name].reshape(-1) for name, _ in shapes]))
    else:
        base = folder.parent / manifest["base"]["name"]
        if manifest_of(base)[1] != manifest["base"]["checksum"]:
            raise ValueError("base: its checksum differs")
        arrays = load(base)[1]
        for i, (array, entry) in enumerate(zip(arrays, manifest["files"])):
            changed, at = file_of(folder, entry)["changed"], 0
            for block in index["present"]:
                first, count = blocks[i][block]
                array[first:first + count] = changed[at:at + count]
                at += count
    for i, (array, sums) in enumerate(zip(arrays, index["sums"])):
        for (first, count), expected in zip(blocks[i], sums):
            if xxhash.xxh3_64_intdigest(array[first:first + count].tobytes()) != int(expected):
                raise ValueError(f"a block at {first} has another xxh3")
    return manifest, arrays


def expected_of(count, file, step, chain):
    e = np.arange(count)
    if not chain:
        return np.float32(step + 1000 * file) + e.astype(np.float32) / 4
    block = np.where(e < 420, e // 16, 27 + (e == 427))
    every = 3 + block % 7
    return ((step - step % every) * 1000 + file * 500 + e).astype(np.float32)


def tables(path, step):
    """Every tenth row of a table was written last in `step`, the others in 1."""
    manifest, arrays = load(path)
    kinds = [kind_of(manifest, i) for i in range(len(arrays))]
    if manifest["step"] != step or kinds != ["params", "state-sum", "ids", "steps"]:
        raise ValueError("another step, or not the files of tables")
    if manifest["embed"]["updates"] != step * 3 or manifest["embed"]["tables"][0]["initial"] != {
            "kind": "normal", "scale": 0.5, "seed": "fedcba9876543210"}:
        raise ValueError("embed: not what was written")
    for idx, array in enumerate(arrays):
        expected = []
        for number, t in enumerate(manifest["tensors"]):
            rows, written = np.arange(t["dims"][0]), np.where(np.arange(t["dims"][0]) % 10, 1, step)
            if kinds[idx] == "ids":
                expected.append(np.array([int(r) * 0x0300000000000001 + number for r in rows], np.uint64))
            elif kinds[idx] == "steps":
                expected.append(written)
            else:
                width = (shape_of(manifest, idx, t) + [1])[1]
                expected.append(((written * 1000 + idx * 100 + rows)[:, None]
                                 + np.arange(width)[None, :] / 4).reshape(-1))
        if not np.array_equal(array, np.concatenate(expected).astype(array.dtype)):
            raise ValueError(f"{manifest['files'][idx]['name']}: values differ")


def main(path, step, chain):
    manifest, arrays = load(pathlib.Path(path).resolve())
    if manifest["step"] != step or len(arrays) != 2:
        raise ValueError("another step, or not parameters and momentum")
    for i, array in enumerate(arrays):
        if not np.array_equal(array, expected_of(array.size, i, step, chain)):
            raise ValueError(f"{manifest['files'][i]['name']}: values differ")


if __name__ == "__main__":
    try:
        if sys.argv[3:] == ["tables"]:
            tables(pathlib.Path(sys.argv[1]).resolve(), int(sys.argv[2]))
        else:
            main(sys.argv[1], int(sys.argv[2]), sys.argv[3:] == ["chain"])
    except (ValueError, KeyError, OSError, subprocess.CalledProcessError) as e:
        sys.exit(f"read_snapshot: {e}")
