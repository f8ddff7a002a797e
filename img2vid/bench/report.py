"""Report of a comparison as JSON, as a terminal table and as Markdown."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from img2vid.bench.figures import Against, Floor, Measured, compare, ratio
from img2vid.files import whole_file

NATIVE = "native"
COLUMNS = (
    "stage",
    "engine",
    "seconds",
    "fastest to slowest",
    "native / engine",
    "over floor",
    "peak GB",
    "growth GB",
    "growth native / engine",
)
NOTHING = "-"
PIPED = 120
"""Width of the table if the output is a file or pipe."""


@dataclass(frozen=True)
class Stage:
    """Measurements of all engines in one stage. difference: of native's results from sgm's, None without both."""

    name: str
    floor: Floor
    engines: Mapping[str, Measured]
    difference: float | None = None

    def against(self) -> dict[str, Against]:
        """Return the ratios of the native engine to each other engine."""
        ours = self.engines.get(NATIVE)
        if ours is None:
            return {}
        return {name: compare(ours, theirs) for name, theirs in self.engines.items() if name != NATIVE}


@dataclass(frozen=True)
class Report:
    """Results of a comparison.

    facts: program, date, command, machine, versions, precision and size; left_out: engines that did not run, with the
    reason; rates: operations and bytes per second by number format; notes: deviations from the request.
    """

    facts: Mapping[str, Any]
    left_out: Mapping[str, str]
    rates: Mapping[str, Mapping[str, float]]
    stages: Sequence[Stage]
    notes: Sequence[str] = field(default_factory=list[str])


def as_json(report: Report) -> dict[str, Any]:
    """Return the report as plain values, in seconds, bytes and operations."""
    return {
        **report.facts,
        "left_out": dict(report.left_out),
        "rates": {precision: dict(rates) for precision, rates in report.rates.items()},
        "stages": {stage.name: _stage_as_json(stage) for stage in report.stages},
        "notes": list(report.notes),
    }


def _stage_as_json(stage: Stage) -> dict[str, Any]:
    engines = {
        name: {
            "seconds": list(measured.seconds),
            "median": measured.median,
            "over_floor": ratio(measured.median, stage.floor.seconds),
            "peak": measured.peak,
            "growth": measured.growth,
        }
        for name, measured in stage.engines.items()
    }
    against = {name: asdict(ratios) for name, ratios in stage.against().items()}
    return {
        "floor": asdict(stage.floor),
        "engines": engines,
        "native_against": against,
        # JSON cannot represent NaN or infinity.
        "difference": stage.difference if stage.difference is not None and isfinite(stage.difference) else None,
    }


def write_report(path: Path, values: Mapping[str, Any]) -> None:
    """Write JSON atomically."""
    text = json.dumps(values, indent=2) + "\n"
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")


def rows(report: Report) -> list[list[str]]:
    """Return the table's cells, one row per stage and engine, in the order of `COLUMNS`."""
    return [
        [stage.name, name, *_cells(stage, name, measured)]
        for stage in report.stages
        for name, measured in stage.engines.items()
    ]


def _cells(stage: Stage, name: str, measured: Measured) -> list[str]:
    against = stage.against().get(name, Against(None, None, None))
    return [
        f"{measured.median:.4g}",
        f"{min(measured.seconds):.4g} to {max(measured.seconds):.4g}",
        _number(against.seconds, ".2f"),
        _number(ratio(measured.median, stage.floor.seconds), ".2f"),
        _number(measured.peak, ".2f", 1e9),
        _number(measured.growth, ".3f", 1e9),
        _number(against.growth, ".2f"),
    ]


def _number(value: float | None, form: str, unit: float = 1.0) -> str:
    return NOTHING if value is None else format(value / unit, form)


def remarks(report: Report) -> list[str]:
    """Return the lines below the table: machine, rates, floors, differences, and skipped engines with the reason."""
    facts = report.facts
    size = facts["size"]
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items() if version)
    lines = [
        f"{size['name']}: {size['num_frames']} frames of {size['width']} x {size['height']}, decode_t "
        f"{size['decode_t']}, {size['steps']} step(s) per run, {facts['precision']}; {facts['repetitions']} "
        f"repetition(s) after {facts['warm_up']} warm-up run(s); {facts['date']}",
        f"{facts['device_name']} ({facts['device']}), {facts['threads']} thread(s), {facts['system']}; {versions}",
    ]
    for precision, rates in report.rates.items():
        product, copy, side = rates["product"] / 1e12, rates["copy"] / 1e9, rates["side"]
        lines.append(f"{precision}: {product:.3g} TFLOP/s in a {side} x {side} matrix product, {copy:.3g} GB/s copied")
    for stage in report.stages:
        floor = stage.floor
        line = f"{stage.name}: {floor.operations / 1e12:.4g} TFLOP (counted on {floor.counted_on}), "
        line += f"at least {floor.seconds:.3g} s"
        if stage.difference is not None and isfinite(stage.difference):
            line += f"; native differs from sgm by {stage.difference:.1e}"
        elif stage.difference is not None:
            line += "; native and sgm cannot be compared because a result contains NaN or infinity"
        lines.append(line)
    lines += [f"{name} is left out: {reason}" for name, reason in report.left_out.items()]
    return [*lines, *report.notes]


def print_table(report: Report, console: Console | None = None) -> None:
    """Print the table and the lines below it."""
    if console is None:
        console = Console(width=None if sys.stdout.isatty() else PIPED)
    table = Table(*COLUMNS, box=None, pad_edge=False)
    for column in table.columns[:2]:
        column.no_wrap = True
    for column in table.columns[2:]:
        column.justify = "right"
    for row in rows(report):
        table.add_row(*row)
    console.print(table)
    console.print()
    for line in remarks(report):
        console.print(line, markup=False, highlight=False)


def as_markdown(report: Report) -> str:
    """Return the report as a Markdown table and list."""
    lines = [COLUMNS, ("---", "---", *["---:"] * (len(COLUMNS) - 2)), *rows(report)]
    table = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([*table, "", *(f"* {line}" for line in remarks(report))]) + "\n"
