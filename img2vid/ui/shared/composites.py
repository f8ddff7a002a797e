"""Composite videos: several labeled clips in one MP4 file, made on download."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from img2vid.media.videos import read_frames, write_video

if TYPE_CHECKING:
    from img2vid.gallery.entries import Entry
    from img2vid.media.composites import Align

Form = Literal["side by side", "wipe"]


def composite_of(labels: Sequence[str], entries: Sequence["Entry"], form: Form, align: "Align") -> bytes:
    """Return an MP4 file of the entries' videos with their labels; a wipe takes exactly two.

    The file's metadata has the settings of all videos. Raise BadInput if a video cannot be read, MediaError if
    encoding fails.
    """
    from img2vid.media import composites

    clips = [_labelled(label, entry, len(entries)) for label, entry in zip(labels, entries, strict=True)]
    if form == "wipe":
        left, right = clips
        frames, fps = composites.wipe(left, right, align)
    else:
        frames, fps = composites.side_by_side(clips, align)
    metadata: dict[str, Any] = {
        "program": "img2vid",
        "form": form,
        "align": align,
        "videos": [{"label": label, **entry.result.metadata} for label, entry in zip(labels, entries, strict=True)],
    }
    with tempfile.TemporaryDirectory() as folder:
        path = write_video(Path(folder) / "composite.mp4", frames, fps=fps, metadata=metadata)
        return path.read_bytes()


def _labelled(label: str, entry: "Entry", count: int) -> Any:
    from img2vid.media.composites import Labelled, reduced

    return reduced(Labelled(label, read_frames(entry.result.video), entry.settings.file_fps), 1, count)
