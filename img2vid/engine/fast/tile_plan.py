"""Tiling: splits a layer's work into tiles with small intermediate results, processed by several threads."""

import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor

from img2vid.engine.fast.kernels import Kernels, PlainKernels, choose_kernels

Result = TypeVar("Result")

MIB = 2**20
CACHE = 4 * MIB
"""Fits a processor's cache and is large enough to make the overhead of a call small; see docs/performance.md."""
INNER = 2
"""Number of results of the widest inner layer that exist at the same time; measured."""
ON_CARD = 256 * MIB
"""Large enough to keep a GPU busy, small compared to the memory of the smallest GPU."""

DECODING_ON_CARD = 64 * MIB
"""Smaller, because the decoder keeps several of its larger intermediate results next to a whole frame."""


class TilePlan:
    """Maximum size of an intermediate result in bytes, and the threads that process tiles of that size.

    On a CPU, one thread runs all layers of a tile. Threads do not synchronize after every operation, and intermediate
    results stay in the core's cache. A GPU needs no threads.
    """

    def __init__(self, size: int, *, threaded: bool = False, kernels: Kernels | None = None) -> None:
        self.bytes = size
        self.kernels = PlainKernels() if kernels is None else kernels
        self.threads = 1
        """Number of threads in use now."""
        self._threaded = threaded
        self._pool: ThreadPoolExecutor | None = None
        self._local = threading.local()
        self._buffer: Tensor | None = None
        """Memory for one large intermediate result, reused by all layers."""

    @classmethod
    def for_device(cls, device: torch.device, *, compiled: bool = False) -> "TilePlan":
        """Return the network's plan for a device. compiled: element-wise operations use `torch.compile`."""
        return cls._made(device, ON_CARD, compiled)

    @classmethod
    def for_decoder(cls, device: torch.device, *, compiled: bool = False) -> "TilePlan":
        """Return the decoder's plan for a device."""
        return cls._made(device, DECODING_ON_CARD, compiled)

    @classmethod
    def _made(cls, device: torch.device, on_card: int, compiled: bool) -> "TilePlan":
        kernels = choose_kernels(device, compiled=compiled)
        if device.type == "cpu":
            return cls(CACHE, threaded=True, kernels=kernels)
        return MetaTilePlan(on_card) if device.type == "meta" else cls(on_card, kernels=kernels)

    def __deepcopy__(self, memo: object) -> "TilePlan":
        """Return self, so that copies of a network share the threads."""
        return self

    def spans(self, total: int, bytes_each: int) -> list[slice]:
        """Split range(total) into as few spans as the size limit allows, if possible a multiple of the threads."""
        count = -(-total // max(self.bytes // max(bytes_each, 1), 1))
        return _split(total, min(-(-count // self.threads) * self.threads, total))

    def inner_spans(self, total: int, bytes_each: int) -> list[slice]:
        """Split one thread's work further, for the results of an inner layer of a tile."""
        return _split(total, -(-total // max(self.bytes // INNER // max(bytes_each, 1), 1)))

    def each(self, work: Callable[[slice], Result], spans: Sequence[slice]) -> list[Result]:
        """Return the result of `work` for every span, in order. Nested calls run in the calling thread."""
        if self._pool is None or len(spans) == 1 or getattr(self._local, "inside", False):
            return [work(span) for span in spans]

        def inside(span: slice) -> Result:
            with torch.inference_mode():  # threads do not inherit it
                return work(span)

        return list(self._pool.map(inside, spans))

    def buffer_like(self, x: Tensor) -> Tensor:
        """Return an uninitialized tensor of the shape of x, valid until the next call.

        The memory is reused on a CPU, because the system zeroes every page of a new allocation.
        """
        if self._pool is None or getattr(self._local, "inside", False):
            return torch.empty_like(x)
        if self._buffer is None or self._buffer.numel() < x.numel() or self._buffer.dtype != x.dtype:
            self._buffer = None
            self._buffer = x.new_empty(x.numel())
        return self._buffer[: x.numel()].view(x.shape)

    @contextmanager
    def at_work(self) -> Generator[None, None, None]:
        """Start as many threads as torch uses; inside the block, torch uses one thread in each of them."""
        threads = torch.get_num_threads()
        if not self._threaded or self._pool is not None:
            yield
            return
        torch.set_num_threads(1)
        try:
            with ThreadPoolExecutor(threads, "img2vid", initializer=self._enter) as self._pool:
                self.threads = threads
                yield
        finally:
            self._pool, self._buffer, self.threads = None, None, 1
            torch.set_num_threads(threads)

    def _enter(self) -> None:
        self._local.inside = True
        torch.set_num_threads(1)


def _split(total: int, count: int) -> list[slice]:
    edges = [total * index // count for index in range(count + 1)]
    return [slice(start, end) for start, end in pairwise(edges)]


class MetaTilePlan(TilePlan):
    """Tile plan of a GPU for the meta device: runs only the first, the largest and the last of many equal tiles."""

    def each(self, work: Callable[[slice], Result], spans: Sequence[slice]) -> list[Result]:
        """See `TilePlan.each`; if results are tensors, all spans run, because their sizes differ by one."""
        first, *others = spans
        result = work(first)
        if len(others) < 3 or isinstance(result, torch.Tensor):
            return [result, *map(work, others)]
        largest = max(others[:-1], key=lambda span: int(span.stop - span.start))
        return [result, *[work(largest)] * (len(others) - 1), work(others[-1])]
