"""Scheduler: assigns queued jobs to idle workers in queue order and records their results.

Each worker has at most one task, and each task is bound to one worker. So the queue can change until a job starts,
workers that have the model are preferred, and the task of a lost worker is known.

If the store cannot be written, a StoreError ends the tick and the next tick retries. State is dropped here only after
it is stored.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Any

import img2vid
from img2vid.errors import BadInput, MediaError
from img2vid.jobs import worker as worker_tasks
from img2vid.jobs.cluster import Cluster, WorkerLost
from img2vid.jobs.estimate import Expected
from img2vid.jobs.fingerprint import of_picture
from img2vid.jobs.job import Job, ModelStatus, State
from img2vid.jobs.latent_cache import LatentCache, latents_key
from img2vid.jobs.save_results import save_picture, save_result
from img2vid.jobs.store import Store
from img2vid.jobs.worker import RenderRequest, RenderResult, WorkerInfo
from img2vid.jobs.workers import ActiveJob, NotMade, WorkerState, best_worker, options_for, request_for, with_input
from img2vid.progress import Event
from img2vid.text_to_image.versions import modified_at

logger = logging.getLogger(__name__)

POLL_WORKERS_EVERY = 0.5
"""Seconds between two updates of the list of workers."""
MAX_LOSSES = 2
"""A job fails after losing its worker this many times."""

Render = Callable[[RenderRequest], RenderResult]
GetWorkerInfo = Callable[[], WorkerInfo]


class Scheduler:
    """Runs the jobs of a store on the workers of a cluster, one `tick` at a time. Single-threaded."""

    def __init__(
        self,
        store: Store,
        make: Render = worker_tasks.make_video,
        get_worker_info: GetWorkerInfo = worker_tasks.worker_info,
    ) -> None:
        self._store, self._render, self._get_worker_info = store, make, get_worker_info
        self._cluster: Cluster | None = None
        self._workers: dict[str, WorkerState] = {}
        self._unfit: dict[str, str] = {}
        """Reasons why workers cannot be used, by address."""
        self._resumed: list[ActiveJob] = []
        """Jobs to continue before those of the queue."""
        self._cache = LatentCache(store.home)
        self._events: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self._polled = float("-inf")
        self._lost_on_request: dict[int, int] = {}
        """Number of workers lost while they handled a model request, by request number."""

    def attach(self, cluster: Cluster) -> None:
        """Use the workers of this cluster from now on."""
        self._cluster = cluster
        self._polled = float("-inf")
        cluster.listen(self._events.put)

    def detach(self) -> None:
        """Remove all workers. Their jobs restart when others join."""
        for worker in list(self._workers.values()):
            self._remove_worker(worker)
        self._unfit.clear()
        self._cluster = None

    def end(self, requeue: bool) -> None:
        """Stop running jobs. They become interrupted, or return to the queue if `requeue`."""
        active = [*self._resumed, *(worker.work for worker in self._workers.values() if worker.work is not None)]
        for worker in self._workers.values():
            worker.task.cancel()
        self._workers.clear()
        self._resumed.clear()
        self._store.drop_models()
        for work in active:
            if work.cancelled:
                self._store.finish(work.job.id, State.CANCELLED)
            elif requeue:
                self._store.requeue(work.job.id)
            else:
                reason = "the program was closed while the job was running; run it again"
                self._store.finish(work.job.id, State.INTERRUPTED, reason)

    def tick(self) -> None:
        """Handle events and finished tasks, then assign jobs. Raise ClusterError if the Dask scheduler is lost."""
        self._read_events()
        if time.monotonic() - self._polled >= POLL_WORKERS_EVERY:
            self._polled = time.monotonic()
            self._find_workers()
        for worker in list(self._workers.values()):
            if worker.busy and worker.task.done():
                worker.on_done(worker)
        self._cancel_tasks()
        self._assign_jobs()

    def problem(self) -> str | None:
        """Return a sentence on why jobs cannot run, or None."""
        if any(worker.info for worker in self._workers.values()):
            return None
        if self._workers:
            return "the workers are starting"
        return next(iter(self._unfit.values()), "no worker is connected; jobs wait until one joins")

    def workers(self) -> list[tuple[str, str, str]]:
        """Return name, host and device of each worker."""
        known = [worker.info for worker in self._workers.values() if worker.info is not None]
        return [(info.name, info.host, info.device) for info in known]

    # Workers

    def _find_workers(self) -> None:
        connected = self._require_cluster.workers()
        for address in self._workers.keys() - connected:
            self._remove_worker(self._workers[address])
        self._unfit = {address: reason for address, reason in self._unfit.items() if address in connected}
        for address in sorted(connected - self._workers.keys() - self._unfit.keys()):
            self._workers[address] = WorkerState(
                address, self._require_cluster.submit(address, self._get_worker_info), self._add_worker
            )

    def _add_worker(self, worker: WorkerState) -> None:
        worker.busy = False
        try:
            worker.info = info = worker.task.result()
        except Exception as error:  # another machine may lack any requirement
            logger.exception("a worker cannot be used")
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            self._unfit[worker.address] = f"the worker {worker.address} cannot be used: {reason}"
        else:
            if info.version == img2vid.__version__:
                self._store.record_speeds(info.speeds)
                return
            self._unfit[worker.address] = (
                f"the worker {info.name} on {info.host} has img2vid {info.version}, this is {img2vid.__version__}; "
                "install the same version on both"
            )
        del self._workers[worker.address]

    def _remove_worker(self, worker: WorkerState) -> None:
        """Remove a lost worker and retry or fail its job."""
        self._store.drop_models([worker.address])
        if worker.work is not None:
            self._retry_or_fail(worker.work, f" ({worker.last_error})" if worker.last_error else "")
        elif worker.busy and worker.on_done == self._on_idle:
            request = worker.last_request
            self._lost_on_request[request] = self._lost_on_request.get(request, 0) + 1
        worker.task.cancel()
        del self._workers[worker.address]

    def _retry_or_fail(self, work: ActiveJob, reason: str) -> None:
        """Restart a job after its first lost worker, or fail it."""
        losses = work.losses + 1
        if work.cancelled:
            self._store.finish(work.job.id, State.CANCELLED)
        elif losses < MAX_LOSSES:
            self._store.record_notice(work.job.id, f"the worker was lost {work.place}{reason}; the job was restarted")
            self._resumed.insert(0, work)
        else:
            advice = "" if reason else "; if memory ran out, make the video smaller or lower decode_t"
            error = f"the worker was lost {losses} times, the last time {work.place}{reason}{advice}"
            self._store.finish(work.job.id, State.FAILED, error, WorkerLost.__name__)
        work.losses, work.started_on_worker = losses, False

    # Assigning

    def _assign_jobs(self) -> None:
        free = [worker for worker in self._workers.values() if worker.is_free]
        if not free:
            return
        for work in [*self._resumed, *map(self._active_job, self._store.ready(limit=50))]:
            worker = best_worker(free, work.job)
            if worker is not None and self._submit(worker, work):
                free.remove(worker)
            if not free:
                return
        for worker in free:
            self._apply_model_request(worker)

    def _active_job(self, job: Job) -> ActiveJob:
        return ActiveJob(job, self._expected(job), index=job.done)

    def _expected(self, job: Job) -> Expected | None:
        """Return the expected cost of one of the job's videos; unknown for pictures."""
        return None if job.kind == "image" else self._store.expected(job.settings, job.options)

    def _submit(self, worker: WorkerState, work: ActiveJob) -> bool:
        """Submit the next video of a job to a worker; return False if the job must not run anymore."""
        request, refused = None, self._take_input(work)
        if work.started_on_worker or self._store.start(work.job.id, worker.name):
            work.started_on_worker = True
            work.started = work.started or time.monotonic()
            request = self._request(worker, work, refused)
        if work in self._resumed:
            self._resumed.remove(work)
        if request is None:
            return False
        worker.work, worker.options = work, options_for(worker, work.job)
        self._submit_task(worker, self._collect, self._render, request)
        return True

    def _take_input(self, work: ActiveJob) -> BadInput | None:
        """Give a job that continues a video its input before it starts, or return the error."""
        try:
            work.job = with_input(self._store, work.job)
        except BadInput as error:
            return error
        return None

    def _request(self, worker: WorkerState, work: ActiveJob, refused: BadInput | None) -> RenderRequest | None:
        """Return the request for the next video of a job, or finish the job and return None."""
        self._reuse_pictures(work)
        if work.index >= work.videos:  # requeued after its last video but before it was marked as done
            self._store.finish(work.job.id, State.DONE)
            return None
        try:
            if refused is not None:
                raise refused
            return request_for(worker, work, self._require_cluster.topic, self._cache)
        except BadInput as error:
            state = error.state if isinstance(error, NotMade) else State.FAILED
            self._store.finish(work.job.id, state, str(error), type(error).__name__)
            return None

    def _reuse_pictures(self, work: ActiveJob) -> None:
        """Record pictures that earlier jobs made with the same settings and model, instead of making them again."""
        image = work.job.image
        while image is not None and work.index < work.videos:
            likeness = of_picture(image.one(work.index), work.job.options)
            file = self._store.picture_like(likeness, since=modified_at(image.model))
            if file is None:
                return
            self._store.record_picture(work.job.id, file, likeness)
            work.index += 1

    def _apply_model_request(self, worker: WorkerState) -> None:
        """Load the model that the user requested on an idle worker, or unload its model."""
        request = self._store.model_request()
        if request is None or request.number <= worker.last_request:
            return
        worker.last_request, worker.options = request.number, request.options
        if self._lost_on_request.get(request.number, 0) >= MAX_LOSSES:
            error = (
                f"the worker was lost {MAX_LOSSES} times while it loaded the model; "
                "the model may need more memory than available"
            )
            self._record_model(worker, ModelStatus("failed", request.version, error=error))
            return
        arguments = (worker.address, self._require_cluster.topic)
        if request.version:
            arguments = (*arguments, request.version, request.options)
            self._submit_task(worker, self._on_idle, worker_tasks.load_model, *arguments)
        elif worker.status.state != "none":
            self._submit_task(worker, self._on_idle, worker_tasks.release_model, *arguments)

    def _cancel_tasks(self) -> None:
        """Stop cancelled jobs. A worker is idle again after its current step."""
        working = [worker for worker in self._workers.values() if worker.work is not None]
        cancelled = self._store.to_cancel() if working or self._resumed else set[str]()
        for work in [work for work in self._resumed if work.job.id in cancelled]:
            self._store.finish(work.job.id, State.CANCELLED)
            self._resumed.remove(work)
        for worker in working:
            if worker.work is not None and worker.work.job.id in cancelled and not worker.work.cancelled:
                worker.work.cancelled = True
                worker.task.cancel()
                self._submit_task(worker, self._on_stopped, worker_tasks.barrier)

    def _submit_task(
        self, worker: WorkerState, on_done: Callable[[WorkerState], None], function: Callable[..., Any], *arguments: Any
    ) -> None:
        worker.busy, worker.on_done = True, on_done
        worker.task = self._require_cluster.submit(worker.address, function, *arguments)

    @property
    def _require_cluster(self) -> Cluster:
        if self._cluster is None:
            raise AssertionError("the scheduler is attached before it is used")
        return self._cluster

    # Results

    def _collect(self, worker: WorkerState) -> None:
        """Record a finished or failed video."""
        work = worker.work
        if work is None:
            raise AssertionError("a render task belongs to a job")
        try:
            result: RenderResult = worker.task.result()
        except WorkerLost:
            self._remove_worker(worker)
            return
        except Exception as error:
            logger.exception("a task failed outside of the program")
            sentence = " ".join(f"failed with {type(error).__name__}: {error}".split())
            result = RenderResult(error=sentence, error_type=type(error).__name__)
        self._record(work, result)
        worker.task.cancel()  # frees the video's memory on the worker and in the Dask scheduler
        worker.work, worker.busy = None, False
        if work.job.kind == "image":
            worker.last_request = 0  # the requested model returns, if that of the pictures took its place

    def _record(self, work: ActiveJob, result: RenderResult) -> None:
        job = work.job
        if result.error:
            self._store.finish(job.id, State.FAILED, result.error, result.error_type, result.details)
        elif result.made is None and not result.picture:
            self._store.finish(job.id, State.CANCELLED)
        else:
            try:
                if result.made is None:
                    save_picture(self._store, job, work.index, result.picture)
                else:
                    save_result(self._store, job, result.made, result.files, result.stages)
                    self._cache.drop(latents_key(job, work.index))
            except MediaError as error:
                self._store.finish(job.id, State.FAILED, str(error), type(error).__name__)
                return
            work.index += 1
            work.usual = self._expected(job)
            if work.index < work.videos:
                self._resumed.insert(0, work)
            else:
                self._store.finish(job.id, State.DONE)

    def _on_idle(self, worker: WorkerState) -> None:
        """Mark a worker as idle after it loaded or unloaded a model. Events report the model's status."""
        worker.busy = False

    def _on_stopped(self, worker: WorkerState) -> None:
        """Finish the cancelled job of a worker that has left its run."""
        if worker.work is not None:
            self._store.finish(worker.work.job.id, State.CANCELLED)
        worker.work, worker.busy = None, False

    # Events

    def _read_events(self) -> None:
        newest: dict[str, tuple[str, Event]] = {}
        while True:
            try:
                message = self._events.get_nowait()
            except Empty:
                break
            worker = self._workers.get(message["worker"])
            if worker is None:
                continue
            if message["kind"] == "error":
                worker.last_error = message["sentence"]
            elif message["kind"] == "model":
                self._record_model(worker, ModelStatus(**message["status"]))
            elif message["kind"] == "latents":
                self._keep_latents(worker.work, message)
            else:
                event = Event(**message["event"])
                if worker.address in newest and not event.preview:
                    event = replace(event, preview=newest[worker.address][1].preview)
                newest[worker.address] = message["task"], event
                if event.notice and worker.work is not None:
                    self._store.record_notice(worker.work.job.id, event.notice)
        for address, (task, event) in newest.items():
            self._record_progress(self._workers[address], task, event)

    def _keep_latents(self, work: ActiveJob | None, message: dict[str, Any]) -> None:
        """Cache latents from a worker unless their video is already finished."""
        if work is None or work.job.id != message["task"]:
            return
        if work.job.settings_of(work.index).seed == message["seed"]:
            self._cache.put(latents_key(work.job, work.index), message["blob"])

    def _record_model(self, worker: WorkerState, status: ModelStatus) -> None:
        worker.status = status
        self._store.record_model(worker.address, status)

    def _record_progress(self, worker: WorkerState, task: str, event: Event) -> None:
        if event.stage == "load" and worker.status.state == "loading":
            status = replace(worker.status, done=event.step, total=event.total, memory=event.memory)
            self._record_model(worker, status)
        work = worker.work
        if work is not None and work.job.id == task and not work.cancelled:
            self._store.record_progress(work.job.id, work.progress(event))
