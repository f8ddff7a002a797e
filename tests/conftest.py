"""A model that fits every test: the shape of svd_tiny, filled with random numbers instead of trained weights."""

import math
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from img2vid import paths
from img2vid.versions import ModelVersion, find_version

# Started in the background by a shell that has no terminal, everything ignores Ctrl-C, and so would the processes that
# the tests start and stop.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


SLOW = (
    *("browser", "notebooks", "scripts", "tiny", "bench", "engine/bench", "engine/fast", "windows"),
    *("engine/memory", "engine/weights/test_shared_modules.py", "engine/test_approximations.py"),
    *("jobs/test_cli_studies.py", "jobs/test_cluster.py", "jobs/test_service.py", "jobs/test_wait.py"),
    *("jobs/test_killed.py", "jobs/test_many.py", "jobs/test_own_cluster.py", "test_main.py", "test_pipeline.py"),
    *("cli/test_cli_sample.py", "cli/test_cli_bench.py", "doctor/test_doctor_command.py"),
    *("ui/test_compare_page.py", "ui/test_sweeps_page.py"),
)
"""Folders and files whose tests start servers, browsers or many processes, train, run every fast path or memory plan,
or make many videos."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests that `scripts/test.py --quick` leaves out."""
    places = [Path(__file__).parent / name for name in SLOW]
    assert all(place.exists() for place in places)
    slow = {path for path in {item.path for item in items} if any(path.is_relative_to(place) for place in places)}
    for item in items:
        if item.path in slow:
            item.add_marker("slow")


MAIN = sys.modules["__main__"]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Restores `__main__`: Streamlit's AppTest leaves its script there, and every new process would run it again."""
    sys.modules["__main__"] = MAIN


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    """Restores `__main__` after the fixtures."""
    sys.modules["__main__"] = MAIN


LONG = 10.0
"""Seconds above which a test outside tests/browser needs the mark `takes_long` with its reason."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Names the tests that took long without a reason; times differ between computers, so none fails for it."""
    for report in terminalreporter.stats.get("passed", []):
        inside = report.nodeid.startswith("tests/browser/") or "takes_long" in report.keywords
        if report.when == "call" and report.duration > LONG and not inside:
            terminalreporter.write_line(f"{report.duration:.1f} s without a mark takes_long: {report.nodeid}")


@pytest.fixture(scope="session")
def random_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder's svd_tiny.safetensors with the names and shapes of configs/svd_tiny.yaml, in float16, always the same.

    Weights are scaled so that every layer keeps the size of what passes through it, as in a trained model.
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
    """The version svd_tiny with the random checkpoint."""
    return find_version("svd_tiny").model_copy(update={"checkpoint": str(random_checkpoint)})


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For pictures as small as those of the tests, several threads only get in each other's way.

    What the last bits of a result are depends on how many there are.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Makes the program read its versions from a folder of the test's own, with the texts given for its two files."""

    def write(versions: str = "", local: str | None = None) -> Path:
        folder = tmp_path / "configs"
        folder.mkdir(exist_ok=True)
        (folder / "versions.yaml").write_text(versions, encoding="utf-8")
        if local is not None:
            (folder / "versions.local.yaml").write_text(local, encoding="utf-8")
        monkeypatch.setattr(paths, "CONFIGS", folder)
        return folder

    return write
