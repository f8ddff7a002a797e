"""What to do about memory: errors that say which knob helps, letting go of a model, and how much is in use."""

import ctypes
import gc
import platform
from collections.abc import Generator
from contextlib import contextmanager

import torch

from img2vid.errors import OutOfMemory

ADVICE = {
    "load": "choose precision fp16 or memory stages, or close other programs that use the card",
    "condition": "close other programs that use the card, or make the video smaller",
    "sample": "make the video smaller or shorter, choose precision fp16 or, on a card, memory blocks",
    "decode": "set decode_t to a smaller number (1 needs least), or choose decoder_precision fp16, on a processor bf16",
}


@contextmanager
def out_of_memory_explained(stage: str) -> Generator[None, None, None]:
    """Turns torch's out-of-memory errors into one sentence that says which setting helps at this stage."""
    try:
        yield
    except (torch.cuda.OutOfMemoryError, MemoryError) as error:
        raise OutOfMemory(f"memory ran out in the stage {stage!r}; {ADVICE[stage]}") from error
    except RuntimeError as error:
        # torch has no type of its own for a failed allocation on the CPU, and other words for it on each system.
        if any(words in str(error) for words in ("not enough memory", "out of memory", "can't allocate memory")):
            raise OutOfMemory(f"memory ran out in the stage {stage!r}; {ADVICE[stage]}") from error
        raise


def release() -> None:
    """Gives memory of models that nothing refers to any more back to the card."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def in_use_on_card(device: str) -> int:
    """Bytes that this process holds on a card."""
    if torch.device(device).type == "mps":
        return torch.mps.driver_allocated_memory()
    return torch.cuda.memory_reserved(device)


def free_on_card(device: torch.device) -> int:
    """Bytes of a card that this process may have, those among them that torch keeps for later."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def device_name(device: str) -> str:
    """What the device is called by its maker; CPU for a CPU."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return device.upper()


def works(device: str) -> bool:
    """Whether the device still computes for this process."""
    try:
        return bool(torch.ones(1, device=device).add(1).item() == 2)
    except RuntimeError:
        return False


def count_cards() -> int:
    """How many NVIDIA cards torch sees."""
    return torch.cuda.device_count()


def keep_freed_memory() -> None:
    """Lets the C library keep memory that was freed instead of handing it back to the system at once.

    On a CPU every layer's result is allocated anew. Above a threshold glibc maps fresh pages for each, and the system
    fills them with zeros page by page. Elsewhere than on Linux with glibc this does nothing.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3  # M_... in malloc.h
    mallopt(mmap_threshold, 32 * 2**20)  # the largest that glibc accepts
    mallopt(trim_threshold, 2**31 - 1)
    mallopt(top_pad, 64 * 2**20)
