"""Output that all benchmarks share: a Markdown table, printed row by row, and a JSON file."""

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Row = Mapping[str, Any]


def report(columns: Mapping[str, str], rows: Iterable[Row], given: argparse.Namespace) -> None:
    """Print rows as they are measured, then write them to `given.json` if that is a path."""
    print(line(name.replace("_", " ") for name in columns), line("---" for _ in columns), sep="\n")
    found: list[Row] = []
    for row in rows:
        found.append(row)
        print(cells(columns, row), flush=True)
    if given.json is not None:
        from img2vid.bench.report import write_report
        from img2vid.engine.bench.session import describe_machine
        from img2vid.engine.loading import choose_device

        machine = describe_machine(choose_device(getattr(given, "device", "cpu")))
        write_report(given.json, {"command": sys.argv, "machine": machine, "rows": found})


def cells(columns: Mapping[str, str], row: Row) -> str:
    """Return a table row. columns: the format of each value; a missing value leaves its cell empty."""
    return line(format(row[name], form) if name in row else "" for name, form in columns.items())


def line(texts: Iterable[str]) -> str:
    """Return texts as a row of a Markdown table."""
    return f"| {' | '.join(texts)} |"


def timed(work: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> tuple[Any, float]:
    """Return the result of a call and its duration in seconds."""
    started = clock()
    result = work()
    return result, clock() - started
