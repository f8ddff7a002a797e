"""Speed of the number formats on the processor: few processors compute faster in a short format than in float32."""

import time
from collections.abc import Callable
from functools import cache

import torch
from torch.nn import functional as F

from img2vid.engine.interface import DTYPES

SLOWER = 1.2
"""Ratio of times above which a format counts as slower: smaller ones change from one measurement to the next."""
FORMATS: dict[str, torch.dtype] = {**DTYPES}
SHORT_FORMATS = ("fp16", "bf16")
TRIES = 3


@cache
def slowdown(precision: str) -> float:
    """Return the time that the processor takes in a number format, divided by its time in float32.

    Measured once per process, within about a tenth of a second: a matrix product and a convolution, the fastest of
    three runs each. Instruction sets alone do not tell, since PyTorch decides for each operation how it is computed.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several would wait for each other while other programs keep the cores busy
    try:
        return _seconds(FORMATS[precision]) / _seconds(torch.float32)
    finally:
        torch.set_num_threads(threads)


def speed_advice(precision: str, decoder_precision: str) -> str:
    """Return a sentence for the user if the processor is slower in the chosen formats than in float32, else "".

    precision: of the network; decoder_precision: of the decoder.
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
    work()  # the first run sets up what later ones reuse
    taken: list[float] = []
    for _ in range(TRIES):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return min(taken)
