#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""generate.py LIB LIST OUT [FILE...]: copies of the sources that LIST (mutants.txt) names, with every
planted bug behind `gp_mutant == N`, and OUT/mutants.inc, the table of them. Fails when an original
text is not in its file exactly once: then the list is out of date; and when a source is none of the
FILEs, which are what the build compiles."""
import collections
import os
import re
import sys


def mutants_read(path):
    mutants = []
    for line in open(path, encoding="utf-8"):
        mark, _, text = line.rstrip("\n").partition(" ")
        if mark == "=":
            name, kind, file = text.split()
            mutants.append({"name": name, "kind": kind, "file": file})
        elif mark in ("?", "-", "+", "*"):
            mutants[-1][mark] = text
    return mutants


def pattern(text):
    return r"\s*".join(re.escape(token) for token in re.findall(r"\w+|[^\w\s]", text))


def place(source, mutant):
    """Where the part to replace begins and ends."""
    before, opened, rest = mutant["-"].partition("[[")
    inner, _, after = rest.partition("]]")
    if not opened:
        before, inner, after = "", mutant["-"], ""
    parts = [pattern(before), "(" + pattern(inner) + ")", pattern(after)]
    found = list(re.finditer(r"\s*".join(p for p in parts if p), source))
    if len(found) != 1:
        sys.exit(f"{mutant['file']}: the place of mutant {mutant['name']} is there "
                 f"{len(found)} times, expected once: {mutant['-']}")
    return found[0].span(1)


def mutate(source, mutants):
    places = collections.defaultdict(list)
    for m in mutants:
        places[place(source, m)].append(m)
    for (begin, end), here in sorted(places.items(), reverse=True):
        text = source[begin:end]
        for m in here:
            if m["kind"] == "expr":
                text = f"(gp_mutant == {m['number']} ? ({m['+']}) : ({text}))"
            else:
                text = f"if (gp_mutant == {m['number']}) {{ {m['+']} }} else {{ {text} }}"
        source = source[:begin] + text + source[end:]
    return source


def write(path, text):
    with open(path, "w", encoding="utf-8") as out:
        out.write(text)


def shape(mutant):
    """Which histories show it, where that is not any: a word of the table's own."""
    return f', .{mutant["*"]} = true' if "*" in mutant else ""


def main(lib, listed, out, *files):
    mutants = mutants_read(listed)
    missing = {m["file"] for m in mutants} - set(files)
    if files and missing:
        sys.exit(f"meson.build does not compile {', '.join(sorted(missing))}, which {listed} names")
    for number, m in enumerate(mutants, 1):
        m["number"] = number
    for file in sorted({m["file"] for m in mutants}):
        path = os.path.join(lib, file)
        source = mutate(open(path, encoding="utf-8").read(),
                        [m for m in mutants if m["file"] == file])
        write(os.path.join(out, file.replace("/", "_")),
              f'extern int gp_mutant;\n#line 1 "{path}"\n{source}')
    rows = (f'{{.name = "{m["name"]}", .promise = "{m["?"]}"{shape(m)}}},\n' for m in mutants)
    write(os.path.join(out, "mutants.inc"), "".join(rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
