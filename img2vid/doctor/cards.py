"""Checks of torch, its build, the GPU and the driver, and of their compatibility.

A torch build supports a GPU if it contains binary code for the GPU's compute capability ("sm_86"), or intermediate code
for an older one that the driver can compile ("compute_80"). A driver supports every CUDA version of its own generation
and all older ones. This module finds the incompatible part. Only a real computation shows that a GPU works.
"""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from img2vid import paths
from img2vid.doctor.report import Finding, note, ok, problem
from img2vid.hardware import BUILDS, Capability, Card, old_driver
from img2vid.remedies import import_remedy, reinstall_steps, setup_command

GIB = 2**30
NEWEST_DRIVER = "install the newest driver from https://www.nvidia.com/drivers"
RESTART = f"Restart the computer. If that does not help, {NEWEST_DRIVER}."
PREFERRED = ("cu118", "cu130", "cu126", "cu128")
"""Builds in the order in which they are suggested; if the driver is too old for all, the last that fits the GPU."""
LITTLE_CARD_MEMORY, MUCH_CARD_MEMORY = 5.5, 7.5
"""GPU memory in GiB below which full models are impractical, or need a smaller decode_t; see docs/performance.md.

GPUs sold with 6 and 8 GB report slightly less.
"""


@dataclass(frozen=True)
class SeenCard:
    """GPU as reported by torch: total and free memory in bytes, and the error of the test computation, if any."""

    name: str
    capability: Capability
    memory: int
    free: int | None
    fault: str

    @classmethod
    def of(cls, facts: dict[str, Any]) -> "SeenCard":
        """Create from the JSON form."""
        whole: dict[str, Any] = {**facts, "capability": tuple(facts["capability"])}
        return cls(**whole)


@dataclass(frozen=True)
class TorchFacts:
    """Result of `img2vid.engine.probe.torch_facts`, which documents the fields."""

    version: str
    cuda: str | None
    hip: str | None
    architectures: tuple[str, ...]
    unavailable: str
    cpu_fault: str
    mps: bool
    cards: tuple[SeenCard, ...]

    @classmethod
    def of(cls, facts: dict[str, Any]) -> "TorchFacts":
        """Create from the JSON form."""
        cards = tuple(map(SeenCard.of, facts["cards"]))
        whole: dict[str, Any] = {**facts, "architectures": tuple(facts["architectures"]), "cards": cards}
        return cls(**whole)

    @property
    def build(self) -> str:
        """Version and target platform, such as "torch 2.7.1 (CUDA 11.8)"."""
        kind = f"CUDA {self.cuda}" if self.cuda else f"ROCm {self.hip}" if self.hip else "CPU only"
        return f"torch {self.version} ({kind})"


def judge_torch(facts: TorchFacts | None, reason: str, installed: Sequence[Card]) -> Finding:
    """Check that torch can be imported and works, and that its build can use the installed GPU."""
    if facts is None:
        return problem(
            "torch", f"torch or one of its dependencies cannot be imported: {reason}.", import_remedy(reason)
        )
    if facts.cpu_fault:
        found = f"{facts.build} fails on the CPU: {facts.cpu_fault}."
        return problem("torch", found, f"Reinstall: {reinstall_steps()}.")
    if installed and not (facts.cuda or facts.hip):
        card = installed[0]
        found = f"{facts.build} cannot use the {card.name}."
        return problem("torch", found, _cuda_build(card))
    return ok("torch", f"{facts.build} works on the CPU.")


def judge_cards(facts: TorchFacts | None, installed: Sequence[Card], hidden: str | None) -> list[Finding]:
    """Return a finding for each GPU: whether it passed the test computation and, if not, the cause.

    hidden: value of CUDA_VISIBLE_DEVICES, or None if it is not set.
    """
    if facts is None or (installed and not (facts.cuda or facts.hip)):
        names = ", ".join(card.name for card in installed)
        found = f"Not tested: {names}." if names else "Not checked because torch does not work."
        return [note("graphics card", found, "Fix the torch problem above first.")]
    if facts.cards:
        return [_judge_seen(facts, card, _driver(installed)) for card in facts.cards]
    if not installed:
        return [_no_card(facts)]
    if hidden is not None and hidden.strip() in ("", "-1"):
        found = f"CUDA_VISIBLE_DEVICES={hidden!r} hides the {installed[0].name}."
        return [note("graphics card", found, "Unset CUDA_VISIBLE_DEVICES, unless you want to use the CPU.")]
    return [_unseen(facts, installed[0])]


