"""How much memory the inner results of a layer may take: the work is cut into spans that fit."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch

MIB = 2**20
CACHE = 3 * MIB // 2
"""What a processor's cache holds near its cores, with room for weights; measured, see docs/performance.md."""
ON_CARD = 256 * MIB
"""Large enough to keep a graphics card busy, small beside the smallest card's memory."""


@dataclass
class Budget:
    """Bytes that one inner result may take; more is worked off piece by piece, with the same result."""

    bytes: int

    @classmethod
    def for_device(cls, device: torch.device) -> "Budget":
        """What suits a processor's cache, or a card."""
        return cls(CACHE if device.type == "cpu" else ON_CARD)

    def spans(self, total: int, bytes_each: int) -> Iterator[slice]:
        """Cuts range(total) into as few pieces as the budget allows, none much smaller than the others."""
        most = max(self.bytes // max(bytes_each, 1), 1)
        pieces = -(-total // most)
        edges = [total * piece // pieces for piece in range(pieces + 1)]
        yield from (slice(start, end) for start, end in pairwise(edges))
