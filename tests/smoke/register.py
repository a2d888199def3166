#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""register.py LIBRARY SERVER JOB RANK WORLD NAME=DIMxDIM...: joins a job through libgradplane and
registers these tensors. Ends like gradworker: `gradworker: ok`, or the error and status 1."""
import ctypes
import sys

TIMEOUT_MS = 3000


class Error(ctypes.Structure):
    _fields_ = [("code", ctypes.c_int), ("text", ctypes.c_char * 256)]


class Compress(ctypes.Structure):
    _fields_ = [("codec", ctypes.c_int), ("topk_ratio", ctypes.c_float),
                ("topk_count", ctypes.c_uint64), ("topk_warmup_steps", ctypes.c_uint32),
                ("topk_momentum", ctypes.c_float), ("topk_sampled", ctypes.c_bool)]


class Opts(ctypes.Structure):
    _fields_ = [("server", ctypes.c_char_p), ("job", ctypes.c_char_p), ("rank", ctypes.c_uint32),
                ("world", ctypes.c_uint32), ("flags", ctypes.c_uint32),
                ("previous_incarnation", ctypes.c_uint64), ("join_timeout_ms", ctypes.c_uint32),
                ("path_mtu", ctypes.c_uint32), ("reconnect_ms", ctypes.c_uint32),
                ("compress", Compress), ("transport", ctypes.c_char_p),
                ("stop_wanted", ctypes.c_void_p), ("stop_arg", ctypes.c_void_p),
                ("results", ctypes.c_int)]


class Tensor(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char * 64), ("dims_count", ctypes.c_uint32),
                ("dims", ctypes.c_uint64 * 8), ("priority", ctypes.c_uint32),
                ("compress", Compress)]


def tensor(index, text):
    name, dims = text.split("=")
    dims = [int(d) for d in dims.split("x")]
    return Tensor(name.encode(), len(dims), (ctypes.c_uint64 * 8)(*dims), index)


def main():
    library = ctypes.CDLL(sys.argv[1])
    names = [tensor(i, text) for i, text in enumerate(sys.argv[6:])]
    opts = Opts(sys.argv[2].encode(), sys.argv[3].encode(), int(sys.argv[4]), int(sys.argv[5]))
    client, err = ctypes.c_void_p(), Error()
    rc = library.gp_client_create(ctypes.byref(client), ctypes.byref(opts), ctypes.byref(err))
    if rc == 0:
        rc = library.gp_client_register(client, (Tensor * len(names))(*names), len(names),
                                        TIMEOUT_MS, ctypes.byref(err))
        library.gp_client_destroy(client)
    if rc != 0:
        print(f"gradworker: error: {err.text.decode()}")
        sys.exit(1)
    print("gradworker: ok")


main()
