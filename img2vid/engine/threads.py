"""Number of CPU threads that torch uses."""

from functools import cache

import torch

_default_threads = cache(torch.get_num_threads)
"""PyTorch's default, read before `use_threads` changes it."""


def use_threads(threads: int) -> None:
    """Set the number of threads of this process and of the calling thread; 0 restores PyTorch's default.

    The default is set explicitly too: otherwise matrix products choose their number of threads on each call, which
    changes the last digits.
    """
    default = _default_threads()
    torch.set_num_threads(threads or default)
