#!/usr/bin/env python3
"""Asks llama.cpp, in a process of its own; run through `cargo xtask compare`.

usage: llama.py quantize FROM TO FORMAT
"""
import ctypes
import sys

import llama_cpp as L


@ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
def silent(_level, _text, _data):
    pass


def quantize(source, target, name):
    params = L.llama_model_quantize_default_params()
    params.ftype = {"F16": L.LLAMA_FTYPE_MOSTLY_F16, "Q8_0": L.LLAMA_FTYPE_MOSTLY_Q8_0}[name]
    params.allow_requantize = True
    if L.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(params)) != 0:
        sys.exit(f"llama.cpp cannot write {source} as {name}")


def main():
    L.llama_log_set(silent, None)
    match sys.argv[1:]:
        case ["quantize", source, target, name]:
            quantize(source, target, name)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
