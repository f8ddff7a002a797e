"""Model version on the Models page: description, state of its checkpoint, and actions."""

from collections.abc import Callable

import streamlit as st

from img2vid.background import BackgroundTask
from img2vid.checkpoints.download import arrived
from img2vid.checkpoints.progress import Progress
from img2vid.checkpoints.removing import SHIPPED, plan_removal, remove
from img2vid.checkpoints.sources import can_be_downloaded, repository
from img2vid.errors import BadInput
from img2vid.ui import formatting, resources
from img2vid.ui.state import Note, PageState, callback, widget_value
from img2vid.versions import ModelVersion

STAGES = {"check": "Checking existing data", "download": "Downloading", "wait": "Waiting", "convert": "Converting"}


def version_box(version: ModelVersion) -> None:
    """Draw a model version with its actions and its running or last task."""
    task = resources.open_checkpoint_tasks().get(version.name)
    about, buttons = st.columns([7, 3], vertical_alignment="center", gap="medium")
    with about, st.container(gap="xsmall"):
        st.markdown(f"**{formatting.plain(version.name)}** &nbsp; {_state(version)}")
        st.caption(_figures(version))
        if version.note:
            st.caption(formatting.plain(formatting.sentence(version.note)))
    with buttons, st.container(horizontal=True, horizontal_alignment="right", gap="small"):
        _buttons(version, task)
    with st.container(gap=None, key=f"task_{version.name}"):
        if task is not None:
            _task(version, task)


def _state(version: ModelVersion) -> str:
    path = version.checkpoint_path
    if path is not None:
        return f":green[:material/check_circle: Installed, {formatting.size(path.stat().st_size)}]"
    part = arrived(version)
    if part is not None:
        whole = f" of {formatting.size(version.bytes)}" if version.bytes else ""
        return f":orange[:material/downloading: Downloaded {formatting.size(part.stat().st_size)}{whole}]"
    size = f", {formatting.size(version.bytes)}" if version.bytes else ""
    return f":gray[:material/cloud: Not installed{size}]"


def _figures(version: ModelVersion) -> str:
    repo = repository(version.source)
    source = formatting.plain(version.source)
    if repo is not None:
        rest = version.source.partition(repo)[2]
        source = f"[huggingface.co/{repo}](https://huggingface.co/{repo}){formatting.plain(rest)}"
    size = f"{version.num_frames} frames of {version.width} x {version.height}"
    return " · ".join((size, formatting.plain(version.licence), source))


def _buttons(version: ModelVersion, task: BackgroundTask[Progress] | None) -> None:
    name = version.name
    if task is not None and task.active:
        _button("Cancel", "cancel", version, _cancel, disabled=task.state == "stopping")
        return
    if version.checkpoint_path is not None:
        _button("Verify", "verify", version, _verify, icon=":material/fact_check:")
    elif can_be_downloaded(version):
        label = "Resume" if arrived(version) is not None else "Download"
        _button(label, "download", version, _download, icon=":material/download:")
    _removal(version, name)


def _removal(version: ModelVersion, name: str) -> None:
    """Draw Remove, which asks for confirmation."""
    if version.source == SHIPPED:
        return
    try:
        removal = plan_removal(version)
    except BadInput:  # nothing to remove
        return
    with st.popover("Remove", icon=":material/delete:", key=f"removal_{name}"):
        st.markdown(formatting.plain(formatting.sentence(removal.sentence())))
        _button("Delete", "remove", version, _remove)


def _task(version: ModelVersion, task: BackgroundTask[Progress]) -> None:
    if task.active:
        progress = task.progress
        share = min(progress.done / progress.total, 1.0) if progress is not None and progress.total else 0.0
        st.progress(share, text=_progress(task))
    elif task.state == "failed":
        st.error(_linked(formatting.plain(formatting.sentence(task.outcome.text))))
    elif task.state == "done":
        st.caption(f":green[:material/check_circle:] {formatting.plain(formatting.sentence(task.outcome.text))}")
    elif version.checkpoint_path is None and arrived(version) is not None:
        st.caption("Cancelled. Press Resume to continue the download.")
    else:
        st.caption("Cancelled.")


def _progress(task: BackgroundTask[Progress]) -> str:
    if task.state == "stopping":
        return "Cancelling..."
    progress = task.progress
    if progress is None:
        return "Starting"
    if progress.note:
        return formatting.plain(formatting.sentence(progress.note))
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
    version: ModelVersion,
    act: Callable[[ModelVersion], None],
    *,
    icon: str | None = None,
    disabled: bool = False,
) -> None:
    st.button(label, key=f"{key}_{version.name}", icon=icon, disabled=disabled, on_click=act, args=(version,))


@callback("models")
def _download(_: PageState, version: ModelVersion) -> None:
    resources.open_checkpoint_tasks().download(
        version, widget_value("models_mirror") or None, widget_value("models_token") or None
    )


@callback("models")
def _verify(_: PageState, version: ModelVersion) -> None:
    resources.open_checkpoint_tasks().verify(version)


@callback("models")
def _cancel(_: PageState, version: ModelVersion) -> None:
    resources.open_checkpoint_tasks().cancel(version.name)


@callback("models")
def _remove(page: PageState, version: ModelVersion) -> None:
    remove(plan_removal(version))
    resources.open_checkpoint_tasks().dismiss(version.name)
    page.note = Note("done", f"Deleted the checkpoint of {version.name}.", place="models")
