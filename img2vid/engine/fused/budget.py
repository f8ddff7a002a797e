"""How a layer's work is cut up: into pieces whose inner results stay small, done by several threads at once."""

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import TypeVar

import torch

Result = TypeVar("Result")

MIB = 2**20
CACHE = 4 * MIB
"""Small enough for a processor's cache, large enough to make little of the cost of a call; see docs/performance.md."""
ON_CARD = 256 * MIB
"""Large enough to keep a graphics card busy, small beside the smallest card's memory."""

DECODING_ON_CARD = 64 * MIB
"""The decoder's inner results are much larger than the network's, and several of them live beside a whole frame."""


class Budget:
    """Bytes that one inner result may take, and the threads that work on pieces of that size.

    On a CPU every piece is one thread's from its first layer to its last, so that nobody waits for the others after
    every operation and what was just computed is still in that core's cache. A card needs no threads.
    """

    def __init__(self, size: int, *, threaded: bool = False) -> None:
        self.bytes = size
        self.threads = 1
        """How many are at work now."""
        self._threaded = threaded
        self._pool: ThreadPoolExecutor | None = None
        self._mine = threading.local()

    @classmethod
    def for_device(cls, device: torch.device) -> "Budget":
        """What suits a processor, or a card."""
        return cls._made(device, ON_CARD)

    @classmethod
    def for_decoder(cls, device: torch.device) -> "Budget":
        """What suits the decoder there."""
        return cls._made(device, DECODING_ON_CARD)

    @classmethod
    def _made(cls, device: torch.device, on_card: int) -> "Budget":
        if device.type == "cpu":
            return cls(CACHE, threaded=True)
        return Sketch(on_card) if device.type == "meta" else cls(on_card)

    def __deepcopy__(self, memo: object) -> "Budget":
        """A copy of a network shares the threads."""
        return self

    def spans(self, total: int, bytes_each: int) -> Iterator[slice]:
        """Cuts range(total) into as few pieces as the budget allows, and a multiple of the threads where that goes."""
        most = max(self.bytes // max(bytes_each, 1), 1)
        pieces = -(-total // most)
        pieces = min(-(-pieces // self.threads) * self.threads, total)
        edges = [total * piece // pieces for piece in range(pieces + 1)]
        yield from (slice(start, end) for start, end in pairwise(edges))

    def each(self, work: Callable[[slice], Result], spans: Iterable[slice]) -> list[Result]:
        """What `work` makes of every span, in their order. Work within work stays in its thread."""
        spans = list(spans)
        if self._pool is None or len(spans) == 1 or getattr(self._mine, "inside", False):
            return [work(span) for span in spans]

        def inside(span: slice) -> Result:
            with torch.inference_mode():  # which a thread does not inherit
                return work(span)

        return list(self._pool.map(inside, spans))

    @contextmanager
    def at_work(self) -> Generator[None, None, None]:
        """Has as many threads ready as torch would use; meanwhile torch itself uses one in each of them."""
        threads = torch.get_num_threads()
        if threads == 1 or not self._threaded or self._pool is not None:
            yield
            return
        torch.set_num_threads(1)
        try:
            with ThreadPoolExecutor(threads, "img2vid", initializer=self._enter) as self._pool:
                self.threads = threads
                yield
        finally:
            self._pool, self.threads = None, 1
            torch.set_num_threads(threads)

    def _enter(self) -> None:
        self._mine.inside = True
        torch.set_num_threads(1)


class Sketch(Budget):
    """A card's pieces where there are no numbers: of many pieces alike, only the first, the largest and the last."""

    def each(self, work: Callable[[slice], Result], spans: Iterable[slice]) -> list[Result]:
        """See `Budget.each`; tensors are all made, as their sizes differ by one."""
        first, *others = spans
        made = work(first)
        if len(others) < 3 or isinstance(made, torch.Tensor):
            return [made, *map(work, others)]
        largest = max(others[:-1], key=lambda span: int(span.stop - span.start))
        return [made, *[work(largest)] * (len(others) - 1), work(others[-1])]
