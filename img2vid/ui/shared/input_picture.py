"""Input: file uploader, preview of the frame as the model sees it, and example images."""

from pathlib import Path

import streamlit as st

from img2vid import paths
from img2vid.media.cutouts import outline_source
from img2vid.media.picture_files import list_pictures
from img2vid.ui import formatting, resources, uploads
from img2vid.ui.shared import pictures
from img2vid.ui.shared.controls import control
from img2vid.ui.shared.describe import restore_prompt
from img2vid.ui.state import Note, PageState, callback, report_drawing_errors, set_widget, show_note, widget_value
from img2vid.ui.uploads import keep_picture, take_upload

EXAMPLES = paths.PROJECT / "assets"
OFFERED, EXAMPLE_WIDTH = 4, 100
"""Number of examples, and their width in pixels."""
OUTLINES = {
    "transparency": "The object's outline is the picture's transparency.",
    "rembg": "rembg found the object's outline.",
    "grabCut": "OpenCV's grabCut found the object's outline; the package rembg finds it better.",
}
HELP = (
    "An image of any size: JPEG, PNG, WebP, HEIC and others. A video or settings file made by img2vid restores its "
    "settings and image, a ComfyUI workflow its settings."
)


def input_box(page: PageState) -> None:
    """Draw the uploader, and beside it the input's preview, or examples if no input is set."""
    drop, show = st.columns([1, 1], gap="small")
    with drop:
        key = f"input_{page.uploads}"
        st.file_uploader("Input", key=key, help=HELP, on_change=_dropped, args=(key,))
        if page.tab.picture is not None:
            _fitting(page, page.tab.picture.path)
    with show:
        if page.tab.picture is None:
            _examples()
        else:
            _preview(page)
    show_note(page, "input")


@callback("input")
def _dropped(page: PageState, key: str) -> None:
    given = widget_value(key)
    if given is None:
        return
    page.uploads += 1  # clears the uploader; the input is shown beside it
    found = take_upload(given.getvalue(), given.name, resources.open_service().store.jobs(limit=500))
    _use(page, found)


def _use(page: PageState, found: uploads.Dropped) -> None:
    if found.controls is not None:
        page.restore(found.controls)
    if found.picture is not None:
        page.set_picture(found.picture)
    if found.metadata is not None:
        restore_prompt(page, found.metadata)
    if found.text:
        page.note = Note("done" if found.picture is not None else "info", found.text, place="input")


def _fitting(page: PageState, path: Path) -> None:
    control(page, "fitting")
    controls = page.tab.controls
    if controls["fitting"] == "object":
        control(page, "object_share")
        return
    with report_drawing_errors("The crop"):
        if pictures.cut(path, controls["width"], controls["height"]):
            _offset(page)


def _offset(page: PageState) -> None:
    st.slider(
        "Crop offset",
        0.0,
        1.0,
        set_widget("crop_offset", page.tab.controls["crop_offset"]),
        0.01,
        key="crop_offset",
        help=page.version.help_text("crop_offset"),
        on_change=_keep_offset,
    )


@callback("sample")
def _keep_offset(page: PageState) -> None:
    page.set(crop_offset=widget_value("crop_offset"))


def _preview(page: PageState) -> None:
    picture, controls = page.tab.picture, page.tab.controls
    assert picture is not None
    width, height = controls["width"], controls["height"]
    with report_drawing_errors("The input"):
        fitting, offset, share = (controls[name] for name in ("fitting", "crop_offset", "object_share"))
        frame = pictures.framed(picture.path, width, height, fitting, offset, share)
        st.image(frame, width="stretch", alt=f"The input, {picture.name}, as the model sees it")
        if fitting == "object":
            st.caption(OUTLINES[outline_source(pictures.loaded(picture.path))])
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.caption(f"{formatting.plain(picture.name)}, as the model sees it")
        st.button("Remove", key="remove_input", type="tertiary", on_click=_remove)


@callback("sample")
def _remove(page: PageState) -> None:
    page.set_picture(None)


def _examples() -> None:
    found = list_pictures([EXAMPLES]) if EXAMPLES.is_dir() else []
    if not found:
        return
    st.caption("Or try an example")
    with st.container(horizontal=True, gap="small", key="examples"):
        for path in found[:OFFERED]:
            with st.container(width=EXAMPLE_WIDTH, gap="xsmall"):
                st.image(pictures.thumbnail(path, path.stat().st_mtime), width="stretch", alt=path.stem)
                st.button(path.stem, key=f"example_{path.stem}", width="stretch", on_click=_take_example, args=(path,))


@callback("input")
def _take_example(page: PageState, path: Path) -> None:
    page.set_picture(keep_picture(path.read_bytes(), path.name))
