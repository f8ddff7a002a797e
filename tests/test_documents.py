"""JSON and YAML from outside: limits, and errors that name the file and show little of its text."""

import ast
import json
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from img2vid.documents import MAX_BYTES, MAX_DEPTH, format_yaml, parse_json, parse_yaml, read_json, read_yaml
from img2vid.errors import BadInput, ConfigError, Img2VidError, shown
from img2vid.paths import PROJECT

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
PIECES = st.lists(
    st.sampled_from(
        [*'[]{}":,\\', "\\u", "\\\\", '\\"', "null", "1e999", "-", "\n", "  ", "a: ", "- ", "&a ", "*a", "<<: "]
    )
    | st.text(max_size=3)
    | st.sampled_from(["!!int ", "!!timestamp ", "!!bool ", "!!float ", "!!omap ", "!!set ", "!!binary ", "? ", "| "]),
    max_size=60,
).map("".join)


@given(ANY)
def test_json_of_any_kind_is_read(value: object) -> None:
    assert parse_json(json.dumps(value), "a.json") == json.loads(json.dumps(value))
    assert parse_json(json.dumps(value).encode(), "a.json") == json.loads(json.dumps(value))


@settings(max_examples=500)
@given(PIECES | st.binary(max_size=200))
def test_readers_raise_only_bad_input(data: str | bytes) -> None:
    for parse in (parse_json, parse_yaml):
        try:
            parse(data, "a file")
        except BadInput as error:
            assert str(error).startswith("a file is not valid ")
            assert str(error).isprintable() and len(str(error)) < 400


@given(PIECES)
def test_strings_do_not_hide_levels(text: str) -> None:
    """Brackets in strings do not count; brackets after strings with escapes do."""
    string = json.dumps(text)
    inside = MAX_DEPTH // 2
    assert parse_json("[" * inside + string + "]" * inside, "a.json")
    with pytest.raises(BadInput, match="nested more than 64 levels deep"):
        parse_json(f"[{string},{'[' * MAX_DEPTH}{']' * MAX_DEPTH}]", "a.json")


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 900, 100_000])
@pytest.mark.parametrize("text", ["[", '{"a":', "- ", "a:\n", "? "])
def test_deep_texts_are_refused(text: str, depth: int) -> None:
    for parse in (parse_json, parse_yaml):
        with pytest.raises(BadInput, match=r"^deep is not valid (JSON|YAML): "):
            parse(text * depth, "deep")


def test_the_deepest_allowed_text_is_read() -> None:
    text = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert parse_json(text, "a.json") == parse_yaml(text, "a.yaml")
    for parse in (parse_json, parse_yaml):
        with pytest.raises(BadInput, match="nested more than 64 levels deep"):
            parse(f"[{text}]", "a.json")


def test_large_files_are_not_read_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.truncate(100 * MAX_BYTES)
    for read in (read_json, read_yaml):
        with pytest.raises(ConfigError, match=r"large\.json is not valid (JSON|YAML): larger than 10 MB"):
            read(path, error=ConfigError)


@pytest.mark.parametrize(
    "text",
    [
        "a0: &a0 [1, 1]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40)),
        "a0: &a0 {x0: 1}\n" + "".join(f"a{n}: &a{n}\n  <<: [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40)),
        "[" + "1," * 200_000 + "]",
    ],
    ids=["aliases", "merge keys", "plain values"],
)
def test_yaml_with_too_many_values_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match=r"bomb\.yaml is not valid YAML: more than 100,000 values"):
        parse_yaml(text, "bomb.yaml")


def test_aliases_do_not_hide_levels() -> None:
    text = "a1: &a1 [1]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(2, MAX_DEPTH))
    assert parse_yaml(text, "a.yaml")
    with pytest.raises(BadInput, match="nested more than 64 levels deep"):
        parse_yaml(f"{text}last: [*a{MAX_DEPTH - 1}]", "a.yaml")


@pytest.mark.parametrize("text", ["a: &a [*a]", "a: *b", "- &a 1\n- &a [*a]"])
def test_recursive_aliases_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match=r"the alias \w is undefined or inside its own value"):
        parse_yaml(text, "a.yaml")


