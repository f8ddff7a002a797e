"""Fake job service on a real store; tests play its worker."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from made_videos import frames_of, write_result
from PIL import Image

from img2vid.errors import BadInput
from img2vid.jobs.job import Job, ModelStatus, State
from img2vid.jobs.store import Store
from img2vid.jobs.workers import with_input
from img2vid.media.png import with_text
from img2vid.options import LoadOptions
from img2vid.progress import Event
from img2vid.settings import SampleSettings
from img2vid.text_to_image.pipeline import KEYWORD
from img2vid.text_to_image.settings import ImageSettings
from img2vid.text_to_image.versions import find_image_version
from img2vid.versions import find_version


class FakeService:
    """Interface of img2vid.jobs.service.JobService, plus methods that act as the worker."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.calls: list[tuple[Any, ...]] = []
        self.status_text: str | None = None
        self.is_active = False
        self.remote = False
        self.wrong_address = ""

    def start(self) -> None:
        if self.wrong_address:
            raise BadInput(self.wrong_address)

    def submit(
        self,
        wanted: Sequence[tuple[SampleSettings, LoadOptions]],
        picture: bytes,
        picture_name: str,
        suffix: str,
        folder: Path | None = None,
        animation: str | None = None,
    ) -> list[Job]:
        for settings, _ in wanted:
            if not self.remote:
                find_version(settings.version).require_checkpoint()
        return [self.store.add(*one, picture, picture_name, suffix, folder, animation) for one in wanted]

    def continue_video(self, before: Job, wanted: Sequence[SampleSettings], folder: Path | None = None) -> list[Job]:
        jobs = [before]
        for settings in wanted:
            jobs.append(self.store.add_link(jobs[-1], settings, folder or self.store.home / settings.version))
        return jobs[1:]

    def submit_image(
        self,
        image: ImageSettings,
        settings: SampleSettings,
        options: LoadOptions,
        folder: Path | None = None,
        animation: str | None = None,
        *,
        animate: bool = False,
    ) -> list[Job]:
        find_image_version(image.model).require_checkpoint()
        jobs = [self.store.add_image(image, settings, options, folder, animation)]
        if animate:
            jobs.append(self.store.add_link(jobs[0], settings, jobs[0].folder))
        return jobs

    def cancel(self, job_id: str) -> None:
        self.store.cancel(job_id)

    def resubmit(self, job_id: str) -> Job:
        return self.store.resubmit(job_id)

    def move(self, job_id: str, place: int) -> None:
        self.store.move(job_id, place)

    def clear_queue(self) -> int:
        return self.store.clear_queue()

    def load(self, version: str, options: LoadOptions) -> None:
        self.calls.append(("load", version, options))
        self.store.request_model(version, options)

    def unload(self) -> None:
        self.calls.append(("unload",))
        self.store.request_model("", LoadOptions())

    def status(self) -> str | None:
        return self.status_text

    def failure(self) -> str | None:
        return None

    def workers(self) -> list[tuple[str, str, str]]:
        return [("worker 1", "this computer", "cpu")]

    def is_remote(self) -> bool:
        return self.remote

    # Worker actions

    def has_loaded(self, version: str, advice: str = "") -> None:
        status = ModelStatus(
            "ready", version, "native", "cpu", "fp32", 15_000_000, 15_000_000, 120_000_000, advice=advice
        )
        self.store.record_model("worker 1", status)

    def is_loading(self, version: str, done: int, total: int) -> None:
        self.store.record_model("worker 1", ModelStatus("loading", version, "native", "cpu", "fp32", done, total))

    def has_failed_to_load(self, version: str, error: str) -> None:
        self.store.record_model("worker 1", ModelStatus("failed", version, error=error))

    def begins(self, job: Job) -> None:
        assert self.store.start(job.id)

    def is_at(
        self,
        job: Job,
        stage: str,
        step: int,
        total: int,
        seconds_left: float | None = None,
        memory: int = 400_000_000,
    ) -> None:
        event = Event(stage, step, total, 12.0, seconds_left, 3.5, memory=memory, preview=moving_picture())
        self.store.record_progress(job.id, event)

    def finishes(self, job: Job) -> Job:
        """Write small real files for every video of a job and finish it."""
        if job.state is State.WAITING:
            self.begins(job)
        job = with_input(self.store, job)
        for index in range(job.settings.num_samples):
            self.store.record_result(job.id, write_result(job, job.settings.seed + index))
        self.store.finish(job.id, State.DONE)
        return self.store.job(job.id)

    def makes_pictures(self, job: Job, count: int) -> list[Path]:
        """Make the next pictures of a job, which carry their settings, and finish it after the last one."""
        assert job.image is not None
        if job.state is State.WAITING:
            self.begins(job)
        for index in range(job.done, job.done + count):
            one = job.image.one(index)
            packed = io.BytesIO()
            Image.new("RGB", (one.width, one.height), (40 * index, 80, 120)).save(packed, format="PNG")
            data = with_text(packed.getvalue(), KEYWORD, json.dumps({"image": one.model_dump()}))
            self.store.record_picture(job.id, self.store.keep_picture(data, ".png").name, f"{job.id} {index}")
        made = self.store.job(job.id)
        if made.done == made.count:
            self.store.finish(job.id, State.DONE)
        return list(made.pictures)

    def fails(self, job: Job, error: str, details: str = "") -> None:
        self.begins(job)
        self.store.finish(job.id, State.FAILED, error, "OutOfMemory", details)


def moving_picture() -> bytes:
    """Return a small animated GIF, the format of previews."""
    frames = [Image.fromarray(frame) for frame in frames_of(3)]
    packed = io.BytesIO()
    frames[0].save(packed, format="GIF", save_all=True, append_images=frames[1:], duration=100, loop=0)
    return packed.getvalue()
