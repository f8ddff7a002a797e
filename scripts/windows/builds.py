"""PyTorch builds for Windows, and the choice among them by GPU and driver."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from windows.cards import Card

INDEX = "https://download.pytorch.org/whl"
DEFAULT = "cu118"
CHOICES = ("auto", "cu118", "cu126", "cu128", "cu130", "cpu")
PREFERRED = ("cu128", "cu126", "cu118")
"""Builds that `auto` tries, in this order. All have the same torch version; cu130 needs a newer one and is opt-in."""


@dataclass(frozen=True)
class Build:
    """A torch build: compute capabilities from `oldest` to `newest`, and the lowest `driver` version on Windows.

    `size` is a conservative estimate of the disk space for download and installation, in GB.
    """

    tag: str
    torch: str
    torchvision: str
    size: float
    driver: tuple[int, int] = (0, 0)
    oldest: tuple[int, int] = (0, 0)
    newest: tuple[int, int] = (0, 0)

    @property
    def index(self) -> str:
        return f"{INDEX}/{self.tag}"

    @property
    def packages(self) -> tuple[str, str]:
        """Requirements with the local version label, so that no other index can satisfy them."""
        return f"torch=={self.torch}+{self.tag}", f"torchvision=={self.torchvision}+{self.tag}"

    def fits(self, card: Card) -> bool:
        """Return True if the build supports the GPU's compute capability, or if that is unknown."""
        return card.capability is None or self.oldest <= card.capability <= self.newest

    def runs(self, card: Card) -> bool:
        return self.fits(card) and card.driver >= self.driver


# torch 2.7.1 is the last with a CUDA 11.8 build; all builds here except cu130 use it. The drivers are the minimums of
# CUDA's minor-version compatibility: 452.39 for 11.x, 527.41 for 12.x, 580 for 13.x.
BUILDS = {
    build.tag: build
    for build in (
        Build("cu118", "2.7.1", "0.22.1", 9, (452, 39), (5, 0), (9, 0)),
        Build("cu126", "2.7.1", "0.22.1", 9, (527, 41), (5, 0), (9, 0)),
        Build("cu128", "2.7.1", "0.22.1", 10, (527, 41), (7, 5), (12, 0)),
        Build("cu130", "2.9.1", "0.24.1", 9, (580, 0), (7, 5), (12, 1)),
        Build("cpu", "2.7.1", "0.22.1", 2),
    )
}


@dataclass(frozen=True)
class Choice:
    """The build to install, or None if no build works.

    `problem` says why the strongest GPU cannot be used, `remedy` what to do, and `instead` is the tag of a build that
    works.
    """

    build: Build | None
    remarks: tuple[str, ...] = ()
    problem: str = ""
    remedy: str = ""
    instead: str = ""


def choose(wanted: str, cards: Sequence[Card], reason: str = "") -> Choice:
    """Return the build for the tag `wanted`, or for `auto`. `reason` says why there are no GPUs."""
    if wanted == "auto":
        return automatic(cards, reason)
    build = BUILDS[wanted]
    if wanted == "cpu":
        idle = f"{cards[0].name} is not used: the cpu build runs only on the CPU." if cards else ""
        return Choice(build, (idle,) if idle else ())
    if not cards:
        problem = f"{wanted} needs an NVIDIA GPU, but none was found ({reason})"
        return Choice(None, (), problem, "install the NVIDIA driver, or run again with -Cuda cpu", "cpu")
    card = strongest(cards)
    if build.runs(card):
        return Choice(build, unused(build, cards))
    useful = build if any(map(build.runs, cards)) else None
    remarks = unused(build, cards) if useful else ()
    better = automatic(cards, reason)
    tag = better.build.tag if better.build else ""
    if build.fits(card):
        old = old_driver(card, build)
        remedy = f"{old.remedy}; or run again with -Cuda {tag}" if tag else old.remedy
        return replace(old, build=useful, remarks=remarks, remedy=remedy, instead=tag)
    problem = f"{wanted} does not support {card.name} (only {range_of(build)})"
    return Choice(useful, remarks, problem, f"run again with -Cuda {tag}" if tag else better.remedy, tag)


def automatic(cards: Sequence[Card], reason: str) -> Choice:
    """Return the newest build that supports most of the GPUs, including the strongest."""
    if not cards:
        return Choice(BUILDS["cpu"], (f"No NVIDIA GPU found ({reason}): torch will run on the CPU.",))
    card = strongest(cards)
    fitting = [BUILDS[tag] for tag in PREFERRED if BUILDS[tag].fits(card)]
    if not fitting:
        remark = f"No available build supports {card.name}: torch will run on the CPU."
        return Choice(BUILDS["cpu"], (remark,))
    running = [build for build in fitting if build.runs(card)]
    if not running:
        return old_driver(card, fitting[-1])
    # max returns the first of equals, and the newest comes first.
    build = max(running, key=lambda build: sum(map(build.runs, cards)))
    return Choice(build, unused(build, cards))


def strongest(cards: Sequence[Card]) -> Card:
    return max(cards, key=lambda card: (card.memory, card.capability or (0, 0)))


def unused(build: Build, cards: Sequence[Card]) -> tuple[str, ...]:
    """Return a remark for each GPU that `build` does not support, because img2vid would use it anyway."""
    remarks: list[str] = []
    for index, card in enumerate(cards):
        if not build.fits(card):
            others = ",".join(str(place) for place, other in enumerate(cards) if build.fits(other))
            remarks.append(
                f"{build.tag} does not support {card.name} (only {range_of(build)}): "
                f"run `setx CUDA_VISIBLE_DEVICES {others}` once to exclude GPU {index}."
            )
        elif card.capability is None:
            remarks.append(f"The compute capability of {card.name} is unknown; step 6 tests whether it works.")
    return tuple(remarks)


def old_driver(card: Card, build: Build) -> Choice:
    """Return the failed choice for a GPU whose driver is too old for the build."""
    have, need = (".".join(f"{number:02}" for number in numbers) for numbers in (card.driver, build.driver))
    return Choice(
        None,
        problem=f"driver {have} of {card.name} is too old for {build.tag}, which needs {need} or newer",
        remedy="install the newest driver from https://www.nvidia.com/drivers, restart Windows, and run again",
    )


def range_of(build: Build) -> str:
    oldest, newest = (".".join(map(str, numbers)) for numbers in (build.oldest, build.newest))
    return f"compute capability {oldest} to {newest}"
