"""Engine options of a run: one frozen value carries them from a page or the command line to the engine."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args, get_type_hints

from img2vid.errors import BadInput

Precision = Literal["auto", "fp32", "fp16", "bf16"]
MemoryPlan = Literal["auto", "resident", "stages", "blocks"]
MOST_THREADS = 1024


def _about(label: str, help_text: str, variable: str = "") -> dict[str, str]:
    """Return a field's label, help text, and the environment variable that provides its default."""
    return {"label": label, "help": help_text, "variable": variable}


_ENGINE = _about(
    "Engine",
    "Inference engine: native is img2vid's own, sgm is the reference package, if installed. auto selects native.",
    "IMG2VID_ENGINE",
)
_DEVICE = _about(
    "Device", "Device to run on: cpu, cuda, cuda:1 or mps. auto selects the GPU if PyTorch detects one, else the CPU."
)
_PRECISION = _about(
    "Precision", "Number format of the network. auto selects fp32 on a CPU, otherwise fp16 (half the memory)."
)
_DECODER_PRECISION = _about(
    "Decoder precision",
    "Number format of the decoder, which turns latents into frames. auto selects fp32, the most exact.",
)
_MEMORY = _about(
    "Memory",
    "Parts of the model in GPU memory: resident is all of it (fastest), stages the part in use, blocks one piece of "
    "the network at a time (for small GPUs). The result is the same; auto selects the first that fits into free "
    "memory.",
)
_COMPILE = _about(
    "Compile",
    "Compiles the network for this machine: the first video takes minutes longer, later ones are faster. Default: off.",
)
_THREADS = _about(
    "CPU threads",
    "Number of CPU threads; 0 is PyTorch's default, one per core. Fewer can be faster when other programs keep cores "
    "busy; has little effect on GPU runs.",
    "IMG2VID_THREADS",
)
_PICKLE = _about("Allow .ckpt files", "Also loads checkpoints in the older .ckpt format, weights only. Default: off.")


@dataclass(frozen=True)
class LoadOptions:
    """Engine options, validated by `check`; `img2vid.engine.resolve` replaces `auto` by the values for a machine.

    The video's metadata lists them in this order.
    """

    provider: Literal["auto", "native", "sgm"] = field(default="auto", metadata=_ENGINE)
    device: str = field(default="auto", metadata=_DEVICE)
    precision: Precision = field(default="auto", metadata=_PRECISION)
    decoder_precision: Precision = field(default="auto", metadata=_DECODER_PRECISION)
    memory: MemoryPlan = field(default="auto", metadata=_MEMORY)
    compile: bool = field(default=False, metadata=_COMPILE)
    threads: int = field(default=0, metadata=_THREADS)
    allow_pickle: bool = field(default=False, metadata=_PICKLE)

    def check(self) -> None:
        """Raise BadInput for the first invalid value. The device is validated by the engine."""
        for name, values in CHOICES.items():
            if getattr(self, name) not in values:
                raise BadInput(f"{name} must be one of {', '.join(values)}, got {getattr(self, name)!r}")
        whole_number("threads", str(self.threads), 0, MOST_THREADS)

    @classmethod
    def of_stored(cls, values: Mapping[str, Any]) -> "LoadOptions":
        """Return the options with every stored value that is valid by itself; the others get their defaults."""
        known: dict[str, Any] = {}
        for one in fields(cls):
            value: Any = values.get(one.name)
            if type(value) is type(one.default):
                with suppress(BadInput):
                    cls(**{one.name: value}).check()
                    known[one.name] = value
        return cls(**known)


CHOICES: Mapping[str, tuple[str, ...]] = {
    name: get_args(kind) for name, kind in get_type_hints(LoadOptions).items() if get_args(kind)
}
"""Allowed values of each option that is one of a list, `auto` first."""
MEMORY_PLANS: tuple[MemoryPlan, ...] = get_args(MemoryPlan)[1:]
"""Memory plans, fastest first."""
NATIVE_ONLY: Mapping[str, Any] = {"decoder_precision": "fp32", "memory": "resident", "compile": False}
"""Options of the native engine alone, with the value that means the same as their absence."""
OPTIONS: Mapping[str, Mapping[str, str]] = {one.name: one.metadata for one in fields(LoadOptions)}
"""Label, help text and environment variable of each option."""


def whole_number(name: str, text: str, least: int, most: int) -> int:
    """Parse a whole number given under `name`. Raise BadInput if it is invalid or out of range."""
    if not re.fullmatch("[0-9]{1,9}", text) or not least <= int(text) <= most:
        raise BadInput(f"{name} must be a whole number from {least} to {most}, got {text!r}")
    return int(text)
