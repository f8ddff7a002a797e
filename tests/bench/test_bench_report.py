"""Report of a comparison: atomic JSON, table and Markdown."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from img2vid.bench import report as report_module
from img2vid.bench.figures import Floor, Measured
from img2vid.bench.report import COLUMNS, Report, Stage, as_json, as_markdown, print_table, rows, write_report

FACTS = {
    "program": "img2vid 0",
    "date": "2025-01-01T00:00:00+00:00",
    "command": "img2vid bench",
    "device": "cpu",
    "device_name": "a [processor]",
    "threads": 2,
    "system": "a system",
    "versions": {"python": "3.11", "torch": "2.9", "diffusers": None},
    "precision": "fp32",
    "size": {"name": "tiny", "width": 160, "height": 96, "num_frames": 14, "decode_t": 14, "steps": 1},
    "repetitions": 3,
    "warm_up": 1,
}
STEP = Stage(
    "step",
    Floor(operations=2e12, bytes=1e9, seconds=2.0, counted_on="sgm"),
    {
        "native": Measured((3.0, 5.0, 4.0), peak=3_000_000_000, growth=500_000_000),
        "sgm": Measured((8.0, 8.5, 7.0), peak=4_000_000_000, growth=1_000_000_000),
        "diffusers": Measured((10.0,)),
    },
    difference=1.5e-6,
)
REPORT = Report(
    FACTS,
    {"other": "it is not installed"},
    {"fp32": {"product": 1e12, "copy": 2e10, "side": 2048}},
    [STEP],
    ["memory of diffusers in stage step is unknown: killed by signal 9"],
)


def test_each_engine_has_a_row_with_its_ratios() -> None:
    assert rows(REPORT) == [
        ["step", "native", "4", "3 to 5", "-", "2.00", "3.00", "0.500", "-"],
        ["step", "sgm", "8", "7 to 8.5", "0.50", "4.00", "4.00", "1.000", "0.50"],
        ["step", "diffusers", "10", "10 to 10", "0.40", "5.00", "-", "-", "-"],
    ]


def test_without_the_native_engine_nothing_is_compared() -> None:
    alone = Report(FACTS, {}, {}, [Stage("step", STEP.floor, {"sgm": STEP.engines["sgm"]})])
    assert rows(alone) == [["step", "sgm", "8", "7 to 8.5", "-", "4.00", "4.00", "1.000", "-"]]
    assert as_json(alone)["stages"]["step"]["native_against"] == {}


def test_json_contains_every_figure_and_missing_engines() -> None:
    values = json.loads(json.dumps(as_json(REPORT)))
    stage = values["stages"]["step"]
    assert stage["engines"]["native"]["seconds"] == [3.0, 5.0, 4.0]
    assert stage["engines"]["native"] | {"seconds": []} == {
        "seconds": [],
        "median": 4.0,
        "over_floor": 2.0,
        "peak": 3_000_000_000,
        "growth": 500_000_000,
    }
    assert stage["native_against"]["sgm"] == {"seconds": 0.5, "peak": 0.75, "growth": 0.5}
    assert stage["native_against"]["diffusers"] == {"seconds": 0.4, "peak": None, "growth": None}
    assert stage["floor"] == {"operations": 2e12, "bytes": 1e9, "seconds": 2.0, "counted_on": "sgm"}
    assert stage["difference"] == 1.5e-6
    assert values["left_out"] == {"other": "it is not installed"}
    assert values["rates"]["fp32"]["product"] == 1e12
    assert {key: values[key] for key in FACTS} == FACTS


@pytest.mark.parametrize("difference", [float("nan"), float("inf")])
def test_nan_and_infinity_are_reported_and_keep_json_valid(difference: float) -> None:
    broken = Report(FACTS, {}, {}, [Stage("step", STEP.floor, STEP.engines, difference)])
    assert json.loads(json.dumps(as_json(broken), allow_nan=False))["stages"]["step"]["difference"] is None
    assert "a result contains NaN or infinity" in as_markdown(broken)


def shown(console_width: int) -> str:
    stream = io.StringIO()
    print_table(REPORT, Console(file=stream, width=console_width))
    return stream.getvalue()


def test_the_table_shows_the_rows_and_missing_engines() -> None:
    text = shown(200)
    for row in rows(REPORT):
        assert any(line.split() == " ".join(row).split() for line in text.splitlines())
    assert "other is left out: it is not installed" in text
    assert "native differs from sgm by 1.5e-06" in text
    assert "killed by signal 9" in text
    assert "a [processor] (cpu), 2 thread(s)" in text
    assert "diffusers None" not in text


def test_a_narrow_terminal_does_not_wrap_names() -> None:
    text = shown(70)
    assert all(name in text for name in ("native", "diffusers", "step"))


def test_markdown_is_one_table_and_one_list() -> None:
    lines = as_markdown(REPORT).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + len(rows(REPORT))
    assert {line.count("|") for line in table} == {len(COLUMNS) + 1}
    assert table[3] == "| step | sgm | 8 | 7 to 8.5 | 0.50 | 4.00 | 4.00 | 1.000 | 0.50 |"
    assert "* other is left out: it is not installed" in lines


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*arguments: object, **more: object) -> None:
        raise OSError("no space left")

    path = tmp_path / "bench.json"
    path.write_text("the last one", encoding="utf-8")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", full_disk)
        with pytest.raises(OSError, match="no space"):
            write_report(path, as_json(REPORT))
    assert [file.name for file in tmp_path.iterdir()] == ["bench.json"]
    assert path.read_text(encoding="utf-8") == "the last one"


def test_a_finished_file_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "bench.json"
    for _ in range(2):
        write_report(path, as_json(REPORT))
    assert json.loads(path.read_text(encoding="utf-8")) == as_json(REPORT)
    assert [file.name for file in path.parent.iterdir()] == ["bench.json"]


def test_values_that_json_cannot_represent_leave_no_file(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write_report(tmp_path / "bench.json", {"a": object()})
    assert list(tmp_path.iterdir()) == []


def test_a_table_for_a_pipe_has_a_fixed_width(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(REPORT)
    assert max(map(len, capsys.readouterr().out.splitlines())) > 100
    assert report_module.PIPED == 120
