"""State of workers and active jobs, and the choice of a worker for a job."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from img2vid.errors import BadInput
from img2vid.inference import EngineChoice
from img2vid.jobs.cluster import TaskHandle
from img2vid.jobs.estimate import Expected, seconds_left
from img2vid.jobs.job import Job, JobProgress, ModelStatus
from img2vid.jobs.latent_cache import LatentCache, latents_key
from img2vid.jobs.worker import RenderRequest, WorkerInfo


@dataclass(eq=False)
class ActiveJob:
    """Job in progress. Its `index`-th video is running or is next."""

    job: Job
    usual: Expected | None
    started: float = 0.0
    index: int = 0
    losses: int = 0
    started_on_worker: bool = False
    cancelled: bool = False
    place: str = "at the start"
    """Stage and step of the latest event, for error messages."""

    @property
    def videos(self) -> int:
        """Number of videos of the job."""
        return self.job.settings.num_samples

    def progress(self, event: dict[str, Any]) -> JobProgress:
        """Convert a worker event of the current video for display."""
        stage, step, total = event["stage"], event["step"], event["total"]
        self.place = f"in the stage {stage!r}, step {step} of {total}"
        return JobProgress(
            stage=stage,
            step=step,
            total=total,
            sigma=event["sigma"],
            elapsed=max(time.time() - self.started, 0.0),
            seconds_left=seconds_left(stage, event["left"], self.usual, self.videos - self.index - 1),
            memory=event["memory"],
            preview=event["preview"],
            video=self.index + 1,
            videos=self.videos,
        )


@dataclass(eq=False)
class WorkerState:
    """Worker with its latest `task`. `on_done` is called when that is done."""

    address: str
    task: TaskHandle
    on_done: Callable[["WorkerState"], None]
    busy: bool = True
    work: ActiveJob | None = None
    """The job that it runs."""
    info: WorkerInfo | None = None
    status: ModelStatus = field(default_factory=ModelStatus)
    choice: EngineChoice | None = None
    """Engine options of the model requested last. When `status` is ready, those of the loaded model."""
    last_request: int = 0
    """Number of the last model request that it handled."""
    last_error: str = ""
    """Error that it reported before it exited."""

    @property
    def is_free(self) -> bool:
        """True if the worker is ready and idle."""
        return self.info is not None and not self.busy

    @property
    def name(self) -> str:
        """Name of the worker. In a local cluster with several GPUs it is the GPU's device name."""
        return "" if self.info is None else self.info.name


def best_worker(free: list[WorkerState], job: Job) -> WorkerState | None:
    """Return the idle worker that suits a job best: one with its model, else without a model, else any.

    None if the job must wait for the worker of a certain GPU.
    """
    device = job.choice.device
    if device.startswith("cuda:") and all(worker.name.startswith("cuda:") for worker in free):
        free = [worker for worker in free if worker.name == device]

    def distance(worker: WorkerState) -> int:
        if worker.status.state != "ready":
            return 1
        same = worker.status.version == job.settings.version and worker.choice == choice_for(worker, job)
        return 0 if same else 2

    return min(free, key=distance, default=None)


def choice_for(worker: WorkerState, job: Job) -> EngineChoice:
    """Return the engine options for a job on this worker. A worker named after its GPU sees only that one."""
    return replace(job.choice, device="cuda") if worker.name == job.choice.device else job.choice


def request_for(worker: WorkerState, work: ActiveJob, topic: str, cache: LatentCache) -> RenderRequest:
    """Return the request for a job's next video, with cached latents. Raise BadInput if its picture is missing."""
    job = work.job
    try:
        picture = job.picture.read_bytes()
    except OSError as error:
        raise BadInput(f"the picture {job.picture} can no longer be read ({error.strerror})") from error
    settings = job.settings_of(work.index)
    blob = cache.get(latents_key(job, work.index))
    name, animation = job.picture_name, job.animation
    return RenderRequest(job.id, topic, settings, choice_for(worker, job), picture, name, animation, blob)
