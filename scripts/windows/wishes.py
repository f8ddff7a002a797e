"""Turns the options of the installation into what is to be installed, with a question where something is left open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from environment import SetupError

from windows.builds import DEFAULT, Choice, choose
from windows.console import Questions
from windows.machine import Machine
from windows.models import Model, pick, read_models, split
from windows.plan import Wishes

OFFERED = "svd_xt"
"""The checkpoint that most guides use."""


@dataclass(frozen=True)
class Options:
    """The command line; None is what was left open."""

    cuda: str | None = None
    models: Sequence[str] | None = None
    sgm: bool | None = None
    launch: bool = True
    python_named: bool = False
    """Whether somebody named the Python, which an environment of another version then has to be made anew for."""


def settle(options: Options, machine: Machine, project: Path, questions: Questions) -> Wishes:
    """Raises SetupError for a model that there is not, and where an environment stands in the way and is to stay."""
    choice = settle_build(options.cuda, machine, questions)
    if choice.build is None:
        return Wishes(choice)
    models = settle_models(options.models, project, questions)
    sgm = options.sgm
    if sgm is None:
        sgm = questions.confirm("Install Stability's reference package sgm too? Few need it.", False)
    return Wishes(
        choice=choice,
        models=models,
        sgm=sgm,
        shortcuts=questions.confirm("Make shortcuts on the desktop and in the Start menu?", True),
        launch=options.launch,
        rebuild=settle_environment(options, machine, questions),
    )


def settle_build(wanted: str | None, machine: Machine, questions: Questions) -> Choice:
    """The build that was asked for; without a wish the default, and where that cannot work the one that can."""
    cards, reason = machine.found.cards, machine.found.reason
    choice = choose(wanted or DEFAULT, cards, reason)
    if wanted is not None or not choice.instead:
        return choice
    if not questions.confirm(f"The default does not do: {choice.problem}. Install {choice.instead} instead?", True):
        return choice
    other = choose(choice.instead, cards, reason)
    return replace(other, remarks=(f"{choice.problem}: {choice.instead} is installed instead.", *other.remarks))


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
    """Whether the environment that is there is made anew although it runs."""
    if machine.venv == "none":
        return False
    place = machine.root / ".venv"
    wanted = ".".join(map(str, machine.python_version[:2]))
    if machine.venv == "broken":
        if questions.confirm(f"The environment in {place} does not run. Remove it and make it anew?", True):
            return False
        raise SetupError(f"{place} does not run; move it away, or agree to its removal.")
    if not supported(machine.venv):
        if questions.confirm(f"{place} has Python {machine.venv}, which will not do. Make it anew?", True):
            return True
        raise SetupError(f"{place} has Python {machine.venv}, and 3.10 to 3.13 will do; agree to making it anew.")
    if options.python_named and machine.venv != wanted:
        return questions.confirm(f"{place} has Python {machine.venv}. Make it anew with {wanted}?", True)
    return False


def supported(version: str) -> bool:
    major, minor = map(int, version.split("."))
    return major == 3 and 10 <= minor <= 13
