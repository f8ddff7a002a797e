"""Number of CPU threads that torch uses."""

from dataclasses import dataclass

import torch


@dataclass
class _ThreadSetting:
    """PyTorch's default number of threads; 0 before it is read."""

    threads: int = 0


_DEFAULT = _ThreadSetting()


def use_threads(threads: int) -> None:
    """Set the number of threads of this process and of the calling thread; 0 restores PyTorch's default.

    The default is set explicitly too: otherwise matrix products choose their number of threads on each call, which
    changes the last digits.
    """
    _DEFAULT.threads = _DEFAULT.threads or torch.get_num_threads()
    torch.set_num_threads(threads or _DEFAULT.threads)
