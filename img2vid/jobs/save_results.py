"""Finished videos come from a worker as bytes; here they become files, whole or not at all."""

from collections.abc import Mapping
from pathlib import Path

from img2vid.errors import MediaError
from img2vid.files import publish, temporary_file, whole_file
from img2vid.jobs.estimate import Timing
from img2vid.jobs.job import Job, StoredResult
from img2vid.jobs.store import Store
from img2vid.jobs.worker import RenderResult
from img2vid.media.videos import COMPANIONS

Files = Mapping[str, bytes]
"""Contents by suffix: ".mp4", ".png", ".json", and ".gif" or ".webp" if that was asked for."""


def save_files(files: Files, folder: Path, stem: str) -> dict[str, Path]:
    """Writes a video and what lies beside it under one name, `stem` or the first free of `stem_2`, ...; by suffix.

    Raises MediaError where the folder cannot take them; then none of them is there.
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


def save_result(store: Store, job: Job, outcome: RenderResult) -> None:
    """Writes a finished video of a job to disk and into the store, with the time that it took.

    Where its folder cannot take it, it goes to `kept` in the home, and the job says so: no video is lost. Raises
    MediaError where that fails too.
    """
    try:
        files = save_files(outcome.files, job.folder, outcome.stem)
    except MediaError as error:
        kept = store.home / "kept"
        files = save_files(outcome.files, kept, outcome.stem)
        store.record_notice(job.id, f"{error}, so the video was put into {kept}")
    animation = files.get(f".{job.animation}")
    facts = (outcome.seed, outcome.seconds, outcome.metadata, outcome.memory)
    store.record_result(job.id, StoredResult(files[".mp4"], files[".png"], files[".json"], animation, *facts))
    stages = outcome.stages
    if "sample" not in stages:
        return  # it was only decoded, which says little about the next one
    seconds = (stages.get("sample", 0.0), stages.get("decode", 0.0), outcome.seconds)
    timing = Timing.of(job.settings, *seconds, outcome.model_memory, outcome.memory)
    store.record_timing(job.settings.version, outcome.metadata, timing)