def judge_card_memory(card: SeenCard) -> Finding:
    """Estimate whether the full models fit into the GPU's memory."""
    total = card.memory / GIB
    if card.free is None:
        return note(
            "card memory", f"{card.name}: {total:.1f} GiB, free memory unknown.", "Fix the GPU problem above first."
        )
    found = f"{card.name}: {card.free / GIB:.1f} of {total:.1f} GiB free."
    if total < LITTLE_CARD_MEMORY:
        remedy = "Use a small version, svd with decode_t 3 or less, or a full version at a smaller size."
        return note("card memory", found, remedy)
    if card.free < 0.7 * card.memory:
        return note("card memory", found, "Close other programs that use the GPU before you load a full model.")
    if total < MUCH_CARD_MEMORY:
        return note("card memory", found, "For a full model, set decode_t to 7 or less.")
    return ok("card memory", found)


def serves(architectures: Sequence[str], capability: Capability) -> bool:
    """Return whether a build with these architectures has code for a GPU of that compute capability."""
    for name in architectures:
        found = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", name)
        if found is None:
            continue
        built = (int(found[2]), int(found[3]))
        if found[4] == "a":
            fits = built == capability
        elif found[1] == "compute":
            fits = built <= capability
        else:
            fits = built[0] == capability[0] and built <= capability
        if fits:
            return True
    return False


def _judge_seen(facts: TorchFacts, card: SeenCard, driver: str) -> Finding:
    capability = ".".join(map(str, card.capability))
    name = f"{card.name} (compute capability {capability}{f', driver {driver}' if driver else ''})"
    if not card.fault:
        return ok("graphics card", f"{name} computes correctly in float16.")
    if facts.cuda and facts.architectures and not serves(facts.architectures, card.capability):
        served = ", ".join(facts.architectures)
        found = f"{facts.build} does not support {name}. It supports {served}."
        return problem("graphics card", found, _install_build(card.capability, driver))
    found = f"{name} failed a test computation: {card.fault}."
    if "out of memory" in card.fault:
        return problem("graphics card", found, "Close other programs that use the GPU.")
    return problem("graphics card", found, RESTART)


def _unseen(facts: TorchFacts, card: Card) -> Finding:
    """Explain why a CUDA build of torch does not detect an installed NVIDIA GPU."""
    floor = old_driver(facts.cuda or "", card.driver, sys.platform == "win32")
    if floor is not None:
        found = (
            f"Driver {card.driver} of the {card.name} is too old for CUDA {facts.cuda}, which needs {floor} or newer."
        )
        return problem("graphics card", found, _newer_driver(card))
    words = f": {facts.unavailable}" if facts.unavailable else ""
    found = f"torch does not detect the {card.name} (driver {card.driver}){words}."
    return problem("graphics card", found, RESTART)


def _newer_driver(card: Card) -> str:
    """Suggest a newer driver, and a build for the present driver if one exists."""
    build = _install_build(card.capability, card.driver)
    other = f". If that is not possible, r{build[1:]}" if build.startswith("Run") else "."
    return f"{_sentence(NEWEST_DRIVER)}{other}"


def _no_card(facts: TorchFacts) -> Finding:
    if facts.mps:
        return note("graphics card", "Apple GPU found; it is used only on request.", "Pass `--device mps` to use it.")
    remedy = "The small versions do not need a GPU. The full ones need an NVIDIA GPU with 8 GB or more."
    return note("graphics card", "No NVIDIA GPU found; videos run on the CPU.", remedy)


def _cuda_build(card: Card) -> str:
    """Return the remedy for a CPU build: set-up installs the default build on Linux, if the card and driver fit it."""
    newest = BUILDS["cu130"]
    fits = newest.fits(card.capability) and old_driver(newest.tag, card.driver, windows=False) is None
    if sys.platform == "linux" and not paths.IS_INSTALLED and fits:
        return f"Run `{setup_command()} --torch cuda`."
    return _install_build(card.capability, card.driver)


def _install_build(capability: Capability | None, driver: str) -> str:
    """Return the remedy that installs a suitable torch build, preceded by a driver update if the driver is too old."""
    if capability is not None and capability < BUILDS["cu118"].oldest:
        return "No torch build supports this GPU. Use another GPU, or the CPU with `--device cpu`."
    windows, python = sys.platform == "win32", sys.version_info[:2]
    suited = [one for name in PREFERRED if (one := BUILDS[name]).fits(capability) and one.has_python(python)]
    build = next((one for one in suited if driver and not old_driver(one.tag, driver, windows)), suited[-1])
    command = f'"{sys.executable}" -m pip install {" ".join(build.packages)} --index-url {build.index}'
    floor = old_driver(build.tag, driver, windows) if driver else None
    first = f"{_sentence(NEWEST_DRIVER)} (at least {floor}), then run" if floor else "Run"
    return f"{first} `{command}`."


def _sentence(words: str) -> str:
    return words[0].upper() + words[1:]


def _driver(installed: Sequence[Card]) -> str:
    return installed[0].driver if installed else ""
