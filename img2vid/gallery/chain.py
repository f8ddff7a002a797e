"""Extended clips: videos that continue one another, each from the last frame of the one before, and the joined clip."""

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from img2vid.errors import BadInput, MediaError
from img2vid.files import reason, remove, whole_file
from img2vid.gallery.entries import Entries, Entry
from img2vid.jobs.job import Job, seed_before
from img2vid.media import measures
from img2vid.media.color_match import color_distance, match_colors
from img2vid.media.videos import read_frames, write_video
from img2vid.media.watermark import embed_watermark
from img2vid.settings import MAX_SEED, SampleSettings
from img2vid.versions import find_version

if TYPE_CHECKING:
    from img2vid.jobs.service import JobService

MOST_LINKS = 8
"""Maximum number of videos after the first one."""
FOLDER = "joined"
"""Folder in the home for joined clips, which are made again when they are missing."""
KEPT = 20
"""Number of joined clips to keep; older ones are deleted."""


def parts_of(entries: Entries, entry: Entry) -> list[Entry]:
    """Return the videos that an entry continues, first one first, and the entry itself.

    They begin after the last one that was deleted, and are at most the last MOST_LINKS + 1.
    """
    found = [entry]
    while found[0].job.continues and len(found) <= MOST_LINKS:
        seed = seed_before(found[0].result.seed)
        before = [one for one in entries.find_by_job(found[0].job.continues) if one.result.seed == seed]
        if not before:
            break
        found.insert(0, before[0])
    return found


def links_left(parts: Sequence[Entry]) -> int:
    """Return the number of videos that can still be added to these."""
    return MOST_LINKS + 1 - len(parts)


def extend(
    service: "JobService", parts: Sequence[Entry], links: int, motion: Sequence[int] = (), folder: Path | None = None
) -> list[Job]:
    """Queue videos that continue the last of `parts` with its settings, each with the next seed; return their jobs.

    motion: motion bucket of each link, or empty. folder: by default that of the video, or the version's if the video is
    imported. Raise BadInput for another number of links or values, and the errors of `JobService.submit`.
    """
    last = parts[-1]
    version, left = find_version(last.settings.version), links_left(parts)
    if not 1 <= links <= left:
        possible = f"at most {left} can be added here" if left > 0 else "this one has them already"
        raise BadInput(f"a clip has up to {MOST_LINKS} links, got {links} more; {possible}")
    if version.camera_path(last.settings) is not None:
        raise BadInput(f"{version.name} shows an object from all sides, so its videos cannot be extended; use svd_xt")
    if rows := last.result.metadata.get("parts"):
        raise BadInput(f"this clip is joined from others; extend the last of them, {rows[-1]['video']}")
    if motion and (len(motion) != links or not version.uses("motion_bucket_id")):
        raise BadInput(f"one motion bucket for each of the {links} links is needed, got {len(motion)}")
    if not last.result.video.is_file():
        raise BadInput(f"the video {last.result.video} no longer exists; choose another one")
    wanted: list[SampleSettings] = []
    for index in range(links):
        values = last.settings.model_dump() | {
            "seed": (last.result.seed + index + 1) % (MAX_SEED + 1),
            "num_samples": 1,
            "fitting": "crop",  # the frame has the right size
        }
        wanted.append(version.settings(values | ({"motion_bucket_id": motion[index]} if motion else {})))
    own = None if last.imported else last.result.video.parent
    return service.continue_video(last.job, wanted, folder or own)


def join(path: Path, parts: Sequence[Entry], *, match: bool) -> Path:
    """Write the parts as one clip and return its path, see `write_video`.

    The first frame of each further part, which repeats the last one before it, is left out. match: give all frames the
    colors of the first. The metadata names the parts, each with its drift from the first frame of all to its own last
    frame: `color_distance` and the relative change of sharpness.
    """
    first = parts[0].settings
    # Cut the padding that makes the sides of video files even.
    whole = [read_frames(part.result.video)[:, : first.height, : first.width] for part in parts]
    for part, clip in zip(parts, whole, strict=True):
        if clip.shape[1:] != whole[0].shape[1:]:
            raise BadInput(f"{part.result.video.name} has another size than the first part, so they cannot be joined")
    clips = [whole[0], *(clip[1:] for clip in whole[1:])]
    ends = np.cumsum([len(clip) for clip in clips]) - 1
    frames = np.concatenate(clips)
    marked = all(part.result.metadata.get("watermarked") for part in parts)
    if match:
        frames = match_colors(frames, frames[0])
        frames = embed_watermark(frames) if marked else frames
    sharpness = measures.sharpness(frames[[0, *ends]])
    rows: list[dict[str, Any]] = []
    for part, end, value in zip(parts, ends, sharpness[1:], strict=True):
        change = float(value / sharpness[0]) - 1 if sharpness[0] else 0.0
        drift = {"color": round(color_distance(frames[end], frames[0]), 3), "sharpness": round(change, 4)}
        place = {"video": part.result.video.name, "last_frame": int(end) + 1, "drift": drift}
        rows.append({**place, **part.result.metadata})
    metadata = {
        "program": parts[0].result.metadata.get("program", "img2vid"),
        "picture": parts[0].job.picture_name,
        "settings": first.model_dump(),
        "watermarked": marked,
        "colors_matched": match,
        "parts": rows,
    }
    return write_video(path, frames, fps=first.file_fps, metadata=metadata)


def joined_path(home: Path, parts: Sequence[Entry], *, match: bool) -> Path:
    """Return the file in the home for the joined clip; its name follows from the parts' files."""
    facts = [(str(part.result.video), part.result.video.stat().st_mtime_ns) for part in parts]
    return home / FOLDER / f"{hashlib.sha256(repr((facts, match)).encode()).hexdigest()[:24]}.mp4"


def write_joined(path: Path, parts: Sequence[Entry], *, match: bool) -> None:
    """Write the joined clip atomically to a path from `joined_path`, and delete those that were made long ago.

    Raise BadInput if a part cannot be read and MediaError if the disk is full.
    """
    try:
        with tempfile.TemporaryDirectory() as folder, whole_file(path) as part:
            part.write_bytes(join(Path(folder) / "joined.mp4", parts, match=match).read_bytes())
        older = sorted(path.parent.glob("*.mp4"), key=lambda other: other.stat().st_mtime, reverse=True)[KEPT:]
        for other in older:
            remove(other)
    except OSError as error:
        raise MediaError(f"the joined clip cannot be written to {path.parent} ({reason(error)})") from error
