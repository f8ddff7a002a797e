"""Checkpoint of a model version: its description and state, and buttons that download, verify or remove it."""

from collections.abc import Callable

import streamlit as st

from img2vid.background import BackgroundTask
from img2vid.checkpoints.download import arrived, arrived_bytes, folder_files
from img2vid.checkpoints.progress import Progress
from img2vid.checkpoints.removing import SHIPPED, plan_removal, remove
from img2vid.checkpoints.sources import can_be_downloaded, repository
from img2vid.errors import BadInput
from img2vid.text_to_image.versions import load_all_versions
from img2vid.ui import formatting, resources
from img2vid.ui.state import Note, PageState, callback, widget_value
from img2vid.versions import CheckpointRow, ModelVersion

SINGLE, FOLDER = "Single file", "Diffusers folder"
"""Forms in which a model can be downloaded."""
STAGES = {"check": "Checking existing data", "download": "Downloading", "wait": "Waiting", "convert": "Converting"}


def checkpoint_box(version: CheckpointRow) -> None:
    """Draw a model version with its actions and its running or last task."""
    task = resources.open_checkpoint_tasks().get(version.name)
    about, buttons = st.columns([7, 3], vertical_alignment="center", gap="medium")
    with about, st.container(gap="xsmall"):
        st.markdown(f"**{formatting.plain(version.name)}** &nbsp; {_state(version)}")
        st.caption(_figures(version))
        if version.note:
            st.caption(formatting.message(version.note))
    with buttons, st.container(horizontal=True, horizontal_alignment="right", gap="small"):
        _buttons(version, task)
    with st.container(gap=None, key=f"task_{version.name}"):
        if task is not None:
            _task(version, task)


def _state(version: CheckpointRow) -> str:
    path = version.checkpoint_path
    if path is not None:
        form = " in diffusers' layout" if path.is_dir() else ""
        return f":green[:material/check_circle: Installed{form}, {formatting.size(version.size_on_disk)}]"
    if version.own_path is not None:
        return f":orange[:material/cloud: Needs {formatting.plain(version.checkpoint)}]"
    part, files = arrived_bytes(version), _folder_begun(version)
    if part:
        size = sum(one.bytes or 0 for one in files) if files else version.bytes
        whole = f" of {formatting.size(size)}" if size else ""
        return f":orange[:material/downloading: Downloaded {formatting.size(part)}{whole}]"
    size = f", {formatting.size(version.bytes)}" if version.bytes else ""
    return f":gray[:material/cloud: Not installed{size}]"


def _folder_begun(version: CheckpointRow) -> list[CheckpointRow]:
    """Return the files of the diffusers folder if its download has begun."""
    files = [*folder_files(version).values()]
    return files if any(one.own_path or arrived(one) for one in files) else []


def _figures(version: CheckpointRow) -> str:
    repo = repository(version.source)
    source = formatting.plain(version.source)
    if repo is not None:
        rest = version.source.partition(repo)[2]
        source = f"[huggingface.co/{repo}](https://huggingface.co/{repo}){formatting.plain(rest)}"
    size = "pictures from prompts"
    if isinstance(version, ModelVersion):
        size = f"{version.num_frames} frames of {formatting.pixels(version.width, version.height)}"
    return " · ".join((size, formatting.plain(version.licence), source))


def _buttons(version: CheckpointRow, task: BackgroundTask[Progress] | None) -> None:
    name = version.name
    if task is not None and task.active:
        label = "Cancel" if version.own_path is not None else "Pause"
        _button(label, "cancel", version, _cancel, disabled=task.state == "stopping")
        return
    if version.own_path is not None:
        _button("Verify", "verify", version, _verify, icon=":material/fact_check:")
    elif can_be_downloaded(version):
        label = "Resume" if arrived_bytes(version) else "Download"
        _button(label, "download", version, _download, icon=":material/download:")
    _removal(version, name)


def _removal(version: CheckpointRow, name: str) -> None:
    """Draw Remove, which asks for confirmation."""
    if version.source == SHIPPED:
        return
    try:
        removal = plan_removal(version, load_all_versions())
    except BadInput:  # nothing to remove
        return
    with st.popover("Remove", icon=":material/delete:", key=f"removal_{name}"):
        st.markdown(formatting.message(removal.sentence()))
        _button("Delete", "remove", version, _remove)


def _task(version: CheckpointRow, task: BackgroundTask[Progress]) -> None:
    if task.active:
        progress = task.progress
        share = min(progress.done / progress.total, 1.0) if progress is not None and progress.total else 0.0
        st.progress(share, text=progress_text(task))
    elif task.state == "failed":
        st.error(_linked(formatting.message(task.outcome.text)))
    elif task.state == "done":
        st.caption(f":green[:material/check_circle:] {formatting.message(task.outcome.text)}")
    elif version.own_path is None and arrived_bytes(version):
        st.caption("Paused.")
    else:
        st.caption("Cancelled.")


def progress_text(task: BackgroundTask[Progress]) -> str:
    """Return a running task's stage, amount, speed and time left in one line."""
    if task.state == "stopping":
        return "Stopping..."
    progress = task.progress
    if progress is None:
        return "Starting"
    if progress.note:
        return formatting.message(progress.note)
    parts = [f"{STAGES[progress.stage]}, {formatting.size(progress.done)}"]
    if progress.total:
        parts[0] += f" of {formatting.size(progress.total)}"
    if progress.speed:
        parts.append(f"{progress.speed / 1e6:.1f} MB/s")
    if progress.seconds_left is not None and progress.seconds_left >= 0.5:
        parts.append(f"about {formatting.span(progress.seconds_left)} left")
    return " · ".join(parts)


def _linked(text: str) -> str:
    """Unescape URLs in the text, so that Streamlit renders them as links."""
    return " ".join(_address(word) if word.startswith("https\\://") else word for word in text.split(" "))


def _address(word: str) -> str:
    plain = word.replace("\\", "")
    bare = plain.rstrip(".,;:")
    return f"<{bare}>{plain[len(bare) :]}"


def _button(
    label: str,
    key: str,
    version: CheckpointRow,
    act: Callable[[CheckpointRow], None],
    *,
    icon: str | None = None,
    disabled: bool = False,
) -> None:
    st.button(label, key=f"{key}_{version.name}", icon=icon, disabled=disabled, on_click=act, args=(version,))


@callback("models")
def _download(_: PageState, version: CheckpointRow) -> None:
    folder = bool(version.diffusers) and (widget_value("models_form") == FOLDER or bool(_folder_begun(version)))
    resources.open_checkpoint_tasks().download(
        version, widget_value("models_mirror") or None, widget_value("models_token") or None, folder=folder
    )


@callback("models")
def _verify(_: PageState, version: CheckpointRow) -> None:
    resources.open_checkpoint_tasks().verify(version)


@callback("models")
def _cancel(_: PageState, version: CheckpointRow) -> None:
    resources.open_checkpoint_tasks().cancel(version.name)


@callback("models")
def _remove(page: PageState, version: CheckpointRow) -> None:
    remove(plan_removal(version, load_all_versions()))
    resources.open_checkpoint_tasks().dismiss(version.name)
    page.note = Note("done", f"Deleted the checkpoint of {version.name}.", place="models")
