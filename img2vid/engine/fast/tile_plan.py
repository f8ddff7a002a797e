"""How a layer's work is cut up: into pieces whose inner results stay small, done by several threads at once."""

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
"""Small enough for a processor's cache, large enough to make little of the cost of a call; see docs/performance.md."""
INNER = 2
"""Two results of the inner layer, which is the widest, are there at a time; measured."""
ON_CARD = 256 * MIB
"""Large enough to keep a graphics card busy, small beside the smallest card's memory."""

DECODING_ON_CARD = 64 * MIB
"""The decoder's inner results are much larger than the network's, and several of them live beside a whole frame."""


class TilePlan:
    """Bytes that one inner result may take, and the threads that work on pieces of that size.

    On a CPU every piece is one thread's from its first layer to its last, so that nobody waits for the others after
    every operation and what was just computed is still in that core's cache. A card needs no threads.
    """

    def __init__(self, size: int, *, threaded: bool = False, kernels: Kernels | None = None) -> None:
        self.bytes = size
        self.kernels = PlainKernels() if kernels is None else kernels
        self.threads = 1
        """How many are at work now."""
        self._threaded = threaded
        self._pool: ThreadPoolExecutor | None = None
        self._mine = threading.local()
        self._room: Tensor | None = None
        """Memory for one large inner result, kept from layer to layer."""

    @classmethod
    def for_device(cls, device: torch.device, *, compiled: bool = False) -> "TilePlan":
        """What suits a processor, or a card. compiled: element-wise work goes through `torch.compile`."""
        return cls._made(device, ON_CARD, compiled)

    @classmethod
    def for_decoder(cls, device: torch.device, *, compiled: bool = False) -> "TilePlan":
        """What suits the decoder there."""
        return cls._made(device, DECODING_ON_CARD, compiled)

    @classmethod
    def _made(cls, device: torch.device, on_card: int, compiled: bool) -> "TilePlan":
        kernels = choose_kernels(device, compiled=compiled)
        if device.type == "cpu":
            return cls(CACHE, threaded=True, kernels=kernels)
        return MetaTilePlan(on_card) if device.type == "meta" else cls(on_card, kernels=kernels)

    def __deepcopy__(self, memo: object) -> "TilePlan":
        """A copy of a network shares the threads."""
        return self

    def spans(self, total: int, bytes_each: int) -> list[slice]:
        """Cuts range(total) into as few pieces as the budget allows, and a multiple of the threads where that goes."""
        pieces = -(-total // max(self.bytes // max(bytes_each, 1), 1))
        return _cut(total, min(-(-pieces // self.threads) * self.threads, total))

    def inner_spans(self, total: int, bytes_each: int) -> list[slice]:
        """Cuts the work of one thread further, for the results of a layer within a piece."""
        return _cut(total, -(-total // max(self.bytes // INNER // max(bytes_each, 1), 1)))

    def each(self, work: Callable[[slice], Result], spans: Sequence[slice]) -> list[Result]:
        """What `work` makes of every span, in their order. Work within work stays in its thread."""
        if self._pool is None or len(spans) == 1 or getattr(self._mine, "inside", False):
            return [work(span) for span in spans]

        def inside(span: slice) -> Result:
            with torch.inference_mode():  # which a thread does not inherit
                return work(span)

        return list(self._pool.map(inside, spans))

    def buffer_like(self, x: Tensor) -> Tensor:
        """An empty tensor of x's shape, for a result that nobody needs any more when the next one asks.

        The system hands out a CPU's memory page by page and fills each with zeros, so that it is worth keeping.
        """
        if self._pool is None or getattr(self._mine, "inside", False):
            return torch.empty_like(x)
        if self._room is None or self._room.numel() < x.numel() or self._room.dtype != x.dtype:
            self._room = None
            self._room = x.new_empty(x.numel())
        return self._room[: x.numel()].view(x.shape)

    @contextmanager
    def at_work(self) -> Generator[None, None, None]:
        """Has as many threads ready as torch would use; meanwhile torch itself uses one in each of them."""
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
            self._pool, self._room, self.threads = None, None, 1
            torch.set_num_threads(threads)

    def _enter(self) -> None:
        self._mine.inside = True
        torch.set_num_threads(1)


def _cut(total: int, pieces: int) -> list[slice]:
    edges = [total * piece // pieces for piece in range(pieces + 1)]
    return [slice(start, end) for start, end in pairwise(edges)]


class MetaTilePlan(TilePlan):
    """A card's pieces where there are no numbers: of many pieces alike, only the first, the largest and the last."""

    def each(self, work: Callable[[slice], Result], spans: Sequence[slice]) -> list[Result]:
        """See `Budget.each`; tensors are all made, as their sizes differ by one."""
        first, *others = spans
        made = work(first)
        if len(others) < 3 or isinstance(made, torch.Tensor):
            return [made, *map(work, others)]
        largest = max(others[:-1], key=lambda span: int(span.stop - span.start))
        return [made, *[work(largest)] * (len(others) - 1), work(others[-1])]
