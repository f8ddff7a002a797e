"""Atomic saving of finished videos, which workers send as bytes."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from img2vid.errors import MediaError
from img2vid.files import all_or_none, publish, reason, temporary_file, whole_file
from img2vid.jobs.estimate import Timing
from img2vid.jobs.fingerprint import of_picture
from img2vid.jobs.inputs import keep_input
from img2vid.jobs.job import Job
from img2vid.jobs.peaks import record_peak
from img2vid.jobs.store import Store
from img2vid.media.videos import COMPANIONS
from img2vid.progress import Result

Files = Mapping[str, bytes]
"""Contents by suffix: ".mp4", ".png", ".json", and ".gif" or ".webp" if requested."""


def save_files(files: Files, folder: Path, stem: str) -> dict[str, Path]:
    """Write a video and its companion files under one name, `stem` or the first free of `stem_2`, ...

    Return the paths by suffix. Raise MediaError and leave no file behind if the folder cannot be written.
    """
    try:
        with all_or_none() as written:
            with temporary_file(folder) as part:
                part.write_bytes(files[".mp4"])
                written[".mp4"] = publish(part, folder / f"{stem}.mp4", companions=COMPANIONS)
            for suffix in files.keys() - {".mp4"}:
                path = written[".mp4"].with_suffix(suffix)
                with whole_file(path) as part:
                    part.write_bytes(files[suffix])
                written[suffix] = path
    except OSError as error:
        raise MediaError(f"nothing can be written to {folder} ({reason(error)})") from error
    return written


def save_picture(store: Store, job: Job, index: int, data: bytes) -> None:
    """Save the `index`-th picture of a job, a PNG file, among the inputs and record it. Raise MediaError."""
    if job.image is None:
        raise AssertionError("a job for pictures has their settings")
    try:
        kept = keep_input(store.home / "inputs", data, ".png")
    except OSError as error:
        raise MediaError(f"the picture cannot be saved in {store.home} ({reason(error)})") from error
    store.record_picture(job.id, kept.name, of_picture(job.image.one(index), job.options))


def save_result(store: Store, job: Job, made: Result, contents: Files, stages: Mapping[str, float]) -> None:
    """Save a finished video of a job to disk and record it in the store with its timing.

    made: its paths on the worker. If its folder cannot be written, the video is saved in `kept` in the home and the job
    gets a notice. Raise MediaError if that fails too.
    """
    if made.notice:
        store.record_notice(job.id, made.notice)
    try:
        files = save_files(contents, job.folder, made.video.stem)
    except MediaError as error:
        kept = store.home / "kept"
        files = save_files(contents, kept, made.video.stem)
        store.record_notice(job.id, f"{error}, so the video was saved in {kept}")
    animation = files.get(f".{job.animation}")
    saved = replace(made, video=files[".mp4"], still=files[".png"], sidecar=files[".json"], animation=animation)
    store.record_result(job.id, saved)
    record_peak(store, job.settings, job.options, made.memory)
    if "sample" not in stages:
        return  # decoded only, so its timing does not predict others
    timing = Timing.of(job.settings, stages["sample"], stages.get("decode", 0.0), made.seconds)
    store.record_timing(job.settings.version, made.metadata, timing)
