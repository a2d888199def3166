#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes optim_vectors.h: three steps of each optimizer in NumPy float32, one operation at a time.

Independent of the library: whole arrays, NumPy's arithmetic, Python's pow and cos, the formulas of
the papers. With --torch the dense ones are also run by torch.optim and must agree within 1e-5
(Debian's python3-torch is 1.13); nothing is written then.
Run: tests/unit/optim/gen_vectors.py > tests/unit/optim/optim_vectors.h
"""
import math
import sys
import textwrap

import numpy as np

F = np.float32
ELEMS, STEPS = 21, 3
KEYS = ["lr", "mu", "wd", "b1", "b2", "eps", "init", "fbeta", "l1", "l2", "lam", "scale",
        "gamma", "lr_min"]
INTS = ["first", "schedule", "warmup", "every"]
ADAM = {"b1": 0.9, "b2": 0.999, "eps": 1e-8}
CASES = [
    ("sgd", {"lr": 0.1}),
    ("sgd", {"lr": 0.01, "wd": 0.0005, "scale": 0.25}),
    ("momentum", {"lr": 0.1, "mu": 0.9}),
    ("momentum", {"lr": 0.003, "mu": 0.95, "wd": 0.01}),
    ("nesterov", {"lr": 0.1, "mu": 0.9}),
    ("nesterov", {"lr": 0.05, "mu": 0.7, "wd": 0.0001, "lam": 0.04}),
    ("adagrad", {"lr": 0.01, "eps": 1e-10}),
    ("adagrad", {"lr": 0.1, "eps": 1e-7, "init": 0.1, "wd": 0.01}),
    ("rowwise_adagrad", {"lr": 0.1, "eps": 1e-10}),
    ("rowwise_adagrad", {"lr": 0.1, "eps": 1e-6, "init": 0.5, "wd": 0.01, "lam": 2}),
    ("adam", {"lr": 0.001, **ADAM}),
    ("adam", {"lr": 0.01, **ADAM, "b2": 0.99, "wd": 0.1, "first": 1000, "lam": 0.5}),
    ("adamw", {"lr": 0.001, **ADAM, "wd": 0.01}),
    ("adamw", {"lr": 0.01, **ADAM, "wd": 0.1, "scale": 0.5}),
    ("ftrl", {"lr": 0.1, "fbeta": 1}),
    ("ftrl", {"lr": 0.05, "fbeta": 0.5, "l1": 0.004, "l2": 0.1, "init": 0.1, "scale": 0.5}),
    ("sgd", {"lr": 0.1, "warmup": 5, "first": 2}),
    ("sgd", {"lr": 0.1, "schedule": 1, "every": 10, "gamma": 0.5, "first": 29}),
    ("sgd", {"lr": 0.1, "schedule": 2, "every": 20, "lr_min": 0.001, "first": 16, "warmup": 3}),
    ("momentum", {"lr": 0.1, "mu": 0.5, "schedule": 2, "every": 4, "first": 3}),
    ("adamw", {"lr": 0.01, **ADAM, "wd": 0.1, "schedule": 2, "every": 9, "first": 2}),
    ("lamb", {"lr": 0.001, **ADAM, "eps": 1e-6, "wd": 0.01}),
    ("lamb", {"lr": 0.02, **ADAM, "eps": 1e-6, "b2": 0.99, "schedule": 1, "every": 2, "gamma": 0.5}),
]


def rate(p, step):
    k, lr = step - 1, float(p["lr"])
    if k < p["warmup"]:
        return lr * (k + 1) / p["warmup"]
    k -= p["warmup"]
    if p["schedule"] == 1:
        return lr * float(p["gamma"]) ** (k // p["every"])
    if p["schedule"] == 2:
        low = float(p["lr_min"])
        return low + (lr - low) * (1 + math.cos(math.pi * min(k / p["every"], 1))) / 2
    return lr


def row_sum(squares):
    lanes = np.zeros(16, F)
    for i, x in enumerate(squares):
        lanes[i % 16] += x
    for half in (8, 4, 2, 1):
        lanes[:half] += lanes[half:2 * half]
    return lanes[0]


def adam(p, w, s, g, t, decoupled):
    b1, b2 = float(p["b1"]), float(p["b2"])
    m = p["b1"] * s[0] + F(1 - b1) * g
    v = p["b2"] * s[1] + (F(1 - b2) * g) * g
    size = F(rate(p, t) / (1 - b1 ** t)) * p["scale"]
    if decoupled:
        w = w * (F(1) - (F(rate(p, t)) * p["scale"]) * p["wd"])
    return w - (size * m) / (np.sqrt(v) * F(1 / math.sqrt(1 - b2 ** t)) + p["eps"]), [m, v]


def norm(values):
    lanes = np.zeros(16)
    for i, x in enumerate(values):
        lanes[i % 16] += float(x) * float(x)
    for half in (8, 4, 2, 1):
        lanes[:half] += lanes[half:2 * half]
    return math.sqrt(lanes[0])


def lamb(p, w, s, g, t):
    """You et al. 2019, algorithm 2; the block is a whole layer, phi(z) = z."""
    b1, b2 = float(p["b1"]), float(p["b2"])
    m = p["b1"] * s[0] + F(1 - b1) * g
    v = p["b2"] * s[1] + (F(1 - b2) * g) * g
    root = np.sqrt(v) * F(1 / math.sqrt(1 - b2 ** t))
    u = (F(1 / (1 - b1 ** t)) * m) / (root + p["eps"]) + p["wd"] * w
    return w - (F(rate(p, t)) * F(norm(w) / norm(u))) * u, [m, v]


def ftrl(p, w, s, g, t):
    h, q = p["scale"] * g, F(1 / rate(p, t))
    n = s[1] + h * h
    z = (s[0] + h) - ((np.sqrt(n) - np.sqrt(s[1])) * q) * w
    new = (np.copysign(p["l1"], z) - z) / ((p["fbeta"] + np.sqrt(n)) * q + p["l2"])
    return np.where(np.abs(z) <= p["l1"], F(0), new), [z, n]


def step(kind, p, w, read, s, g, t):
    lr = F(rate(p, t)) * p["scale"]
    if p["lam"] != 0:
        g = g + ((p["lam"] * g) * g) * (w - read)
    if p["wd"] != 0 and kind not in ("adamw", "lamb"):
        g = g + p["wd"] * w
    if kind == "sgd":
        return w - lr * g, s
    if kind in ("momentum", "nesterov"):
        v = p["mu"] * s[0] + g
        return w - lr * (g + p["mu"] * v if kind == "nesterov" else v), [v, s[1]]
    if kind == "adagrad":
        total = s[0] + g * g
        return w - (lr * g) / (np.sqrt(total) + p["eps"]), [total, s[1]]
    if kind == "rowwise_adagrad":
        total = s[0].copy()
        total[0] = s[0][0] + row_sum(g * g) / F(len(g))
        return w - (lr / (np.sqrt(total[0]) + p["eps"])) * g, [total, s[1]]
    if kind == "lamb":
        return lamb(p, w, s, g, t)
    return ftrl(p, w, s, g, t) if kind == "ftrl" else adam(p, w, s, g, t, kind == "adamw")


def words(a):
    hexes = [f"0x{x:08x}" for x in np.asarray(a, F).ravel().view(np.uint32)]
    return "{" + ", ".join(hexes) + "}"


def filled(given):
    p = {k: F(given.get(k, 1 if k == "scale" else 0)) for k in KEYS}
    p.update({k: given.get(k, 1 if k == "first" else 0) for k in INTS})
    return p


def run(number, kind, p):
    """Inputs are exact fractions that the test computes again."""
    i, t = np.arange(ELEMS), np.arange(STEPS)[:, None]
    start = ((i * 53 + number) % 97 - 48).astype(F) / F(32)
    grads = ((i * 37 + t * 61 + number * 13) % 199 - 99).astype(F) / F(4096)
    zero = np.zeros(ELEMS, F)
    first = zero.copy()
    if kind == "rowwise_adagrad":
        first[0] = p["init"]
    s = [zero, zero + p["init"]] if kind == "ftrl" else [first, zero]
    if kind == "adagrad":
        s[0] = zero + p["init"]
    w = start
    for i, g in enumerate(grads):
        w, s = step(kind, p, w, start, s, g, p["first"] + i)
        assert w.dtype == F and s[0].dtype == F and s[1].dtype == F
    return start, grads, w, s


def torch_check(kind, p, start, grads, w):
    """True where torch.optim has the same rule and agrees."""
    import torch  # pylint: disable=import-outside-toplevel
    value = torch.nn.Parameter(torch.from_numpy(start.copy()))
    lr, wd, mu = float(p["lr"]), float(p["wd"]), float(p["mu"])
    betas, eps = (float(p["b1"]), float(p["b2"])), float(p["eps"])
    if p["first"] != 1 or p["scale"] != 1 or p["lam"] != 0 or p["schedule"] or p["warmup"]:
        return False
    if kind in ("sgd", "momentum", "nesterov"):
        optim = torch.optim.SGD([value], lr, mu, 0, wd, kind == "nesterov")
    elif kind == "adagrad":
        optim = torch.optim.Adagrad([value], lr, 0, wd, float(p["init"]), eps)
    elif kind in ("adam", "adamw"):
        rule = torch.optim.Adam if kind == "adam" else torch.optim.AdamW
        optim = rule([value], lr, betas, eps, wd)
    else:
        return False
    for g in grads:
        value.grad = torch.from_numpy(g.copy())
        optim.step()
    assert np.allclose(value.detach().numpy(), w, rtol=1e-5, atol=1e-6), kind
    return True


def case(kind, p, w, s):
    ints = "{" + ", ".join(str(p[k]) for k in INTS) + "}"
    parts = [ints, words([p[k] for k in KEYS]), words(w),
             "{" + ", ".join(words(x) for x in s) + "}"]
    return f'{{"{kind}", ' + ", ".join(parts) + "},"


def main():
    done = [(kind, filled(given), *run(number, kind, filled(given)))
            for number, (kind, given) in enumerate(CASES)]
    if "--torch" in sys.argv[1:]:
        agreed = [d[0] for d in done if torch_check(*d[:5])]
        print("torch.optim agrees on", ", ".join(agreed))
        return
    print("// SPDX-License-Identifier: BSD-3-Clause")
    print("//\n// Written by gen_vectors.py; binary32 as bits.\n// clang-format off")
    print("#ifndef OPTIM_VECTORS_H\n#define OPTIM_VECTORS_H\n\n#include <stdint.h>\n")
    print(f"#define VECTOR_ELEMS {ELEMS}\n#define VECTOR_STEPS {STEPS}\n")
    print(f"struct optim_vector {{\n\tconst char *kind;\n\tuint32_t ints[{len(INTS)}]; "
          f"// {' '.join(INTS)}")
    print(f"\tuint32_t keys[{len(KEYS)}]; // {' '.join(KEYS)}")
    print("\tuint32_t w_out[VECTOR_ELEMS];\n\tuint32_t state_out[2][VECTOR_ELEMS];\n};\n")
    print("static const struct optim_vector optim_vectors[] = {")
    for kind, p, _, _, w, s in done:
        print(textwrap.indent(textwrap.fill(case(kind, p, w, s), 90), "\t"))
    print("};\n\n#endif")


if __name__ == "__main__":
    main()
