"""Speed of number formats on the CPU; few CPUs are faster in a 16-bit format than in float32."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import cache

import torch
from torch.nn import functional as F

from img2vid.engine.interface import DTYPES
from img2vid.hardware import SLOWER

FORMATS: dict[str, torch.dtype] = {**DTYPES}
SHORT_FORMATS = ("fp16", "bf16")
TRIES = 3


@cache
def slowdown(precision: str) -> float:
    """Return the CPU time in a number format divided by the CPU time in float32.

    Measured once per process, in about 0.1 s: a matrix product and a convolution, the fastest of three runs each.
    Instruction sets do not predict it, because PyTorch selects a kernel for each operation.
    """
    with one_thread():
        return _seconds(FORMATS[precision]) / _seconds(torch.float32)


@contextmanager
def one_thread() -> Generator[int, None, None]:
    """Use one thread inside the block, and yield the number that is used outside.

    Timing with several threads is unreliable while other programs use the cores.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


def speed_advice(precision: str, decoder_precision: str) -> str:
    """Return advice for the user if the CPU is slower in the chosen formats than in float32, else "".

    precision: format of the network; decoder_precision: format of the decoder.
    """
    chosen = {"precision": precision, "decoder precision": decoder_precision}
    slow = [f"{name} {value}" for name, value in chosen.items() if value != "fp32" and slowdown(value) > SLOWER]
    if not slow:
        return ""
    verb = "is" if len(slow) == 1 else "are"
    return f"{' and '.join(slow)} {verb} slower than fp32 on this processor; choose fp32 unless memory is short"


@torch.inference_mode()
def _seconds(dtype: torch.dtype) -> float:
    tokens, weight = torch.ones(256, 320, dtype=dtype), torch.ones(640, 320, dtype=dtype)
    maps, kernel = torch.ones(1, 32, 32, 32, dtype=dtype), torch.ones(32, 32, 3, 3, dtype=dtype)
    return _fastest(lambda: F.linear(tokens, weight)) + _fastest(lambda: F.conv2d(maps, kernel, padding=1))


def _fastest(work: Callable[[], object]) -> float:
    work()  # warm-up
    taken: list[float] = []
    for _ in range(TRIES):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return min(taken)
