"""Measurement table and plots: values, units and positions along the clip."""

import time
from dataclasses import replace

import pytest
from driving import PHOTO
from fake_service import FakeService
from streamlit.testing.v1 import AppTest

from img2vid.gallery.entries import Entries, Entry
from img2vid.gallery.measurement import Measurement
from img2vid.options import LoadOptions
from img2vid.settings_validation import make_settings
from img2vid.ui.shared import measured, measuring

FOUND = Measurement(31.5, 0.9, (1.0, 3.0), (4.0,), (100.0, 110.0, 120.0), (50.0, 50.0, 50.0))


@pytest.fixture
def entry(service: FakeService) -> Entry:
    settings = make_settings({"fps": 8, "num_frames": 3})
    job = service.finishes(service.store.add(settings, LoadOptions(), PHOTO.read_bytes(), "dogs", ".jpg"))
    return replace(Entries(service.store).find_by_job(job.id)[0], measurement=FOUND)


def numbers(entry: Entry) -> dict[str, float | None]:
    return {quantity.heading: quantity.value(entry) for quantity in measured.QUANTITIES}


def test_every_number_has_the_unit_of_its_heading(entry: Entry) -> None:
    shown = numbers(replace(entry, result=replace(entry.result, seconds=12.0, memory=2_500_000_000)))
    assert shown["Sharpness drift (%)"] == pytest.approx(100 * FOUND.sharpness_drift)
    assert FOUND.sharpness_drift == pytest.approx(20 / 110)
    assert {name: value for name, value in shown.items() if name != "Sharpness drift (%)"} == {
        "Time (s)": 12.0,
        "Memory (GB)": 2.5,
        "Motion (px)": 2.0,
        "PSNR 1st (dB)": 31.5,
        "SSIM 1st": 0.9,
        "Flicker (of 255)": 4.0,
        "Sharpness": 110.0,
        "Contrast drift (%)": 0.0,
    }


def test_unknown_numbers_are_empty(entry: Entry) -> None:
    shown = numbers(replace(entry, measurement=None, result=replace(entry.result, seconds=0.0, memory=0)))
    assert {*shown.values()} == {None}


def test_every_help_text_says_which_direction_is_better() -> None:
    for quantity in measured.QUANTITIES:
        assert any(word in quantity.help_text for word in ("better", "Higher is")), quantity.heading


def test_a_value_between_two_frames_belongs_to_the_second(entry: Entry) -> None:
    courses = {course.title: course for course in measured.COURSES}
    motion = measured.points(courses["Motion"], ["a", "b"], [entry, None], "frames")
    assert motion == [{"video": "a", "at": 2, "number": 1.0}, {"video": "a", "at": 3, "number": 3.0}]
    seconds = measured.points(courses["Sharpness"], ["a"], [entry], "seconds")
    assert [point["at"] for point in seconds] == [0.0, 1 / 8, 2 / 8]
    assert measured.points(courses["Flicker"], ["a"], [replace(entry, measurement=None)], "frames") == []


def test_a_plot_has_a_line_for_each_video_with_its_units(entry: Entry) -> None:
    for course in measured.COURSES:
        spec = measured.chart(course, ["one", "two"], [entry, entry], "seconds").to_dict()
        values = spec["data"]["values"]
        assert {value["video"] for value in values} == {"one", "two"}
        assert spec["encoding"]["y"]["title"] == course.unit
        assert spec["encoding"]["x"]["title"] == "seconds"
        assert spec["encoding"]["color"]["sort"] == ["one", "two"]


def test_table_and_plots_are_drawn_and_the_axis_can_be_chosen(entry: Entry) -> None:
    def page(entry: "Entry") -> None:
        from img2vid.ui.shared import measured

        measured.table(["one", "two", "three"], [entry, None, entry])
        measured.plots(["one", "two", "three"], [entry, None, entry])

    drawn = AppTest.from_function(page, args=(entry,), default_timeout=120).run()
    assert not drawn.exception
    assert [*drawn.dataframe[0].value["Video"]] == ["one", "three"]
    assert [*drawn.dataframe[0].value["PSNR 1st (dB)"]] == [31.5, 31.5]
    assert len(drawn.get("vega_lite_chart")) == 4
    (axis,) = drawn.button_group
    assert (axis.options, axis.value) == (["seconds", "frames"], "seconds")


def test_an_unreadable_video_is_tried_once_and_the_others_are_measured(service: FakeService) -> None:
    entries, settings = Entries(service.store), make_settings({"num_frames": 3})
    for seed in (1, 2, 3):
        changed = settings.model_copy(update={"seed": seed})
        service.finishes(service.store.add(changed, LoadOptions(), PHOTO.read_bytes(), "dogs", ".jpg"))
    damaged = entries.find()[0]
    damaged.result.video.write_bytes(b"no video")
    deadline = time.monotonic() + 60
    while measuring.ask(entries.find()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert [entry.number for entry in entries.find() if entry.measurement is None] == [damaged.number]
