"""Edits of versions.local.yaml: add and remove rows, and keep everything else unchanged."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from img2vid.checkpoints import rows
from img2vid.errors import BadInput, ConfigError
from img2vid.versions import ModelVersion, find_version, load_versions

VERSION = find_version("svd_xt")
OTHER = "# by hand\nby_hand:  # mine\n" + "".join(
    f"    {line}\n" for line in rows.as_yaml(VERSION).splitlines()[1:]
).replace("      ", "     ")


@pytest.fixture
def own(configs: Callable[..., Path]) -> Path:
    return configs() / "versions.local.yaml"


def mine(name: str = "mine") -> ModelVersion:
    return VERSION.model_copy(update={"name": name})


def test_a_row_that_is_written_is_read_back(own: Path) -> None:
    assert rows.add_row(mine()) == own
    assert load_versions() == {"mine": mine()}
    assert own.read_text(encoding="utf-8").startswith("# Versions of your own")
    assert rows.is_local("mine") and not rows.is_local("svd_xt")


def test_what_others_wrote_stays_letter_by_letter(own: Path) -> None:
    own.write_text(OTHER, encoding="utf-8")
    rows.add_row(mine())
    rows.add_row(mine("third"))
    assert own.read_text(encoding="utf-8").startswith(OTHER)
    assert [*load_versions()] == ["by_hand", "mine", "third"]
    rows.remove_row("mine")
    assert [*load_versions()] == ["by_hand", "third"]
    rows.remove_row("third")
    assert own.read_text(encoding="utf-8").strip() == OTHER.strip()


def test_a_name_in_use_is_refused(own: Path) -> None:
    rows.add_row(mine())
    with pytest.raises(BadInput, match="the version mine already exists; choose another name"):
        rows.add_row(mine())


def test_a_file_in_another_form_is_left_alone(own: Path) -> None:
    own.write_text("{}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"cannot edit .* automatically; edit it by hand"):
        rows.add_row(mine())
    assert own.read_text(encoding="utf-8") == "{}\n"


NAMES = st.from_regex(r"\A[a-z0-9][a-z0-9_.-]{0,6}\Z")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(NAMES, min_size=1, max_size=5, unique=True), data=st.data())
def test_rows_of_any_names_come_and_go_by_themselves(own: Path, names: list[str], data: st.DataObject) -> None:
    own.unlink(missing_ok=True)
    for name in names:
        rows.add_row(mine(name))
    gone = data.draw(st.sampled_from(names))
    rows.remove_row(gone)
    assert [*load_versions()] == [name for name in names if name != gone]
