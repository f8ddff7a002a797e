"""Installation options from the command line, completed by prompts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import environment
from environment import SUPPORTED, SetupError

from img2vid.hardware import Build
from windows.builds import DEFAULT, Choice, choose
from windows.console import Questions
from windows.machine import Machine, runtime_problem
from windows.models import Model, pick, read_models, split
from windows.plan import Selection

OFFERED = "svd_xt"
"""The checkpoint that most guides use."""


@dataclass(frozen=True)
class Options:
    """Command-line options; None means not given."""

    cuda: str | None = None
    models: Sequence[str] | None = None
    sgm: bool | None = None
    launch: bool = True
    python_named: bool = False
    """True if -Python was given; an environment of another version may then be recreated."""


def settle(options: Options, machine: Machine, project: Path, questions: Questions) -> Selection:
    """Complete the options. Raise SetupError for an unknown model, or if the user keeps an unusable environment."""
    choice = settle_build(options, machine, questions)
    if choice.build is None:
        questions = Questions(silent=True)
    models = settle_models(options.models, project, questions)
    sgm = options.sgm
    if sgm is None:
        sgm = questions.confirm("Also install Stability AI's reference package sgm? Most users do not need it.", False)
    return Selection(
        choice=choice,
        models=models,
        sgm=sgm,
        runtime=choice.build is not None and settle_runtime(choice.build, machine, questions),
        shortcuts=questions.confirm("Create shortcuts on the desktop and in the Start menu?", True),
        launch=options.launch,
        rebuild=settle_environment(options, machine, questions),
    )


def settle_build(options: Options, machine: Machine, questions: Questions) -> Choice:
    """Return the requested build, else the default, or an alternative that works if the user agrees."""
    cards, reason = machine.found.cards, machine.found.reason
    kept = supported(machine.venv) and not options.python_named
    python = numbers(machine.venv) if kept else machine.python_version
    choice = choose(options.cuda or DEFAULT, cards, reason, python)
    if options.cuda is not None or not choice.instead:
        return choice
    asked = not questions.silent
    if not questions.confirm(
        f"The default build does not work: {choice.problem}. Install {choice.instead} instead?", True
    ):
        return choice
    other = choose(choice.instead, cards, reason, python)
    remark = () if asked else (f"{choice.problem}; installing {choice.instead} instead.",)
    return replace(other, remarks=(*remark, *other.remarks))


def settle_runtime(build: Build, machine: Machine, questions: Questions) -> bool:
    """Return True if winget is to install the Visual C++ runtime."""
    problem = runtime_problem(machine, build)
    return bool(problem) and machine.winget and questions.confirm(f"{problem}. Install it with winget?", True)


def settle_models(names: Sequence[str] | None, project: Path, questions: Questions) -> list[Model]:
    models = read_models(project / "configs" / "versions.yaml")
    folder = project / "checkpoints"
    if names is None:
        wanted, _ = pick([OFFERED], models, folder)
        size = sum(model.bytes for model in wanted) / 1e9
        if wanted and questions.confirm(f"Download the checkpoint {OFFERED} now, {size:.2f} GB?", False):
            return wanted
        return []
    wanted, problem = pick(split(names), models, folder)
    if problem:
        raise SetupError(f"-Models: {problem}.")
    return wanted


def settle_environment(options: Options, machine: Machine, questions: Questions) -> bool:
    """Return True if a working environment is to be recreated."""
    if machine.venv == "none":
        return False
    place = machine.root / ".venv"
    wanted = dotted(machine.python_version)
    if machine.venv == "broken":
        if questions.confirm(f"The environment in {place} is broken. Delete and recreate it?", True):
            return False
        raise SetupError(f"{place} is broken; move it away, or agree to delete it.")
    if not supported(machine.venv):
        if questions.confirm(f"{place} has Python {machine.venv}, which is not supported. Recreate it?", True):
            return True
        raise SetupError(f"{place} has Python {machine.venv}, but img2vid needs {SUPPORTED}; agree to recreate it.")
    if options.python_named and machine.venv != wanted:
        return questions.confirm(f"{place} has Python {machine.venv}. Recreate it with {wanted}?", True)
    return False


def supported(version: str) -> bool:
    return environment.OLDEST <= numbers(version) <= environment.NEWEST


def numbers(version: str) -> tuple[int, ...]:
    """Return (3, 12) for "3.12", and () for the state of an environment that does not run."""
    return tuple(map(int, re.findall(r"\d+", version)))


def dotted(version: Sequence[int]) -> str:
    return ".".join(map(str, version[:2]))
