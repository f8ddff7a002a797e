"""Model Version and Load Model: which model, and what is in memory."""

import streamlit as st

from img2vid.errors import CheckpointError
from img2vid.jobs.job import ModelStatus
from img2vid.ui import formatting, resources
from img2vid.ui.shared.controls import select
from img2vid.ui.state import PageState, callback_state, current, report_drawing_errors, report_errors, widget_value
from img2vid.version_defaults import switched
from img2vid.versions import ModelVersion

LOAD_HELP = (
    "Puts the model into memory now, so that the first video need not wait for it; unticking lets go of it. "
    "Sample also loads what it needs by itself."
)


def model_row(page: PageState, *, every: float) -> None:
    """Draws the row; what is in memory is looked up every few seconds, without drawing the rest of the page again."""
    choose, load = st.columns([2, 5], vertical_alignment="bottom")
    with choose:
        about = formatting.sentence(f"{page.version.name}: {page.version.note}") if page.version.note else ""
        help_text = f"{page.version.help_text('version')} {about}"
        select("Model Version", list(page.versions), page.version.name, "version", help_text, _switch)
    with load:
        st.fragment(_in_memory, run_every=every)()


def _in_memory() -> None:
    with report_drawing_errors("The model's state"):
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
    """Whether Load Model is ticked: the chosen version is in memory, or was asked for and has not failed."""
    here = status.version == version.name
    if here and status.state in ("loading", "ready"):
        return True
    return status.wanted and status.wanted_version == version.name and not (here and status.state == "failed")


def _state(status: ModelStatus, version: ModelVersion) -> None:
    here = status.version == version.name
    if missing_checkpoint(version):
        st.caption("The checkpoint is not there yet; the page notices when it comes.")
    elif status.state == "loading":
        share = min(status.done / status.total, 1.0) if status.total else 0.0
        amount = f", {formatting.size(status.done)} of {formatting.size(status.total)}" if status.total > 1 else ""
        st.progress(share, text=f"Loading {formatting.plain(status.version)}{amount}")
    elif is_requested(status, version) and not here:
        st.caption(
            f":material/hourglass_empty: {formatting.plain(version.name)} is loaded as soon as the worker is free."
        )
    elif status.state == "ready":
        where = f"{formatting.device(status.device)}, {formatting.size(status.memory)}"
        st.caption(f":green[:material/check_circle:] {formatting.plain(status.version)} on {where}, ready")
        if status.advice:
            st.caption(f":material/speed: {formatting.plain(formatting.sentence(status.advice))}")
    elif status.state == "failed" and here:
        st.caption(f":red[:material/error: {formatting.plain(formatting.sentence(status.error))}]")
    else:
        st.caption("No model in memory; Sample loads it.")


def missing_checkpoint(version: ModelVersion) -> str:
    """Which file to put where, its size and its source, as a sentence; nothing where the checkpoint is there.

    Machines of the user's own cluster have checkpoints of their own, of which this one knows nothing.
    """
    if resources.open_service().is_remote():
        return ""
    try:
        version.require_checkpoint()
    except CheckpointError as error:
        return formatting.sentence(error)
    return ""


def _switch() -> None:
    page = callback_state()
    with report_errors(page):
        old, new = page.version, page.versions[widget_value("version")]
        page.set(**switched(page.tab.controls, old, new))
        service = resources.open_service()
        status = service.store.model()
        if is_requested(status, old) and not missing_checkpoint(new):
            service.load(new.name, page.tab.choice)


def _load_or_unload(key: str) -> None:
    page = callback_state()
    with report_errors(page):
        ticked = widget_value(key)
        if key != page.load_model_key or ticked == page.ticked:
            return  # nobody has clicked
        page.ticked, page.unloading = ticked, not ticked
        service = resources.open_service()
        if ticked:
            service.load(page.version.name, page.tab.choice)
        else:
            service.unload()
