#!/usr/bin/env python3
"""Asks llama.cpp, in a process of its own; run through `cargo xtask compare`.

usage: llama.py bench MODEL THREADS PROMPT GENERATE AT REPACK FLASH
       llama.py pressure MODEL TOKENS
       llama.py quantize FROM TO FORMAT
       llama.py nothing

bench     prints one JSON object, with the keys of `picolm bench --json`: the first token after a prompt of PROMPT tokens
          and the time to load before it, then the speeds, and the peak of memory. GENERATE tokens are decoded after 128,
          and after AT if that is not 0. REPACK and FLASH are 0 or 1: whether weights are laid out anew when they are
          loaded, and whether attention is fused.
pressure  prints the speed of decoding TOKENS tokens, and the bytes that were read from disks for each.
quantize  writes a model again in another format.
nothing   loads the library, to see what that takes.
"""
import ctypes
import json
import os
import sys
import time

import llama_cpp as L

BATCH = 512


@ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
def silent(_level, _text, _data):
    pass


def memory(name):
    """A line of this process's status, in bytes."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(name + ":"))


class LlamaCpp:
    def __init__(self, path, threads, context, repack, flash):
        params = L.llama_model_default_params()
        params.n_gpu_layers = 0
        params.use_extra_bufts = repack
        self.model = L.llama_model_load_from_file(path.encode(), params)
        if not self.model:
            sys.exit(f"llama.cpp cannot load {path}")
        self.vocab_len = L.llama_vocab_n_tokens(L.llama_model_get_vocab(self.model))
        params = L.llama_context_default_params()
        params.n_ctx = context
        params.n_batch = params.n_ubatch = BATCH
        params.n_threads = params.n_threads_batch = threads
        params.no_perf = True
        params.flash_attn_type = L.LLAMA_FLASH_ATTN_TYPE_ENABLED if flash else L.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self.context = L.llama_init_from_model(self.model, params)
        if not self.context:
            sys.exit(f"llama.cpp has no context for {path}")

    def clear(self):
        L.llama_memory_clear(L.llama_get_memory(self.context), False)

    def evaluate(self, tokens):
        """Evaluates tokens after those that are there, and waits for the last one's logits."""
        for start in range(0, len(tokens), BATCH):
            part = tokens[start : start + BATCH]
            # The batch only points to it.
            array = (L.llama_token * len(part))(*part)
            if L.llama_decode(self.context, L.llama_batch_get_one(array, len(part))) != 0:
                sys.exit("llama.cpp cannot evaluate the tokens")
        return L.llama_get_logits_ith(self.context, -1)

    def prompt(self, count):
        """Any tokens do: the work does not depend on which."""
        return [i * 7919 % self.vocab_len for i in range(count)]

    def prefill(self, count):
        self.clear()
        return self.speed(count, lambda: self.evaluate(self.prompt(count)))

    def decode(self, count):
        return self.speed(count, lambda: [self.evaluate([token]) for token in self.prompt(count)])

    @staticmethod
    def speed(count, work):
        start = time.perf_counter()
        work()
        return count / (time.perf_counter() - start)


def bench(path, threads, prompt, generate, at, repack, flash):
    # What the interpreter takes is not llama.cpp's.
    before, start = memory("VmRSS"), time.perf_counter()
    llama = LlamaCpp(path, threads, max(512, 128 + generate, at + generate), repack, flash)
    loaded = time.perf_counter()
    llama.evaluate(llama.prompt(prompt))
    first = time.perf_counter()
    figures = {"load_ms": (loaded - start) * 1e3, "first_token_ms": (first - start) * 1e3}
    figures["prefill_512"] = llama.prefill(512)
    figures["prefill_128"] = llama.prefill(128)
    figures["decode"] = llama.decode(generate)
    if at:
        llama.prefill(at)
        figures["decode_at"] = llama.decode(generate)
    figures["peak_bytes"] = memory("VmHWM") - before
    print(json.dumps(figures))


def pressure(path, tokens):
    llama = LlamaCpp(path, len(os.sched_getaffinity(0)), 2048, False, True)
    llama.evaluate(llama.prompt(8))
    before = disk_reads()
    figures = {"decode": llama.decode(tokens)}
    figures["read_per_token"] = (disk_reads() - before) / tokens
    print(json.dumps(figures))


def disk_reads():
    with open("/proc/self/io", encoding="ascii") as io:
        return next(int(line.split()[1]) for line in io if line.startswith("read_bytes:"))


def quantize(source, target, name):
    params = L.llama_model_quantize_default_params()
    params.ftype = {"F16": L.LLAMA_FTYPE_MOSTLY_F16, "Q8_0": L.LLAMA_FTYPE_MOSTLY_Q8_0}[name]
    params.allow_requantize = True
    if L.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(params)) != 0:
        sys.exit(f"llama.cpp cannot write {source} as {name}")


def main():
    L.llama_log_set(silent, None)
    match sys.argv[1:]:
        case ["bench", path, threads, prompt, generate, at, repack, flash]:
            bench(path, int(threads), int(prompt), int(generate), int(at), repack == "1", flash == "1")
        case ["pressure", path, tokens]:
            pressure(path, int(tokens))
        case ["nothing"]:
            pass
        case ["quantize", source, target, name]:
            quantize(source, target, name)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
