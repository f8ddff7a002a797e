"""A desk with a real cluster, which the tests of a module share as starting one takes seconds."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import stand_ins
from job_client import Client, cluster_processes, worker_processes

from img2vid import paths
from img2vid.jobs.desk import Desk
from img2vid.jobs.store import Store


@pytest.fixture(scope="session")
def checkpoints(random_checkpoint: Path) -> Path:
    """A folder with the checkpoints of two versions."""
    shutil.copy(random_checkpoint, random_checkpoint.with_name("svd_tiny_xt.safetensors"))
    return random_checkpoint.parent


@pytest.fixture(scope="module", autouse=True)
def surroundings(checkpoints: Path) -> Iterator[None]:
    """What processes that the tests start inherit: their checkpoints, one thread, and the stand-ins on their path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMG2VID_CHECKPOINTS", str(checkpoints))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(paths.PROJECT), str(Path(__file__).parent)]))
        for name in ("IMG2VID_SCHEDULER", "IMG2VID_ENGINE", "IMG2VID_HOME", "CUDA_VISIBLE_DEVICES"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="module")
def desk(surroundings: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A desk that works; jobs whose names say so are done by stand-ins."""
    desk = Desk(Store(tmp_path_factory.mktemp("home") / "img2vid.sqlite"), make=stand_ins.make, greet=stand_ins.greet)
    desk.start()
    yield desk
    desk.stop()
    assert cluster_processes() == worker_processes() == []


@pytest.fixture
def client(desk: Desk, tmp_path: Path) -> Iterator[Client]:
    """A client of the desk; what it leaves is cancelled."""
    client = Client(desk.store, tmp_path)
    yield client
    for job in client.store.jobs(limit=500):
        if not job.state.ended:
            desk.cancel(job.id)
    for job in client.store.jobs(limit=500):
        client.end(job)
