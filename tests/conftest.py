"""Shared fixtures: a model with the shapes of svd_tiny and random weights, and the marking of slow tests."""

import math
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tiny_sdxl
from hypothesis import settings

from img2vid import paths
from img2vid.remedies import TEXT
from img2vid.versions import ModelVersion, find_version

# A shell without a terminal starts background processes with SIGINT ignored, and subprocesses of tests inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is slow, and no test asserts how long something takes.
settings.register_profile("img2vid", deadline=None)
settings.load_profile("img2vid")

SLOW = (
    *("browser", "notebooks", "scripts", "training", "bench", "engine/bench", "engine/fast", "windows"),
    *("engine/memory", "engine/weights/test_shared_modules.py", "engine/test_approximations.py"),
    *("jobs/test_cli_studies.py", "jobs/test_cluster.py", "jobs/test_service.py", "jobs/test_wait.py"),
    *("jobs/test_killed.py", "jobs/test_many.py", "jobs/test_own_cluster.py", "test_main.py", "test_pipeline.py"),
    *("web/test_serve.py", "cli/test_cli_sample.py", "cli/test_cli_bench.py", "doctor/test_doctor_command.py"),
    *("ui/test_compare_page.py", "ui/test_gallery_page.py", "ui/test_sweeps_page.py", "media/test_composites.py"),
    *("engine/weights/test_damaged_checkpoint.py", "engine/weights/test_detect_config.py", "jobs/test_latent_cache.py"),
)
"""Folders and files whose tests start servers, browsers or many processes, train, run every fast path or memory plan,
or make many videos."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that `scripts/test.py --quick` skips."""
    places = [Path(__file__).parent / name for name in SLOW]
    assert all(place.exists() for place in places)
    slow = {path for path in {item.path for item in items} if any(path.is_relative_to(place) for place in places)}
    for item in items:
        if item.path in slow:
            item.add_marker("slow")


MAIN = sys.modules["__main__"]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Restore `__main__`: Streamlit's AppTest leaves its script there, and every new process would run it again."""
    sys.modules["__main__"] = MAIN


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    """Restore `__main__` after the fixtures."""
    sys.modules["__main__"] = MAIN


LONG = 10.0
"""Seconds above which a test outside tests/browser needs the mark `takes_long` with its reason."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List slow tests without a reason. They do not fail, because times differ between computers."""
    for report in terminalreporter.stats.get("passed", []):
        inside = report.nodeid.startswith("tests/browser/") or "takes_long" in report.keywords
        if report.when == "call" and report.duration > LONG and not inside:
            terminalreporter.write_line(f"{report.duration:.1f} s without a mark takes_long: {report.nodeid}")


@pytest.fixture(scope="session")
def random_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return svd_tiny.safetensors with the names and shapes of configs/svd_tiny.yaml, in float16 and deterministic.

    Weights are scaled so that every layer preserves the magnitude of activations, as in a trained model.
    """
    import torch
    from safetensors.torch import save_file

    from img2vid.engine.config import load_config
    from img2vid.engine.model import build_meta

    model = build_meta(load_config(paths.CONFIGS / "svd_tiny.yaml"), paths.CONFIGS)
    model.drop_unused()
    generator = torch.Generator().manual_seed(0)

    def values(name: str, shape: torch.Size) -> torch.Tensor:
        noise = torch.randn(shape, generator=generator)
        if len(shape) > 1:
            return noise / math.sqrt(math.prod(shape[1:]))
        return 0.1 * noise + (1 if name.endswith("weight") else 0)

    tensors = {name: values(name, tensor.shape).half() for name, tensor in model.weights().items()}
    path = tmp_path_factory.mktemp("checkpoints") / "svd_tiny.safetensors"
    save_file(tensors, path)
    return path


@pytest.fixture(scope="session")
def tiny(random_checkpoint: Path) -> ModelVersion:
    """Return the version svd_tiny with the random checkpoint."""
    return find_version("svd_tiny").model_copy(update={"checkpoint": str(random_checkpoint)})


@pytest.fixture(scope="session")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tiny SDXL, which is found there under the name tiny_sdxl. Skip without diffusers."""
    for package in TEXT:
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("sdxl")
    tiny_sdxl.build(folder)
    return folder


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Run torch with one thread, which is faster for small pictures.

    The last bits of results depend on the number of threads.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Return a function that points the program to a copy of configs/ with other versions."""

    def write(versions: str = "", local: str | None = None) -> Path:
        folder = tmp_path / "configs"
        if not folder.exists():
            shutil.copytree(paths.CONFIGS, folder, ignore=shutil.ignore_patterns("*.local.yaml"))
        (folder / "versions.yaml").write_text(versions, encoding="utf-8")
        if local is not None:
            (folder / "versions.local.yaml").write_text(local, encoding="utf-8")
        monkeypatch.setattr(paths, "CONFIGS", folder)
        return folder

    return write
