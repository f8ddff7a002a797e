"""How many threads of the processor torch computes with."""

from dataclasses import dataclass

import torch


@dataclass
class _ThreadSetting:
    """What torch would do if it were asked nothing."""

    threads: int = 0


_OF_TORCH = _ThreadSetting()


def use_threads(threads: int) -> None:
    """Lets torch compute with that many threads from now on; 0 gives it back its own choice.

    It counts for the whole process, and for the thread that calls. torch is told its own choice too: from then on its
    matrix products use just as many, and do not decide anew for each, so that the last digits are always the same.
    """
    _OF_TORCH.threads = _OF_TORCH.threads or torch.get_num_threads()
    torch.set_num_threads(threads or _OF_TORCH.threads)
