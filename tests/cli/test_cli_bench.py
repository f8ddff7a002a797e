"""End-to-end tests of `img2vid bench`, and its error messages."""

import json
from pathlib import Path

import pytest

from img2vid import paths
from img2vid.bench import plots
from img2vid.cli import main
from img2vid.engine.bench.memory_probe import Cost, ProbeRequest

SMALL = ("--size", "tiny", "--width", "64", "--height", "64", "--num-frames", "2", "--device", "cpu")


def run(*arguments: object) -> int:
    return main.run(["bench", *map(str, arguments)])


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Return the single error line of a rejected command."""
    code = run(*arguments)
    out, err = capsys.readouterr()
    assert (code, out, err.count("\n")) == (2, "", 1)
    return err.removeprefix("img2vid: ").rstrip()


@pytest.mark.usefixtures("one_thread")
def test_the_tiny_size_from_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bench.json"
    assert run(*SMALL, "--repetitions", "1", "--peaks", "0", "--json", file) == 0
    out, err = capsys.readouterr()
    found = json.loads(file.read_text(encoding="utf-8"))
    assert list(found["stages"]) == ["condition", "step", "decode"]
    taking_part = set(found["stages"]["step"]["engines"])
    assert "native" in taking_part
    assert taking_part | set(found["left_out"]) == {"native", "sgm", "diffusers"}
    for name, reason in found["left_out"].items():
        assert f"{name} is left out: {reason[:20]}" in " ".join(out.split())
    for stage in found["stages"].values():
        native = stage["engines"]["native"]
        assert len(native["seconds"]) == 1
        assert native["median"] == native["seconds"][0] > 0
        assert native["over_floor"] == pytest.approx(native["median"] / stage["floor"]["seconds"])
    assert found["rates"]["fp32"]["product"] > 1e6
    assert found["precision"] == "fp32"
    assert "bench: step: measuring native" in err
    assert [path.name for path in tmp_path.iterdir()] == ["bench.json"]


@pytest.fixture
def quick_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure the machine's rates with small products, if a test does not read them."""
    from img2vid.engine.bench import rates

    monkeypatch.setattr(rates, "SIDES", (64,))
    monkeypatch.setattr(rates, "COPIED", {"cpu": 1 << 16})
    monkeypatch.setattr(rates, "MEASURING", 0.0)


@pytest.mark.usefixtures("one_thread", "quick_rates")
def test_markdown_with_the_memory_of_a_process_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--engines", "native", "--stages", "decode", "--repetitions", "1", "--threads", "1", "--markdown")
    assert run(*SMALL, *arguments) == 0
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(table) == 3
    cells = [cell.strip() for cell in table[2].strip("|").split("|")]
    assert cells[:2] == ["decode", "native"]
    assert 0.05 < float(cells[6]) < 20, "GB that a process with torch and a small model holds"


# Growth


@pytest.fixture
def quick_points(monkeypatch: pytest.MonkeyPatch) -> list[ProbeRequest]:
    """Make growth points free and record their requests."""
    from img2vid.bench import growth

    probes: list[ProbeRequest] = []

    def measure(probe: ProbeRequest) -> Cost:
        probes.append(probe)
        return Cost(1, 2, 1.0, 1.0, dict.fromkeys(probe.stages, 1.0))

    monkeypatch.setattr(growth.measure_growth, "__defaults__", (measure,))
    return probes


def test_growth_writes_figures_and_says_how_to_get_the_plots(
    tmp_path: Path,
    quick_points: list[ProbeRequest],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(plots, "can_plot", lambda: False)
    file = tmp_path / "growth.json"
    assert run(*SMALL, "--growth", "steps,jobs", "--json", file) == 0
    out, err = capsys.readouterr()
    assert out == f"{file}\n"
    assert err.count(f"bench: plots are skipped: {plots.MATPLOTLIB_HINT}") == 1
    found = json.loads(file.read_text(encoding="utf-8"))
    assert [point["value"] for point in found["growth"]["steps"]] == [1, 2, 4, 8]
    assert {probe.engine for probe in quick_points} == {"native"}


def test_growth_names_its_plots(
    tmp_path: Path, quick_points: list[ProbeRequest], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / "growth.json"
    assert run(*SMALL, "--growth", "frames,area", "--json", file, "--plots", tmp_path / "plots") == 0
    written = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert written == [file, *(tmp_path / "plots" / f"growth_{axis}.svg" for axis in ("frames", "area"))]
    assert all(path.is_file() for path in written)


# Invalid requests


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--size", "huge"), "argument --size: invalid choice: 'huge'"),
        (
            ("--engines", "native,comfy"),
            "--engines must be a comma-separated list of native, sgm, diffusers, comfyui; got 'comfy'",
        ),
        (("--comfyui", "none"), "none is not ComfyUI's folder, which has comfy/supported_models.py; check --comfyui"),
        (("--stages", "step,step"), "--stages contains a name twice: step,step"),
        (("--repetitions", "0"), "--repetitions must be a whole number from 1 to 1000, got '0'"),
        (("--warm-up", "0"), "--warm-up must be a whole number from 1 to 100, got '0'"),
        (("--peaks", "-1"), "--peaks must be a whole number from 0 to 100, got '-1'"),
        (("--threads", "many"), "--threads must be a whole number from 0 to 1024, got 'many'"),
        (("--width", "100"), "width must be a multiple of 16 for svd_tiny, got 100; try 96"),
        (("--num-frames", "0"), "num_frames"),
        (("--version", "svd_xt"), "--version requires --size full, got --size tiny"),
        (("--size", "full", "--version", "svd_9"), "there is no model version 'svd_9'"),
        (("--growth", "frames,color", "--json", "x"), "--growth must be a comma-separated list of frames, area"),
        (("--growth", "frames"), "--growth needs an output file; add one, such as --json growth.json"),
        (("--plots", "plots"), "--plots needs --growth; add --growth frames,area or remove --plots"),
        (("--precision", "fp8"), "argument --precision: invalid choice: 'fp8'"),
        (("--device", "tpu0"), "device 'tpu0' is unknown"),
    ],
)
def test_a_bad_option_is_one_sentence(
    arguments: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sentence in refused(capsys, *arguments)


def test_an_unwritable_file_is_reported_before_measuring(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert "nothing can be written to the folder" in refused(capsys, "--json", tmp_path / "file" / "bench.json")
    assert f"--json must be a file, but {tmp_path} is a folder" in refused(capsys, "--json", tmp_path)
    assert "nothing can be written" in refused(capsys, "--size", "full", "--keep", tmp_path / "file" / "kept")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_run_that_fails_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from img2vid.bench import benchmark

    def fail(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(benchmark.Session, "rates", fail)
    code = run(*SMALL, "--engines", "native", "--stages", "decode", "--json", tmp_path / "bench.json")
    assert code == 130
    assert list(tmp_path.iterdir()) == []


# The page about it


def test_the_sizes_of_the_page_are_those_of_the_program() -> None:
    from img2vid.bench.report import COLUMNS
    from img2vid.bench.request import SIZES, choose_size

    page = (paths.PROJECT / "docs" / "benchmark.md").read_text(encoding="utf-8")
    for size in SIZES:
        _, settings = choose_size(size, None, {})
        assert f"| `{size}` |" in page
        assert f"{settings.num_frames} frames of {settings.width} x {settings.height}" in page
    table = page.partition("## The table")[2]
    assert all(column in table for column in COLUMNS)
