"""Job service: accepts jobs and, if it is the active service of its home, runs them.

Several processes may have a service for the same home; they share the store. The active one holds the lock of the home
and the cluster. When its process exits for any reason, another service becomes active.
"""

import atexit
import logging
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from img2vid import paths
from img2vid.errors import Img2VidError, StoreError
from img2vid.file_lock import HomeLock, is_held
from img2vid.jobs.cluster import Cluster, open_cluster, scheduler_address
from img2vid.jobs.job import Job
from img2vid.jobs.scheduler import GetWorkerInfo, Render, Scheduler
from img2vid.jobs.store import Store
from img2vid.jobs.worker import make_video, worker_info
from img2vid.media.pictures import load_picture
from img2vid.options import LoadOptions
from img2vid.remedies import require_text
from img2vid.settings import SampleSettings
from img2vid.settings_validation import check_provider
from img2vid.text_to_image.settings import ImageSettings
from img2vid.text_to_image.versions import find_image_version
from img2vid.versions import find_version

logger = logging.getLogger(__name__)

TICK = 0.1
"""Seconds between two polls of the store, which other processes write too."""
LOCK_EVERY = 0.5
"""Seconds between two attempts to become the active service."""
RETRY_AFTER = 3.0
"""Seconds before a failed cluster is opened again."""
STARTING = "the workers are starting"
NOTE = "desk"


@dataclass(frozen=True)
class ServiceNote:
    """Status of the active service for other processes: see `JobService.status`, `workers` and `is_remote`."""

    status: str | None
    workers: list[tuple[str, str, str]]
    scheduler: str | None


_NOTE = TypeAdapter(ServiceNote | None)


