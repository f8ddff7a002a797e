"""Peak rates of this machine for a large matrix product and for copying memory."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch

from img2vid.engine.format_speed import one_thread, slowdown
from img2vid.engine.interface import DTYPES

LONG_ENOUGH = 0.05
"""Seconds of a product above which no larger product is tried."""
QUICK, BRIEFLY = 0.005, 0.1
"""The same for a rough measurement, and its seconds."""
SIDES = (512, 1024, 2048, 4096, 8192)
MEASURING = 0.5
"""Seconds to measure each rate."""
COPIED = {"cpu": 1 << 28, "cuda": 1 << 30}
"""Bytes per copy, larger than any cache."""


@dataclass(frozen=True)
class Rates:
    """Peak rates. product: operations per second; copy: bytes read and written per second; side: of the matrices."""

    product: float
    copy: float
    side: int


def measure_rates(device: str, precision: str) -> Rates:
    """Measure the peak rates, each the best of several tries."""
    dtype, kind = DTYPES[precision], torch.device(device)  # type: ignore[index]
    precision_context = products_like_convolutions() if kind.type == "cuda" else nullcontext()
    with precision_context, torch.inference_mode():
        side, seconds = _product(kind, dtype)
        source = torch.ones(COPIED.get(kind.type, 1 << 28) // dtype.itemsize, dtype=dtype, device=kind)
        target = torch.empty_like(source)
        copied = _best(lambda: target.copy_(source), kind)
    return Rates(2 * side**3 / seconds, 2 * source.nbytes / copied, side)


def measure_speed(device: str) -> dict[str, float]:
    """Measure roughly, in less than a second, the operations per second of a product in each number format."""
    kind = torch.device(device)
    with products_like_convolutions() if kind.type == "cuda" else nullcontext(), torch.inference_mode():
        if kind.type != "cpu":
            found = {name: _product(kind, dtype, QUICK, BRIEFLY) for name, dtype in DTYPES.items()}
            return {name: 2 * side**3 / seconds for name, (side, seconds) in found.items()}
        with one_thread() as threads:
            side, seconds = _product(kind, torch.float32, QUICK, BRIEFLY)
    rate = threads * 2 * side**3 / seconds
    # The layers around the products are not faster in 16 bits.
    return {name: rate / (1 if name == "fp32" else max(slowdown(name), 1)) for name in DTYPES}


def _product(
    device: torch.device, dtype: torch.dtype, long_enough: float = LONG_ENOUGH, measuring: float = MEASURING
) -> tuple[int, float]:
    """Return the side of the first square product that takes long enough, and its seconds."""
    side, seconds = 0, 0.0
    for side in SIDES:
        a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        multiply = partial(torch.matmul, a, b)
        seconds = _best(multiply, device, tries=2)
        if seconds >= long_enough or side == SIDES[-1]:
            seconds = min(seconds, _best(multiply, device, measuring=measuring))
            break
    return side, seconds


def synchronise(device: str) -> None:
    """Wait until the device has finished all queued work."""
    kind = torch.device(device).type
    if kind == "cuda":
        torch.cuda.synchronize(device)
    elif kind == "mps":
        torch.mps.synchronize()


def _best(
    work: Callable[[], object], device: torch.device, tries: int | None = None, measuring: float = MEASURING
) -> float:
    """Return the seconds of the fastest run, after one warm-up run."""
    work()
    synchronise(str(device))
    taken: list[float] = []
    while len(taken) < (3 if tries is None else tries) or (tries is None and sum(taken) < measuring):
        started = time.perf_counter()
        work()
        synchronise(str(device))
        taken.append(time.perf_counter() - started)
    return min(taken)


@contextmanager
def products_like_convolutions() -> Generator[None, None, None]:
    """Inside the block, round float32 products on a GPU as its convolutions are rounded.

    By default, torch allows TF32 for convolutions but not for products. A floor must use the faster format.
    """
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
