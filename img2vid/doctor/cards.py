"""torch, its build, the graphics card and the driver: what was found, and whether they go together.

torch serves a card where its build holds code for the card's compute capability ("sm_86"), or intermediate code for an
older one that the driver can translate ("compute_80"). A driver serves every CUDA of its own generation and all older
ones. Which of these is at fault is worked out here; that a card works is known only from a real computation.
"""

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from img2vid.doctor.report import Finding, note, ok, problem

GIB = 2**30
Version = tuple[int, ...]

# The oldest driver for each generation of CUDA: Linux, Windows.
DRIVERS: dict[int, tuple[Version, Version]] = {
    11: ((450, 80, 2), (452, 39)),
    12: ((525, 60, 13), (527, 41)),
    13: ((580,), (580,)),
}
OLDEST_OF_ALL, NEWEST_OF_CU118 = (5, 0), (9, 0)
"""Compute capabilities: Maxwell and Hopper."""
BUILD = "torch==2.7.1+{tag} torchvision==0.22.1+{tag}"
INDEX = "https://download.pytorch.org/whl/"
RUNTIME = "https://aka.ms/vs/17/release/vc_redist.x64.exe"
NEWEST_DRIVER = "install the newest driver from https://www.nvidia.com/drivers"
RESTART = f"Restart the computer; if that does not help, {NEWEST_DRIVER}."
LITTLE_CARD_MEMORY, MUCH_CARD_MEMORY = 5.5, 7.5
"""In GiB: below them full models are hardly of use, or need a smaller decode_t, see docs/performance.md.

Cards of 6 and of 8 GB report a little less than their name says.
"""


@dataclass(frozen=True)
class InstalledCard:
    """A card as its driver describes it, whatever torch thinks of it."""

    name: str
    driver: str
    capability: tuple[int, int] | None


@dataclass(frozen=True)
class SeenCard:
    """A card as torch sees it: memory and free memory in bytes, and what went wrong when it computed."""

    name: str
    capability: tuple[int, int]
    memory: int
    free: int | None
    fault: str

    @classmethod
    def of(cls, facts: dict[str, Any]) -> "SeenCard":
        """From the form in which it travels."""
        whole: dict[str, Any] = {**facts, "capability": tuple(facts["capability"])}
        return cls(**whole)


@dataclass(frozen=True)
class TorchFacts:
    """`img2vid.engine.probe.torch_facts`, which explains the fields."""

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
        """From the form in which they travel."""
        cards = tuple(map(SeenCard.of, facts["cards"]))
        whole: dict[str, Any] = {**facts, "architectures": tuple(facts["architectures"]), "cards": cards}
        return cls(**whole)

    @property
    def build(self) -> str:
        """The version, and what it computes on."""
        kind = f"CUDA {self.cuda}" if self.cuda else f"ROCm {self.hip}" if self.hip else "for the processor alone"
        return f"torch {self.version} ({kind})"


def installed_cards() -> list[InstalledCard]:
    """What `nvidia-smi` lists; nothing where there is no such program, no driver or no card."""
    for fields in ("name,driver_version,compute_cap", "name,driver_version"):  # old drivers do not know compute_cap
        command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=30, check=True)
        except (OSError, subprocess.SubprocessError):
            continue
        return [card for card in map(read_card, done.stdout.splitlines()) if card is not None]
    return []


def read_card(line: str) -> InstalledCard | None:
    """One line of nvidia-smi's list, such as "NVIDIA GeForce RTX 4090, 551.86, 8.9"."""
    parts = [part.strip() for part in line.split(",")]
    if len(parts) < 2 or not re.match(r"\d+\.", parts[1]):
        return None
    found = re.fullmatch(r"(\d+)\.(\d+)", parts[2]) if len(parts) > 2 else None
    return InstalledCard(parts[0], parts[1], (int(found[1]), int(found[2])) if found else None)


def judge_torch(facts: TorchFacts | None, reason: str, installed: Sequence[InstalledCard]) -> Finding:
    """Whether torch starts and computes at all, and whether its build can use the card that is there."""
    if facts is None:
        return problem("torch", f"torch, or a package that it needs, does not start: {reason}.", _start_again(reason))
    if facts.cpu_fault:
        found = f"{facts.build} does not compute on the processor: {facts.cpu_fault}."
        return problem("torch", found, f"Install torch again: {_set_up()}.")
    if installed and not (facts.cuda or facts.hip):
        card = installed[0]
        found = f"{facts.build} cannot use the {card.name} that is here."
        return problem("torch", found, _install_build(card.capability, card.driver))
    return ok("torch", f"{facts.build} starts and computes on the processor.")


def judge_cards(facts: TorchFacts | None, installed: Sequence[InstalledCard], hidden: str | None) -> list[Finding]:
    """A finding for each card: whether it really computes, and if not, what is at fault.

    hidden: CUDA_VISIBLE_DEVICES, or None where it is not set.
    """
    if facts is None or (installed and not (facts.cuda or facts.hip)):
        names = ", ".join(card.name for card in installed)
        found = f"Not tried: {names}." if names else "Not looked for, as torch does not run."
        return [note("graphics card", found, "Mend torch first, see above.")]
    if facts.cards:
        return [_judge_seen(facts, card, _driver(installed)) for card in facts.cards]
    if not installed:
        return [_no_card(facts)]
    if hidden is not None and hidden.strip() in ("", "-1"):
        found = f"CUDA_VISIBLE_DEVICES is {hidden!r}, which hides the {installed[0].name}."
        return [note("graphics card", found, "Unset CUDA_VISIBLE_DEVICES, unless the processor is to be used.")]
    return [_unseen(facts, installed[0])]


