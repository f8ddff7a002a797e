"""The Compare page: columns and their differences, Run, and the clips, also after a reload."""

from pathlib import Path
from typing import Any

import pytest
from driving import PHOTO, bars, caption, drop, markdown, measured, open_at, press, said, tab_of
from fake_service import FakeService
from streamlit.testing.v1 import AppTest

from img2vid.gallery.entries import Entries
from img2vid.gallery.studies import Studies
from img2vid.jobs.job import Job, State
from img2vid.media.videos import read_metadata
from img2vid.ui.compare.state import comparison
from img2vid.ui.studies import clips
from img2vid.ui.studies.study import sheet_of


def page_of_compare() -> None:
    """Draw the Compare page of streamlit_app.py."""
    from img2vid.ui.compare.page import compare

    compare()


@pytest.fixture
def page(service: FakeService) -> AppTest:
    return drop(open_at(page_of_compare), PHOTO)


def ran(page: AppTest, service: FakeService) -> list[Job]:
    """Press Run and return the jobs in column order."""
    press(page, "compare_start")
    return service.store.queue()


def columns_of(page: AppTest, name: str) -> list[Any]:
    """Return the values of a setting by column."""
    drawn = {widget.key: widget.value for widget in (*page.number_input, *page.selectbox, *page.checkbox)}
    return [drawn[f"column_{index}_{name}"] for index in range(4) if f"column_{index}_{name}" in drawn]


def set_number(page: AppTest, index: int, name: str, value: float) -> AppTest:
    return page.number_input(key=f"column_{index}_{name}").set_value(value).run()


def differences(page: AppTest) -> str:
    return markdown(page).replace(":primary-badge", "")


@pytest.mark.usefixtures("service")
def test_the_page_starts_with_two_columns_and_lists_their_differences() -> None:
    page = open_at(page_of_compare)
    assert columns_of(page, "version") == ["svd_tiny", "svd_tiny_xt"]
    assert columns_of(page, "num_frames") == [14, 25]
    text = "Differs from column 1: [svd_tiny_xt] [T 25] [steps 30]"
    assert text in differences(page)
    assert page.button(key="compare_start").disabled
    assert "Add an image first" in caption(page)


def test_differing_settings_are_marked(page: AppTest) -> None:
    labels = {widget.key: widget.label for widget in page.number_input}
    assert labels["column_1_num_steps"] == "\u2260 steps"
    assert labels["column_1_fps"] == "fps"
    assert [box.label for box in page.expander] == ["More", "More"]
    set_number(page, 1, "min_scale", 1.5)
    assert [box.label for box in page.expander] == ["More", "More: min guidance scale"]
    set_number(page, 1, "fps", 9)
    assert {widget.key: widget.label for widget in page.number_input}["column_1_fps"] == "\u2260 fps"
    assert "[fps 9]" in differences(page)


def test_every_setting_has_its_place_in_a_column_and_a_help_text(page: AppTest) -> None:
    for widget in (*page.number_input, *page.selectbox, *page.checkbox):
        assert widget.help, widget.key
    names = {str(widget.key) for widget in (*page.number_input, *page.selectbox, *page.checkbox)}
    assert {"column_1_saving_fps", "column_1_watermark", "column_1_block_cache", "column_1_precision"} <= names


def test_a_seed_is_one_for_all_unless_that_is_switched_off(page: AppTest) -> None:
    set_number(page, 1, "seed", 5)
    assert columns_of(page, "seed") == [5, 5]
    page.checkbox(key="same_seed").uncheck().run()
    set_number(page, 1, "seed", 6)
    assert columns_of(page, "seed") == [5, 6]
    page.checkbox(key="same_seed").check().run()
    assert columns_of(page, "seed") == [5, 5]
    press(page, "compare_dice")
    one, other = columns_of(page, "seed")
    assert one == other != 5


def test_two_presets_are_compared_with_one_click(page: AppTest) -> None:
    press(page, "compare_presets")
    assert columns_of(page, "version") == ["svd_tiny", "svd_tiny"]
    assert columns_of(page, "num_steps") == [25, 10]
    assert columns_of(page, "discretization") == ["EDMDiscretization", "AYSDiscretization"]


