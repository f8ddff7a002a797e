"""Installation options from the command line, completed by prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from environment import SetupError

from windows.builds import DEFAULT, Choice, choose
from windows.console import Questions
from windows.machine import Machine
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
    choice = settle_build(options.cuda, machine, questions)
    if choice.build is None:
        return Selection(choice)
    models = settle_models(options.models, project, questions)
    sgm = options.sgm
    if sgm is None:
        sgm = questions.confirm("Also install Stability AI's reference package sgm? Most users do not need it.", False)
    return Selection(
        choice=choice,
        models=models,
        sgm=sgm,
        shortcuts=questions.confirm("Create shortcuts on the desktop and in the Start menu?", True),
        launch=options.launch,
        rebuild=settle_environment(options, machine, questions),
    )


def settle_build(wanted: str | None, machine: Machine, questions: Questions) -> Choice:
    """Return the requested build, else the default, or an alternative that works if the user agrees."""
    cards, reason = machine.found.cards, machine.found.reason
    choice = choose(wanted or DEFAULT, cards, reason)
    if wanted is not None or not choice.instead:
        return choice
    if not questions.confirm(
        f"The default build does not work: {choice.problem}. Install {choice.instead} instead?", True
    ):
        return choice
    other = choose(choice.instead, cards, reason)
    return replace(other, remarks=(f"{choice.problem}; installing {choice.instead} instead.", *other.remarks))


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
    wanted = ".".join(map(str, machine.python_version[:2]))
    if machine.venv == "broken":
        if questions.confirm(f"The environment in {place} is broken. Delete and recreate it?", True):
            return False
        raise SetupError(f"{place} is broken; move it away, or agree to delete it.")
    if not supported(machine.venv):
        if questions.confirm(f"{place} has Python {machine.venv}, which is not supported. Recreate it?", True):
            return True
        raise SetupError(f"{place} has Python {machine.venv}, but img2vid needs 3.10 to 3.13; agree to recreate it.")
    if options.python_named and machine.venv != wanted:
        return questions.confirm(f"{place} has Python {machine.venv}. Recreate it with {wanted}?", True)
    return False


def supported(version: str) -> bool:
    major, minor = map(int, version.split("."))
    return major == 3 and 10 <= minor <= 13
