"""Trials of fast paths: each is used only where it has computed on this machine what PyTorch's own operations do.

Neither a version number nor the presence of an operator shows whether a fast path works: that depends on the
processor's instruction sets, the driver and the compiler. So each path runs once per process, kind of device and number
format on a small input. One that fails or differs is left out, with a line in the log.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}
"""Largest relative error of a result: a few units in the last place of each number format."""

Attempt = Callable[[torch.device, torch.dtype], Sequence[tuple[Tensor, Tensor]]]
"""Runs a fast path and the plain one on a small input, and returns pairs of their results."""


class Unsupported(Exception):
    """Raised by an attempt if this machine lacks what the path needs, which is no fault; the message says what."""


@dataclass(frozen=True)
class Trial:
    """Outcome of a trial. device: kind of device, such as "cpu". fault: why the path is left out, or empty."""

    path: str
    device: str
    dtype: torch.dtype
    fault: str


_outcomes: dict[tuple[str, str, torch.dtype], Trial] = {}
_lock = threading.RLock()


def usable(path: str, attempt: Attempt, device: torch.device, dtype: torch.dtype) -> bool:
    """Return whether a fast path may be used; the first call for a kind of device and number format tries it."""
    key = (path, device.type, dtype)
    found = _outcomes.get(key)
    if found is None:
        with _lock:  # threads that need the path at the same moment wait for one trial
            found = _outcomes.get(key) or _try(path, attempt, device, dtype)
    return not found.fault


def disable(path: str, device: torch.device, dtype: torch.dtype, error: Exception) -> None:
    """Stop using a path that failed after its trial."""
    with _lock:
        if not _outcomes[path, device.type, dtype].fault:
            _record(path, device, dtype, _reason(error))


def outcomes() -> list[Trial]:
    """Return the outcomes of all trials in this process, in the order in which they were made."""
    return list(_outcomes.values())


def out_of_memory(error: Exception) -> bool:
    """Return whether an error is about memory, which says nothing about the path that raised it."""
    return isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError))


def _record(path: str, device: torch.device, dtype: torch.dtype, fault: str, level: int = logging.WARNING) -> Trial:
    trial = _outcomes[path, device.type, dtype] = Trial(path, device.type, dtype, fault)
    if fault:
        name = str(dtype).removeprefix("torch.")
        logger.log(level, "%s not used on %s in %s: %s", path, device.type, name, fault)
    return trial


def _try(path: str, attempt: Attempt, device: torch.device, dtype: torch.dtype) -> Trial:
    try:
        with torch.inference_mode():
            errors = [_relative_error(found, expected) for found, expected in attempt(device, dtype)]
    except Unsupported as lack:
        return _record(path, device, dtype, str(lack), logging.INFO)
    except Exception as failure:
        if out_of_memory(failure):
            raise
        logger.debug("the trial failed", exc_info=True)
        return _record(path, device, dtype, _reason(failure))
    wrong = [error for error in errors if not error <= TOLERANCE[dtype]]  # NaN is not within any tolerance
    return _record(path, device, dtype, f"results differ by {wrong[0]:.1e} from the plain ones" if wrong else "")


def _relative_error(found: Tensor, expected: Tensor) -> float:
    if found.shape != expected.shape or found.dtype != expected.dtype:
        raise ValueError(f"{tuple(found.shape)} {found.dtype} instead of {tuple(expected.shape)} {expected.dtype}")
    wanted = expected.double()
    return float(((found.double() - wanted).square().sum() / wanted.square().sum()).sqrt())


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
