"""The service: it takes jobs, and where it is the active one of its home, sees to it that they are done.

Any number of processes may have a service for the same home; they meet in the store. One of them is active, holds the
lock of the home and has the cluster. When its process ends, however it ends, another one takes its place.
"""

import atexit
import logging
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from img2vid import paths
from img2vid.errors import Img2VidError, StoreError
from img2vid.file_lock import HomeLock, is_held
from img2vid.inference import EngineChoice
from img2vid.jobs.cluster import Cluster, open_cluster, scheduler_address
from img2vid.jobs.job import Job
from img2vid.jobs.scheduler import GetWorkerInfo, Render, Scheduler
from img2vid.jobs.store import Store
from img2vid.jobs.worker import make_video, worker_info
from img2vid.media.pictures import load_picture
from img2vid.settings import SampleSettings, check_provider
from img2vid.versions import find_version

logger = logging.getLogger(__name__)

TICK = 0.1
"""Seconds between two looks at the store, into which other processes write too."""
LOCK_EVERY = 0.5
"""Seconds between two tries to become the active service."""
RETRY_AFTER = 3.0
"""Seconds until a cluster that failed is opened again."""
STARTING = "the workers are being started"
NOTE = "desk"


class JobService:
    """Takes jobs and commands for the jobs of a store. All methods return at once, and may be called from any thread.

    Workers run `make` for each video, and `get_worker_info` once before.
    """

    def __init__(self, store: Store, make: Render = make_video, get_worker_info: GetWorkerInfo = worker_info) -> None:
        self.store = store
        self._render, self._get_worker_info = make, get_worker_info
        self._stopping = threading.Event()
        self._news = threading.Event()
        self._put_back = False
        self._thread: threading.Thread | None = None
        self._active = False
        self._trouble: str | None = None
        """What keeps the active service from working, told here because it may be the store itself."""
        self._noted: Any = None

    # Commands

    def start(self) -> None:
        """Begins to work in the background: as the active service, or in reserve while another one is active."""
        if self._thread is None:
            # By now the address is known to be one, so that a mistake in it is told here.
            scheduler_address()
            self._thread = threading.Thread(target=self._run, name="img2vid desk", daemon=True)
            self._thread.start()
            atexit.register(self.stop)

    def stop(self, put_back: bool = False) -> None:
        """Stops working; what runs is interrupted, or, if it is `put_back`, waits for another service."""
        atexit.unregister(self.stop)
        self._put_back = put_back
        self._stopping.set()
        self._news.set()
        if self._thread is not None:
            self._thread.join(timeout=30)

    def submit(
        self,
        settings: SampleSettings,
        choice: EngineChoice,
        picture: bytes,
        picture_name: str,
        suffix: str,
        folder: Path | None = None,
        animation: str | None = None,
    ) -> Job:
        """A new job at the end of the queue; see `Store.add`.

        Raises BadInput for a picture that cannot be read, settings that the version or the engine cannot make, an
        engine's choice that is none, and a folder that cannot be written; CheckpointError where the checkpoint is
        missing, unless the workers are elsewhere.
        """
        return self.submit_all([(settings, choice)], picture, picture_name, suffix, folder, animation)[0]

    def submit_all(
        self,
        wanted: Sequence[tuple[SampleSettings, EngineChoice]],
        picture: bytes,
        picture_name: str,
        suffix: str,
        folder: Path | None = None,
        animation: str | None = None,
    ) -> list[Job]:
        """New jobs with one picture at the end of the queue, in order; where one is refused, none is added."""
        load_picture(picture, name=picture_name)
        for settings, choice in wanted:
            version = find_version(settings.version)
            version.check_size(settings)
            choice.check()
            check_provider(settings, choice.provider)
            paths.require_writable(self.store.home / version.name if folder is None else folder)
            if not self.is_remote():
                version.require_checkpoint()
        jobs = [self.store.add(*one, picture, picture_name, suffix, folder, animation) for one in wanted]
        self._news.set()
        return jobs

    def cancel(self, job_id: str) -> None:
        """Ends a waiting job; a running one stops within a step."""
        self.store.cancel(job_id)
        self._news.set()

    def resubmit(self, job_id: str) -> Job:
        """A new job like that one, at the end of the queue."""
        job = self.store.resubmit(job_id)
        self._news.set()
        return job

    def move(self, job_id: str, place: int) -> None:
        """Gives a waiting job another place in the queue; 0 is the next to run."""
        self.store.move(job_id, place)

    def clear_queue(self) -> int:
        """Ends all waiting jobs; returns how many there were."""
        return self.store.clear_queue()

    def load(self, version: str, choice: EngineChoice) -> None:
        """Has the model loaded as soon as no job needs the workers; `Store.model` tells how far that is.

        Raises BadInput for an unknown version, CheckpointError where its checkpoint is missing.
        """
        found = find_version(version)
        if not self.is_remote():
            found.require_checkpoint()
        self.store.request_model(version, choice)
        self._news.set()

    def unload(self) -> None:
        """Has the workers let go of their model, as soon as no job needs it."""
        self.store.request_model("", EngineChoice())
        self._news.set()

    # What there is

    def status(self) -> str | None:
        """Why jobs cannot run just now, in a sentence; None when all is well."""
        if self._trouble is not None:
            return self._trouble
        note = self.store.note(NOTE) if self._active or is_held(self.store.home) else None
        return STARTING if note is None else note["status"]

    def failure(self) -> str | None:
        """What keeps this service from opening its cluster, in a sentence; None for a service in reserve."""
        return self._trouble

    def workers(self) -> list[tuple[str, str, str]]:
        """Name, host and device of each worker."""
        note = self.store.note(NOTE)
        return [] if note is None else [(name, host, device) for name, host, device in note["workers"]]

    def is_remote(self) -> bool:
        """Whether jobs run on the user's own cluster, whose machines have checkpoints of their own."""
        if not self._active and is_held(self.store.home):
            note = self.store.note(NOTE)
            return note is not None and note["scheduler"] is not None
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
        """Works as the active service until it is stopped."""
        dispatcher = Scheduler(self.store, self._render, self._get_worker_info)
        settled = False
        while not self._stopping.is_set():
            with self._retrying("the cluster"):
                if not settled:
                    self._note(STARTING, [])
                    self.store.recover()
                    self.store.drop_models()
                    settled = True
                with open_cluster(self.store.home) as cluster:
                    self._dispatch(dispatcher, cluster)
        with self._retrying("the end"):
            dispatcher.end(self._put_back)

    def _dispatch(self, dispatcher: Scheduler, cluster: Cluster) -> None:
        """Works with one cluster, as long as that is there."""
        dispatcher.attach(cluster)
        try:
            while not self._stopping.is_set() and cluster.is_up:
                with self._retrying("the store", StoreError):
                    dispatcher.tick()
                    self._note(dispatcher.problem(), dispatcher.workers())
                self._news.wait(TICK)
                self._news.clear()
        finally:
            if self._stopping.is_set():
                dispatcher.end(self._put_back)
            dispatcher.detach()

    @contextmanager
    def _retrying(self, what: str, kind: type[Exception] = Exception) -> Generator[None, None, None]:
        """Whatever happens in the block is told, and after a while the service goes on: jobs are safe in the store."""
        try:
            yield
            self._trouble = None
        except kind as error:
            if self._stopping.is_set() or not threading.main_thread().is_alive():
                return  # at the end of the program whatever fails is of no interest
            known = isinstance(error, Img2VidError)
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            trouble = str(error) if known else f"{what} failed with {reason}"
            if not known and trouble != self._trouble:
                logger.exception("%s failed", what)
            self._trouble = trouble
            with suppress(StoreError):
                self._note(self._trouble, [])
            self._stopping.wait(RETRY_AFTER)

    def _note(self, status: str | None, workers: list[tuple[str, str, str]]) -> None:
        """Tells the services in other processes."""
        note = {"status": status, "workers": workers, "scheduler": scheduler_address()}
        if note != self._noted:
            self.store.write_note(NOTE, note)
            self._noted = note