def test_columns_are_added_copied_and_removed(page: AppTest) -> None:
    assert page.button(key="remove_column_0").disabled
    set_number(page, 0, "motion_bucket_id", 20)
    press(page, "copy_0")
    assert columns_of(page, "motion_bucket_id") == [20, 20, 30]
    press(page, "add_column")
    assert columns_of(page, "version") == ["svd_tiny", "svd_tiny", "svd_tiny_xt", "svd_tiny_xt"]
    assert page.button(key="add_column").disabled and page.button(key="copy_0").disabled
    press(page, "remove_column_1")
    assert columns_of(page, "motion_bucket_id") == [20, 30, 30]
    assert "Same as column 1" not in caption(page)


def test_changing_a_columns_version_adapts_its_settings(page: AppTest) -> None:
    set_number(page, 0, "fps", 9)
    page.selectbox(key="column_0_version").set_value("svd_tiny_xt").run()
    assert columns_of(page, "num_frames") == [25, 25]
    assert columns_of(page, "fps") == [9, 6]
    page.selectbox(key="column_1_version").set_value("svd_xt").run()
    assert page.button(key="compare_start").disabled
    assert "Column 2: The checkpoint of svd_xt is missing" in caption(page)


def test_incompatible_settings_are_reported_with_their_column(page: AppTest) -> None:
    set_number(page, 1, "block_cache", 3)
    page.selectbox(key="column_1_provider").set_value("sgm").run()
    assert page.button(key="compare_start").disabled
    assert "Column 2: The sgm engine has no approximations" in caption(page)


def test_one_press_on_run_queues_all_columns(page: AppTest, service: FakeService) -> None:
    page.selectbox(key="column_1_precision").set_value("fp32").run()
    assert "2 videos to make, estimate available after the first run" in caption(page)
    jobs = ran(page, service)
    assert [job.settings.version for job in jobs] == ["svd_tiny", "svd_tiny_xt"]
    assert [job.options.precision for job in jobs] == ["auto", "fp32"]
    assert [job.picture.read_bytes() == PHOTO.read_bytes() for job in jobs] == [True, True]
    assert [job.folder for job in jobs] == [service.store.home / "svd_tiny", service.store.home / "svd_tiny_xt"]
    assert [text for _, text in bars(page)] == ["Queued, next to run", "Queued, 1 ahead"]
    assert not page.number_input  # the settings are hidden
    press(page, "compare_fold")
    assert columns_of(page, "version") == ["svd_tiny", "svd_tiny_xt"]


def test_clips_appear_as_they_are_made_while_the_others_go_on(page: AppTest, service: FakeService) -> None:
    first, second = ran(page, service)
    service.finishes(first)
    service.begins(second)
    service.is_at(second, "sample", 3, 30, 12.0)
    page.run()
    assert len(page.get("video")) == 1
    assert bars(page)[0][1] == "Sampling, step 3 of 30 · about 12 s left"
    service.store.record_result(second.id, _result_of(second))
    service.store.finish(second.id, State.DONE)
    page.run()
    assert not page.error, said(page.error)
    videos = page.get("video")
    assert [video.proto.muted for video in videos] == [True, True]
    assert len({video.proto.url for video in videos}) == 2
    assert "**svd_tiny**" in markdown(page) and "**svd_tiny_xt**" in markdown(page)
    assert [button.label for button in page.download_button] == ["Side by side", "Wipe", "CSV"]
    assert [*page.dataframe[0].value["Video"]] == ["svd_tiny", "svd_tiny_xt"]


def _result_of(job: Job) -> Any:
    from fake_service import write_result

    return write_result(job, job.settings.seed)


def test_existing_clips_are_reused_and_the_estimate_says_so(page: AppTest, service: FakeService) -> None:
    for job in ran(page, service):
        service.finishes(job)
    press(page, "compare_fold")
    assert "All clips are already made or queued" in caption(page)
    set_number(page, 1, "num_steps", 7)
    assert "1 of 2 already made or queued, 1 video to make" in caption(page)
    assert "These clips use older settings" in caption(page)
    (job,) = ran(page, service)
    assert (job.settings.version, job.settings.num_steps) == ("svd_tiny_xt", 7)
    assert len(page.get("video")) == 1
    assert "Reused: dogs_svd_tiny_seed23.mp4" in caption(page)


