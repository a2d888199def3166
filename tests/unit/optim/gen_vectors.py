#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes optim_vectors.h: three steps of each optimizer in NumPy float32, one operation at a time.

Independent of the library: whole arrays, NumPy's own arithmetic, the formulas of torch.optim.SGD
(PyTorch documentation; the first step sets the buffer to the gradient, as there).
Run: tests/unit/optim/gen_vectors.py > tests/unit/optim/optim_vectors.h
"""
import textwrap

import numpy as np

ELEMS, STEPS = 19, 3
CASES = [
    ("sgd", 0.1, 0.0, 0.0),
    ("sgd", 0.01, 0.0, 0.0005),
    ("momentum", 0.1, 0.9, 0.0),
    ("momentum", 0.003, 0.95, 0.01),
    ("nesterov", 0.1, 0.9, 0.0),
    ("nesterov", 0.05, 0.7, 0.0001),
]


def step(kind, w, buf, g, lr, mu, wd):
    if wd != 0:
        g = g + wd * w
    if kind == "sgd":
        return w - lr * g, None
    buf = g.copy() if buf is None else mu * buf + g
    return w - lr * (g + mu * buf if kind == "nesterov" else buf), buf


def words(a):
    hexes = [f"0x{x:08x}" for x in np.asarray(a, np.float32).ravel().view(np.uint32)]
    return "{" + ", ".join(hexes) + "}"


def case(rng, kind, lr, mu, wd):
    lr, mu, wd = np.float32(lr), np.float32(mu), np.float32(wd)
    w = rng.standard_normal(ELEMS).astype(np.float32)
    grads = rng.standard_normal((STEPS, ELEMS)).astype(np.float32) * np.float32(1e-2)
    first, buf = w, None
    for g in grads:
        w, buf = step(kind, w, buf, g, lr, mu, wd)
        assert w.dtype == np.float32
    buf = np.zeros(ELEMS, np.float32) if buf is None else buf
    parts = [words(first), "{" + ", ".join(words(g) for g in grads) + "}", words(w), words(buf)]
    return f'{{"{kind}", {words([lr, mu, wd])}, ' + ", ".join(parts) + "},"


def main():
    rng = np.random.Generator(np.random.PCG64(20240501))
    print("// SPDX-License-Identifier: BSD-3-Clause")
    print("//\n// Written by gen_vectors.py; binary32 as bits.\n// clang-format off")
    print("#ifndef OPTIM_VECTORS_H\n#define OPTIM_VECTORS_H\n\n#include <stdint.h>\n")
    print(f"#define VECTOR_ELEMS {ELEMS}\n#define VECTOR_STEPS {STEPS}\n")
    print("struct optim_vector {\n\tconst char *kind;\n\tuint32_t lr_mu_wd[3];")
    print("\tuint32_t w[VECTOR_ELEMS];\n\tuint32_t grad[VECTOR_STEPS][VECTOR_ELEMS];")
    print("\tuint32_t w_out[VECTOR_ELEMS];\n\tuint32_t v_out[VECTOR_ELEMS];\n};\n")
    print("static const struct optim_vector optim_vectors[] = {")
    for c in CASES:
        print(textwrap.indent(textwrap.fill(case(rng, *c), 90), "\t"))
    print("};\n\n#endif")


if __name__ == "__main__":
    main()
