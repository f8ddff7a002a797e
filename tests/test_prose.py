"""Docstrings, comments, names of tests and docs: the form and the words that CONTRIBUTING.md asks for."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from img2vid.paths import PROJECT

FOLDERS = ("img2vid", "scripts", "tests")
SOURCES = [PROJECT / "streamlit_app.py", *(path for name in FOLDERS for path in sorted((PROJECT / name).rglob("*.py")))]
OPENINGS = ("What", "Whether", "How", "Who", "Where", "Why", "Which", "When")
"""First words that make a docstring a question; imperatives and noun phrases say what the thing is."""
VERBS = (
    *("Adds", "Asks", "Brings", "Builds", "Carries", "Changes", "Checks", "Chooses", "Computes", "Copies", "Counts"),
    *("Decodes", "Deletes", "Draws", "Encodes", "Ends", "Fills", "Finds", "Forgets", "Gets", "Gives", "Goes", "Hands"),
    *("Has", "Holds", "Keeps", "Lets", "Lists", "Loads", "Looks", "Makes", "Measures", "Moves", "Names", "Opens"),
    *("Prints", "Puts", "Raises", "Reads", "Removes", "Returns", "Runs", "Says", "Sees", "Sends", "Sets", "Shows"),
    *("Starts", "Stops", "Takes", "Tells", "Tries", "Turns", "Waits", "Writes"),
)
"""First words that describe in the third person; functions are described in the imperative: "Return ..."."""
WORDS = re.compile(
    r"\b(told|anew|nobody|whoever|heeded|heed|heeds|insurance|lets? go of|letting go of|looked at again"
    r"|where there is one|where there are any|is none|are none|came otherwise|to and fro|desks?|chores?|shelf|shelves"
    r"|wish|wishes|likeness)\b",
    re.IGNORECASE,
)
"""Words of a private language; CONTRIBUTING.md has the plain ones."""


def names_of_tests(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and words of the name of every test."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node.lineno, node.name.replace("_", " ")


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str, bool]]:
    """Yield line, text and whether it belongs to a function, of every docstring and attribute docstring."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list):
            continue
        function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        for index, child in enumerate(body):
            if not (isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)):
                continue
            after = index > 0 and isinstance(body[index - 1], (ast.Assign, ast.AnnAssign))
            if isinstance(child.value.value, str) and (index == 0 or after):
                yield child.lineno, child.value.value.strip(), function and index == 0


def comments(text: str) -> Iterator[tuple[int, str]]:
    """Yield line and text of every comment."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


@cache
def source(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def faults(path: Path) -> list[str]:
    """Return the faults of a source file, one line each."""
    found: list[str] = []
    name = path.relative_to(PROJECT).as_posix()
    tree = ast.parse(source(path))
    for line, text, function in docstrings(tree):
        first = re.match(r"\w*", text)
        word = first.group() if first else ""
        if word in OPENINGS or (function and word in VERBS):
            found.append(f"{name}:{line} opens with {word!r}")
        found += [f"{name}:{line} says {match.group()!r}" for match in WORDS.finditer(text)]
    for line, text in [*comments(source(path)), *names_of_tests(tree)]:
        found += [f"{name}:{line} says {match.group()!r}" for match in WORDS.finditer(text)]
    return found


def test_docstrings_comments_and_names_of_tests_are_plain() -> None:
    wrong = [fault for path in SOURCES if path.name != Path(__file__).name for fault in faults(path)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"""What it is."""\n', ["opens with 'What'"]),
        ('"""Return it."""\n', []),
        ('def f():\n    """Returns it."""\n', ["opens with 'Returns'"]),
        ('A = 1\n"""Whether it is told."""\n', ["opens with 'Whether'", "says 'told'"]),
        ("a = 1  # begins anew\n", ["says 'anew'"]),
        ('a = "nobody"\n', []),
        ("def test_a_loss_is_told(): ...\n", ["says 'told'"]),
    ],
)
def test_each_rule_finds_its_fault(text: str, expected: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    path = PROJECT / "example.py"
    monkeypatch.setitem(globals(), "source", lambda _: text)
    assert [fault.partition(" ")[2] for fault in faults(path)] == expected


def test_pages_of_the_documentation_use_plain_words() -> None:
    pages = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").rglob("*.md"))]
    wrong = [
        f"{page.relative_to(PROJECT).as_posix()}:{number} says {match.group()!r}"
        for page in pages
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1)
        for match in WORDS.finditer(line)
    ]
    assert not wrong, "\n".join(wrong)
