"""How many threads of the processor torch computes with."""

from dataclasses import dataclass

import torch


@dataclass
class _Liking:
    """What torch would do if it were asked nothing."""

    threads: int = 0


_OF_TORCH = _Liking()


def use_threads(threads: int) -> None:
    """Lets torch compute with that many threads from now on; 0 gives it back its own choice.

    It counts for the whole process, and for the thread that calls.
    """
    if threads:
        _OF_TORCH.threads = _OF_TORCH.threads or torch.get_num_threads()
        torch.set_num_threads(threads)
    elif _OF_TORCH.threads:
        torch.set_num_threads(_OF_TORCH.threads)
