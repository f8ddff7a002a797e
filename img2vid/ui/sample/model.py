"""Model Version and Load Model: model selection and the model in memory."""

import streamlit as st

from img2vid.errors import CheckpointError
from img2vid.jobs.job import ModelStatus
from img2vid.ui import formatting, resources
from img2vid.ui.shared.controls import select
from img2vid.ui.state import PageState, callback, current, report_drawing_errors, widget_value
from img2vid.version_defaults import switched
from img2vid.versions import ModelVersion

LOAD_HELP = (
    "Loads the model now, so that the first video starts sooner; untick to unload. Sample also loads it when needed."
)


def model_row(page: PageState, *, every: float) -> None:
    """Draw the row; a fragment polls the model status every `every` seconds."""
    choose, load = st.columns([2, 5], vertical_alignment="bottom")
    with choose:
        about = formatting.sentence(f"{page.version.name}: {page.version.note}") if page.version.note else ""
        help_text = f"{page.version.help_text('version')} {about}"
        select("Model Version", list(page.versions), page.version.name, "version", help_text, _switch)
    with load:
        st.fragment(_in_memory, run_every=every)()


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
        st.caption("Not installed. This page updates when the file is added.")
    elif status.state == "loading":
        share = min(status.done / status.total, 1.0) if status.total else 0.0
        amount = f", {formatting.size(status.done)} of {formatting.size(status.total)}" if status.total > 1 else ""
        st.progress(share, text=f"Loading {formatting.plain(status.version)}{amount}")
    elif is_requested(status, version) and not here:
        st.caption(f":material/hourglass_empty: {formatting.plain(version.name)} loads when the worker is ready.")
    elif status.state == "ready":
        where = f"{formatting.device(status.device)}, {formatting.size(status.memory)}"
        st.caption(f":green[:material/check_circle:] {formatting.plain(status.version)} on {where}, ready")
        if status.advice:
            st.caption(f":material/speed: {formatting.plain(formatting.sentence(status.advice))}")
    elif status.state == "failed" and here:
        st.caption(f":red[:material/error: {formatting.plain(formatting.sentence(status.error))}]")
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
def _switch(page: PageState) -> None:
    old, new = page.version, page.versions[widget_value("version")]
    page.set(**switched(page.tab.controls, old, new))
    service = resources.open_service()
    status = service.store.model()
    if is_requested(status, old) and not missing_checkpoint(new):
        service.load(new.name, page.tab.choice)


@callback("sample")
def _load_or_unload(page: PageState, key: str) -> None:
    ticked = widget_value(key)
    if key != page.load_model_key or ticked == page.ticked:
        return  # stale widget or no change
    page.ticked, page.unloading = ticked, not ticked
    service = resources.open_service()
    if ticked:
        service.load(page.version.name, page.tab.choice)
    else:
        service.unload()
