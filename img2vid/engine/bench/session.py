"""Benchmark session: several backends loaded in one process."""

import importlib.metadata
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from img2vid.engine.bench.backends import Backend, Model, Run, Shape, load_backend
from img2vid.engine.bench.operations import Work, count, count_stages
from img2vid.engine.bench.rates import Rates, measure_rates, synchronise
from img2vid.engine.memory.device import device_name, out_of_memory_explained
from img2vid.engine.threads import use_threads
from img2vid.errors import EngineUnavailable, OutOfMemory

REFERENCE, NATIVE = "sgm", "native"
PACKAGES = ("torch", "diffusers", "transformers", "sgm", "open_clip_torch", "triton")
STAGE_NAMES = {"condition": "condition", "step": "sample", "decode": "decode"}
"""Names of the stages in `out_of_memory_explained`."""


class Session:
    """Engines of a comparison with their loaded models.

    left_out: the engines that cannot run, or not in a stage, with the reason.
    """

    def __init__(self, names: Sequence[str], model: Model, shape: Shape) -> None:
        use_threads(model.options.threads)
        self.model = model
        self.shape = shape
        self.backends: dict[str, Backend] = {}
        self.left_out: dict[str, str] = {}
        for name in names:
            try:
                with out_of_memory_explained("load"):
                    self.backends[name] = load_backend(name, model)
            except (EngineUnavailable, OutOfMemory) as error:
                self.left_out[name] = str(error)

    def synchronise(self) -> None:
        """Wait until the device is idle."""
        synchronise(self.model.options.device)

    def rates(self, precisions: Sequence[str]) -> dict[str, Rates]:
        """Measure the machine's rates in each number format."""
        return {precision: measure_rates(self.model.options.device, precision) for precision in precisions}

    def work(self) -> dict[str, list[Work]]:
        """Return the operation counts of each stage."""
        return count_stages(Path(self.model.config), self.shape, self.model.options.precision)

    def warm_up(self, stage: str, times: int) -> "WarmStage":
        """Run a stage on every engine and compare the outputs; remove engines that run out of memory."""
        runs: dict[str, Run] = {}
        outputs: dict[str, list[Tensor]] = {}
        operations: float | None = None
        for name, backend in list(self.backends.items()):
            if stage in backend.lacks:
                self.left_out[f"{name} ({stage})"] = backend.lacks[stage]
                continue
            try:
                with out_of_memory_explained(STAGE_NAMES[stage]):
                    run = backend.prepare(stage, self.shape)
                    if name == REFERENCE:
                        operations = count(run)
                    for _ in range(times):
                        outputs[name] = run()
            except OutOfMemory as error:
                self.left_out[name] = str(error)
                del self.backends[name]
                continue
            runs[name] = run
        return WarmStage(runs, operations, _difference(outputs))


class WarmStage:
    """Stage that has run on every engine.

    operations: counted on the reference, None without it. difference: relative difference of native from the reference.
    """

    def __init__(self, runs: Mapping[str, Run], operations: float | None, difference: float | None) -> None:
        self.runs = runs
        self.operations = operations
        self.difference = difference


def _difference(outputs: Mapping[str, list[Tensor]]) -> float | None:
    """Return the maximum relative difference of the outputs of native from the reference, or None without both."""
    if not {NATIVE, REFERENCE} <= set(outputs):
        return None
    pairs = zip(outputs[NATIVE], outputs[REFERENCE], strict=True)
    return max(relative_difference(ours, theirs) for ours, theirs in pairs)


def relative_difference(ours: Tensor, theirs: Tensor) -> float:
    """Return the norm of the difference over the norm of `theirs`; infinite if only `theirs` is zero."""
    a, b = ours.detach().double().cpu(), theirs.detach().double().cpu()
    difference, norm = (float((values * values).sum().sqrt()) for values in (a - b, b))
    if norm == 0:
        return 0.0 if difference == 0 else float("inf")
    return difference / norm


def describe_machine(device: str) -> dict[str, Any]:
    """Return the device, the system, and the versions of Python and the packages."""
    return {
        "device": device,
        "device_name": _processor() if torch.device(device).type == "cpu" else device_name(device),
        "threads": torch.get_num_threads(),
        "system": platform.platform(),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
    }


def _version(package: str) -> str | None:
    """Return the version of a package: None if not installed, "unknown" if imported but not installed by pip."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown" if package in sys.modules else None


def _processor() -> str:
    """Return the model name of the processor."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
