"""Input: file uploader, preview of the pictures as the model sees them, and example images."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import streamlit as st

from img2vid import paths
from img2vid.media.cutouts import outline_source
from img2vid.media.picture_files import list_pictures
from img2vid.ui import formatting, resources
from img2vid.ui.shared import pictures
from img2vid.ui.shared.controls import control
from img2vid.ui.shared.crop_frame import crop_frame
from img2vid.ui.shared.describe import restore_prompt
from img2vid.ui.shared.drop_zone import drop_zone
from img2vid.ui.state import Note, PageState, callback, report_drawing_errors, set_widget, show_note, widget_value
from img2vid.ui.tabs import Picture, defaults_of, mapping
from img2vid.ui.uploads import Dropped, keep_picture, take_uploads

EXAMPLES = paths.PROJECT / "assets"
OFFERED, EXAMPLE_WIDTH, BATCH_WIDTH = 4, 100, 92
"""Number of examples, and widths in pixels of an example and of a picture of a batch, beside which is a scrollbar."""
NAMED = 3
"""Number of further files that a note names."""
OUTLINES = {
    "transparency": "The object's outline is the picture's transparency.",
    "rembg": "rembg found the object's outline.",
    "grabCut": "OpenCV's grabCut found the object's outline; the package rembg finds it better.",
}
HELP = (
    "An image of any size: JPEG, PNG, WebP, HEIC and others. A video or settings file made by img2vid restores its "
    "settings and image, a ComfyUI workflow its settings."
)


def input_box(page: PageState, *, uses_all: bool = False) -> None:
    """Draw the uploader, and beside it the input's preview, or examples if no input is set.

    uses_all: the page makes videos of all pictures of a batch, not only of the first.
    """
    drop, show = st.columns([1, 1], gap="small")
    with drop:
        key, limit = f"input_{page.uploads}", drop_zone()
        st.file_uploader("Input", accept_multiple_files=True, key=key, help=HELP, on_change=_dropped, args=(key, limit))
        if page.tab.picture is not None:
            _fitting(page, page.tab.pictures)
    with show:
        if page.tab.picture is None:
            _examples()
        elif page.tab.more_pictures:
            _batch(page, uses_all=uses_all)
        else:
            _preview(page, page.tab.picture)
    show_note(page, "input")


@callback("input")
def _dropped(page: PageState, key: str, limit: int) -> None:
    given = widget_value(key)
    if not given:
        return
    page.uploads += 1  # clears the uploader; the input is shown beside it
    files = [(file.name, file.type, file.getvalue()) for file in given]
    _use(page, take_uploads(files, limit, resources.open_service().store.jobs(limit=500)))


def _use(page: PageState, found: Dropped) -> None:
    replaced = len(page.tab.pictures) if found.picture is not None and page.tab.more_pictures else 0
    if found.controls is not None:
        page.restore(found.controls)
    if found.picture is not None:
        begin = page.set_pictures if "crop_offset" in (found.controls or {}) else page.begin_pictures
        begin([found.picture, *found.more_pictures])
    if found.metadata is not None:
        restore_prompt(page, found.metadata)
    if found.problems:
        page.note = _left_out(found.problems, found.text)
    elif found.text:
        page.note = Note("done" if found.picture is not None else "info", found.text, place="input")
    elif replaced:
        text = f"Replaced the batch of {replaced} images. To make a larger batch, drop all of its images at once."
        page.note = Note("info", text, place="input")


def _left_out(problems: Sequence[tuple[str, str]], restored: str) -> Note:
    """Return the note about files that could not be used: the first reason, other names, and all reasons as details."""
    reasons = [formatting.sentence(reason) for _, reason in problems]
    names = [f"'{name}'" for name, _ in problems[1 : NAMED + 1]]
    if len(problems) > NAMED + 1:
        names.append(f"{len(problems) - NAMED - 1} more")
    others = f"Also left out: {', '.join(names)}." if names else ""
    text = " ".join(filter(None, (reasons[0], others, restored)))
    return Note("error", text, "\n".join(reasons) if names else "", "input")


def _fitting(page: PageState, inputs: Sequence[Picture]) -> None:
    control(page, "fitting")
    controls = page.tab.controls
    fitting, offset = controls["fitting"], controls["crop_offset"]
    if fitting == "object":
        control(page, "object_share")
    # Pictures that are shown whole are in the middle, unless a crop was moved before.
    elif fitting == "crop" or offset != defaults_of(page.version)["crop_offset"]:
        with report_drawing_errors("The crop"):
            if len(inputs) > 1 or pictures.trimmed(inputs[0].path, controls["width"], controls["height"])[0]:
                _offset(page)


def _offset(page: PageState) -> None:
    st.slider(
        "Crop offset",
        0.0,
        1.0,
        set_widget(page.crop_key, page.tab.controls["crop_offset"]),
        0.01,
        key=page.crop_key,
        help=page.version.help_text("crop_offset"),
        on_change=_keep_offset,
        args=(page.crop_key,),
    )


@callback("sample")
def _keep_offset(page: PageState, key: str) -> None:
    page.set(crop_offset=widget_value(key))


def _preview(page: PageState, picture: Picture) -> None:
    controls = page.tab.controls
    width, height, fitting = (controls[name] for name in ("width", "height", "fitting"))
    with report_drawing_errors("The input"):
        side, share = pictures.trimmed(picture.path, width, height)
        if fitting == "crop" and side:
            _movable_crop(page, picture, side, share)
        else:
            offset, object_share = controls["crop_offset"], controls["object_share"]
            frame = pictures.framed(picture.path, width, height, fitting, offset, object_share)
            st.image(frame, width="stretch", alt=f"The input, {picture.name}, as the model sees it")
        if fitting == "object":
            st.caption(OUTLINES[outline_source(pictures.loaded(picture.path))])
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="about_input"):
        st.caption(f"{formatting.plain(picture.name)}, as the model sees it")
        st.button("Remove", key="remove_input", type="tertiary", on_click=_remove)


def _movable_crop(page: PageState, picture: Picture, side: str, share: float) -> None:
    key, image = f"crop_of_{picture.file[:12]}", pictures.loaded(picture.path)
    data = {
        "image": pictures.whole(picture.path),
        "alt": f"The whole input, {picture.name}",
        "ratio": image.width / image.height,
        "side": side,
        "share": share,
        "offset": page.tab.controls["crop_offset"],
    }
    crop_frame(key, data, partial(_move_crop, key))


@callback("sample")
def _move_crop(page: PageState, key: str) -> None:
    move = mapping(mapping(widget_value(key)).get("move"))
    offset, time = move.get("offset"), move.get("time")
    if isinstance(offset, int | float) and 0 <= offset <= 1 and time != page.crop_moved:
        page.crop_moved = time
        page.move_crop(round(float(offset), 2))


def _batch(page: PageState, *, uses_all: bool) -> None:
    """Draw a thumbnail of each picture as the model sees it, with its name and a button that removes it."""
    inputs, controls = page.tab.pictures, page.tab.controls
    use = "Sample makes a video of each" if uses_all else "this page uses the first"
    st.caption(f"{len(inputs)} images: {use}.")
    frame = [controls[name] for name in ("width", "height", "fitting", "crop_offset", "object_share")]
    with st.container(horizontal=True, gap="small", key="batch"):
        for picture in inputs:
            name = formatting.plain(picture.name)
            with st.container(width=BATCH_WIDTH, gap="xsmall"):
                with report_drawing_errors(name):
                    st.image(pictures.small(picture.path, *frame), width="stretch", alt=picture.name)
                st.button(
                    name,
                    key=f"remove_{picture.file}",
                    icon=":material/close:",
                    help=f"Remove {name}",
                    width="stretch",
                    on_click=_remove_one,
                    args=(picture,),
                )
    st.button("Remove all", key="remove_input", type="tertiary", on_click=_remove)


@callback("sample")
def _remove(page: PageState) -> None:
    page.set_pictures([])


@callback("sample")
def _remove_one(page: PageState, removed: Picture) -> None:
    page.set_pictures([picture for picture in page.tab.pictures if picture != removed])


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
    page.begin_pictures([keep_picture(path.read_bytes(), path.name)])
