"""Output that the streams cannot encode."""

import ast
import io
import sys
from pathlib import Path

import pytest

from img2vid.windows import escape_output

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"


def test_characters_that_a_stream_lacks_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="cp1252") for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    escape_output()
    for stream in streams:
        stream.write("Müller 図")
        stream.flush()
        assert stream.buffer.getvalue() == b"M\xfcller \\u56f3"  # type: ignore[attr-defined]


def test_streams_of_other_kinds_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    escape_output()


def test_every_script_that_prints_escapes() -> None:
    """`guard` does so for the scripts that it starts; installed.py prints ASCII only, kernel.py names of devices."""
    scripts = [path for path in SCRIPTS.rglob("*.py") if '__name__ == "__main__"' in path.read_text(encoding="utf-8")]
    called = {
        path.relative_to(SCRIPTS).as_posix()
        for path in scripts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("guard", "escape_output")
    }
    assert {path.relative_to(SCRIPTS).as_posix() for path in scripts} - called == {"installed.py", "windows/kernel.py"}
