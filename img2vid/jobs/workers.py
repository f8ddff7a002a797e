"""State of workers and active jobs, and the choice of a worker for a job."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from img2vid.errors import BadInput
from img2vid.files import read_bytes, reason
from img2vid.jobs.cluster import TaskHandle
from img2vid.jobs.estimate import Expected, seconds_left
from img2vid.jobs.job import Job, ModelStatus, State, seed_before
from img2vid.jobs.latent_cache import LatentCache, latents_key
from img2vid.jobs.store import Store
from img2vid.jobs.worker import RenderRequest, WorkerInfo
from img2vid.media.exports import last_frame
from img2vid.options import LoadOptions
from img2vid.progress import LONGEST, Event


@dataclass(eq=False)
class ActiveJob:
    """Job in progress. Its `index`-th video is running or is next."""

    job: Job
    usual: Expected | None
    started: float = 0.0
    """Time of `time.monotonic`, as the clock may jump."""
    index: int = 0
    losses: int = 0
    started_on_worker: bool = False
    cancelled: bool = False
    place: str = "at the start"
    """Stage and step of the latest event, for error messages."""

    @property
    def videos(self) -> int:
        """Number of videos or pictures of the job."""
        return self.job.count

    def progress(self, event: Event) -> Event:
        """Return an event of the current video with the times and videos of the whole job."""
        self.place = f"in the stage {event.stage!r}, step {event.step} of {event.total}"
        left = seconds_left(event.stage, event.seconds_left, self.usual, self.videos - self.index - 1)
        times = {"elapsed": min(time.monotonic() - self.started, LONGEST), "seconds_left": left}
        return replace(event, **times, video=self.index + 1, videos=self.videos, received=time.time())


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
    options: LoadOptions | None = None
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
    device = job.options.device
    if device.startswith("cuda:") and all(worker.name.startswith("cuda:") for worker in free):
        free = [worker for worker in free if worker.name == device]

    def distance(worker: WorkerState) -> int:
        if worker.status.state != "ready":
            return 1
        same = worker.status.version == job.model and worker.options == options_for(worker, job)
        return 0 if same else 2

    return min(free, key=distance, default=None)


def options_for(worker: WorkerState, job: Job) -> LoadOptions:
    """Return the engine options for a job on this worker. A worker named after its GPU sees only that one."""
    return replace(job.options, device="cuda") if worker.name == job.options.device else job.options


class NotMade(BadInput):
    """The video or picture that a job continues does not exist. `state` is the job's own state because of that."""

    def __init__(self, message: str, state: State) -> None:
        super().__init__(message)
        self.state = state


def with_input(store: Store, job: Job) -> Job:
    """Return a job with its picture. One that continues another gets its video's last frame, or its first picture.

    Raise NotMade if there is no such video or picture, and BadInput if its file cannot be read.
    """
    if not job.continues or job.picture.is_file():
        return job
    try:
        before = store.job(job.continues)
    except BadInput as error:
        raise NotMade("the video that it continues no longer exists", State.FAILED) from error
    if before.kind == "image":
        if before.state is not State.DONE or not before.pictures:
            raise NotMade(f"its picture was not made ({before.state.value})", before.state)
        try:
            return store.set_picture(job.id, read_bytes(before.pictures[0]))
        except OSError as error:
            raise BadInput(f"the picture {before.pictures[0]} can no longer be read ({reason(error)})") from error
    found = [result for result in before.results if result.seed == seed_before(job.settings.seed)]
    if not found or not found[0].video.is_file():
        stopped = before.state in (State.CANCELLED, State.INTERRUPTED, State.FAILED) and not found
        text = f"was not finished ({before.state.value})" if stopped else "no longer exists"
        raise NotMade(f"the video that it continues {text}", before.state if stopped else State.FAILED)
    return store.set_picture(job.id, last_frame(found[0].video))


def request_for(worker: WorkerState, work: ActiveJob, topic: str, cache: LatentCache) -> RenderRequest:
    """Return the request for a job's next picture or video, with cached latents.

    Raise BadInput if its input picture is missing.
    """
    job = work.job
    if job.image is not None:
        image, settings = job.image.one(work.index), job.settings
        return RenderRequest(
            job.id, topic, settings, options_for(worker, job), b"", job.picture_name, None, image=image
        )
    try:
        picture = job.picture.read_bytes()
    except OSError as error:
        raise BadInput(f"the picture {job.picture} can no longer be read ({reason(error)})") from error
    settings = job.settings_of(work.index)
    blob = cache.get(latents_key(job, work.index))
    name, animation = job.picture_name, job.animation
    return RenderRequest(job.id, topic, settings, options_for(worker, job), picture, name, animation, blob)
