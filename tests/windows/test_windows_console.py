"""Console prompts and the log."""

import io
import os
import sys
from pathlib import Path

import pytest
from environment import SetupError
from windows.console import Questions, logged

from img2vid.windows import escape_output


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> Questions:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    return Questions(silent=False)


@pytest.mark.parametrize(("text", "answer"), [("y\n", True), ("NO\n", False), ("\n", True), ("what\nn\n", False)])
def test_answers(monkeypatch: pytest.MonkeyPatch, text: str, answer: bool) -> None:
    assert typed(monkeypatch, text).confirm("Sure?", True) is answer


def test_without_a_console_the_default_answers_all_questions(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    questions = typed(monkeypatch, "")
    assert questions.confirm("Sure?", False) is False
    assert questions.confirm("Really?", True) is True
    assert "Really?" not in capsys.readouterr().out


def test_the_log_keeps_the_output_and_pip_writes_to_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new folder" / "install.log"
    for line in ("first", "second \u00fc"):
        with logged(path):
            sys.stdout.write(f"{line}\n")
            sys.stderr.write("aloud\n")
            assert os.environ["PIP_LOG"] == str(path)
    assert "PIP_LOG" not in os.environ
    text = path.read_text(encoding="utf-8")
    assert text.index("first") < text.index("second \u00fc")
    assert text.count("aloud") == 2
    shown = capsys.readouterr()
    assert "second \u00fc" in shown.out
    assert "aloud" in shown.err


def test_a_console_without_a_letter_shows_its_code_and_the_log_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    console = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", console)
    escape_output()
    with logged(tmp_path / "log"):
        sys.stdout.write("C:\\Users\\\u5f20")
    console.flush()
    assert console.buffer.getvalue().startswith(b"C:\\Users\\\\u5f20")  # type: ignore[attr-defined]
    assert "\u5f20" in (tmp_path / "log").read_text(encoding="utf-8")


def test_a_log_that_cannot_be_written_gets_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(SetupError, match=r"Cannot write the log .*install.log .*-LogPath"),
        logged(tmp_path / "file" / "install.log"),
    ):
        pass


def test_without_a_path_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with logged(None):
        sys.stdout.write("said")
    assert list(tmp_path.iterdir()) == []
