"""Workers as the service knows them, jobs on their way, and which worker suits which job."""

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
    """A job on its way: its `index`-th video is being made, or is the next to be made."""

    job: Job
    usual: Expected | None
    started: float = 0.0
    index: int = 0
    losses: int = 0
    given: bool = False
    withdrawn: bool = False
    place: str = "at the start"
    """Where it was when it was last heard of."""

    @property
    def videos(self) -> int:
        """How many videos the job makes."""
        return self.job.settings.num_samples

    def progress(self, event: dict[str, Any]) -> JobProgress:
        """An event of the present video, as a page shows it."""
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
    """A worker: `promise` is what it was asked for last, `settle` what to do when that is there."""

    address: str
    promise: TaskHandle
    settle: Callable[["WorkerState"], None]
    busy: bool = True
    work: ActiveJob | None = None
    """The job that it works on."""
    hello: WorkerInfo | None = None
    status: ModelStatus = field(default_factory=ModelStatus)
    asked: EngineChoice | None = None
    """How the model was to be run that it was last asked for; when `status` is ready, how it is."""
    wish: int = 0
    """The number of the last wish that it followed."""
    trouble: str = ""
    """Its last words."""

    @property
    def is_free(self) -> bool:
        """Whether it can be given something."""
        return self.hello is not None and not self.busy

    @property
    def name(self) -> str:
        """What it calls itself; a worker of a cluster with several cards is named after its card."""
        return "" if self.hello is None else self.hello.name


def best_worker(free: list[WorkerState], job: Job) -> WorkerState | None:
    """The free worker that suits a job best: it has the model, or none, or at worst another one.

    None where the job waits for the worker of another card.
    """
    device = job.choice.device
    if device.startswith("cuda:") and all(worker.name.startswith("cuda:") for worker in free):
        free = [worker for worker in free if worker.name == device]

    def distance(worker: WorkerState) -> int:
        if worker.status.state != "ready":
            return 1
        same = worker.status.version == job.settings.version and worker.asked == choice_for(worker, job)
        return 0 if same else 2

    return min(free, key=distance, default=None)


def choice_for(worker: WorkerState, job: Job) -> EngineChoice:
    """How this worker runs a job: one that is named after its card sees no other."""
    return replace(job.choice, device="cuda") if worker.name == job.choice.device else job.choice


def request_for(worker: WorkerState, work: ActiveJob, topic: str, cache: LatentCache) -> RenderRequest:
    """The next video of a job, with what is kept of it, for one worker; BadInput where its picture is gone."""
    job = work.job
    try:
        picture = job.picture.read_bytes()
    except OSError as error:
        raise BadInput(f"the picture {job.picture} cannot be read any more ({error.strerror})") from error
    settings = job.settings_of(work.index)
    blob = cache.get(latents_key(job, work.index))
    name, animation = job.picture_name, job.animation
    return RenderRequest(job.id, topic, settings, choice_for(worker, job), picture, name, animation, blob)
