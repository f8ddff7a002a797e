"""Fixtures: a project with an empty checkpoint folder, a downloadable version, and its file server."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from file_server import FileServer, checkpoint_bytes

from img2vid import paths
from img2vid.checkpoints.download import Timeouts
from img2vid.versions import ModelVersion, find_version

DATA = checkpoint_bytes()


@pytest.fixture
def server() -> Iterator[FileServer]:
    one = FileServer(DATA)
    one.start()
    yield one
    one.stop()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: FileServer) -> Path:
    """Return the checkpoint folder; requests to Hugging Face go to the test server, without a token."""
    folder = tmp_path / "project" / "checkpoints"
    folder.mkdir(parents=True)
    monkeypatch.setattr(paths, "PROJECT", tmp_path / "project")
    monkeypatch.setenv("IMG2VID_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    monkeypatch.setenv("NO_PROXY", "*")
    for name in ("IMG2VID_CHECKPOINTS", "IMG2VID_TRACEBACK", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def version(project: Path) -> ModelVersion:
    """Return svd_xt with the server's file as its checkpoint."""
    update = {
        "bytes": len(DATA),
        "sha256": hashlib.sha256(DATA).hexdigest(),
        "source": "huggingface.co/owner/model",
        "checkpoint": "model.safetensors",
    }
    return find_version("svd_xt").model_copy(update=update)


@pytest.fixture
def pauses() -> list[float]:
    """Seconds waited between attempts, in pieces; nothing really waits."""
    return []


@pytest.fixture
def patience(pauses: list[float]) -> Callable[..., Timeouts]:
    """Return a factory of timeouts that do not really wait."""

    def make(timeout: float = 5.0, attempts: int = 4) -> Timeouts:
        return Timeouts(timeout=timeout, attempts=attempts, sleep=pauses.append)

    return make
