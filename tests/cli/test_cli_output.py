"""Progress of the commands: a bar on a terminal, lines elsewhere."""

import pytest
from rich.progress import TextColumn

from img2vid.cli.output import Bar


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
