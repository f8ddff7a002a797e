"""Whole report: exit codes, JSON, a broken torch, and the machine that runs the tests."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from img2vid import paths
from img2vid.cli import main
from img2vid.doctor import checks, command, probe_process, report
from img2vid.doctor.probe_process import Answers, Question
from img2vid.doctor.report import Finding, State, note, ok, problem
from img2vid.hardware import DRIVERS, Found
from img2vid.remedies import setup_command

TORCH: dict[str, Any] = {
    "version": "2.15.0",
    "cuda": None,
    "hip": None,
    "architectures": [],
    "unavailable": "",
    "cpu_fault": "",
    "mps": False,
    "cards": [],
}
PROCESSOR: dict[str, Any] = {
    "instructions": ["AVX2"],
    "level": "AVX2",
    "limits": {},
    "threads": 8,
    "slowdown": {"fp16": 15.0, "bf16": 14.0},
    "fast_paths": [],
}
WELL = [ok("torch", "It runs."), note("port", "It is taken.", "Take another.")]
ILL = [
    *WELL,
    problem("memory", "There is [bold]none[/bold].", "Buy some."),
    problem("disk: home", "Full.", "Empty it."),
]


def found(monkeypatch: pytest.MonkeyPatch, findings: list[Finding]) -> None:
    monkeypatch.setattr(command, "run_checks", lambda: findings)


# The command


@pytest.mark.parametrize(("findings", "code"), [(WELL, 0), (ILL, 1), ([], 0)])
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_the_exit_code_is_1_where_there_is_a_problem(
    findings: list[Finding],
    code: int,
    options: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found(monkeypatch, findings)
    assert main.run(["doctor", *options]) == code
    assert capsys.readouterr().err == ""


def test_the_page_names_each_finding_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found(monkeypatch, ILL)
    main.run(["doctor"])
    assert capsys.readouterr().out.splitlines() == [
        "ok      torch           It runs.",
        "note    port            It is taken.",
        "                        To do: Take another.",
        "problem memory          There is [bold]none[/bold].",
        "                        To do: Buy some.",
        "problem disk: home      Full.",
        "                        To do: Empty it.",
        "2 problems: memory, disk: home.",
    ]


def test_the_json_object_holds_the_same(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    found(monkeypatch, ILL)
    main.run(["doctor", "--json"])
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    parsed = json.loads(out)
    assert parsed["ok"] is False
    assert parsed["checks"][2] == {
        "check": "memory",
        "state": "problem",
        "found": "There is [bold]none[/bold].",
        "remedy": "Buy some.",
    }


def test_on_a_terminal_the_page_is_a_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    report.print_page([*ILL, note("home", "long " * 30, "Take heart.")])
    out = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
    assert "There is [bold]none[/bold]." in out
    assert "To do: Take heart." in out
    assert max(map(len, out.splitlines())) <= 60
    assert out.endswith("2 problems: memory, disk: home.\n")


@pytest.mark.parametrize(
    ("findings", "last"),
    [(WELL, "No problems found."), (ILL[:3], "1 problem: memory."), (ILL, "2 problems: memory, disk: home.")],
)
def test_the_last_line(findings: list[Finding], last: str) -> None:
    assert report.summary(findings) == last


# All checks together


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """Mutable results of the probe process."""
    facts: dict[str, Any] = {
        "torch": TORCH,
        "processor": PROCESSOR,
        "sgm": None,
        "checkpoint svd_tiny": "",
        "checkpoint svd_tiny_xt": "",
    }
    monkeypatch.setattr(checks, "run_probe", lambda questions: Answers(facts))
    monkeypatch.setattr(checks, "find_cards", Found)
    monkeypatch.setenv("IMG2VID_HOME", str(tmp_path))
    for name in ("IMG2VID_CHECKPOINTS", "IMG2VID_ENGINE", "STREAMLIT_SERVER_PORT", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    return facts


def rows(name: str) -> list[Finding]:
    return [finding for finding in checks.run_checks() if finding.check == name]


@pytest.mark.usefixtures("answers")
def test_every_check_is_on_the_page() -> None:
    names = {finding.check for finding in checks.run_checks()}
    assert names == {
        *("Python", "packages", "torch", "processor", "graphics card", "memory", "disk: home", "disk: models", "home"),
        *("video encoder", "port", "checkpoints", "checkpoint", "sgm"),
    }


def test_facts_reach_their_checks(answers: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    card = {"name": "a card", "capability": [8, 6], "memory": 24 * 2**30, "free": 23 * 2**30, "fault": ""}
    answers["torch"] = {**TORCH, "cuda": "12.8", "cards": [card]}
    answers["checkpoint svd_tiny_xt"] = "it is cut off"
    answers["sgm"] = "ImportError: torn"
    monkeypatch.setenv("IMG2VID_ENGINE", "sgm")
    findings = checks.run_checks()
    assert [finding.found for finding in findings if finding.check == "card memory"] == [
        "a card: 23.0 of 24.0 GiB free."
    ]
    assert {finding.found for finding in findings if finding.state is State.PROBLEM} == {
        "svd_tiny_xt: it is cut off.",
        "The reference package sgm is installed but cannot be imported: ImportError: torn.",
    }


def test_a_check_that_fails_is_a_problem_and_the_others_go_on(
    answers: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> None:
        raise ZeroDivisionError("divided\nby zero.")

    before = checks.run_checks()
    monkeypatch.setattr(checks.machine, "check_encoder", fail)
    after = checks.run_checks()
    (broken,) = (finding for finding in after if finding.check == "video encoder")
    assert broken.state is State.PROBLEM
    assert broken.found == "Check failed: ZeroDivisionError: divided by zero."
    assert broken.remedy
    assert [finding.check for finding in after] == [finding.check for finding in before]


def test_a_package_that_ends_the_program_does_not_end_the_doctor() -> None:
    def fail() -> list[Finding]:
        raise SystemExit("good night.")

    (broken,) = checks.guarded("memory", fail)
    assert (broken.check, broken.state) == ("memory", State.PROBLEM)
    assert broken.found == "Check failed: SystemExit: good night."


@pytest.mark.usefixtures("answers")
def test_a_row_of_versions_that_cannot_be_read_is_a_problem(configs: Any) -> None:
    configs("svd_tiny: 3\n")
    (broken,) = rows("versions")
    assert broken.state is State.PROBLEM
    assert "the fields of a version belong here" in broken.found
    assert rows("checkpoints") == [], "missing checkpoints are already reported"


@pytest.mark.usefixtures("answers")
def test_the_page_in_docs_explains_every_check() -> None:
    page = (paths.PROJECT / "docs" / "doctor.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\* \*\*([\w:, ]+)\*\*:", page.partition("## Remedies")[0], re.MULTILINE)
    explained = {name for names in rows for name in names.split(", ")}
    assert explained == {finding.check for finding in checks.run_checks()} | {"card memory"}


def test_the_page_in_docs_names_the_oldest_drivers() -> None:
    page = (paths.PROJECT / "docs" / "doctor.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+)\.[\dx]+ \| ([\d.]+) \| ([\d.]+) \|$", page, re.MULTILINE)
    documented = {int(cuda): [_numbers(linux), _numbers(windows)] for cuda, windows, linux in rows}
    assert documented == {cuda: [*map(_numbers, drivers)] for cuda, drivers in DRIVERS.items()}


def _numbers(version: str) -> list[int]:
    return [*map(int, version.split("."))]


@pytest.mark.usefixtures("answers")
def test_a_project_without_versions_is_a_problem(configs: Any) -> None:
    configs("")
    assert rows("versions")[0].found.endswith("versions.yaml lists no model.")


def test_what_fails_before_the_checks_does_not_keep_them_from_being_made(
    answers: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(questions: list[Question]) -> Answers:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(checks, "run_probe", ask)
    findings = checks.run_checks()
    states = {finding.check: finding.state for finding in findings}
    assert (states["answers"], states["torch"], states["video encoder"]) == (State.PROBLEM, State.PROBLEM, State.OK)


def test_the_remedy_for_a_missing_package_is_the_setup_command() -> None:
    def fail() -> list[Finding]:
        raise ModuleNotFoundError("No module named 'psutil'", name="psutil")

    (broken,) = checks.guarded("memory", fail)
    assert broken.remedy == f"Install the missing package: run `{setup_command()}`."


# The probe process


def test_what_came_before_a_crash_is_kept() -> None:
    said = probe_process.read_answers(
        b'hello\n{"topic": "torch", "facts": {"a": 1}}\n[1]\n{"topic": "sgm", "reason": "torn"}\n{"topi'
    )
    assert (said.facts, said.reasons) == ({"torch": {"a": 1}}, {"sgm": "torn"})
    crashed = Answers(said.facts, said.reasons, "Python was killed by signal 11")
    assert crashed.reason("sgm") == "torn"
    assert crashed.reason("checkpoint svd") == "Python was killed by signal 11"


def test_a_process_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_process, "TIMEOUT", 0.01)
    answers = probe_process.run_probe([])
    assert answers.reason("torch") == "Python did not finish within 0 seconds"


def test_a_process_that_cannot_be_started_is_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no python"))
    assert probe_process.run_probe([]).reason("torch").startswith("Python could not be started (")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("raise OSError('[WinError 126] Error loading c10.dll')", "OSError: [WinError 126] Error loading c10.dll"),
        ("import no_such_package_at_all", "ModuleNotFoundError: No module named 'no_such_package_at_all'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import os; os._exit(7)", "Python exited with code 7 during this check: greetings"),
    ],
)
def test_any_failure_of_torch_is_reported(
    fault: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(f"print('greetings')\n{fault}\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    answers = probe_process.run_probe([Question("svd_tiny", tmp_path, tmp_path)])
    assert answers.facts == {}
    assert answers.reason("torch") == reason
    assert answers.reason("sgm") == "torch does not work, see above"


# Real subprocesses


def doctor(module: str, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    arguments = ["doctor", "--json"] if module == "img2vid" else ["--json"]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("IMG2VID_", "STREAMLIT_"))},
        "IMG2VID_HOME": str(home),
        "PYTHONPATH": str(paths.PROJECT),
        "OMP_NUM_THREADS": "1",
        **variables,
    }
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_this_machine(tmp_path: Path) -> None:
    done = doctor("img2vid", tmp_path)
    parsed = json.loads(done.stdout)
    states = {row["check"]: row["state"] for row in parsed["checks"]}
    assert done.stderr == ""
    assert done.returncode == (0 if parsed["ok"] else 1)
    assert [states[name] for name in ("Python", "packages", "torch", "processor", "home", "video encoder")] == [
        "ok"
    ] * 6
    small = [row["found"] for row in parsed["checks"] if row["check"] == "checkpoint" and "svd_tiny" in row["found"]]
    assert len(small) == 2
    assert all(found.endswith("is complete and matches its configuration.") for found in small)
    assert list(tmp_path.iterdir()) == [], "the doctor leaves nothing behind"


def test_a_broken_torch_does_not_stop_the_report(tmp_path: Path) -> None:
    (tmp_path / "broken" / "torch").mkdir(parents=True)
    (tmp_path / "broken" / "torch" / "__init__.py").write_text("raise OSError('c10.dll is torn')", encoding="utf-8")
    places = os.pathsep.join([str(tmp_path / "broken"), str(paths.PROJECT)])
    done = doctor("img2vid", tmp_path, PYTHONPATH=places)
    assert (done.returncode, done.stderr) == (1, "")
    by_check = {row["check"]: row for row in json.loads(done.stdout)["checks"]}
    assert by_check["torch"]["state"] == "problem"
    assert by_check["torch"]["found"].endswith("cannot be imported: OSError: c10.dll is torn.")
    assert by_check["video encoder"]["state"] == "ok"
    assert by_check["checkpoint"]["state"] == "note"


@pytest.mark.parametrize("module", ["img2vid", "img2vid.doctor"])
def test_the_report_does_without_the_packages_that_the_command_line_needs(module: str, tmp_path: Path) -> None:
    for name in ("av", "yaml", "rich", "torch", "psutil", "numpy", "pydantic", "filelock", "PIL"):
        (tmp_path / "broken" / name).mkdir(parents=True)
        (tmp_path / "broken" / name / "__init__.py").write_text(
            f"raise ImportError('{name} is torn')", encoding="utf-8"
        )
    places = os.pathsep.join([str(tmp_path / "broken"), str(paths.PROJECT)])
    done = doctor(module, tmp_path, PYTHONPATH=places)
    assert (done.returncode, done.stderr) == (1, "")
    parsed = json.loads(done.stdout)["checks"]
    wrong = {row["check"]: row["found"] for row in parsed if row["state"] == "problem"}
    assert wrong["video encoder"] == "Check failed: ImportError: numpy is torn."
    assert wrong["memory"] == "Check failed: ImportError: psutil is torn."
    assert wrong["versions"] == "Check failed: ImportError: pydantic is torn."


def test_every_other_command_names_the_doctor_if_a_package_is_broken(tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("raise ImportError('DLL load failed')", encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(paths.PROJECT)])}
    command = [sys.executable, "-m", "img2vid", "gallery", "list"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("img2vid cannot start (DLL load failed). Run `")
    assert done.stderr.endswith("-m img2vid doctor`, which names the remedy.\n")
