"""Extended clips on a page: buttons that continue a video, and the joined clip with its parts and their drift."""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import streamlit as st

from img2vid.background import BackgroundTasks, TaskResult
from img2vid.gallery import chain
from img2vid.gallery.entries import Entries, Entry
from img2vid.media.exports import animation_of
from img2vid.media.videos import read_metadata
from img2vid.settings import ABOUT
from img2vid.ui import formatting, resources
from img2vid.ui.shared import pictures
from img2vid.ui.shared.downloads import Offer, download_buttons
from img2vid.ui.state import MessageArea, Note, PageState, callback, current, poll, widget_value
from img2vid.versions import load_versions

POLL_INTERVAL = 1.0
PART_WIDTH = 150
"""Width of a part in pixels; parts wrap to the window."""
DRIFT_HELP = (
    "Drift from the first frame of all to the last frame of this part. Color: how far the colors move in Lab, visible "
    "from about 2. Sharpness: relative change."
)


def extend_buttons(entry: Entry, area: MessageArea) -> None:
    """Draw the button that continues a video, and the choice of several links; `area` shows the note."""
    version = load_versions().get(entry.settings.version)
    if version is None or version.camera_path(entry.settings) is not None:
        return  # views of an object, which end where they began
    left = chain.links_left(_parts(entry))
    st.button(
        "Extend",
        key=f"{area}_extend",
        icon=":material/fast_forward:",
        help="Continues from the last frame with the same settings and the next seed, and joins the clips.",
        disabled=left < 1,
        on_click=callback(area)(_extend),
        args=(entry.number, area),
    )
    if left < 1:
        return
    with st.popover("Several links", key=f"{area}_links_{entry.number}_{current().extended}"):
        st.caption("Each link is a clip that begins with the last frame of the one before.")
        count = st.number_input("Links", 1, left, min(3, left), key=_key(entry, "count"))
        moving = version.uses("motion_bucket_id")
        about, usual = ABOUT["motion_bucket_id"], entry.settings.motion_bucket_id
        for index in range(count if moving else 0):
            label, lowest, highest = f"Motion of link {index + 1}", int(about.lowest), int(about.highest)
            st.number_input(label, lowest, highest, usual, key=_key(entry, index))
        st.button(
            f"Extend by {count}",
            key=f"{area}_extend_several",
            on_click=callback(area)(_extend),
            args=(entry.number, area, count, moving),
        )


def _key(entry: Entry, what: object) -> str:
    return f"link_{entry.number}_{what}"


def _extend(page: PageState, number: int, area: MessageArea, count: int = 1, moving: bool = False) -> None:
    service = resources.open_service()
    entry = Entries(service.store).entry(number)
    motion = [int(widget_value(_key(entry, index))) for index in range(count)] if moving else []
    chain.extend(service, _parts(entry), count, motion)
    page.extended += 1
    page.show("")
    if area != "sample":
        text = f"{count} link{'' if count == 1 else 's'} queued. The Sample page shows the progress."
        page.note = Note("done", text, place=area)


def _parts(entry: Entry) -> list[Entry]:
    return chain.parts_of(Entries(resources.open_service().store), entry)


def joined_box(entry: Entry, area: MessageArea, on_part: Callable[[Entry], None]) -> None:
    """Draw the clip that ends with this video and its parts, if it continues others. on_part: opens a part."""
    parts = _parts(entry)
    if len(parts) < 2:
        return
    st.markdown(f"**Extended clip of {len(parts)} parts**")
    missing = [part.result.video for part in parts if not part.result.video.is_file()]
    if missing:
        st.warning(f"{formatting.plain(str(missing[0]))} no longer exists, so the parts cannot be joined.")
        return
    match = st.checkbox(
        "Match colors to the first frame",
        key=f"{area}_match_colors",
        help="Gives every frame the mean and the spread of the first frame's colors.",
    )
    path = chain.joined_path(resources.open_service().store.home, parts, match=match)
    if path.is_file():
        _joined(path, parts, area, on_part)
    else:
        poll("The joined clip", partial(_write, path, parts, match), False, path.is_file, POLL_INTERVAL)


@st.cache_resource(show_spinner=False)
def _tasks() -> BackgroundTasks[None]:
    return BackgroundTasks()


def _joined(path: Path, parts: Sequence[Entry], area: MessageArea, on_part: Callable[[Entry], None]) -> None:
    st.video(path, loop=True, muted=True, alt=f"Extended clip of {len(parts)} parts")
    stem, fps = f"{parts[0].result.video.stem}_extended", parts[0].settings.file_fps
    gif, webp = (partial(animation_of, path, kind, fps=fps) for kind in ("gif", "webp"))
    found = {
        "MP4": Offer(".mp4", "video/mp4", path.read_bytes, "All parts, with their settings as metadata"),
        "GIF": Offer(".gif", "image/gif", gif, "Animation with 256 colors per frame"),
        "WebP": Offer(".webp", "image/webp", webp, "Animation with full color"),
    }
    download_buttons(found, stem, f"{area}_joined_downloads")
    with st.container(horizontal=True, gap="small", key=f"{area}_parts"):
        for index, (part, row) in enumerate(zip(parts, _rows(path), strict=True)):
            with st.container(width=PART_WIDTH, gap="xsmall", key=f"{area}_part_{index}"):
                _part(index, part, row["drift"], on_part)


def _part(index: int, part: Entry, drift: dict[str, float], on_part: Callable[[Entry], None]) -> None:
    still = part.result.still
    image = pictures.thumbnail(still, still.stat().st_mtime) if still.is_file() else pictures.no_still()
    st.image(image, width="stretch", alt=f"The first frame of part {index + 1}")
    st.button(
        f"Part {index + 1}, seed {part.result.seed}",
        key=f"part_{part.number}",
        type="tertiary",
        help=DRIFT_HELP,
        on_click=on_part,
        args=(part,),
    )
    st.caption(
        f"motion {part.settings.motion_bucket_id}  \n"
        f"color {drift['color']:.1f} · sharpness {100 * drift['sharpness']:+.0f} %"
    )


@lru_cache(maxsize=chain.KEPT)
def _rows(path: Path) -> list[dict[str, Any]]:
    """Return the parts in the metadata of a joined clip, whose name changes with its contents."""
    return read_metadata(path)["parts"]


def _write(path: Path, parts: Sequence[Entry], match: bool) -> None:
    """Start joining, or show why it failed, with a button that starts it again."""
    task = _tasks().get(path.name)
    if task is not None and task.state == "failed":
        st.error(formatting.message(task.outcome.text))
        st.button("Join again", key="join_again", on_click=_tasks().dismiss, args=(path.name,))
        return

    def work(_: object) -> TaskResult:
        chain.write_joined(path, parts, match=match)
        return TaskResult()

    _tasks().start(path.name, work)
    st.caption(":material/hourglass_empty: Joining the parts. The clip appears here.")
