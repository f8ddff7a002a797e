"""Who does what: waiting jobs go to free workers in the order of the queue, and what comes back is written down.

Each worker has one order at a time, and each order is for one worker. So the queue can be changed until the last
moment, a worker that has the model is preferred, and when one is lost it is known what it was doing.

Where the store cannot be written, a StoreError ends the tick and the next one tries again: nothing is forgotten here
before it is written there.
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
from img2vid.jobs.estimate import Expected, expected
from img2vid.jobs.job import Job, ModelStatus, State
from img2vid.jobs.latent_cache import LatentCache, latents_key
from img2vid.jobs.save_results import save_result
from img2vid.jobs.store import Store
from img2vid.jobs.worker import RenderRequest, RenderResult, WorkerInfo
from img2vid.jobs.workers import ActiveJob, WorkerState, best_worker, choice_for, request_for

logger = logging.getLogger(__name__)

LOOK_EVERY = 0.5
"""Seconds between two looks at which workers are there."""
LOSSES = 2
"""A job whose worker was lost this often has failed."""

Render = Callable[[RenderRequest], RenderResult]
GetWorkerInfo = Callable[[], WorkerInfo]


class Scheduler:
    """Brings the jobs of a store and the workers of a cluster together, a `tick` at a time, all in one thread."""

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
        """Workers that cannot be used, and why."""
        self._works: list[ActiveJob] = []
        """Jobs that go on before those of the queue."""
        self._cache = LatentCache(store.home)
        self._events: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self._looked = float("-inf")
        self._lost_over: dict[int, int] = {}
        """By the number of a wish, how many workers were lost while they followed it."""

    def attach(self, cluster: Cluster) -> None:
        """Works with the workers of this cluster from now on."""
        self._cluster = cluster
        self._looked = float("-inf")
        cluster.listen(self._events.put)

    def detach(self) -> None:
        """All workers are gone; what they were doing is begun again when others come."""
        for worker in list(self._workers.values()):
            self._remove_worker(worker)
        self._unfit.clear()
        self._cluster = None

    def end(self, put_back: bool) -> None:
        """Stops what runs; it is interrupted, or waits again if it is put back."""
        works = [*self._works, *(worker.work for worker in self._workers.values() if worker.work is not None)]
        for worker in self._workers.values():
            worker.promise.cancel()
        self._workers.clear()
        self._works.clear()
        self._store.drop_models()
        for work in works:
            if work.withdrawn:
                self._store.finish(work.job.id, State.CANCELLED)
            elif put_back:
                self._store.requeue(work.job.id)
            else:
                reason = "the program was closed while the job was running; run it again"
                self._store.finish(work.job.id, State.INTERRUPTED, reason)

    def tick(self) -> None:
        """Looks once at everything and does what can be done now; ClusterError where the scheduler is gone."""
        self._read_events()
        if time.monotonic() - self._looked >= LOOK_EVERY:
            self._looked = time.monotonic()
            self._find_workers()
        for worker in list(self._workers.values()):
            if worker.busy and worker.promise.done():
                worker.settle(worker)
        self._cancel_tasks()
        self._assign_jobs()

    def problem(self) -> str | None:
        """What keeps jobs from running, in a sentence, or None."""
        if any(worker.hello for worker in self._workers.values()):
            return None
        if self._workers:
            return "the workers are being started"
        return next(iter(self._unfit.values()), "there is no worker; jobs wait until one is there")

    def workers(self) -> list[tuple[str, str, str]]:
        """Name, host and device of each worker."""
        known = [worker.hello for worker in self._workers.values() if worker.hello is not None]
        return [(hello.name, hello.host, hello.device) for hello in known]

    # Workers come and go

    def _find_workers(self) -> None:
        there = self._require_cluster.workers()
        for address in self._workers.keys() - there:
            self._remove_worker(self._workers[address])
        self._unfit = {address: why for address, why in self._unfit.items() if address in there}
        for address in sorted(there - self._workers.keys() - self._unfit.keys()):
            self._workers[address] = WorkerState(
                address, self._require_cluster.submit(address, self._get_worker_info), self._add_worker
            )

    def _add_worker(self, worker: WorkerState) -> None:
        worker.busy = False
        try:
            worker.hello = hello = worker.promise.result()
        except Exception as error:
            logger.exception("a worker cannot be used")  # whatever a foreign machine lacks
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            self._unfit[worker.address] = f"the worker {worker.address} cannot be used: {reason}"
        else:
            if hello.version == img2vid.__version__:
                return
            self._unfit[worker.address] = (
                f"the worker {hello.name} on {hello.host} has img2vid {hello.version}, this is {img2vid.__version__}; "
                "install the same on both"
            )
        del self._workers[worker.address]

    def _remove_worker(self, worker: WorkerState) -> None:
        """A worker is gone, and with it what it was doing."""
        self._store.drop_models([worker.address])
        if worker.work is not None:
            self._retry_or_fail(worker.work, f" ({worker.trouble})" if worker.trouble else "")
        elif worker.busy and worker.settle == self._on_idle:
            self._lost_over[worker.wish] = self._lost_over.get(worker.wish, 0) + 1
        worker.promise.cancel()
        del self._workers[worker.address]

    def _retry_or_fail(self, work: ActiveJob, why: str) -> None:
        """A job begins again, once."""
        losses = work.losses + 1
        if work.withdrawn:
            self._store.finish(work.job.id, State.CANCELLED)
        elif losses < LOSSES:
            self._store.record_notice(work.job.id, f"the worker was lost {work.place}{why}; the job was begun again")
            self._works.insert(0, work)
        else:
            advice = "" if why else "; if memory ran out, make the video smaller or set decode_t to a smaller number"
            reason = f"the worker was lost {losses} times, the last time {work.place}{why}{advice}"
            self._store.finish(work.job.id, State.FAILED, reason, WorkerLost.__name__)
        work.losses, work.given = losses, False

    # What is handed out

    def _assign_jobs(self) -> None:
        free = [worker for worker in self._workers.values() if worker.is_free]
        if not free:
            return
        for work in [*self._works, *map(self._active_job, self._store.queue(limit=50))]:
            worker = best_worker(free, work.job)
            if worker is not None and self._submit(worker, work):
                free.remove(worker)
            if not free:
                return
        for worker in free:
            self._apply_model_request(worker)

    def _active_job(self, job: Job) -> ActiveJob:
        return ActiveJob(job, self._expected(job), index=job.made)

    def _expected(self, job: Job) -> Expected | None:
        """How long one of its videos will take, judged by the past ones."""
        timing = self._store.timing(job.settings, job.choice)
        return None if timing is None else expected(timing, job.settings)

    def _submit(self, worker: WorkerState, work: ActiveJob) -> bool:
        """Gives a worker the next video of a job; False where the job is not to be run any more."""
        request = None
        if work.given or self._store.start(work.job.id, worker.name):
            work.given = True
            work.started = work.started or time.time()
            request = self._request(worker, work)
        if work in self._works:
            self._works.remove(work)
        if request is None:
            return False
        worker.work, worker.asked = work, choice_for(worker, work.job)
        self._submit_task(worker, self._collect, self._render, request)
        return True

    def _request(self, worker: WorkerState, work: ActiveJob) -> RenderRequest | None:
        """The next video of a job; None where there is none, and the job is ended."""
        if work.index >= work.videos:  # it was put back when all was done but this
            self._store.finish(work.job.id, State.DONE)
            return None
        try:
            return request_for(worker, work, self._require_cluster.topic, self._cache)
        except BadInput as error:
            self._store.finish(work.job.id, State.FAILED, str(error), type(error).__name__)
            return None

    def _apply_model_request(self, worker: WorkerState) -> None:
        """A worker that has nothing else to do loads the model that the user wants, or lets go of the one it has."""
        wish = self._store.model_request()
        if wish is None or wish.number <= worker.wish:
            return
        worker.wish, worker.asked = wish.number, wish.choice
        if self._lost_over.get(wish.number, 0) >= LOSSES:
            error = (
                f"the worker was lost {LOSSES} times while it loaded the model; it may need more memory than there is"
            )
            self._note_model(worker, ModelStatus("failed", wish.version, error=error))
            return
        arguments = (worker.address, self._require_cluster.topic)
        if wish.version:
            self._submit_task(worker, self._on_idle, worker_tasks.load_model, *arguments, wish.version, wish.choice)
        elif worker.status.state != "none":
            self._submit_task(worker, self._on_idle, worker_tasks.release_model, *arguments)

    def _cancel_tasks(self) -> None:
        """Stops the jobs that somebody cancelled; the worker is free when it has left the step that it is in."""
        working = [worker for worker in self._workers.values() if worker.work is not None]
        cancelled = self._store.to_cancel() if working or self._works else set[str]()
        for work in [work for work in self._works if work.job.id in cancelled]:
            self._store.finish(work.job.id, State.CANCELLED)
            self._works.remove(work)
        for worker in working:
            if worker.work is not None and worker.work.job.id in cancelled and not worker.work.withdrawn:
                worker.work.withdrawn = True
                worker.promise.cancel()
                self._submit_task(worker, self._on_stopped, worker_tasks.barrier)

    def _submit_task(
        self, worker: WorkerState, settle: Callable[[WorkerState], None], function: Callable[..., Any], *arguments: Any
    ) -> None:
        worker.busy, worker.settle = True, settle
        worker.promise = self._require_cluster.submit(worker.address, function, *arguments)

    @property
    def _require_cluster(self) -> Cluster:
        if self._cluster is None:
            raise AssertionError("a dispatcher is attached before it is used")
        return self._cluster

    # What comes back

    def _collect(self, worker: WorkerState) -> None:
        """A video is done, or failed."""
        work = worker.work
        if work is None:
            raise AssertionError("a video is made for a job")
        try:
            outcome: RenderResult = worker.promise.result()
        except WorkerLost:
            self._remove_worker(worker)
            return
        except Exception as error:
            logger.exception("an order failed outside of the program")
            sentence = " ".join(f"failed with {type(error).__name__}: {error}".split())
            outcome = RenderResult(error=sentence, error_type=type(error).__name__)
        self._record(work, outcome)
        worker.promise.cancel()  # so that neither the worker nor the scheduler keeps the video in memory
        worker.work, worker.busy = None, False

    def _record(self, work: ActiveJob, outcome: RenderResult) -> None:
        job = work.job
        if outcome.notice:
            self._store.record_notice(job.id, outcome.notice)
        if outcome.error:
            self._store.finish(job.id, State.FAILED, outcome.error, outcome.error_type, outcome.details)
        elif not outcome.files:
            self._store.finish(job.id, State.CANCELLED)
        else:
            try:
                save_result(self._store, job, outcome)
            except MediaError as error:
                self._store.finish(job.id, State.FAILED, str(error), type(error).__name__)
                return
            self._cache.drop(latents_key(job, work.index))
            work.index += 1
            work.usual = self._expected(job)
            if work.index < work.videos:
                self._works.insert(0, work)
            else:
                self._store.finish(job.id, State.DONE)

    def _on_idle(self, worker: WorkerState) -> None:
        """Loading or letting go is over; what came of it was told by events."""
        worker.busy = False

    def _on_stopped(self, worker: WorkerState) -> None:
        """The worker has left the run that was cancelled."""
        if worker.work is not None:
            self._store.finish(worker.work.job.id, State.CANCELLED)
        worker.work, worker.busy = None, False

    # Events

    def _read_events(self) -> None:
        newest: dict[str, dict[str, Any]] = {}
        while True:
            try:
                event = self._events.get_nowait()
            except Empty:
                break
            worker = self._workers.get(event["worker"])
            if worker is None:
                continue
            if event["kind"] == "trouble":
                worker.trouble = event["sentence"]
            elif event["kind"] == "model":
                self._note_model(worker, ModelStatus(**event["status"]))
            elif event["kind"] == "latents":
                self._keep_latents(worker.work, event)
            else:
                event["preview"] = event["preview"] or newest.get(worker.address, {}).get("preview", b"")
                newest[worker.address] = event
                if event["notice"] and worker.work is not None:
                    self._store.record_notice(worker.work.job.id, event["notice"])
        for address, event in newest.items():
            self._note_progress(self._workers[address], event)

    def _keep_latents(self, work: ActiveJob | None, event: dict[str, Any]) -> None:
        """Puts what a worker has sampled on the cache, unless its video is there by now."""
        if work is None or work.job.id != event["task"]:
            return
        if work.job.settings_of(work.index).seed == event["seed"]:
            self._cache.put(latents_key(work.job, work.index), event["packet"])

    def _note_model(self, worker: WorkerState, status: ModelStatus) -> None:
        worker.status = status
        self._store.record_model(worker.address, status)

    def _note_progress(self, worker: WorkerState, event: dict[str, Any]) -> None:
        if event["stage"] == "load" and worker.status.state == "loading":
            facts = {"done": event["step"], "total": event["total"], "memory": event["memory"]}
            self._note_model(worker, replace(worker.status, **facts))
        work = worker.work
        if work is not None and work.job.id == event["task"] and not work.withdrawn:
            self._store.record_progress(work.job.id, work.progress(event))
