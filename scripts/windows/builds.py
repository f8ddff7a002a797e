"""PyTorch builds for Windows, and the choice among them by GPU and driver."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from img2vid.hardware import BUILDS, Build, Card, old_driver

DEFAULT = "cu118"
CHOICES = ("auto", "cu118", "cu126", "cu128", "cu130", "cpu")
PREFERRED = ("cu130", "cu128", "cu126", "cu118")
"""Builds that `auto` tries, in this order."""
TRITON = {"2.7": "triton-windows==3.3.1.post21", "2.11": "triton-windows==3.6.0.post26"}
"""Triton for Windows by the torch version that it fits; it needs a GPU of `OLDEST_FOR_TRITON`."""
OLDEST_FOR_TRITON = (8, 0)


@dataclass(frozen=True)
class Choice:
    """The build to install, or None if it does not work.

    `problem` says why the strongest GPU cannot be used, `remedy` what to do, and `instead` is the tag of a build that
    works. `meant` is the build that does not work.
    """

    build: Build | None
    remarks: tuple[str, ...] = ()
    problem: str = ""
    remedy: str = ""
    instead: str = ""
    meant: Build | None = None


def choose(wanted: str, cards: Sequence[Card], reason: str = "", python: Sequence[int] = (3, 12)) -> Choice:
    """Return the build for the tag `wanted`, or for `auto`.

    `reason` says why there are no GPUs; `python` is the version that will run torch.
    """
    if wanted == "auto":
        return automatic(cards, reason, python)
    build = BUILDS[wanted]
    if wanted == "cpu":
        idle = f"{cards[0].name} is not used: the cpu build runs only on the CPU." if cards else ""
        return Choice(build, (idle,) if idle else ())
    if not cards:
        problem = f"{wanted} needs an NVIDIA GPU, but none was found ({reason})"
        return Choice(None, (), problem, "install the NVIDIA driver, or run again with -Cuda cpu", "cpu", build)
    card = strongest(cards)
    better = automatic(cards, reason, python)
    tag = better.build.tag if better.build else ""
    if not build.has_python(python):
        problem = f"{wanted} has torch {build.torch}, which has no version for Python {'.'.join(map(str, python[:2]))}"
        remedy = "install Python 3.12 and run again" + (f"; or run again with -Cuda {tag}" if tag else "")
        return Choice(None, (), problem, remedy, tag, build)
    if runs(build, card):
        return Choice(build, unused(build, cards))
    useful = build if any(runs(build, card) for card in cards) else None
    remarks = unused(build, cards) if useful else ()
    if build.fits(card.capability):
        old = refuse_driver(card, build)
        remedy = f"{old.remedy}; or run again with -Cuda {tag}" if tag else old.remedy
        return replace(old, build=useful, remarks=remarks, remedy=remedy, instead=tag)
    problem = f"{wanted} does not support {card.name} (only {range_of(build)})"
    return Choice(useful, remarks, problem, f"run again with -Cuda {tag}" if tag else better.remedy, tag, build)


def automatic(cards: Sequence[Card], reason: str, python: Sequence[int]) -> Choice:
    """Return the newest build that supports most of the GPUs, including the strongest."""
    if not cards:
        return Choice(BUILDS["cpu"], (f"No NVIDIA GPU found ({reason}): torch will run on the CPU.",))
    card = strongest(cards)
    built = [build for tag in PREFERRED if (build := BUILDS[tag]).has_python(python)]
    fitting = [build for build in built if build.fits(card.capability)]
    if not fitting:
        remark = f"No available build supports {card.name}: torch will run on the CPU."
        return Choice(BUILDS["cpu"], (remark,))
    running = [build for build in fitting if runs(build, card)]
    if not running:
        return refuse_driver(card, fitting[-1])
    # max returns the first of equals, and the newest comes first.
    build = max(running, key=lambda build: sum(runs(build, card) for card in cards))
    return Choice(build, unused(build, cards))


def runs(build: Build, card: Card) -> bool:
    return build.fits(card.capability) and old_driver(build.tag, card.driver, windows=True) is None


def strongest(cards: Sequence[Card]) -> Card:
    return max(cards, key=lambda card: (card.total or 0, card.capability or (0, 0)))


def unused(build: Build, cards: Sequence[Card]) -> tuple[str, ...]:
    """Return a remark for each GPU that `build` does not support, because img2vid would use it anyway."""
    remarks: list[str] = []
    for index, card in enumerate(cards):
        if not build.fits(card.capability):
            others = ",".join(str(place) for place, other in enumerate(cards) if build.fits(other.capability))
            remarks.append(
                f"{build.tag} does not support {card.name} (only {range_of(build)}): "
                f"run `setx CUDA_VISIBLE_DEVICES {others}` once to exclude GPU {index}."
            )
        elif card.capability is None:
            remarks.append(f"The compute capability of {card.name} is unknown; step 6 tests whether it works.")
    return tuple(remarks)


def refuse_driver(card: Card, build: Build) -> Choice:
    """Return the failed choice for a GPU whose driver is too old for the build."""
    need = old_driver(build.tag, card.driver, windows=True)
    return Choice(
        None,
        problem=f"driver {card.driver} of {card.name} is too old for {build.tag}, which needs {need} or newer",
        remedy="install the newest driver from https://www.nvidia.com/drivers, restart Windows, and run again",
        meant=build,
    )


def triton_for(build: Build, cards: Sequence[Card]) -> str:
    """Return the requirement of Triton for Windows that fits the build and a GPU, or ""."""
    suited = any(card.capability and OLDEST_FOR_TRITON <= card.capability <= build.newest for card in cards)
    return TRITON.get(build.torch.rpartition(".")[0], "") if suited else ""


def range_of(build: Build) -> str:
    oldest, newest = (".".join(map(str, numbers)) for numbers in (build.oldest, build.newest))
    return f"compute capability {oldest} to {newest}"
