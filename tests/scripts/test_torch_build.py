"""The build of torch on Linux: PyTorch's CPU build without a card, from a stand-in for its index."""

import functools
import http.server
import os
import socketserver
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_project import Project, write_wheel

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the choice is for Linux")
CARD = "0, 580.65, 12288, 300, 5, 40, 8.6, NVIDIA GeForce RTX 3060"


class Index:
    """PyTorch's index with CPU builds, and a default index whose builds need packages of CUDA. paths: requests."""

    def __init__(self, folder: Path) -> None:
        self.paths: list[str] = []
        for name in ("torch", "torchvision"):
            write_wheel(folder / "cpu" / name, name, "1.1+cpu", requires="bulb>=1")
            write_wheel(folder / "default" / name, name, "1.1", requires="nvidia_cublas")
        write_wheel(folder / "default" / "nvidia-cublas", "nvidia_cublas", "1.0")
        write_wheel(folder / "default" / "nvidia-ml-py", "nvidia_ml_py", "1.0")
        index = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                index.paths.append(self.path)

        handler = functools.partial(Handler, directory=str(folder))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    index = Index(tmp_path / "index")
    yield index
    index.server.shutdown()
    index.server.server_close()


@pytest.fixture
def needs_torch(project: Project, index: Index, tmp_path: Path) -> Project:
    """Return a project that needs torch and uses the stand-in's indexes."""
    project.require(
        "lamp>=1", "torch", "torchvision", lock=("lamp==1.1", "bulb==1.1", "torch==1.1", "torchvision==1.1")
    )
    del project.environment["PIP_NO_INDEX"]
    project.environment["PIP_INDEX_URL"] = f"{index.address}/default"
    answer_at(project, index.address)
    tools = tmp_path / "tools"
    tools.mkdir()
    project.environment["PATH"] = f"{tools}{os.pathsep}{project.environment['PATH']}"
    project.environment["PIP_RETRIES"] = project.environment["UV_HTTP_RETRIES"] = "0"
    return project


def answer_at(project: Project, address: str) -> None:
    """Let PyTorch's index be at this address."""
    path = project.folder / "img2vid" / "hardware.py"
    lines = path.read_text(encoding="utf-8").splitlines()
    changed = [f'INDEX = "{address}"' if line.startswith("INDEX = ") else line for line in lines]
    assert changed != lines
    path.write_text("\n".join(changed) + "\n", encoding="utf-8")


def add_card(project: Project) -> None:
    """Put an nvidia-smi on PATH that reports one GPU."""
    program = Path(project.environment["PATH"].partition(os.pathsep)[0]) / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho '{CARD}'\n", encoding="utf-8")
    program.chmod(0o755)


def names(project: Project) -> set[str]:
    return {path.name.partition("-")[0] for path in project.packages.glob("*.dist-info")}


def test_without_a_card_the_cpu_build_is_installed_and_kept(needs_torch: Project, index: Index):
    done = needs_torch.start("--setup-only")
    assert done.returncode == 0, done.stderr
    assert f"Installing PyTorch's CPU build from {index.address}/cpu." in done.stderr.splitlines()
    assert [needs_torch.version_of(name) for name in ("torch", "torchvision", "bulb")] == ["1.1+cpu", "1.1+cpu", "1.1"]
    assert "nvidia_cublas" not in names(needs_torch)
    asked = len(index.paths)
    needs_torch.require("lamp>=1", "torch", "torchvision", "cable")
    assert needs_torch.start("--setup-only").returncode == 0
    assert (needs_torch.version_of("cable"), needs_torch.version_of("torch")) == ("1.0", "1.1+cpu")
    assert not [path for path in index.paths[asked:] if path.startswith("/cpu")]


def test_with_a_card_the_index_is_not_asked(needs_torch: Project, index: Index):
    add_card(needs_torch)
    done = needs_torch.start("--setup-only")
    assert done.returncode == 0, done.stderr
    assert needs_torch.version_of("torch") == "1.1"
    assert "nvidia_cublas" in names(needs_torch)
    assert not [path for path in index.paths if path.startswith("/cpu")]


@pytest.mark.parametrize("fault", ["silent", "closed", "without torch"])
def test_an_index_that_fails_leaves_the_default_build(needs_torch: Project, index: Index, fault: str, tmp_path: Path):
    """`silent` accepts the connection and never answers."""
    if fault == "without torch":
        for path in (tmp_path / "index" / "cpu").glob("*/*.whl"):
            path.unlink()
        done = needs_torch.start("--setup-only")
    else:
        with socketserver.TCPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as quiet:
            address = f"http://127.0.0.1:{quiet.server_address[1]}"
            answer_at(needs_torch, address)
            if fault == "closed":
                quiet.server_close()
            done = needs_torch.start("--setup-only")
        assert f"No answer from {address}/cpu; using the default build of torch." in done.stderr.splitlines()
    assert done.returncode == 0, done.stderr
    assert needs_torch.version_of("torch") == "1.1"
    assert "Using the default build of torch." in done.stderr or fault != "without torch"


def test_the_build_can_be_chosen_and_changed(needs_torch: Project):
    """A change to the CPU build also removes what the other one needed, and nothing else."""
    assert needs_torch.start("--torch", "cuda", "sample").returncode == 7
    needs_torch.require("lamp>=1", "torch", "torchvision", "nvidia_ml_py")
    assert needs_torch.start("--setup-only", "--torch=keep").returncode == 0
    assert {"nvidia_cublas", "nvidia_ml_py"} <= names(needs_torch)
    done = needs_torch.start("--setup-only", "--torch", "cpu")
    assert done.returncode == 0, done.stderr
    assert needs_torch.version_of("torch") == "1.1+cpu"
    assert "nvidia_cublas" not in names(needs_torch) and "nvidia_ml_py" in names(needs_torch)
    add_card(needs_torch)
    assert needs_torch.start("--setup-only").stderr == ""
    assert needs_torch.version_of("torch") == "1.1+cpu"
    done = needs_torch.start("--setup-only", "--torch", "auto")
    assert done.returncode == 0, done.stderr
    assert needs_torch.version_of("torch") == "1.1"
    assert "nvidia_cublas" in names(needs_torch)


def test_a_wanted_build_that_cannot_be_had_is_an_error(needs_torch: Project):
    assert needs_torch.start("--setup-only", "--torch", "cuda").returncode == 0
    answer_at(needs_torch, "http://127.0.0.1:9")
    done = needs_torch.start("--setup-only", "--torch", "cpu")
    assert done.returncode == 1
    assert "Cannot install PyTorch's CPU build" in done.stderr and "Traceback" not in done.stderr
    assert needs_torch.version_of("torch") == "1.1"


@pytest.mark.parametrize("arguments", [["--torch"], ["--torch", "rocm"], ["--setup-only", "--torch=cu118"]])
def test_an_unknown_build_is_refused(new_project: Project, arguments: list[str]):
    done = new_project.start(*arguments)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "--torch takes auto, cpu, cuda, keep" in done.stderr
    assert not new_project.venv.exists()
