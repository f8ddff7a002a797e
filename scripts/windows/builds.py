"""The torch builds for Windows, and which of them a computer's cards and driver need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from windows.cards import Card

INDEX = "https://download.pytorch.org/whl"
DEFAULT = "cu118"
CHOICES = ("auto", "cu118", "cu126", "cu128", "cu130", "cpu")
PREFERRED = ("cu128", "cu126", "cu118")
"""What `auto` tries, in this order. All have the same torch; cu130 needs a newer one and is taken only when named."""


@dataclass(frozen=True)
class Build:
    """One build of torch: the compute capabilities from `oldest` to `newest`, and the lowest `driver` on Windows.

    `size` is what download and installation take on the disk, in GB: an estimate on the safe side.
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
        """With the label, so that no other place has a package of that version."""
        return f"torch=={self.torch}+{self.tag}", f"torchvision=={self.torchvision}+{self.tag}"

    def fits(self, card: Card) -> bool:
        """Whether this build has programs for the card; of a card that nothing is known of, this is supposed."""
        return card.capability is None or self.oldest <= card.capability <= self.newest

    def runs(self, card: Card) -> bool:
        return self.fits(card) and card.driver >= self.driver


# torch 2.7.1 is the last with a build for CUDA 11.8, and every other build of the table but cu130 has it too. The
# drivers are the floors of CUDA's minor-version compatibility: 452.39 for 11.x, 527.41 for 12.x, 580 for 13.x.
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
    """The build to install, or None where there is none that works.

    `problem` says what keeps it from the strongest card, `remedy` what to do, and `instead` is the tag that would do.
    """

    build: Build | None
    remarks: tuple[str, ...] = ()
    problem: str = ""
    remedy: str = ""
    instead: str = ""


def choose(wanted: str, cards: Sequence[Card], reason: str = "") -> Choice:
    """The build for the tag `wanted`, or for `auto`; `reason` says why there are no cards."""
    if wanted == "auto":
        return automatic(cards, reason)
    build = BUILDS[wanted]
    if wanted == "cpu":
        idle = f"{cards[0].name} will not be used: the cpu build computes on the processor alone." if cards else ""
        return Choice(build, (idle,) if idle else ())
    if not cards:
        problem = f"{wanted} needs an NVIDIA card, and none was found ({reason})"
        return Choice(None, (), problem, "install the driver of the card, or start again with -Cuda cpu", "cpu")
    card = strongest(cards)
    if build.runs(card):
        return Choice(build, unused(build, cards))
    useful = build if any(map(build.runs, cards)) else None
    remarks = unused(build, cards) if useful else ()
    better = automatic(cards, reason)
    tag = better.build.tag if better.build else ""
    if build.fits(card):
        old = old_driver(card, build)
        remedy = f"{old.remedy}; or take -Cuda {tag}" if tag else old.remedy
        return replace(old, build=useful, remarks=remarks, remedy=remedy, instead=tag)
    problem = f"{wanted} has no programs for {card.name} ({range_of(build)})"
    return Choice(useful, remarks, problem, f"start again with -Cuda {tag}" if tag else better.remedy, tag)


def automatic(cards: Sequence[Card], reason: str) -> Choice:
    """The newest build that runs most of the cards, the strongest among them."""
    if not cards:
        return Choice(BUILDS["cpu"], (f"No NVIDIA card was found ({reason}): torch will compute on the processor.",))
    card = strongest(cards)
    fitting = [BUILDS[tag] for tag in PREFERRED if BUILDS[tag].fits(card)]
    if not fitting:
        remark = f"No build in question has programs for {card.name}: torch will compute on the processor."
        return Choice(BUILDS["cpu"], (remark,))
    running = [build for build in fitting if build.runs(card)]
    if not running:
        return old_driver(card, fitting[-1])
    # max takes the first of equals, and the newest stands first.
    build = max(running, key=lambda build: sum(map(build.runs, cards)))
    return Choice(build, unused(build, cards))


def strongest(cards: Sequence[Card]) -> Card:
    return max(cards, key=lambda card: (card.memory, card.capability or (0, 0)))


def unused(build: Build, cards: Sequence[Card]) -> tuple[str, ...]:
    """A remark for each card that `build` cannot use; img2vid would give it work all the same."""
    remarks: list[str] = []
    for index, card in enumerate(cards):
        if not build.fits(card):
            others = ",".join(str(place) for place, other in enumerate(cards) if build.fits(other))
            remarks.append(
                f"{build.tag} has no programs for {card.name} ({range_of(build)}): "
                f"run `setx CUDA_VISIBLE_DEVICES {others}` once, so that card {index} gets no work."
            )
        elif card.capability is None:
            remarks.append(f"The compute capability of {card.name} is not known; step 6 will tell whether it works.")
    return tuple(remarks)


def old_driver(card: Card, build: Build) -> Choice:
    """For a card whose driver is too old for the build."""
    have, need = (".".join(f"{number:02}" for number in numbers) for numbers in (card.driver, build.driver))
    return Choice(
        None,
        problem=f"the driver {have} of {card.name} is too old for {build.tag}, which needs {need} or newer",
        remedy="install the newest driver from https://www.nvidia.com/drivers, restart Windows, and start again",
    )


def range_of(build: Build) -> str:
    oldest, newest = (".".join(map(str, numbers)) for numbers in (build.oldest, build.newest))
    return f"compute capability {oldest} to {newest}"
