"""Atomic saving of finished videos, which workers send as bytes."""

from collections.abc import Mapping
from pathlib import Path

from img2vid.errors import MediaError
from img2vid.files import publish, temporary_file, whole_file
from img2vid.jobs.estimate import Timing
from img2vid.jobs.job import Job, StoredResult
from img2vid.jobs.peaks import record_peak
from img2vid.jobs.store import Store
from img2vid.jobs.worker import RenderResult
from img2vid.media.videos import COMPANIONS

Files = Mapping[str, bytes]
"""Contents by suffix: ".mp4", ".png", ".json", and ".gif" or ".webp" if requested."""


def save_files(files: Files, folder: Path, stem: str) -> dict[str, Path]:
    """Write a video and its companion files under one name, `stem` or the first free of `stem_2`, ...

    Return the paths by suffix. Raise MediaError and leave no file behind if the folder cannot be written.
    """
    written: dict[str, Path] = {}
    try:
        with temporary_file(folder) as part:
            part.write_bytes(files[".mp4"])
            written[".mp4"] = publish(part, folder / f"{stem}.mp4", companions=COMPANIONS)
        for suffix in files.keys() - {".mp4"}:
            path = written[".mp4"].with_suffix(suffix)
            with whole_file(path) as part:
                part.write_bytes(files[suffix])
            written[suffix] = path
    except BaseException as error:
        for path in written.values():
            path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise MediaError(f"nothing can be written to {folder} ({error.strerror or error})") from error
        raise
    return written


def save_result(store: Store, job: Job, result: RenderResult) -> None:
    """Save a finished video of a job to disk and record it in the store with its timing.

    If its folder cannot be written, the video is saved in `kept` in the home and the job gets a notice. Raise
    MediaError if that fails too.
    """
    try:
        files = save_files(result.files, job.folder, result.stem)
    except MediaError as error:
        kept = store.home / "kept"
        files = save_files(result.files, kept, result.stem)
        store.record_notice(job.id, f"{error}, so the video was saved in {kept}")
    animation = files.get(f".{job.animation}")
    facts = (result.seed, result.seconds, result.metadata, result.memory)
    store.record_result(job.id, StoredResult(files[".mp4"], files[".png"], files[".json"], animation, *facts))
    record_peak(store, job.settings, job.choice, result.memory)
    stages = result.stages
    if "sample" not in stages:
        return  # decoded only, so its timing does not predict others
    seconds = (stages.get("sample", 0.0), stages.get("decode", 0.0), result.seconds)
    store.record_timing(job.settings.version, result.metadata, Timing.of(job.settings, *seconds))
