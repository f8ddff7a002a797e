"""Installation prompts, and defaults without prompts."""

from pathlib import Path

import pytest
from environment import SetupError
from machines import PROJECT, SILENT, machine
from windows.console import Questions
from windows.install_options import Options, settle
from windows.models import pick, read_models, split

from img2vid.versions import load_versions


class Answers(Questions):
    """Prompts answered by keyword; an unexpected prompt fails the test."""

    def __init__(self, **answers: bool) -> None:
        super().__init__(silent=False)
        self.answers = answers
        self.asked: list[str] = []

    def confirm(self, question: str, default: bool) -> bool:
        self.asked.append(question)
        return self.answers[next(word for word in self.answers if word in question)]


def test_without_questions_nothing_large_is_chosen_and_shortcuts_are() -> None:
    selection = settle(Options(), machine(), PROJECT, SILENT)
    assert (list(selection.models), selection.sgm, selection.shortcuts, selection.launch) == ([], False, True, True)
    assert selection.choice.build is not None
    assert selection.choice.build.tag == "cu118"


def test_what_is_left_open_is_asked_and_what_was_said_is_not() -> None:
    answers = Answers(sgm=True, shortcuts=False, svd_xt=True)
    selection = settle(Options(), machine(), PROJECT, answers)
    assert ([model.name for model in selection.models], selection.sgm, selection.shortcuts) == (["svd_xt"], True, False)
    assert "9.56 GB" in "".join(answers.asked)
    answers = Answers(shortcuts=True)
    settle(Options(cuda="auto", models=["svd"], sgm=False), machine(), PROJECT, answers)
    assert len(answers.asked) == 1


def test_the_default_build_is_replaced_only_after_asking() -> None:
    card = machine("rtx-5090")
    yes = settle(Options(models=[], sgm=False), card, PROJECT, Answers(cu128=True, shortcuts=True))
    assert yes.choice.build is not None
    assert yes.choice.build.tag == "cu128"
    assert yes.choice.remarks == ()
    unasked = settle(Options(), card, PROJECT, SILENT)
    assert "cu118 does not support NVIDIA GeForce RTX 5090" in unasked.choice.remarks[0]
    no = settle(Options(models=[], sgm=False), card, PROJECT, Answers(cu128=False, shortcuts=True))
    assert no.choice.build is None
    assert settle(Options(cuda="cu118"), card, PROJECT, SILENT).choice.build is None


@pytest.mark.parametrize(
    ("venv", "named", "tag"), [("none", False, "cu128"), ("3.12", False, "cu118"), ("3.12", True, "cu128")]
)
def test_the_build_fits_the_python_of_the_environment(venv: str, named: bool, tag: str) -> None:
    there = machine(python_version=(3, 14, 1), venv=venv)
    choice = settle(Options(python_named=named), there, PROJECT, SILENT).choice
    assert choice.build is not None
    assert choice.build.tag == tag


def test_the_runtime_is_installed_only_after_asking() -> None:
    bare = machine(runtime=None)
    options = Options(models=[], sgm=False)
    yes = settle(options, bare, PROJECT, Answers(winget=True, shortcuts=True))
    no = settle(options, bare, PROJECT, Answers(winget=False, shortcuts=True))
    assert (yes.runtime, no.runtime) == (True, False)
    assert not settle(options, machine(runtime=None, winget=False), PROJECT, Answers(shortcuts=True)).runtime


def test_an_environment_that_runs_stays_unless_another_python_was_named() -> None:
    there = machine(venv="3.11")
    assert not settle(Options(), there, PROJECT, SILENT).rebuild
    named = Options(models=[], sgm=False, python_named=True)
    assert settle(named, there, PROJECT, Answers(shortcuts=True, ecreate=True)).rebuild
    assert not settle(named, there, PROJECT, Answers(shortcuts=True, ecreate=False)).rebuild


@pytest.mark.parametrize("state", ["broken", "3.9", "3.15"])
def test_an_environment_that_will_not_do_is_removed_only_after_asking(state: str) -> None:
    there = machine(venv=state)
    options = Options(models=[], sgm=False)
    assert settle(options, there, PROJECT, Answers(shortcuts=True, ecreate=True)).rebuild == (state != "broken")
    with pytest.raises(SetupError, match="agree"):
        settle(options, there, PROJECT, Answers(shortcuts=True, ecreate=False))


def test_a_model_that_there_is_not_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(SetupError, match=r"unknown model 'svd_xl'; choose from svd, .*svd_xt_1_1"):
        settle(Options(models=["svd,svd_xl"]), machine(), PROJECT, SILENT)


def test_the_models_are_read_as_the_program_reads_them() -> None:
    read = read_models(PROJECT / "configs" / "versions.yaml")
    known = {name: (row.checkpoint, row.bytes or 0) for name, row in load_versions().items()}
    assert {name: (model.file, model.bytes) for name, model in read.items()} == {name: known[name] for name in read}
    assert {"svd", "svd_xt", "svd_tiny"} <= {*read}


def test_names_come_as_powershell_hands_them_over() -> None:
    assert split(["svd,svd_xt", "svd_xt_1_1; svd"]) == ["svd", "svd_xt", "svd_xt_1_1", "svd"]


def test_what_is_there_or_comes_along_is_not_downloaded(tmp_path: Path) -> None:
    models = read_models(PROJECT / "configs" / "versions.yaml")
    (tmp_path / "svd.safetensors").touch()
    wanted, problem = pick(["svd", "svd_tiny", "svd_xt", "svd_xt"], models, tmp_path)
    assert ([model.name for model in wanted], problem) == (["svd_xt"], "")
