"""Tab files on disk, including damaged and edited ones."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from other_settings import OTHER_VALUES

from img2vid.options import LoadOptions
from img2vid.settings import SampleSettings
from img2vid.ui import tabs
from img2vid.ui.tabs import Picture, Tab
from img2vid.versions import find_version, load_versions

VERSIONS = load_versions()
PICTURE = Picture("a" * 64 + ".jpg", "dogs")
MORE = (Picture("c" * 64 + ".png", "cat"), Picture("d" * 64 + ".webp", "door"))


@pytest.fixture(autouse=True)
def _home(home: Path) -> None:
    (home / "inputs").mkdir(parents=True)
    for picture in (PICTURE, *MORE):
        (home / "inputs" / picture.file).write_bytes(b"a picture")


def full() -> Tab:
    """Return a tab in which every value differs from its default."""
    options = LoadOptions("sgm", "cuda:1", "bf16", "fp16", "stages", True, 3, True)
    return Tab(dict(OTHER_VALUES), options, False, "/videos", PICTURE, MORE, "job", ("one", "two"))


def test_all_values_are_read_back() -> None:
    tabs.write("0" * 12, full())
    assert tabs.read("0" * 12, VERSIONS) == full()
    assert set(full().controls) == set(SampleSettings.model_fields)


def test_an_unknown_tab_is_not_found_and_a_new_one_has_the_defaults() -> None:
    assert tabs.read("0" * 12, VERSIONS) is None
    assert tabs.newest(VERSIONS) is None
    tab = tabs.fresh(VERSIONS, "sgm")
    assert tab.controls == find_version("svd_tiny").settings({}).model_dump()
    assert tab.options == LoadOptions(provider="sgm")


def test_a_new_tab_copies_the_last_one_but_shows_the_newest_result(home: Path) -> None:
    tabs.write("1" * 12, full())
    other = tabs.fresh(VERSIONS)
    tabs.write("2" * 12, other)
    os.utime(home / "tabs" / f"{'2' * 12}.json", (1, 1))
    found = tabs.newest(VERSIONS)
    assert found is not None
    assert (found.controls, found.shown) == (full().controls, "")


def read_with(home: Path, part: str, name: str, value: Any) -> tabs.Tab:
    """Return a tab read from a file with one changed value."""
    tabs.write("1" * 12, full())
    path = home / "tabs" / f"{'1' * 12}.json"
    kept = json.loads(path.read_text())
    kept[part][name] = value
    path.write_text(json.dumps(kept))
    tab = tabs.read("1" * 12, VERSIONS)
    assert tab is not None
    return tab


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fps", "many"),
        ("fps", 0),
        ("fps", 1e9),
        ("fps", None),
        ("fps", True),
        ("cond_aug", float("nan")),
        ("sampler", "Unknown"),
        ("sampler", 3),
        ("version", "no such version"),
        ("crop_offset", 7),
        ("watermark", "perhaps"),
    ],
)
def test_an_invalid_control_value_gets_its_default(home: Path, name: str, value: Any) -> None:
    tab = read_with(home, "controls", name, value)
    version = find_version("svd_tiny" if name == "version" else "svd_xt")
    assert tab.controls[name] == getattr(version.settings({}), name)
    others = {key: item for key, item in full().controls.items() if key not in (name, "version")}
    assert {key: tab.controls[key] for key in others} == others


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("memory", "cloud"),
        ("decoder_precision", "int4"),
        ("compile", "yes"),
        ("threads", 4096),
        ("threads", -1),
        ("threads", True),
        ("provider", 7),
    ],
)
def test_an_invalid_engine_option_gets_its_default(home: Path, name: str, value: Any) -> None:
    tab = read_with(home, "choice", name, value)
    assert tab.options == replace(full().options, **{name: getattr(LoadOptions(), name)})


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '"word"', '{"controls": 3, "choice": [], "picture": "x", "dismissed": 1}', "\udcff", "{}"],
)
def test_a_damaged_file_never_stops_the_page(home: Path, text: str) -> None:
    (home / "tabs").mkdir()
    (home / "tabs" / f"{'1' * 12}.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    tab = tabs.read("1" * 12, VERSIONS)
    assert tab is None or tab.controls == tabs.fresh(VERSIONS).controls


@pytest.mark.parametrize("file", ["../../etc/passwd", "..", "", "a" * 64 + "/../x.jpg", "b" * 64 + ".jpg", 3, None])
def test_an_input_outside_the_inputs_folder_is_dropped(home: Path, file: Any) -> None:
    tabs.write("1" * 12, full())
    path = home / "tabs" / f"{'1' * 12}.json"
    kept = json.loads(path.read_text())
    kept["picture"]["file"] = kept["more_pictures"][1]["file"] = file
    path.write_text(json.dumps(kept))
    tab = tabs.read("1" * 12, VERSIONS)
    assert tab is not None
    assert tab.pictures == (MORE[0],)


@pytest.mark.parametrize("more", [None, 3, "x", [3, None, {}], {}])
def test_a_file_without_a_valid_batch_keeps_its_picture(home: Path, more: Any) -> None:
    tabs.write("1" * 12, full())
    path = home / "tabs" / f"{'1' * 12}.json"
    kept = json.loads(path.read_text())
    del kept["more_pictures"]  # as in files of earlier releases
    path.write_text(json.dumps(kept if more is None else {**kept, "more_pictures": more}))
    tab = tabs.read("1" * 12, VERSIONS)
    assert tab is not None and tab.pictures == (PICTURE,)


@pytest.mark.parametrize("name", ["", "../secret", "ABCDEF012345", "0123456789ab\n", "0123456789a", None, ["0" * 12]])
def test_invalid_tab_names_are_rejected(name: Any) -> None:
    assert not tabs.is_name(name)
    assert tabs.is_name(tabs.new_name())
    assert tabs.new_name() != tabs.new_name()


def test_only_the_newest_tabs_are_kept_and_nothing_unfinished_is_left(home: Path) -> None:
    for number in range(tabs.KEPT + 3):
        tabs.write(f"{number:012x}", tabs.fresh(VERSIONS))
        os.utime(home / "tabs" / f"{number:012x}.json", (number, number))
    tabs.write("f" * 12, tabs.fresh(VERSIONS))
    left = sorted(path.name for path in (home / "tabs").iterdir())
    assert len(left) == tabs.KEPT
    assert left[-1] == f"{'f' * 12}.json"
    assert f"{0:012x}.json" not in left
