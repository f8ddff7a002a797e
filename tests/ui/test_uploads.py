"""Settings files from outside: restored, or refused with BadInput; nothing else is raised."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from img2vid.errors import BadInput
from img2vid.settings import SampleSettings
from img2vid.ui.tabs import read
from img2vid.ui.uploads import take_upload
from img2vid.versions import load_versions

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
NAMES = st.sampled_from([*SampleSettings.model_fields, "other"])
SETTINGS = st.dictionaries(NAMES, ANY | st.sampled_from([10**400, 1e400, "9" * 5000, "\ud800"]), max_size=6)
KNOWN = SETTINGS.map(lambda values: values | {"version": "svd_tiny"})
TAB = ("controls", "choice", "picture", "pages", "shown", "dismissed", "save_path")
FILES = st.fixed_dictionaries({"settings": KNOWN | SETTINGS | ANY}, optional={"picture": ANY})


@settings(max_examples=500, deadline=None)
@given(FILES | st.dictionaries(st.text(max_size=5), ANY))
@example({"settings": {"version": "svd_tiny", "seed": 10**400}})
def test_a_settings_file_is_restored_or_refused(values: object) -> None:
    try:
        dropped = take_upload(json.dumps(values).encode(), "a.json", [])
    except BadInput as error:
        assert len(str(error)) < 1500 and not {*"\n\x1b\u202e"} & {*str(error)}
        return
    assert dropped.controls is not None
    SampleSettings(**dropped.controls)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys(("controls", "choice", "picture", "pages", "shown"), ANY | KNOWN))
)
def test_a_tab_file_gives_valid_controls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: object) -> None:
    monkeypatch.setenv("IMG2VID_HOME", str(tmp_path))
    (tmp_path / "tabs").mkdir(exist_ok=True)
    (tmp_path / "tabs" / "mine.json").write_text(json.dumps(values), encoding="utf-8")
    tab = read("mine", load_versions())
    assert tab is not None
    SampleSettings(**tab.controls)


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"controls": ' * 900, b"\xff\xfe", b"", b"5"])
def test_a_damaged_tab_file_is_left_out(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMG2VID_HOME", str(tmp_path))
    (tmp_path / "tabs").mkdir()
    (tmp_path / "tabs" / "mine.json").write_bytes(content)
    assert read("mine", load_versions()) is None
