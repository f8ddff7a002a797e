"""Service with a real cluster, shared by the modules that use it."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import stand_ins
from job_client import Client, cluster_processes, worker_processes

from img2vid import paths
from img2vid.jobs.service import JobService
from img2vid.jobs.store import Store


@pytest.fixture(scope="session")
def checkpoints(random_checkpoint: Path) -> Path:
    """Return a folder with the checkpoints of two versions."""
    shutil.copy(random_checkpoint, random_checkpoint.with_name("svd_tiny_xt.safetensors"))
    return random_checkpoint.parent


@pytest.fixture(scope="module", autouse=True)
def surroundings(checkpoints: Path) -> Iterator[None]:
    """Set the environment of subprocesses: checkpoints, one thread, and the stand-ins on their path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMG2VID_CHECKPOINTS", str(checkpoints))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(paths.PROJECT), str(Path(__file__).parent)]))
        for name in ("IMG2VID_SCHEDULER", "IMG2VID_ENGINE", "IMG2VID_HOME", "CUDA_VISIBLE_DEVICES"):
            patch.delenv(name, raising=False)
        yield


class SharedService:
    """Service with a real cluster for consecutive modules that use it, as starting one takes seconds."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._service: JobService | None = None
        self._started = 0

    def get(self) -> JobService:
        """Return the service, started if needed. Stand-ins run the jobs with their names."""
        if self._service is None:
            self._started += 1
            store = Store(self._folder / f"home{self._started}" / "img2vid.sqlite")
            self._service = JobService(store, make=stand_ins.make, get_worker_info=stand_ins.get_worker_info)
            self._service.start()
        return self._service

    def stop(self) -> None:
        """Stop the service if it runs. The next use starts another one with its own home."""
        if self._service is not None:
            service, self._service = self._service, None
            service.stop()
            assert cluster_processes() == worker_processes() == []


SHARED = pytest.StashKey[SharedService]()


@pytest.fixture(scope="session")
def shared_service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedService]:
    shared = request.config.stash[SHARED] = SharedService(tmp_path_factory.mktemp("homes"))
    yield shared
    shared.stop()


def uses_shared_service(item: pytest.Item) -> bool:
    return "shared_service" in getattr(item, "fixturenames", ())


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Stop the shared service before a module without it, whose environment variables would reach its thread."""
    shared = item.config.stash.get(SHARED, None)
    if shared is None or (nextitem is not None and nextitem.path == item.path):
        return
    following = [each for each in item.session.items if nextitem is not None and each.path == nextitem.path]
    if not any(uses_shared_service(each) for each in following):
        shared.stop()


@pytest.fixture
def service(surroundings: None, shared_service: SharedService) -> JobService:
    """Return the running service."""
    return shared_service.get()


@pytest.fixture
def client(service: JobService, tmp_path: Path) -> Iterator[Client]:
    """Yield a client of the service and cancel its remaining jobs afterwards."""
    client = Client(service.store, tmp_path)
    yield client
    for job in client.store.jobs(limit=500):
        if not job.state.ended:
            service.cancel(job.id)
    for job in client.store.jobs(limit=500):
        client.end(job)
