"""Installation plans: reviewed text for eight computers, and general rules."""

import re
from dataclasses import replace
from pathlib import PureWindowsPath
from typing import Any

import pytest
from machines import ANSWERS, CASES, PLANS, PROJECT, commands, machine, plan, text
from windows.install_options import Options
from windows.plan import Plan
from windows.progress import STOPPED, carry_out

from img2vid.hardware import Card, Found

TURING = Card("Some Card", "576.52", 8 * 2**30, capability=(7, 5))


@pytest.mark.parametrize("name", CASES)
def test_the_plan_is_the_one_that_was_reviewed(name: str) -> None:
    """Run `tests/windows/machines.py` to update the plans, and review the changes."""
    assert text(name) == (PLANS / f"{name}.txt").read_text(encoding="utf-8")


def test_every_recorded_computer_has_its_plan() -> None:
    assert {path.stem for path in ANSWERS.glob("*.json")} == {*CASES} == {path.stem for path in PLANS.glob("*.txt")}


@pytest.mark.parametrize("name", CASES)
def test_every_step_that_does_something_has_a_remedy(name: str) -> None:
    steps = plan(machine(name, **CASES[name].changes), CASES[name].options).steps
    assert all(step.remedy.endswith(".") for step in steps if step.actions)
    assert [step.title for step in steps[:1]] == ["Check this computer"]


def test_the_default_is_cuda_11_8_from_its_own_index() -> None:
    shown = "\n".join(commands(plan(machine("rtx-3060"))))
    assert "--index-url https://download.pytorch.org/whl/cu118 torch==2.7.1+cu118 torchvision==0.22.1+cu118" in shown


def test_no_plan_installs_triton_or_takes_torch_from_the_package_index() -> None:
    for name, case in CASES.items():
        for command in commands(plan(machine(name, **case.changes), case.options)):
            assert "triton" not in command or re.search(r" --no-deps triton-windows==[\d.]+post\d+$", command)
            assert " torch=" not in command or "--index-url https://download.pytorch.org/whl/" in command


def test_paths_with_spaces_are_quoted_in_every_command() -> None:
    root = r"C:\Users\Ada Lovelace\img2vid"
    shown = commands(plan(machine(root=PureWindowsPath(root)), Options(models=["svd"], sgm=True)))
    programs = [command for command in shown if not command.startswith("write ")]
    assert sum(root in command for command in programs) > 8
    assert not [command for command in programs if "Lovelace" in re.sub(r'"[^"]*"', "", command)]


def stopped(plan: Plan) -> str:
    """Return the first step of a plan that has an obstacle; the others are listed all the same."""
    assert plan.obstacles
    assert len(plan.steps) == 9
    return plan.text().partition("2 of 9: ")[0]


def test_an_obstacle_stops_before_anything_is_changed() -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"bits": 32}, "a 32-bit Python"),
        ({"python_version": (3, 15, 0)}, "is Python 3.15.0, but img2vid needs 3.10 to 3.14"),
        (
            {"store": True},
            "Microsoft Store",
        ),
        ({"build": 7601}, "build 7601"),
        ({"architecture": "ARM64"}, "ARM64"),
        ({"free": {"C:": 3.0}}, "C: has 3.0 GB free, but about 9.0 GB are needed"),
        ({"root": PureWindowsPath("C:\\" + "a" * 90)}, "a shorter folder"),
        ({"root": PureWindowsPath(r"C:\50%\img2vid")}, "cannot handle"),
        ({"running": True}, "the dashboard is running"),
        ({"runtime": None, "winget": False}, "Visual C++ runtime is missing; torch 2.7.1 needs 14.29"),
        ({"runtime": (14, 16), "winget": False}, "Visual C++ runtime has version 14.16"),
    ]
    for changes, words in cases:
        words_found = stopped(plan(machine(**changes)))
        assert words in words_found
        assert "Remedy: " in words_found


def test_long_paths_allow_a_long_folder_and_another_drive_needs_room_of_its_own() -> None:
    long = PureWindowsPath("C:\\" + "a" * 90)
    assert not plan(machine(root=long, long_paths=True)).obstacles
    full = plan(machine(root=PureWindowsPath(r"D:\img2vid"), free={"C:": 1.0, "D:": 900.0}))
    assert "C: has 1.0 GB free" in stopped(full)


def test_what_is_chosen_counts_for_the_space() -> None:
    def needed(options: Options) -> int:
        found = re.search(r"about (\d+) GB needed", plan(machine(), options).text())
        assert found is not None
        return int(found[1])

    assert needed(Options(models=["svd", "svd_xt"], sgm=True)) == needed(Options()) + 20


def test_an_installation_that_is_there_can_be_repeated_with_little_space() -> None:
    there = {"venv": "3.12", "free": {"C:": 2.0}}
    assert not plan(machine(torch="2.7.1+cu118", **there)).obstacles
    assert "are needed" in stopped(plan(machine(torch="2.7.1+cu126", **there)))
    assert "are needed" in stopped(plan(machine(torch="2.7.1+cu118", venv="broken", free={"C:": 2.0})))


def test_a_card_that_nothing_fits_is_named_with_what_would_do() -> None:
    shown = stopped(plan(machine(found=Found((TURING,)), build=22631), Options(cuda="cu130")))
    assert "driver 576.52 of Some Card is too old for cu130" in shown
    assert "-Cuda cu128" in shown


def test_an_obstacle_stops_the_installation_in_its_first_step(capsys: pytest.CaptureFixture[str]) -> None:
    stops = plan(machine(running=True))
    done: list[str] = []
    steps = tuple(
        replace(step, actions=tuple(replace(one, do=lambda: done.append("x") or 0) for one in step.actions))
        for step in stops.steps
    )
    assert carry_out(replace(stops, steps=steps)) == STOPPED
    shown = capsys.readouterr().out
    assert "Stop: the dashboard is running" in shown
    assert ("2 of 9" in shown, done) == (False, [])


@pytest.mark.parametrize(("runtime", "cuda"), [(None, "cu118"), ((14, 16), "cu118"), ((14, 29), "cu126")])
def test_a_missing_or_old_runtime_is_installed_with_winget_first(runtime: Any, cuda: str) -> None:
    first, *_ = plan(machine("gtx-1060", runtime=runtime), Options(cuda=cuda)).steps
    (action,) = first.actions
    assert action.shown.startswith("winget install --id Microsoft.VCRedist.2015+.x64 --exact --source winget ")
    assert "vc_redist.x64.exe" in first.remedy


def test_a_runtime_that_is_new_enough_for_the_build_is_left_alone() -> None:
    assert plan(machine("gtx-1060", runtime=(14, 29))).steps[0].actions == ()
    assert plan(machine("gtx-1060", runtime=(14, 42)), Options(cuda="cu126")).steps[0].actions == ()


def test_the_absence_of_a_card_is_said_once() -> None:
    shown = plan(machine("no-card")).text()
    assert shown.count("nvidia-smi") == 1
    assert len(re.findall(r"NVIDIA GPU|NVIDIA card", shown)) == 1


def test_the_shown_paths_exist_in_the_project() -> None:
    shown = "\n".join(commands(plan(machine())))
    for path in re.findall(r"C:\\img2vid\\(scripts\\[\w\\]+\.\w+)", shown):
        assert (PROJECT / path.replace("\\", "/")).is_file(), path
