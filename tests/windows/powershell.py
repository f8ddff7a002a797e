"""PowerShell linter based on tree-sitter, for problems with Windows PowerShell 5.1.

It checks the grammar and the project's conventions; running the commands needs PowerShell itself.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import tree_sitter_pwsh
from tree_sitter import Language, Node, Parser

PARSER = Parser(Language(tree_sitter_pwsh.language()))
ONLY_IN_7 = ("ternary_expression", "null_coalesce_expression", "null_coalescing_expression")
WITH_PATHS = (
    *("add-content", "set-content", "get-content", "remove-item", "copy-item", "move-item", "rename-item"),
    *("test-path", "get-item", "get-childitem", "resolve-path", "out-file"),
)
DOWNLOADS = ("invoke-webrequest", "invoke-restmethod", "start-bitstransfer", "net.webclient", "httpclient")


@dataclass(frozen=True, order=True)
class Finding:
    line: int
    problem: str


def lint(path: Path) -> list[Finding]:
    return lint_bytes(path.read_bytes())


def lint_bytes(source: bytes) -> list[Finding]:
    """Return the problems of a script in line order."""
    found: set[Finding] = set()
    for number, line in enumerate(source.split(b"\n"), 1):
        if not line.isascii():
            found.add(Finding(number, "not ASCII: 5.1 reads it in the code page of the computer"))
    root = PARSER.parse(source).root_node
    for node in nodes(root):
        found |= {Finding(node.start_point[0] + 1, problem) for problem in problems(node)}
    text = source.decode("ascii", "replace").lower()
    if any(word in text for word in DOWNLOADS):
        for needed in ("tls12", "-usebasicparsing"):
            if needed not in text:
                found.add(Finding(1, f"it downloads without {needed}"))
    return sorted(found)


def nodes(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from nodes(child)


def problems(node: Node) -> Iterator[str]:
    kinds = {child.type for child in node.children}
    if node.type == "ERROR" or node.is_missing:
        yield "a syntax error"
    if node.type == "try_statement" and not kinds & {"catch_clauses", "finally_clause"}:
        yield "try without catch or finally"
    if node.type in ("&&", "||") or (node.type in ONLY_IN_7 and len(node.children) > 1):
        yield "only PowerShell 7 reads this"
    if node.type == "command":
        yield from command_problems(node)


def command_problems(node: Node) -> Iterator[str]:
    words = text_of(node).lower().split()
    if not words:
        return
    if words[0] in WITH_PATHS and "-literalpath" not in words:
        yield f"{words[0]} without -LiteralPath: [ and ] in a path would be wildcards"
    if words[0] in ("invoke-expression", "iex"):
        yield "Invoke-Expression"
    if re.fullmatch(r"[a-z][\w.]*", words[0]):
        yield f"{words[0]} is called by its bare name; & with a variable says that it is a program"
    if words[0] == "&" and not exit_code_is_read(node):
        yield "a program's exit code is not looked at"
    if any(word.startswith(("2>", "*>")) for word in words):
        yield "5.1 makes errors of what a program writes to a redirected standard error"


def exit_code_is_read(node: Node) -> bool:
    """Return True if the statement after this command reads $LASTEXITCODE."""
    while node.parent is not None and node.parent.type != "statement_list":
        node = node.parent
    following = node.next_named_sibling
    return following is not None and "$LASTEXITCODE" in text_of(following)


def text_of(node: Node) -> str:
    return (node.text or b"").decode("ascii", "replace")
