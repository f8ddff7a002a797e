"""Trials of fast paths: a path is used only if its results on this machine match PyTorch's own operations.

A version number or an existing operator does not prove that a fast path works, which depends on the processor's
instruction sets, the driver and the compiler. Each path runs on a small input once per process, device type and number
format. A path that fails or differs is disabled and logged.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from img2vid.errors import is_out_of_memory

logger = logging.getLogger(__name__)

TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}
"""Maximum relative error of a result: a few units in the last place of each number format."""

Attempt = Callable[[torch.device, torch.dtype], Sequence[tuple[Tensor, Tensor]]]
"""Function that runs a fast path and the plain path on a small input and returns pairs of their results."""


class Unsupported(Exception):
    """Missing requirement of a fast path on this machine, named by the message; not logged as a warning."""


@dataclass(frozen=True)
class Trial:
    """Outcome of a trial. device: device type, such as "cpu". fault: reason why the path is not used, or empty."""

    path: str
    device: str
    dtype: torch.dtype
    fault: str


_outcomes: dict[tuple[str, str, torch.dtype], Trial] = {}
_lock = threading.RLock()


def usable(path: str, attempt: Attempt, device: torch.device, dtype: torch.dtype) -> bool:
    """Return whether a fast path may be used; the first call for a device type and number format runs the trial."""
    key = (path, device.type, dtype)
    found = _outcomes.get(key)
    if found is None:
        with _lock:  # concurrent callers wait for a single trial
            found = _outcomes.get(key) or _try(path, attempt, device, dtype)
    return not found.fault


def disable(path: str, device: torch.device, dtype: torch.dtype, error: Exception) -> None:
    """Disable a path that failed after its trial."""
    with _lock:
        if not _outcomes[path, device.type, dtype].fault:
            _record(path, device, dtype, _reason(error))


def outcomes() -> list[Trial]:
    """Return the outcomes of all trials in this process, in the order in which they ran."""
    return list(_outcomes.values())


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
    except Unsupported as error:
        return _record(path, device, dtype, str(error), logging.INFO)
    except Exception as error:
        if is_out_of_memory(error):  # no fault of the path
            raise
        logger.debug("the trial failed", exc_info=True)
        return _record(path, device, dtype, _reason(error))
    wrong = [error for error in errors if not error <= TOLERANCE[dtype]]  # NaN is not within any tolerance
    return _record(path, device, dtype, f"results differ by {wrong[0]:.1e} from PyTorch's own" if wrong else "")


def _relative_error(found: Tensor, expected: Tensor) -> float:
    if found.shape != expected.shape or found.dtype != expected.dtype:
        raise ValueError(f"got {tuple(found.shape)} {found.dtype}, expected {tuple(expected.shape)} {expected.dtype}")
    reference = expected.double()
    return float(((found.double() - reference).square().sum() / reference.square().sum()).sqrt())


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
