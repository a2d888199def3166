#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Prints includes that break the layering; argument: the tree's C files, one a line."""
import re
import sys

# Outside header -> folders that may include it (and tests/unit/NAME of a library named here).
OUTSIDE = {
    r"rte_.*": ("lib/xport_dpdk", "app/gradplaned", "app/gradbench"),
    r"urcu.*": ("lib/rcu", "app/gradbench/table_lfht.c"),  # a table to compare lib/table with
    r"yaml\.h": ("lib/config",),
    r"cuda.*": ("lib/codec/cuda",),
}
# The worker is an ordinary user of libgradplane, and its --local reference shares no arithmetic with
# the server: these libraries are not for it.
APP_FORBIDDEN = {
    "app/gradworker": ("engine", "aggr", "optim", "codec", "table", "xport_dpdk"),
}
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]')


def library_order():
    with open("lib/meson.build", encoding="utf-8") as f:
        body = re.search(r"^libraries = \[(.*?)\]", f.read(), re.M | re.S).group(1)
    return re.findall(r"'(\w+)'", body)


def under(path, folder):
    return path.startswith(folder + "/")


def unit_library(path):
    m = re.match(r"(?:lib|tests/unit)/(\w+)/", path)
    return m.group(1) if m else None


def outside_error(path, header):
    for pattern, folders in OUTSIDE.items():
        if not re.fullmatch(pattern, header):
            continue
        allowed = list(folders) + [f.replace("lib/", "tests/unit/") for f in folders]
        if not any(under(path, f) or path == f for f in allowed):
            return f"<{header}> belongs to {', '.join(folders)} only"
    return None


def inside_error(path, header, owners, order):
    owner = owners.get(header)
    if owner is None:
        return None
    for folder, names in APP_FORBIDDEN.items():
        if under(path, folder) and owner in names:
            return f"<{header}>: {folder} does not use lib/{owner}"
    mine = unit_library(path)
    if not path.startswith("lib/") or mine not in order or mine == owner:
        return None
    if header.endswith("_priv.h"):
        return f"<{header}> is private to lib/{owner}"
    if order.index(owner) > order.index(mine):
        return f"<{header}>: lib/{mine} is below lib/{owner}"
    return None


def main():
    order = library_order()
    paths = sys.argv[1].split("\n") if len(sys.argv) > 1 and sys.argv[1] else []
    owners = {p.rsplit("/", 1)[1]: p.split("/")[1]
              for p in paths if p.startswith("lib/") and p.endswith(".h")}
    for path in paths:
        with open(path, encoding="utf-8", errors="replace") as f:
            for number, line in enumerate(f, 1):
                m = INCLUDE.match(line)
                error = m and (outside_error(path, m.group(1)) or
                               inside_error(path, m.group(1).rsplit("/", 1)[-1], owners, order))
                if error:
                    print(f"{path}:{number}: layering: {error}")


main()