def test_a_column_that_failed_says_why_and_runs_again(page: AppTest, service: FakeService) -> None:
    first, second = ran(page, service)
    service.fails(second, "memory ran out while sampling; use fewer frames", "Traceback: somewhere deep")
    service.finishes(first)
    page.run()
    assert said(page.error) == "Memory ran out while sampling; use fewer frames."
    assert "somewhere deep" in next(box for box in page.expander if box.label == "Details").code[0].value
    page.button(key="compare_again_1").click().run()
    (again,) = service.store.queue()
    assert again.settings == second.settings
    assert not page.error
    assert len(page.get("video")) == 1


def test_cancel_stops_unfinished_clips(page: AppTest, service: FakeService) -> None:
    first, _ = ran(page, service)
    service.finishes(first)
    page.run()
    press(page, "compare_cancel")
    assert not service.store.queue()
    assert "Cancelled." in said(page.info)
    assert page.button(key="compare_cancel").disabled
    press(page, "compare_again_1")
    assert len(service.store.queue()) == 1


def test_everything_is_there_after_a_reload(page: AppTest, service: FakeService) -> None:
    set_number(page, 1, "motion_bucket_id", 60)
    for job in ran(page, service):
        service.finishes(job)
    measured(page, service.store)
    (axis,) = page.button_group
    axis.set_value("frames").run()
    again = open_at(page_of_compare, tab_of(page))
    assert len(again.get("video")) == 2
    assert again.button_group[0].value == "frames"
    assert not again.number_input
    press(again, "compare_fold")
    assert columns_of(again, "motion_bucket_id") == [30, 60]


def test_an_earlier_comparison_can_be_opened_again(page: AppTest, service: FakeService) -> None:
    for job in ran(page, service):
        service.finishes(job)
    press(page, "compare_fold")
    set_number(page, 0, "num_steps", 3)
    page.selectbox(key="column_1_version").set_value("svd_tiny").run()
    for job in ran(page, service):
        service.finishes(job)
    page.run()
    old = Studies(service.store).studies("compare")[1]
    assert "svd_tiny · svd_tiny_xt" in page.button(key=f"open_{old.id}").label.replace("\\", "")
    press(page, f"open_{old.id}")
    press(page, "compare_fold")
    assert columns_of(page, "version") == ["svd_tiny", "svd_tiny_xt"]
    assert columns_of(page, "num_steps") == [25, 30]
    assert "use older settings" not in caption(page)
    press(page, "remove_input")
    drop(page, PHOTO.parent / "brook.jpg")
    assert "use older settings" in caption(page)


def test_a_missing_video_is_reported_and_made_again(page: AppTest, service: FakeService) -> None:
    for job in ran(page, service):
        service.finishes(job)
    entry = Entries(service.store).find()[0]
    entry.result.video.unlink()
    page.run()
    assert "The video no longer exists" in said(page.warning)
    page.button(key="compare_again_1").click().run()
    (again,) = service.store.queue()
    assert again.settings == entry.settings


def test_downloads_hold_the_finished_columns(page: AppTest, service: FakeService, tmp_path: Path) -> None:
    press(page, "copy_0")
    page.checkbox(key="same_seed").uncheck().run()
    set_number(page, 1, "seed", 5)
    first, second, third = ran(page, service)
    service.finishes(second)
    page.run()
    assert [button.label for button in page.download_button] == ["CSV"]
    service.finishes(third)
    service.fails(first, "memory ran out")
    page.run()
    assert [button.label for button in page.download_button] == ["Side by side", "Wipe", "CSV"]
    state = page.session_state["page"]
    sheet = sheet_of(state, comparison(state).study)
    assert sheet is not None
    offers = clips.offers(sheet, "stretch")
    for label, form in (("Side by side", "side by side"), ("Wipe", "wipe")):
        path = tmp_path / "composite.mp4"
        path.write_bytes(offers[label].make())
        metadata = read_metadata(path)
        assert (metadata["form"], metadata["align"]) == (form, "stretch")
        labels = [(video["label"], video["settings"]["version"]) for video in metadata["videos"]]
        assert labels == [("svd_tiny, seed 5", "svd_tiny"), ("svd_tiny_xt, seed 23", "svd_tiny_xt")]
    lines = offers["CSV"].make().decode().splitlines()
    assert len(lines) == 3 and lines[1].startswith('"svd_tiny, seed 5",done,') and "svd_tiny_xt" in lines[2]