def test_aliases_and_merge_keys_are_read() -> None:
    text = "base: &base {fps: 6, seed: 1}\nmine:\n  <<: *base\n  seed: 2\nlist: [*base, *base]\n"
    assert parse_yaml(text, "a.yaml") == yaml.safe_load(text)


@pytest.mark.parametrize("text", ["a: 1\nb: 2\na: 3", "{a: 1, 'a': 2}", "x: {y: [{a: 1, a: 1}]}"])
def test_duplicate_keys_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match="the key 'a' appears twice"):
        parse_yaml(text, "a.yaml")


def test_numbers_without_a_point_are_numbers() -> None:
    assert parse_yaml("[1e-4, 2E3, 1.5e+2, -3e5, 12, 1e, e5, 0x1e5]", "") == [
        1e-4,
        2e3,
        150.0,
        -3e5,
        12,
        "1e",
        "e5",
        485,
    ]


@pytest.mark.parametrize("text", [":".join(["59"] * 10_000), "0b" + "1" * 5000, f"!!float {'1' * 200}"])
def test_long_numbers_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match=r"a value of type (int|float) is longer than 100 characters"):
        parse_yaml(f"- {text}", "a.yaml")


def test_a_byte_order_mark_is_ignored() -> None:
    assert parse_json(b'\xef\xbb\xbf{"a": 1}', "") == parse_yaml(b"\xef\xbb\xbfa: 1", "") == {"a": 1}


def test_foreign_text_is_shown_short_and_safe() -> None:
    assert shown("Bild von Zoë 👩‍🚀 (2).png") == "Bild von Zoë 👩‍🚀 (2).png"
    assert shown("a\x1b[31m\r\nb\u202egnp\udcff") == r"a\x1b[31m\r\nb\u202egnp\udcff"
    long = shown("a" * 1000 + "end")
    assert len(long) == 300 and long.startswith("aaa") and long.endswith("aend") and "..." in long


@given(st.text() | st.text(min_size=250, max_size=2000))
def test_shown_text_is_printable_and_at_most_300_characters(text: str) -> None:
    safe = shown(text)
    assert len(safe) <= 300 and not {*"\n\r\x1b\u2028\u202e"} & {*safe}
    safe.encode()
    assert shown(safe) == safe


PARSERS = re.compile(r"((json|pickle|tomllib)\.loads?|yaml\.\w*load\w*|OmegaConf\.\w+|ast\.literal_eval)$")
TRUSTED = {
    "img2vid/documents.py": "sets the limits",
    "img2vid/doctor/probe_process.py": "lines of our own subprocess",
    "img2vid/engine/bench/memory_probe.py": "lines of our own subprocess",
    "img2vid/jobs/cluster.py": "a line of our own subprocess",
    "img2vid/jobs/estimate.py": "columns of our own database",
    "img2vid/jobs/job.py": "columns of our own database",
}
"""Files that parse text without limits, and the reason."""


def test_text_from_outside_is_parsed_with_limits() -> None:
    found: set[str] = set()
    for path in [*(PROJECT / "img2vid").rglob("*.py"), PROJECT / "streamlit_app.py"]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            imported = [f"{node.module}.{name.name}" for name in node.names] if isinstance(node, ast.ImportFrom) else []
            if any(PARSERS.match(name) for name in (called, *imported)):
                found.add(path.relative_to(PROJECT).as_posix())
    assert found == TRUSTED.keys()


def test_errors_escape_unsafe_characters() -> None:
    assert str(Img2VidError("cannot read 'a\x1b[2J\udcff'")) == r"cannot read 'a\x1b[2J\udcff'"


@pytest.mark.parametrize("text", ["0e0", "1e-4", "1_0E5", "12", "1.5", "yes", "null", "svd", "a: b", "é"])
def test_formatted_text_is_read_back_as_text(text: str) -> None:
    """Regression: 0e0 was written without quotes and read as a number."""
    assert parse_yaml(format_yaml({text: {"name": text}}), "x.yaml") == {text: {"name": text}}
