"""What a check has found, and the page or the JSON object that all of it becomes."""

import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

import img2vid


class State(str, Enum):
    """ok: nothing to do. note: works, with a limit that is worth knowing. problem: something will not work."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


COLOURS = {State.OK: "green", State.NOTE: "yellow", State.PROBLEM: "bold red"}


@dataclass(frozen=True)
class Finding:
    """One row of the page: a sentence of what was found, and, unless that is ok, a sentence of what to do."""

    check: str
    state: State
    found: str
    remedy: str = ""


def ok(check: str, found: str) -> Finding:
    """A finding with nothing to do."""
    return Finding(check, State.OK, found)


def note(check: str, found: str, remedy: str) -> Finding:
    """A finding that is worth knowing."""
    return Finding(check, State.NOTE, found, remedy)


def problem(check: str, found: str, remedy: str) -> Finding:
    """A finding that has to be mended."""
    return Finding(check, State.PROBLEM, found, remedy)


def has_problem(findings: Sequence[Finding]) -> bool:
    """Whether anything has to be mended."""
    return any(finding.state is State.PROBLEM for finding in findings)


def as_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """The report for programs."""
    return {
        "img2vid": img2vid.__version__,
        "system": platform.platform(),
        "ok": not has_problem(findings),
        "checks": [{**asdict(finding), "state": finding.state.value} for finding in findings],
    }


def summary(findings: Sequence[Finding]) -> str:
    """The last line of the page."""
    wrong = [finding.check for finding in findings if finding.state is State.PROBLEM]
    if not wrong:
        return "No problem was found."
    return f"{len(wrong)} problem{'s' if len(wrong) > 1 else ''}: {', '.join(wrong)}."


def print_page(findings: Sequence[Finding]) -> None:
    """Prints the findings on standard output, as a table where that is a terminal."""
    if not sys.stdout.isatty():
        sys.stdout.write("\n".join([*map(_plain, findings), summary(findings)]) + "\n")
        return
    # Here and not above: a broken package must not keep its own report from being written.
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
