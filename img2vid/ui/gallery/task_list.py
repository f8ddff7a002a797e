"""What takes a while in the gallery: importing a folder, writing a zip; how far each is, and what came of it."""

from pathlib import Path

import streamlit as st

from img2vid.background import Chore, OnProgress, Outcome
from img2vid.gallery.importing import folder_of, import_folder
from img2vid.ui import formatting, resources
from img2vid.ui.gallery import tasks
from img2vid.ui.gallery.grid import EXPORT
from img2vid.ui.state import Note, acting, entered, noting

IMPORT = "import"
DOING = {IMPORT: "Importing", EXPORT: "Writing the zip"}
_FOLDER_HELP = (
    "Takes in every MP4 of the folder, and of those below it, that img2vid made, with the settings that it carries. "
    "Nothing in the folder is changed."
)


def import_box() -> None:
    """A folder to import, and the button for it."""
    with st.expander("Import a folder", icon=":material/drive_folder_upload:", key="import_box"):
        st.text_input("Folder", key="import_folder", placeholder=str(Path.home() / "videos"), help=_FOLDER_HELP)
        chore = tasks.open_chores().of(IMPORT)
        active = chore is not None and chore.active
        st.button("Import", key="import", disabled=active, on_click=_import)


def active() -> bool:
    """Whether anything goes on."""
    found = (tasks.open_chores().of(name) for name in DOING)
    return any(chore is not None and chore.active for chore in found)


def chores_box() -> None:
    """Draws what goes on and what came of the last ones."""
    for name in DOING:
        chore = tasks.open_chores().of(name)
        with st.container(key=f"chore_{name}"):
            if chore is not None:
                _chore(name, chore)


def _chore(name: str, chore: Chore) -> None:
    outcome = chore.outcome
    if chore.active:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            share = min(chore.done / chore.total, 1.0) if chore.total else 0.0
            count = f", {chore.done} of {chore.total}" if chore.total else ""
            st.progress(share, text=f"{DOING[name]}{count}")
            st.button(
                "Cancel", key=f"cancel_{name}", disabled=chore.state == "stopping", on_click=_cancel, args=(name,)
            )
        return
    text = formatting.plain(formatting.sentence(outcome.text))
    if chore.state == "failed":
        st.error(text)
    else:
        st.info(text, icon=":material/check_circle:" if chore.state == "done" else ":material/info:")
    if outcome.details:
        with st.expander("What was left out", key=f"details_{name}"):
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
        st.button("Dismiss", key=f"forget_{name}", type="tertiary", on_click=_forget, args=(name,))


def _import() -> None:
    page = acting()
    with noting(page, "gallery"):
        folder = folder_of(str(entered("import_folder") or ""))
        store = resources.open_desk().store

        def work(on_progress: OnProgress) -> Outcome:
            return import_folder(store, folder, on_progress)

        if not tasks.open_chores().start(IMPORT, work):
            page.note = Note(
                "info", "Another folder is being imported; this one can begin when it is done.", place="gallery"
            )


def _cancel(name: str) -> None:
    with noting(acting(), "gallery"):
        tasks.open_chores().cancel(name)


def _forget(name: str) -> None:
    with noting(acting(), "gallery"):
        tasks.open_chores().forget(name)
