"""Findings of the checks, and their output as text, table or JSON."""

import platform
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

import img2vid


class State(str, Enum):
    """Severity of a finding. ok: no action; note: works with a limitation; problem: something will not work."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


COLOURS = {State.OK: "green", State.NOTE: "yellow", State.PROBLEM: "bold red"}


@dataclass(frozen=True)
class Finding:
    """Row of the report: the finding and, unless it is ok, its remedy."""

    check: str
    state: State
    found: str
    remedy: str = ""


def ok(check: str, found: str) -> Finding:
    """Return a finding that needs no action."""
    return Finding(check, State.OK, found)


def note(check: str, found: str, remedy: str) -> Finding:
    """Return a finding about a limitation."""
    return Finding(check, State.NOTE, found, remedy)


def problem(check: str, found: str, remedy: str) -> Finding:
    """Return a finding that must be fixed."""
    return Finding(check, State.PROBLEM, found, remedy)


def has_problem(findings: Sequence[Finding]) -> bool:
    """Return whether any finding is a problem."""
    return any(finding.state is State.PROBLEM for finding in findings)


def as_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return the report as a JSON-serializable object."""
    return {
        "img2vid": img2vid.__version__,
        "system": platform.platform(),
        "ok": not has_problem(findings),
        "checks": [{**asdict(finding), "state": finding.state.value} for finding in findings],
    }


def summary(findings: Sequence[Finding]) -> str:
    """Return the last line of the report."""
    wrong = [finding.check for finding in findings if finding.state is State.PROBLEM]
    if not wrong:
        return "No problems found."
    return f"{len(wrong)} problem{'s' if len(wrong) > 1 else ''}: {', '.join(wrong)}."


def print_page(findings: Sequence[Finding]) -> None:
    """Print the findings on standard output, as a table if it is a terminal."""
    if sys.stdout.isatty():
        with suppress(ImportError):  # a broken package must not prevent the report about it
            _print_table(findings)
            return
    sys.stdout.write("\n".join([*map(_plain, findings), summary(findings)]) + "\n")


def _print_table(findings: Sequence[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        words = Text(finding.found)
        if finding.remedy:
            words.append(f"\nTo do: {finding.remedy}", style="bold")
        table.add_row(Text(finding.state.value, style=COLOURS[finding.state]), finding.check, words)
    console = Console(markup=False, highlight=False)
    console.print(table)
    console.print(summary(findings))


def _plain(finding: Finding) -> str:
    line = f"{finding.state.value:8}{finding.check:16}{finding.found}"
    return f"{line}\n{'':24}To do: {finding.remedy}" if finding.remedy else line
