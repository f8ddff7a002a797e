"""Background tasks of the gallery, folder import and zip export, with their progress and results."""

from pathlib import Path

import streamlit as st

from img2vid.background import BackgroundTask, Count
from img2vid.gallery.importing import folder_of, import_folder
from img2vid.ui import formatting, resources
from img2vid.ui.gallery.grid import EXPORT
from img2vid.ui.state import Note, PageState, callback, widget_value

IMPORT = "import"
DOING = {IMPORT: "Importing", EXPORT: "Writing the zip file"}
_FOLDER_HELP = (
    "Imports all img2vid MP4 files of the folder and its subfolders, with their embedded settings. "
    "The folder is not changed."
)


def import_box() -> None:
    """Draw the folder field and the Import button."""
    with st.expander("Import a folder", icon=":material/drive_folder_upload:", key="import_box"):
        st.text_input("Folder", key="import_folder", placeholder=str(Path.home() / "videos"), help=_FOLDER_HELP)
        task = resources.open_gallery_tasks().get(IMPORT)
        active = task is not None and task.active
        st.button("Import", key="import", disabled=active, on_click=_import)


def active() -> bool:
    """Return whether a task is running."""
    found = (resources.open_gallery_tasks().get(name) for name in DOING)
    return any(task is not None and task.active for task in found)


def task_list() -> None:
    """Draw running tasks and the results of the last ones."""
    for name in DOING:
        task = resources.open_gallery_tasks().get(name)
        with st.container(key=f"chore_{name}"):
            if task is not None:
                task_box(name, DOING[name], task)


def task_box(name: str, doing: str, task: BackgroundTask[Count]) -> None:
    """Draw a running task with its progress, or the result of one that has ended."""
    outcome = task.outcome
    if task.active:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            done, total = task.progress or (0, 0)
            share = min(done / total, 1.0) if total else 0.0
            count = f", {done} of {total}" if total else ""
            st.progress(share, text=f"{doing}{count}")
            st.button("Cancel", key=f"cancel_{name}", disabled=task.state == "stopping", on_click=_cancel, args=(name,))
        return
    text = formatting.message(outcome.text)
    if task.state == "failed":
        st.error(text)
    else:
        st.info(text, icon=":material/check_circle:" if task.state == "done" else ":material/info:")
    if outcome.details:
        with st.expander("Skipped files", key=f"details_{name}"):
            st.code("\n".join(outcome.details), language=None, wrap_lines=True)
    with st.container(horizontal=True, gap="small"):
        if outcome.file is not None and outcome.file.is_file():
            st.download_button(
                "Download",
                outcome.file.read_bytes,
                file_name=outcome.file.name,
                mime="application/zip",
                key=f"download_{name}",
                icon=":material/download:",
                on_click="ignore",
            )
        st.button("Dismiss", key=f"forget_{name}", type="tertiary", on_click=_dismiss, args=(name,))


@callback("gallery")
def _import(page: PageState) -> None:
    folder = folder_of(str(widget_value("import_folder") or ""))
    store = resources.open_service().store

    if not resources.open_gallery_tasks().start(IMPORT, lambda on_progress: import_folder(store, folder, on_progress)):
        page.note = Note("info", "Another import is running. Try again when it has finished.", place="gallery")


@callback("gallery")
def _cancel(_: PageState, name: str) -> None:
    resources.open_gallery_tasks().cancel(name)


@callback("gallery")
def _dismiss(_: PageState, name: str) -> None:
    resources.open_gallery_tasks().dismiss(name)
