"""The Sweeps page: axes become a grid of jobs without duplicates, and each cell shows its state."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from driving import PHOTO, bars, caption, drop, markdown, measured, open_at, press, said, tab_of
from fake_service import FakeService
from streamlit.testing.v1 import AppTest

from img2vid.gallery.studies import Studies, Study
from img2vid.jobs.job import Job, State
from img2vid.ui.state import PageState
from img2vid.ui.studies import clips, run_box
from img2vid.ui.studies.study import current_sheet
from img2vid.ui.sweeps import state as sweeps_state
from img2vid.ui.sweeps.state import NOTHING, Sweep
from img2vid.ui.tabs import Tab, defaults_of
from img2vid.versions import load_versions


def page_of_sweeps() -> None:
    """Draw the Sweeps page of streamlit_app.py."""
    from img2vid.ui.sweeps.page import sweeps

    sweeps()


@pytest.fixture
def page(service: FakeService) -> AppTest:
    """New tab with a photo as its input."""
    return drop(open_at(page_of_sweeps), PHOTO)


def run(page: AppTest) -> AppTest:
    page.run()
    assert not page.exception
    return page


def typed(page: AppTest, index: int, name: str, text: str) -> AppTest:
    page.text_input(key=f"axis_{index}_{name}").set_value(text)
    return run(page)


def study(service: FakeService) -> Study:
    return Studies(service.store).studies("sweep")[0]


def jobs(service: FakeService) -> list[Job]:
    """Return the jobs of the newest sweep, row by row."""
    return [service.store.job(cell.job) for cell in study(service).cells]


def test_the_estimate_is_polled_until_the_speed_is_known(
    page: AppTest, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    polled: list[tuple[object, Callable[[], object], float | None]] = []
    poll = run_box.poll

    def recorded(name: str, draw: Any, seen: object, snapshot: Any, every: float | None) -> None:
        polled.append((seen, snapshot, every))
        poll(name, draw, seen, snapshot, every)

    monkeypatch.setattr(run_box, "poll", recorded)
    run(page)
    seen, snapshot, every = polled[-1]
    assert seen == snapshot() and every is not None
    service.store.record_speeds({"cpu": {"fp32": 1e10}})
    assert seen != snapshot(), "the page is not drawn again"
    run(page)
    assert polled[-1][2] is None and "to make" in caption(page)


@pytest.mark.usefixtures("service")
def test_nothing_can_be_run_without_a_picture() -> None:
    page = open_at(page_of_sweeps)
    assert page.button(key="sweep_start").disabled
    assert "Add an image first." in caption(page)


def test_the_estimate_describes_the_run(page: AppTest, service: FakeService) -> None:
    assert page.button(key="sweep_start").label == "Run 9 videos"
    assert "9 videos of 14 frames, estimate available after the first run." in caption(page)
    assert "All other settings come from the Sample page: svd_tiny, 160 \u00d7 96, 25 steps, 6 fps" in caption(page)
    press(page, "sweep_start")
    assert [(job.settings.seed, job.settings.motion_bucket_id) for job in jobs(service)] == [
        (seed, motion) for seed in (1, 2, 3) for motion in (20, 127, 255)
    ]
    assert "9 videos of 14 frames, 9 already made or queued." in caption(page)


def test_the_grid_shows_the_state_of_each_cell(page: AppTest, service: FakeService) -> None:
    press(page, "sweep_start")
    assert bars(page)[0] == (0, "0 of 9 videos made · estimate available after the first run")
    first, second, third, fourth, *_ = jobs(service)
    service.finishes(first)
    service.fails(second, "memory ran out; try decode_t 1")
    service.begins(third)
    service.is_at(third, "sample", 5, 25)
    service.cancel(fourth.id)
    run(page)
    assert bars(page)[0][1].startswith("1 of 9 videos made")
    assert len(page.get("video")) == 1
    told = caption(page)
    assert "Memory ran out; try decode_t 1." in told and "Cancelled" in told and told.count("Queued") == 5
    assert any("step 5 of 25" in text for _, text in bars(page))
    labels = markdown(page)
    assert all(f"**{name}**" in labels for name in ("motion bucket id 20", "motion bucket id 255", "seed 1", "seed 3"))


def test_the_same_again_adds_no_job(page: AppTest, service: FakeService) -> None:
    press(page, "sweep_start")
    for job in jobs(service):
        service.finishes(job)
    press(page, "sweep_start")
    assert len(service.store.jobs(limit=50)) == 9
    assert all(cell.reused for cell in study(service).cells)
    assert "9 of 9 videos of dogs · 9 reused" in caption(page)
    # One more row: three new videos.
    typed(page, 1, "seed", "1..4")
    assert page.button(key="sweep_start").label == "Run 12 videos"
    assert "12 videos of 14 frames, 9 already made or queued" in caption(page)
    assert "These clips use older settings. Run to update." in caption(page)
    press(page, "sweep_start")
    assert len(service.store.jobs(limit=50)) == 12


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("20, abc", "Motion_bucket_id must be a whole number from 0 to 511, got 'abc'."),
        ("20, 20", "The axis motion_bucket_id has 20 more than once; remove the duplicate."),
        ("", "The axis motion_bucket_id has no values"),
        ("0..200", "A sweep has at most 100 videos, got 201 values of motion_bucket_id; remove some."),
    ],
)
def test_an_invalid_axis_is_reported_and_disables_run(page: AppTest, text: str, sentence: str) -> None:
    typed(page, 0, "motion_bucket_id", text)
    assert sentence in caption(page)
    assert page.button(key="sweep_start").disabled


def test_versions_and_other_names_are_chosen_from_a_list(page: AppTest, service: FakeService) -> None:
    page.selectbox(key="axis_0").set_value("Model Version")
    run(page)
    assert page.multiselect(key="axis_0_version").value == ["svd_tiny", "svd_tiny_xt"]
    page.selectbox(key="axis_1").set_value("None")
    run(page)
    assert page.button(key="sweep_start").label == "Run 2 videos"
    assert "2 videos of 14 to 25 frames" in caption(page)
    press(page, "sweep_start")
    assert [(job.settings.version, job.settings.num_frames) for job in jobs(service)] == [
        ("svd_tiny", 14),
        ("svd_tiny_xt", 25),
    ]
    page.multiselect(key="axis_0_version").set_value(["svd_tiny", "svd_xt"])
    run(page)
    assert "svd_xt is not installed. Download it on the Models page." in caption(page)
    assert page.button(key="sweep_start").disabled


def test_an_axis_without_effect_is_reported(page: AppTest) -> None:
    page.selectbox(key="axis_0").set_value("cfg-scale")
    run(page)
    assert "Scale has no effect here; only VanillaCFG uses it." in caption(page)


def test_unfinished_jobs_can_be_cancelled_and_run_again(page: AppTest, service: FakeService) -> None:
    press(page, "sweep_start")
    service.finishes(jobs(service)[0])
    press(page, "sweep_cancel")
    assert [job.state for job in jobs(service)] == [State.DONE, *[State.CANCELLED] * 8]
    run(page)
    assert page.button(key="sweep_cancel").disabled
    assert page.button(key="sweep_again").label == "Run 8 missing videos"
    press(page, "sweep_again")
    assert [job.state for job in jobs(service)] == [State.DONE, *[State.WAITING] * 8]


def test_a_cell_can_be_opened_and_its_settings_used(page: AppTest, service: FakeService) -> None:
    press(page, "sweep_start")
    service.finishes(jobs(service)[5])
    run(page)
    assert page.button(key="sweep_open_4").disabled
    press(page, "sweep_open_5")
    assert "motion bucket id 255, seed 2" in markdown(page)
    assert len(page.get("video")) == 2
    measured(page, service.store)
    assert "| Flicker (of 255) |" in markdown(page)
    press(page, "sweep_use")
    assert "Copied the settings of this video to the Sample page." in caption(page)
    kept = json.loads((service.store.home / "tabs" / f"{tab_of(page)}.json").read_text(encoding="utf-8"))
    assert (kept["controls"]["motion_bucket_id"], kept["controls"]["seed"]) == (255, 2)
    press(page, "sweep_close")
    assert len(page.get("video")) == 1


def test_axes_and_the_open_cell_survive_a_reload(page: AppTest) -> None:
    typed(page, 0, "motion_bucket_id", "5, 6")
    press(page, "sweep_start")
    again = open_at(page_of_sweeps, tab_of(page))
    assert again.text_input(key="axis_0_motion_bucket_id").value == "5, 6"
    assert bars(again)[0][1].startswith("0 of 6 videos made")


def test_earlier_sweeps_are_opened_again(page: AppTest, service: FakeService) -> None:
    press(page, "sweep_start")
    earlier = study(service)
    typed(page, 0, "motion_bucket_id", "7")
    press(page, "sweep_start")
    button = page.button(key=f"open_{earlier.id}")
    assert button.label.replace("\\", "") == "motion_bucket_id x seed, 9 videos"
    press(page, f"open_{earlier.id}")
    assert page.text_input(key="axis_0_motion_bucket_id").value == "20, 127, 255"
    assert bars(page)[0][1].startswith("0 of 9 videos made")


def test_downloads_hold_what_is_made(page: AppTest, service: FakeService) -> None:
    press(page, "sweep_start")
    assert not [one for one in page.get("download_button")]
    service.finishes(jobs(service)[0])
    run(page)
    assert [one.proto.label for one in page.get("download_button")] == ["Contact sheet", "PNG", "CSV"]
    sheet = current_sheet(page.session_state["page"], study(service).id)
    assert [cell.reason for cell in sheet.cells] == ["done", *["waiting"] * 8]
    assert len(clips.offers(sheet, "time")["CSV"].make().decode().splitlines()) == 10


def test_a_sweep_missing_from_the_store_is_no_error(page: AppTest, service: FakeService) -> None:
    path = service.store.home / "tabs" / f"{tab_of(page)}.json"
    press(page, "sweep_start")
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    kept["pages"]["sweeps"]["study"] = "0123456789abcdef"
    path.write_text(json.dumps(kept), encoding="utf-8")
    assert said(run(page).error) == ""


# Stored state


@pytest.fixture
def state(home: Path) -> PageState:
    versions = load_versions()
    return PageState("0123456789ab", Tab(defaults_of(versions["svd_tiny"])), versions)


def test_the_stored_state_is_read_back(state: PageState) -> None:
    what = Sweep(("seed", NOTHING), ("1, 2", ""), "abc", 3, "stretch")
    state.keep("sweeps", **asdict(what))
    assert sweeps_state.sweep(state) == what
    state.tab.pages["sweeps"] = json.loads(json.dumps(state.tab.pages["sweeps"]))
    assert sweeps_state.sweep(state) == what


@pytest.mark.parametrize("kept", [None, 3, {"names": ["x", "y"], "texts": ["", ""]}, {"names": "seed"}, {"open": "a"}])
def test_invalid_stored_values_get_their_defaults(state: PageState, kept: object) -> None:
    state.tab.pages["sweeps"] = kept
    assert sweeps_state.sweep(state) == Sweep()


def named(state: PageState, before: Sweep, index: int, name: str) -> Sweep:
    """Return the sweep after another setting is chosen for an axis."""
    state.keep("sweeps", **asdict(before))
    sweeps_state.name_axis(state, index, name)
    return sweeps_state.sweep(state)


def test_choosing_the_other_axis_setting_swaps_the_axes(state: PageState) -> None:
    what = named(state, Sweep(), 0, "seed")
    assert what.names == ("seed", "motion_bucket_id")
    assert what.texts == ("23, 24, 25", "20, 127, 255")
    assert named(state, Sweep(("seed", NOTHING), ("1, 2", "")), 1, "seed").names == ("version", "seed")


@pytest.mark.parametrize("name", sweeps_state.ORDER)
def test_the_initial_values_are_a_valid_axis(state: PageState, name: str) -> None:
    what = named(state, Sweep(("fps", NOTHING), ("6", "")), 0, name)
    assert sweeps_state.axes(what)[0].name == name
