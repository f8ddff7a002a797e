"""Eight Windows computers and their installation plans."""

import json
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath

from windows.console import Questions
from windows.install_options import Options, settle
from windows.machine import Machine
from windows.plan import Plan, make_plan

from img2vid.hardware import Found, find_cards

PROJECT = Path(__file__).resolve().parents[2]
ANSWERS = PROJECT / "tests" / "data" / "nvidia-smi"
PLANS = PROJECT / "tests" / "data" / "windows-plans"
SILENT = Questions(silent=True)
PYTHONS = PureWindowsPath(r"C:\Users\Ada\AppData\Local\Programs\Python")


def found(name: str) -> Found:
    """Return the recorded nvidia-smi output of a computer; unrecorded queries fail."""
    answers = json.loads((ANSWERS / f"{name}.json").read_text(encoding="utf-8"))
    if not answers:
        return Found(reason="there is no nvidia-smi, which comes with the NVIDIA driver")

    def ask(arguments: list[str]) -> tuple[int, str]:
        answer = answers.pop(0)
        assert arguments == answer["arguments"]
        return answer["code"], answer["output"]

    result = find_cards(ask)
    assert not answers
    return result


def machine(name: str = "rtx-4090", **changes: object) -> Machine:
    version = changes.setdefault("python_version", (3, 12, 8))
    assert isinstance(version, tuple)
    values: dict[str, object] = {
        "root": PureWindowsPath(r"C:\img2vid"),
        "python": PYTHONS / f"Python3{version[1]}" / "python.exe",
        "bits": 64,
        "build": 22631,
        "architecture": "AMD64",
        "found": found(name),
        "long_paths": False,
        "temp": PureWindowsPath(r"C:\Users\Ada\AppData\Local\Temp"),
        "free": {"C:": 210.4},
        "venv": "none",
        "runtime": (14, 44),
        "winget": True,
    }
    return Machine(**{**values, **changes})  # type: ignore[arg-type]


def plan(machine: Machine, options: Options | None = None) -> Plan:
    return make_plan(machine, settle(options or Options(), machine, PROJECT, SILENT), PROJECT)


@dataclass(frozen=True)
class Case:
    """A computer of the table and the requested options."""

    options: Options = field(default_factory=Options)
    changes: dict[str, object] = field(default_factory=dict)


CASES = {
    "gtx-1060": Case(changes={"build": 19045, "free": {"C:": 31.0}}),
    "rtx-2080-ti": Case(Options(sgm=True), {"python_version": (3, 10, 11)}),
    "rtx-3060": Case(
        Options(models=["svd_xt"]),
        {
            "root": PureWindowsPath(r"C:\Users\Ada Lovelace\Desktop\img2vid"),
            "venv": "3.11",
            "torch": "2.7.1+cu118",
            "long_paths": True,
        },
    ),
    "rtx-4090": Case(
        Options(models=["svd,svd_xt"], sgm=True),
        {"root": PureWindowsPath(r"D:\img2vid"), "free": {"C:": 8.5, "D:": 900.0}},
    ),
    "rtx-5090": Case(Options(launch=False), {"python_version": (3, 13, 1), "venv": "broken"}),
    "no-card": Case(changes={"build": 19045, "free": {"C:": 5.0}}),
    "old-driver": Case(changes={"build": 18363}),
    "laptop-two-cards": Case(Options(models=["svd_xt_1_1"], python_named=True), {"venv": "3.10"}),
}


def text(name: str) -> str:
    """Return the plan as printed by the dry run, followed by that of `-Cuda auto` if the build differs."""
    case = CASES[name]
    computer = machine(name, **case.changes)
    first = plan(computer, case.options)
    second = plan(computer, Options(**{**vars(case.options), "cuda": "auto"}))
    if commands(first) == commands(second):
        return first.text() + "\nThe same with -Cuda auto.\n"
    return first.text() + "\nWith -Cuda auto:\n\n" + second.text()


def commands(plan: Plan) -> list[str]:
    return [action.shown for step in plan.steps for action in step.actions]


if __name__ == "__main__":
    for name in CASES:
        (PLANS / f"{name}.txt").write_text(text(name), encoding="utf-8")
