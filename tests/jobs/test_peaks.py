"""Peak memory by kind of run: recorded when a video is saved, whether or not a page is open."""

from pathlib import Path

import pytest

from img2vid.jobs.peaks import expected_peak, record_peak
from img2vid.jobs.store import Store
from img2vid.options import LoadOptions
from img2vid.settings import SampleSettings

SETTINGS, CHOICE = SampleSettings(version="svd_tiny"), LoadOptions()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "img2vid.sqlite")


def test_the_highest_peak_is_kept(store: Store) -> None:
    assert expected_peak(store, SETTINGS, CHOICE) is None
    for memory in (3, 9, 4):
        record_peak(store, SETTINGS, CHOICE, memory)
    assert expected_peak(store, SETTINGS, CHOICE) == 9


@pytest.mark.parametrize("change", [{"seed": 5}, {"num_steps": 3}, {"fps": 9}])
def test_settings_that_need_no_memory_do_not_matter(store: Store, change: dict[str, int]) -> None:
    record_peak(store, SETTINGS, CHOICE, 9)
    assert expected_peak(store, SETTINGS.model_copy(update=change), CHOICE) == 9


@pytest.mark.parametrize("change", [{"decode_t": 1}, {"width": 64}, {"num_frames": 3}, {"version": "svd"}])
def test_each_size_has_its_own_peak(store: Store, change: dict[str, int | str]) -> None:
    record_peak(store, SETTINGS, CHOICE, 9)
    assert expected_peak(store, SETTINGS.model_copy(update=change), CHOICE) is None
    assert expected_peak(store, SETTINGS, LoadOptions(memory="stages")) is None
