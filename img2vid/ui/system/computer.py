"""This computer on the System page: card, processor, memory, workers, disks, what is stored where, versions."""

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from img2vid import paths
from img2vid.doctor import facts
from img2vid.doctor.facts import Card, Disk, Place
from img2vid.jobs.job import ModelStatus
from img2vid.ui import formatting, resources

COLUMNS = 2
"""Of the list of versions."""


def card_box(card: Card) -> None:
    """One card: its name, its driver, and how much of its memory is in use."""
    st.markdown(f"**{formatting.plain(card.name)}**")
    figures = [f"driver {card.driver}"]
    if card.load is not None:
        figures.append(f"{card.load} % busy")
    if card.temperature is not None:
        figures.append(f"{card.temperature} °C")
    if card.total and card.used is not None:
        st.progress(min(card.used / card.total, 1.0), text=_used("Memory of the card", card.used, card.total))
    st.caption(formatting.plain(" · ".join(figures)))


def no_card_box(looking: bool) -> None:
    """What stands in the place of cards."""
    if looking:
        st.caption("Asking the graphics card's driver ...")
        return
    st.markdown("**No NVIDIA card**")
    st.caption("nvidia-smi lists none; videos are made by the device that the workers name.")


def processor_box() -> None:
    """The processor and the computer's memory."""
    memory = facts.memory()
    st.markdown(f"**{formatting.plain(facts.processor())}**")
    st.progress(min(memory.used / memory.total, 1.0), text=_used("Memory", memory.used, memory.total))
    st.caption(formatting.plain(f"{memory.load:.0f} % busy · {facts.system()} · {facts.python()}"))


def workers_box() -> None:
    """Who makes videos, and with which model in memory."""
    service = resources.open_service()
    trouble = service.status()
    if trouble:
        st.caption(f":material/info: {formatting.plain(formatting.sentence(trouble))}")
    for line in workers():
        st.markdown(formatting.plain(line))
    st.caption(formatting.plain(_model(service.store.model())))


def workers() -> list[str]:
    """Each worker in a line: name, host, and device as the worker itself tells it."""
    return [f"{name} on {host}: {device}" for name, host, device in resources.open_service().workers()]


def _model(status: ModelStatus) -> str:
    if status.state == "ready":
        where = f"{formatting.device(status.device)}, {status.precision}, {formatting.size(status.memory)}"
        return f"In memory: {status.version}, engine {status.provider}, {where}."
    return f"{status.version} is being loaded." if status.state == "loading" else "No model in memory."


def disks_box() -> None:
    """How full the disks are on which videos and checkpoints lie."""
    for name, folder in disks().items():
        _disk(name, facts.disk(folder))


def disks() -> dict[str, Path]:
    """Folders whose disks matter, by what they are called."""
    found = {"home": paths.home()}
    for number, folder in enumerate(paths.checkpoint_folders()):
        found[f"checkpoints {number}" if number else "checkpoints"] = folder
    return found


def _disk(name: str, disk: Disk) -> None:
    if disk.total and disk.free is not None:
        used = disk.total - disk.free
        st.progress(
            min(used / disk.total, 1.0),
            text=f"Disk of {name}: {formatting.size(disk.free)} free of {formatting.size(disk.total)}",
        )
    else:
        st.caption(f"The disk of {name} cannot be asked.")


def places_box(places: Sequence[Place]) -> None:
    """A table of folders and files with their sizes, as far as they are counted."""
    rows = [f"| {place.what} | {_code(place.path)} | {_size(place)} |" for place in places]
    st.markdown("\n".join(["| What | Where | Size |", "|---|---|---:|", *rows]))


def _size(place: Place) -> str:
    if place.size is None:
        return "..."
    if not place.files:
        return "nothing yet"
    return formatting.size(place.size) + (f" in {place.files} files" if place.files > 1 else "")


def _code(path: Path) -> str:
    """A path that can be marked and copied as it is."""
    text = str(path).replace("|", "\\|")
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def versions_box() -> None:
    """The version of everything that matters."""
    found = list(facts.versions().items())
    each = -(-len(found) // COLUMNS)
    for place, start in zip(st.columns(COLUMNS), range(0, len(found), each), strict=False):
        rows = [f"| {name} | {formatting.plain(version)} |" for name, version in found[start : start + each]]
        place.markdown("\n".join(["| Package | Version |", "|---|---|", *rows]))


def _used(what: str, used: int, total: int) -> str:
    return f"{what}: {formatting.size(used)} of {formatting.size(total)} in use"