def judge_card_memory(card: SeenCard) -> Finding:
    """Whether the full models fit on the card, as an estimate."""
    total = card.memory / GIB
    if card.free is None:
        return note("card memory", f"{card.name}: {total:.1f} GiB, use unknown.", "Mend the card first, see above.")
    found = f"{card.name}: {card.free / GIB:.1f} of {total:.1f} GiB are free."
    if total < LITTLE_CARD_MEMORY:
        remedy = "Use a small version, or svd with decode_t 3 or less, or a full version at a smaller size."
        return note("card memory", found, remedy)
    if card.free < 0.7 * card.memory:
        return note("card memory", found, "Close other programs that use the card before a full model is loaded.")
    if total < MUCH_CARD_MEMORY:
        return note("card memory", found, "With a full model set decode_t to 7 or less.")
    return ok("card memory", found)


def serves(architectures: Sequence[str], capability: tuple[int, int]) -> bool:
    """Whether a build with these architectures has code for a card of that compute capability."""
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


def old_driver(cuda: str, driver: str, windows: bool) -> str | None:
    """The oldest driver that would do, where this one is older than that."""
    generation = re.match(r"\d+", cuda)
    floors = DRIVERS.get(int(generation[0])) if generation else None
    if floors is None:
        return None
    floor = floors[windows]
    return ".".join(map(str, floor)) if _numbers(driver) < floor else None


def _judge_seen(facts: TorchFacts, card: SeenCard, driver: str) -> Finding:
    capability = ".".join(map(str, card.capability))
    name = f"{card.name} (compute capability {capability}{f', driver {driver}' if driver else ''})"
    if not card.fault:
        return ok("graphics card", f"{name} computes correctly in float16.")
    if facts.cuda and facts.architectures and not serves(facts.architectures, card.capability):
        served = ", ".join(facts.architectures)
        found = f"{facts.build} has no code for {name}; it serves {served}."
        return problem("graphics card", found, _install_build(card.capability, driver))
    found = f"{name} does not compute: {card.fault}."
    if "out of memory" in card.fault:
        return problem("graphics card", found, "Close other programs that use the card.")
    return problem("graphics card", found, RESTART)


def _unseen(facts: TorchFacts, card: InstalledCard) -> Finding:
    """An NVIDIA card and a build for CUDA, and torch sees nothing."""
    floor = old_driver(facts.cuda or "", card.driver, sys.platform == "win32")
    if floor is not None:
        found = f"The driver {card.driver} of the {card.name} is too old for CUDA {facts.cuda}; it needs {floor}."
        return problem("graphics card", found, _newer_driver(card))
    words = f": {facts.unavailable}" if facts.unavailable else ""
    found = f"torch sees no card, though the {card.name} is here with driver {card.driver}{words}."
    return problem("graphics card", found, RESTART)


def _newer_driver(card: InstalledCard) -> str:
    """A newer driver, or, for a driver that older builds can use, one of those."""
    build = _install_build(card.capability, card.driver)
    other = f"; where that cannot be done: {build}" if build.startswith("Run") else "."
    return f"{_sentence(NEWEST_DRIVER)}{other}"


def _no_card(facts: TorchFacts) -> Finding:
    if facts.mps:
        return note("graphics card", "An Apple chip is here; it is used only on demand.", "`--device mps` uses it.")
    remedy = "The small versions need no card; for the full ones use a computer with an NVIDIA card of 8 GB or more."
    return note("graphics card", "No NVIDIA card was found; videos are computed on the processor.", remedy)


def _install_build(capability: tuple[int, int] | None, driver: str) -> str:
    """The command that installs a build for a card, and before it the driver, where it is too old for that."""
    if capability is not None and capability < OLDEST_OF_ALL:
        return "No build for this card exists any more: use another card, or the processor with `--device cpu`."
    tag = "cu128" if capability is not None and capability > NEWEST_OF_CU118 else "cu118"
    command = f'"{sys.executable}" -m pip install {BUILD.format(tag=tag)} --index-url {INDEX}{tag}'
    floor = old_driver(f"{tag[2:4]}", driver, sys.platform == "win32") if driver else None
    first = f"{_sentence(NEWEST_DRIVER)} (at least {floor}), then run" if floor else "Run"
    return f"{first} `{command}`."


def _sentence(words: str) -> str:
    return words[0].upper() + words[1:]


def _start_again(reason: str) -> str:
    if "DLL" in reason or "WinError 126" in reason or "WinError 1114" in reason:
        return f"Install Microsoft's Visual C++ runtime ({RUNTIME}) and start again; else set up anew: {_set_up()}."
    if "torchvision::" in reason:
        return f"torch and torchvision must come from one place; set up anew: {_set_up()}."
    if "ModuleNotFoundError" in reason:
        return f"Install what is missing: `{setup_command()}`."
    return f"Set up anew: {_set_up()}."


def setup_command() -> str:
    """The command that installs what is missing."""
    return r"py scripts\run.py --setup-only" if sys.platform == "win32" else "python3 scripts/run.py --setup-only"


def _set_up() -> str:
    again = "run install_windows.ps1" if sys.platform == "win32" else f"run `{setup_command()}`"
    return f"delete the folder .venv and {again}"


def _driver(installed: Sequence[InstalledCard]) -> str:
    return installed[0].driver if installed else ""


def _numbers(version: str) -> Version:
    return tuple(int(part) for part in re.findall(r"\d+", version))
