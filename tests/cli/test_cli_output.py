"""Output of the commands: a bar on a terminal and lines elsewhere, closed pipes, and failures of a batch."""

import errno
import io
import os
import sys
from pathlib import Path

import pytest
from rich.progress import TextColumn

from img2vid.cli import main
from img2vid.cli.output import Bar, Batch, flush_output, print_line
from img2vid.errors import BadInput, Img2VidError, MediaError


def test_without_a_terminal_there_is_a_line_for_each_new_key(capsys: pytest.CaptureFixture[str]) -> None:
    with Bar() as bar:
        bar.show("copying", 0, 10)
        for key in (1, 1, 2, 1):
            bar.show("copying", key, 10, line=(key, f"{key} of 10"))
    assert not bar.is_terminal
    out, err = capsys.readouterr()
    assert (out, err.splitlines()) == ("", ["img2vid: 1 of 10", "img2vid: 2 of 10", "img2vid: 1 of 10"])


@pytest.mark.parametrize("restart", [False, True])
def test_on_a_terminal_there_is_one_bar(
    restart: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    with Bar(TextColumn("{task.fields[count]}")) as bar:
        bar.show("[red] first", 0, None, count="none", line=(1, "a line"))
        bar.show("second", 5, 10, restart=restart, count="five")
    out, err = capsys.readouterr()
    last = err.rpartition("second")[2]
    assert out == "" and "five" in last and "first" not in last
    assert "a line" not in err


def test_a_reader_that_has_gone_ends_the_output_and_not_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        os.close(reader)
        print_line("one")
        print_line("two")
        flush_output()


def test_a_command_that_writes_by_itself_may_lose_its_reader_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("img2vid.doctor.command.run_checks", list)
    reader, writer = os.pipe()
    with os.fdopen(writer, "w", encoding="utf-8", buffering=1) as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        os.close(reader)
        assert main.run(["doctor", "--json"]) == 0
        flush_output()


class WithoutReader(io.StringIO):
    """A pipe of Windows whose reader has closed it."""

    def flush(self) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")


@pytest.mark.parametrize(("stream", "code"), [(WithoutReader, 0), (io.StringIO, 1)], ids=["closed", "open"])
def test_windows_error_for_a_closed_pipe_counts_only_if_stdout_is_closed(
    stream: type[io.StringIO], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def write(findings: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr("img2vid.doctor.command.run_checks", list)
    monkeypatch.setattr("img2vid.doctor.command.print_page", write)
    monkeypatch.setattr(sys, "stdout", stream())
    assert main.run(["doctor"]) == code
    assert capsys.readouterr().err == ("img2vid: Invalid argument\n" if code else "")


def test_output_that_cannot_be_written_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def write(self, text: str) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        def fileno(self) -> int:
            raise OSError

    monkeypatch.setattr(sys, "stdout", Full())
    with pytest.raises(Img2VidError, match="the output cannot be written"):
        print_line("one")


def test_a_batch_names_what_failed_at_once_and_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    batch = Batch("pictures", 30)
    for number in range(25):
        with batch.item(f"{number}\x1b.jpg"):
            raise BadInput("it is empty")
    with batch.item("good.jpg"):
        pass
    assert batch.finish() == 2
    *lines, last = capsys.readouterr().err.splitlines()
    assert lines[3] == "img2vid: 3\\x1b.jpg: it is empty"
    assert last.startswith("img2vid: 25 of 30 pictures failed: 0\\x1b.jpg (it is empty); 1\\x1b.jpg (")
    assert last.endswith("19\\x1b.jpg (it is empty); and 5 more")


PICTURE = Path("x", "b.jpg")


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (BadInput("'b.jpg' is empty; choose an image"), "it is empty; choose an image"),
        (BadInput(f"the folder '{PICTURE}' has no images"), "it has no images"),
        (BadInput(f"no such file or folder: '{PICTURE}'; check the name"), "no such file or folder; check the name"),
        (BadInput(f"cannot read the folder '{PICTURE}' (Permission denied)"), "cannot read it (Permission denied)"),
        (BadInput(f"no picture matches '{PICTURE}'; check the pattern"), "no picture matches it; check the pattern"),
        (PermissionError(errno.EACCES, "Permission denied", str(PICTURE)), "Permission denied"),
        (MediaError("cannot write to x (the disk is full)"), "cannot write to x (the disk is full)"),
    ],
)
def test_a_failed_item_is_named_once(error: Exception, why: str, capsys: pytest.CaptureFixture[str]) -> None:
    batch = Batch("pictures", 2)
    batch.fail(PICTURE, error)
    batch.finish()
    assert capsys.readouterr().err.splitlines() == [
        f"img2vid: {PICTURE}: {why}",
        f"img2vid: 1 of 2 pictures failed: {PICTURE} ({why})",
    ]


def test_the_exit_code_of_a_batch_is_bad_input_only_if_all_of_it_is() -> None:
    batch = Batch("pictures", 3)
    assert batch.finish() == 0
    batch.fail("a.jpg", BadInput("no picture"))
    assert batch.finish() == 2
    batch.fail("b.jpg", OSError(errno.ENOSPC, "No space left on device"))
    assert batch.finish() == 1


def test_an_error_that_concerns_all_items_or_the_only_one_is_raised() -> None:
    with pytest.raises(Img2VidError, match="no cluster"), Batch("pictures", 3).item("a", fatal=(Img2VidError,)):
        raise Img2VidError("no cluster")
    with pytest.raises(BadInput, match="no picture"), Batch("pictures", 1).item("a"):
        raise BadInput("no picture")