class JobService:
    """Accepts jobs and commands for the jobs of a store. All methods are thread-safe and return at once.

    Workers run `get_worker_info` once and `make` for each video.
    """

    def __init__(self, store: Store, make: Render = make_video, get_worker_info: GetWorkerInfo = worker_info) -> None:
        self.store = store
        self._render, self._get_worker_info = make, get_worker_info
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._requeue = False
        self._thread: threading.Thread | None = None
        self._active = False
        self._error: str | None = None
        """Error that blocks the active service. Kept in memory; the store may have failed."""
        self._noted: ServiceNote | None = None

    # Commands

    def start(self) -> None:
        """Start the background thread, as the active service or in reserve while another one is active."""
        if self._thread is None:
            # Raises BadInput for an invalid address here instead of in the thread.
            scheduler_address()
            self._thread = threading.Thread(target=self._run, name="img2vid service", daemon=True)
            self._thread.start()
            atexit.register(self.stop)

    def stop(self, requeue: bool = False) -> None:
        """Stop the background thread. Running jobs are interrupted, or return to the queue if `requeue`."""
        atexit.unregister(self.stop)
        self._requeue = requeue
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=30)

    def submit(
        self,
        wanted: Sequence[tuple[SampleSettings, LoadOptions]],
        picture: bytes,
        picture_name: str,
        suffix: str,
        folder: Path | None = None,
        animation: str | None = None,
    ) -> list[Job]:
        """Add jobs with one picture to the end of the queue, in order, and return them; see `Store.add`.

        If one is invalid, none is added. Raise BadInput for an unreadable picture, settings that the version or the
        engine does not support, invalid engine options or a folder that cannot be written. Raise CheckpointError if a
        checkpoint is missing, unless the workers are remote.
        """
        load_picture(picture, name=picture_name)
        for settings, options in wanted:
            self._check(settings, options, folder)
        jobs = [self.store.add(*one, picture, picture_name, suffix, folder, animation) for one in wanted]
        self._wake.set()
        return jobs

    def continue_video(self, before: Job, wanted: Sequence[SampleSettings], folder: Path | None = None) -> list[Job]:
        """Add jobs that continue a job's video, each from the last frame of the one before it, and return them.

        The seeds follow that of the video, by one each. `folder` as in `submit`, and the same errors.
        """
        jobs: list[Job] = []
        for settings in wanted:
            self._check(settings, before.options, folder)
        for settings in wanted:
            target = self.store.output_folder(settings, folder)
            jobs.append(self.store.add_link(jobs[-1] if jobs else before, settings, target))
        self._wake.set()
        return jobs

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
        """Add a job for pictures from a prompt and, if `animate`, one that makes videos of the first; return them.

        Raise the errors of `submit`, for the pictures and, if `animate`, for the videos, and EngineUnavailable if
        optional packages are missing.
        """
        options.check()
        model = find_image_version(image.model)
        if animate:
            self._check(settings, options, folder)
        if not self.is_remote():
            require_text()
            model.require_checkpoint()
        jobs = [self.store.add_image(image, settings, options, folder, animation)]
        if animate:
            jobs.append(self.store.add_link(jobs[0], settings, jobs[0].folder))
        self._wake.set()
        return jobs

    def _check(self, settings: SampleSettings, options: LoadOptions, folder: Path | None) -> None:
        version = find_version(settings.version)
        version.check_size(settings)
        options.check()
        check_provider(settings, options.provider)
        paths.require_writable(self.store.output_folder(settings, folder))
        if not self.is_remote():
            version.require_checkpoint()

    def cancel(self, job_id: str) -> None:
        """Cancel a job. A running one stops after its current step."""
        self.store.cancel(job_id)
        self._wake.set()

    def resubmit(self, job_id: str) -> Job:
        """Add a copy of a job to the end of the queue and return it."""
        job = self.store.resubmit(job_id)
        self._wake.set()
        return job

    def move(self, job_id: str, place: int) -> None:
        """Move a waiting job to another place in the queue; 0 is the next to run."""
        self.store.move(job_id, place)

    def clear_queue(self) -> int:
        """Cancel all waiting jobs and return their number."""
        return self.store.clear_queue()

    def load(self, version: str, options: LoadOptions) -> None:
        """Request a model, loaded as soon as the workers are idle. `Store.model` returns its progress.

        Raise BadInput for an unknown version and CheckpointError if its checkpoint is missing.
        """
        found = find_version(version)
        if not self.is_remote():
            found.require_checkpoint()
        self.store.request_model(version, options)
        self._wake.set()

    def unload(self) -> None:
        """Request that workers unload their models as soon as they are idle."""
        self.store.request_model("", LoadOptions())
        self._wake.set()

    # Status

    def status(self) -> str | None:
        """Return a sentence on why jobs cannot run now, or None."""
        if self._error is not None:
            return self._error
        note = self._read_note() if self._active or is_held(self.store.home) else None
        return STARTING if note is None else note.status

    def failure(self) -> str | None:
        """Return a sentence on why this service cannot open its cluster, or None, also for a service in reserve."""
        return self._error

    @property
    def is_active(self) -> bool:
        """True if this is the active service of its home."""
        return self._active

    def workers(self) -> list[tuple[str, str, str]]:
        """Return name, host and device of each worker."""
        note = self._read_note()
        return [] if note is None else note.workers

    def is_remote(self) -> bool:
        """Return True if jobs run on the user's own cluster, whose machines have their own checkpoints."""
        if not self._active and is_held(self.store.home):
            note = self._read_note()
            return note is not None and note.scheduler is not None
        return scheduler_address() is not None

    # In the background

    def _run(self) -> None:
        lock = HomeLock(self.store.home)
        while not self._stopping.is_set():
            with self._retrying("the home"):
                if lock.acquire():
                    self._active = True
                    self._serve()
                else:
                    self._stopping.wait(LOCK_EVERY)
        self._active = False
        lock.release()

    def _serve(self) -> None:
        """Run as the active service until stopped."""
        scheduler = Scheduler(self.store, self._render, self._get_worker_info)
        recovered = False
        while not self._stopping.is_set():
            with self._retrying("the cluster"):
                if not recovered:
                    self.store.check()
                    self._note(STARTING, [])
                    self.store.recover()
                    self.store.drop_models()
                    recovered = True
                with open_cluster(self.store.home) as cluster:
                    self._run_scheduler(scheduler, cluster)
        with self._retrying("the end"):
            scheduler.end(self._requeue)

    def _run_scheduler(self, scheduler: Scheduler, cluster: Cluster) -> None:
        """Run the scheduler on one cluster while that is connected."""
        scheduler.attach(cluster)
        try:
            while not self._stopping.is_set() and cluster.is_up:
                with self._retrying("the store", StoreError):
                    scheduler.tick()
                    self._note(scheduler.problem(), scheduler.workers())
                self._wake.wait(TICK)
                self._wake.clear()
        finally:
            if self._stopping.is_set():
                scheduler.end(self._requeue)
            scheduler.detach()

    @contextmanager
    def _retrying(self, subject: str, kind: type[Exception] = Exception) -> Generator[None, None, None]:
        """Report an error of the block, then wait before the caller retries. Jobs are safe in the store."""
        try:
            yield
            self._error = None
        except kind as error:
            if self._stopping.is_set() or not threading.main_thread().is_alive():
                return  # errors during shutdown do not matter
            known = isinstance(error, Img2VidError)
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            message = str(error) if known else f"{subject} failed with {reason}"
            if not known and message != self._error:
                logger.exception("%s failed", subject)
            self._error = message
            with suppress(StoreError):
                self._note(self._error, [])
            self._stopping.wait(RETRY_AFTER)

    def _note(self, status: str | None, workers: list[tuple[str, str, str]]) -> None:
        """Publish the status to the services in other processes."""
        note = ServiceNote(status, workers, scheduler_address())
        if note != self._noted:
            self.store.write_note(NOTE, asdict(note))
            self._noted = note

    def _read_note(self) -> ServiceNote | None:
        """Return the status that the active service published last, or None."""
        try:
            return _NOTE.validate_python(self.store.note(NOTE))
        except ValidationError:  # a damaged row, which the next change replaces
            return None
