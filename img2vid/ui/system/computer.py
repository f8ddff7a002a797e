"""This computer on the System page: GPU, processor, memory, workers, disks, storage, versions."""

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from img2vid import paths
from img2vid.doctor import facts
from img2vid.doctor.facts import Disk, Place
from img2vid.hardware import Card
from img2vid.jobs.job import ModelStatus
from img2vid.ui import formatting, resources

COLUMNS = 2
"""Columns of the version list."""


def card_box(card: Card) -> None:
    """Draw a GPU with its driver, load, temperature and memory use."""
    st.markdown(f"**{formatting.plain(card.name)}**")
    figures = [f"driver {card.driver}"]
    if card.load is not None:
        figures.append(f"{card.load} % busy")
    if card.temperature is not None:
        figures.append(f"{card.temperature} °C")
    if card.total and card.used is not None:
        st.progress(min(card.used / card.total, 1.0), text=_used("GPU memory", card.used, card.total))
    st.caption(formatting.plain(" · ".join(figures)))


def no_card_box(polling: bool) -> None:
    """Draw a placeholder while GPUs are detected, or if none was found."""
    if polling:
        st.caption("Detecting GPUs...")
        return
    st.markdown("**GPU**")
    st.caption("No NVIDIA GPU found; videos run on the device listed under Workers.")


def processor_box() -> None:
    """Draw the processor and the memory use."""
    memory = facts.memory()
    st.markdown(f"**{formatting.plain(facts.processor())}**")
    st.progress(min(memory.used / memory.total, 1.0), text=_used("Memory", memory.used, memory.total))
    st.caption(formatting.plain(f"{memory.load:.0f} % busy · {facts.system()} · {facts.python()}"))


def workers_box() -> None:
    """Draw the workers and the loaded model."""
    service = resources.open_service()
    status = service.status()
    if status:
        st.caption(f":material/info: {formatting.message(status)}")
    for line in workers():
        st.markdown(formatting.plain(line))
    st.caption(formatting.plain(_model(service.store.model())))


def workers() -> list[str]:
    """Return a line per worker with its name, host and reported device."""
    return [f"{name} on {host}: {device}" for name, host, device in resources.open_service().workers()]


def _model(status: ModelStatus) -> str:
    if status.state == "ready":
        where = f"{formatting.device(status.device)}, {status.precision}, {formatting.size(status.memory)}"
        return f"Model loaded: {status.version}, engine {status.provider}, {where}."
    return f"Loading {status.version}..." if status.state == "loading" else "No model loaded."


def disks_box() -> None:
    """Draw the disk usage of the video and checkpoint folders."""
    for name, folder in disks().items():
        _disk(name, facts.disk(folder))


def disks() -> dict[str, Path]:
    """Return the folders whose disks are shown, by label."""
    found = {"home": paths.home()}
    for number, folder in enumerate(paths.checkpoint_folders()):
        found[f"checkpoints {number}" if number else "checkpoints"] = folder
    return found


def _disk(name: str, disk: Disk) -> None:
    if disk.total and disk.free is not None:
        used = disk.total - disk.free
        st.progress(
            min(used / disk.total, 1.0),
            text=f"Disk ({name}): {formatting.size(disk.free)} free of {formatting.size(disk.total)}",
        )
    else:
        st.caption(f"Disk ({name}): free space unknown")


def places_box(places: Sequence[Place]) -> None:
    """Draw a table of folders and files with their sizes, if counted."""
    rows = [f"| {place.what} | {_code(place.path)} | {_size(place)} |" for place in places]
    st.markdown("\n".join(["| Name | Path | Size |", "|---|---|---:|", *rows]))


def _size(place: Place) -> str:
    if place.size is None:
        return "..."
    if not place.files:
        return "empty"
    return formatting.size(place.size) + (f" in {place.files} files" if place.files > 1 else "")


def _code(path: Path) -> str:
    """Return a path as inline code, so that it can be copied unchanged."""
    text = str(path).replace("|", "\\|")
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def versions_box() -> None:
    """Draw the versions of img2vid and of important packages."""
    found = list(facts.versions().items())
    each = -(-len(found) // COLUMNS)
    for place, start in zip(st.columns(COLUMNS), range(0, len(found), each), strict=False):
        rows = [f"| {name} | {formatting.plain(version)} |" for name, version in found[start : start + each]]
        place.markdown("\n".join(["| Package | Version |", "|---|---|", *rows]))


def _used(label: str, used: int, total: int) -> str:
    return f"{label}: {formatting.size(used)} of {formatting.size(total)} in use"
