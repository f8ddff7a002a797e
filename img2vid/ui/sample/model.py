"""Model Version and Load Model: model selection and the model in memory."""

import shutil
from functools import partial

import streamlit as st

from img2vid import paths
from img2vid.checkpoints.sources import can_be_downloaded
from img2vid.errors import CheckpointError
from img2vid.jobs.job import ModelStatus, State
from img2vid.presets import switched
from img2vid.ui import formatting, resources
from img2vid.ui.sample.activity import BUSY
from img2vid.ui.shared.checkpoint import checkpoint_box
from img2vid.ui.shared.controls import select
from img2vid.ui.state import PageState, callback, current, poll, report_drawing_errors, widget_value
from img2vid.versions import ModelVersion

LOAD_HELP = (
    "Loads the model now, so that the first video starts sooner; untick to unload. Sample also loads it when needed."
)

MOST_LOADED = 0.97
"""Greatest share of a bar while the model is loading: preparations follow the last byte."""


def model_row(page: PageState, *, every: float) -> None:
    """Draw the row; a fragment polls the model status every `every` seconds."""
    choose, load = st.columns([3, 5], vertical_alignment="bottom")
    with choose:
        about = formatting.sentence(f"{page.version.name}: {page.version.note}") if page.version.note else ""
        help_text = f"{page.version.help_text('version')} {about}"
        labels = {name: _label(version) for name, version in page.versions.items()}
        key = page.version_key
        select("Model Version", list(labels), page.version.name, key, help_text, _switch, key, labels=labels)
    with load:
        st.fragment(_in_memory, run_every=every)()


def _label(version: ModelVersion) -> str:
    """Return the version's name, and the size of its checkpoint if it is not installed."""
    if not missing_checkpoint(version):
        return version.name
    size = f", {formatting.size(version.bytes)}" if version.bytes else ""
    return f"{version.name}, not installed{size}"


def missing_box(version: ModelVersion) -> None:
    """Draw the download of a missing checkpoint, or where to get it; draw nothing if it is present."""
    missing = missing_checkpoint(version)
    if missing and version.own_path is None and can_be_downloaded(version):
        with st.container(border=True, key="missing_checkpoint"):
            active = _is_downloading(version)
            draw = partial(checkpoint_box, version)
            file, folder = version.own_file, paths.checkpoint_folders()[0]
            poll("The checkpoint", draw, active, partial(_is_downloading, version), BUSY if active else None)
            free = f" {formatting.size(shutil.disk_usage(folder).free)} are free there." if folder.is_dir() else ""
            st.caption(f"Or place {formatting.plain(file)} in {formatting.plain(str(folder))}.{free}")
    elif missing:
        st.info(formatting.with_code(missing), icon=":material/download:")


def _is_downloading(version: ModelVersion) -> bool:
    task = resources.open_checkpoint_tasks().get(version.name)
    return task is not None and task.active


def _in_memory() -> None:
    with report_drawing_errors("The model status"):
        page = current()
        version = page.version
        status = resources.open_service().store.model()
        with st.container(horizontal=True, vertical_alignment="center", gap="medium", key="in_memory"):
            page.unloading = page.unloading and status.state == "ready"
            ticked = is_requested(status, version) and not page.unloading
            if ticked != page.ticked:
                page.ticked, page.widget_generation = ticked, page.widget_generation + 1
            st.checkbox(
                "Load Model",
                ticked,
                key=page.load_model_key,
                help=LOAD_HELP,
                disabled=bool(missing_checkpoint(version)),
                on_change=_load_or_unload,
                args=(page.load_model_key,),
            )
            _state(status, version)


def is_requested(status: ModelStatus, version: ModelVersion) -> bool:
    """Return whether the version is in memory, or requested and not failed; then Load Model is ticked."""
    here = status.version == version.name
    if here and status.state in ("loading", "ready"):
        return True
    return status.wanted and status.wanted_version == version.name and not (here and status.state == "failed")


def _state(status: ModelStatus, version: ModelVersion) -> None:
    here = status.version == version.name
    if missing_checkpoint(version):
        return
    if status.state == "loading":
        share = min(status.done / status.total, MOST_LOADED) if status.total else 0.0
        amount = f", {formatting.size(status.done)} of {formatting.size(status.total)}" if status.total > 1 else ""
        st.progress(share, text=f"Loading {formatting.plain(status.version)}{amount}")
    elif is_requested(status, version) and not here:
        busy = resources.open_service().store.jobs(limit=1, states=[State.RUNNING])
        when = "loads when the current job ends." if busy else "is about to load."
        st.caption(f":material/hourglass_empty: {formatting.plain(version.name)} {when}")
    elif status.state == "ready":
        where = f"{formatting.device(status.device)}, {formatting.size(status.memory)}"
        st.caption(f":green[:material/check_circle:] {formatting.plain(status.version)} on {where}, ready")
        if status.advice:
            st.caption(f":material/speed: {formatting.message(status.advice)}")
    elif status.state == "failed" and here:
        st.caption(f":red[:material/error: {formatting.message(status.error)}]")
    else:
        st.caption("No model loaded. It loads when you press Sample.")


def missing_checkpoint(version: ModelVersion) -> str:
    """Return the error text for a missing checkpoint (file, folder, size and source), or "" if it is present.

    Remote workers have their own checkpoints, which are not checked here.
    """
    if resources.open_service().is_remote():
        return ""
    try:
        version.require_checkpoint()
    except CheckpointError as error:
        return formatting.sentence(error)
    return ""


@callback("sample")
def _switch(page: PageState, key: str) -> None:
    # A browser that shows an old label, as before an installation, sends that label instead of the version.
    name = str(widget_value(key)).partition(",")[0]
    if key != page.version_key or name not in page.versions or name == page.version.name:
        return
    old, new = page.version, page.versions[name]
    page.set(**switched(page.tab.controls, old, new))
    service = resources.open_service()
    status = service.store.model()
    if is_requested(status, old) and not missing_checkpoint(new):
        service.load(new.name, page.tab.options)


@callback("sample")
def _load_or_unload(page: PageState, key: str) -> None:
    ticked = widget_value(key)
    if key != page.load_model_key or ticked == page.ticked:
        return  # stale widget or no change
    page.ticked, page.unloading = ticked, not ticked
    service = resources.open_service()
    if ticked:
        service.load(page.version.name, page.tab.options)
    else:
        service.unload()
