"""Plots of the growth of cost: one SVG per axis, seconds on the left, memory on the right."""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from img2vid.files import whole_file

MATPLOTLIB_HINT = "matplotlib is not installed; run `python -m pip install -r requirements/bench.txt`"


def can_plot() -> bool:
    """Return whether matplotlib can be imported."""
    try:
        importlib.import_module("matplotlib")
    except ImportError:
        return False
    return True


def write_plots(growth: Mapping[str, Any], labels: Mapping[str, str], folder: Path) -> list[Path]:
    """Write `growth_<axis>.svg` to `folder` for every axis of a `measure_growth` result. labels: by axis."""
    title = f"{growth['size']['name']}, {growth['precision']}, {growth['device_name']}"
    return [
        _write_plot(points, labels[axis], title, folder / f"growth_{axis}.svg")
        for axis, points in growth["growth"].items()
    ]


def _write_plot(points: Sequence[Mapping[str, Any]], label: str, title: str, path: Path) -> Path:
    # pyplot would look for a display, so the figure is created directly.
    figure: Any = importlib.import_module("matplotlib.figure").Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    values = [point["value"] for point in points]
    for stage in points[0]["seconds"]:
        left.plot(values, [point["seconds"][stage] for point in points], marker="o", label=stage)
    left.plot(values, [point["total"] for point in points], marker="o", color="black", label="total")
    left.set_ylabel("seconds")
    for name in ("peak", "growth"):
        if all(point[name] is not None for point in points):
            right.plot(values, [point[name] / 1e9 for point in points], marker="o", label=name)
    right.set_ylabel("GB")
    for panel in (left, right):
        panel.set_xlabel(label)
        panel.set_xlim(left=0)
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.3)
        if panel.lines:
            panel.legend()
    figure.suptitle(title, fontsize="medium")
    with whole_file(path) as part:
        figure.savefig(part, format="svg")
    return path
