"""Tiling: splits a layer's work into tiles with small intermediate results, processed by several threads."""

import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
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
HALVES = 2
"""Clips of a guided step, conditional and unconditional."""
ON_CARD = 256 * MIB
"""Large enough to keep a GPU busy, small compared to the memory of the smallest GPU."""

DECODING_ON_CARD = 64 * MIB
"""Smaller, because the decoder keeps several of its larger intermediate results next to a whole frame."""


@dataclass
class _Lane:
    """Threads that process the tiles of a clip's layers (none: the calling thread), and memory that layers reuse."""

    pool: ThreadPoolExecutor | None = None
    reuses: bool = False
    buffer: Tensor | None = None


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
        self._main = _Lane()
        self._halves: Sequence[_Lane] = ()
        self._clips: ThreadPoolExecutor | None = None
        self._local = threading.local()

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
        pool = self._lane.pool
        if pool is None or len(spans) == 1:
            return [work(span) for span in spans]

        def inside(span: slice) -> Result:
            with torch.inference_mode():  # threads do not inherit it
                return work(span)

        return list(pool.map(inside, spans))

    def apart(self, work: Callable[[int], Result], count: int) -> list[Result]:
        """Return the result of `work` for every clip. Two clips advance independently, each with half of the threads.

        Threads wait for each other after every layer; with half as many there is less to wait for. The tiles are the
        same, and so are the results.
        """
        if self._clips is None or count != len(self._halves):
            return [work(index) for index in range(count)]

        def inside(index: int) -> Result:
            self._local.lane = self._halves[index]
            with torch.inference_mode():
                return work(index)

        return list(self._clips.map(inside, range(count)))

    @property
    def splits_clips(self) -> bool:
        """True if `apart` runs two clips at the same time."""
        return self._clips is not None

    def buffer_like(self, x: Tensor) -> Tensor:
        """Return an uninitialized tensor of the shape of x, valid until the next call.

        The memory is reused on a CPU, because the system zeroes every page of a new allocation.
        """
        lane = self._lane
        if not lane.reuses:
            return torch.empty_like(x)
        if lane.buffer is None or lane.buffer.numel() < x.numel() or lane.buffer.dtype != x.dtype:
            lane.buffer = None
            lane.buffer = x.new_empty(x.numel())
        return lane.buffer[: x.numel()].view(x.shape)

    @contextmanager
    def at_work(self) -> Generator[None, None, None]:
        """Start as many threads as torch uses; inside the block, torch uses one thread in each of them."""
        threads = torch.get_num_threads()
        if not self._threaded or self._main.pool is not None:
            yield
            return
        torch.set_num_threads(1)
        try:
            with ExitStack() as stack:
                self._main = _Lane(self._started(stack, threads), reuses=True)
                if threads > 1 and threads % HALVES == 0:
                    share = threads // HALVES
                    pools = [self._started(stack, share) if share > 1 else None for _ in range(HALVES)]
                    self._halves = [_Lane(pool, reuses=True) for pool in pools]
                    self._clips = self._started(stack, HALVES)
                self.threads = threads
                yield
        finally:
            self._main, self._halves, self._clips, self.threads = _Lane(), (), None, 1
            torch.set_num_threads(threads)

    def _started(self, stack: ExitStack, threads: int) -> ThreadPoolExecutor:
        return stack.enter_context(ThreadPoolExecutor(threads, "img2vid", initializer=self._enter))

    def _enter(self) -> None:
        self._local.lane = _Lane()
        torch.set_num_threads(1)

    @property
    def _lane(self) -> _Lane:
        """Lane of the calling thread: its own, empty one in a thread of a pool."""
        return getattr(self._local, "lane", self._main)


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
