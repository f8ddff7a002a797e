"""LRU cache of encoder outputs."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

CAPACITY = 16
"""Default number of results kept; the least recently used is evicted first."""


class EncoderCache:
    """LRU cache of tensors, keyed by the fingerprint of their inputs."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._results: OrderedDict[bytes, Tensor] = OrderedDict()

    def __call__(self, key: bytes, compute: Callable[[], Tensor]) -> Tensor:
        """Return the cached result for `key`, or the result of `compute`. Do not modify it."""
        found = self._results.pop(key, None)
        result = compute() if found is None else found
        self._results[key] = result
        while len(self._results) > self._capacity:
            self._results.popitem(last=False)
        return result

    def clear(self) -> None:
        """Remove all results."""
        self._results.clear()

    def __len__(self) -> int:
        return len(self._results)


def fingerprint(*values: Tensor | float) -> bytes:
    """Return a hash of the values' bytes, formats and shapes, and of the number of threads.

    The number of threads is included because it changes the last bits of a result.
    """
    digest = hashlib.sha256(f"{torch.get_num_threads()}".encode())
    for value in values:
        if isinstance(value, Tensor):
            whole = value.detach().cpu().contiguous()
            digest.update(f"|{whole.dtype} {tuple(whole.shape)}|".encode())
            data: Any = whole.view(torch.uint8).numpy()
            digest.update(memoryview(data))
        else:
            digest.update(f"|{float(value).hex()}|".encode())
    return digest.digest()
